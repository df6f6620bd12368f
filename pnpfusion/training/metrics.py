"""How good answers are, in numbers: pure functions of what was told and what is so."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

BINS = 15  #: of confidences, where calibration is judged


@dataclass(frozen=True, eq=False)
class Counts:
    """Right and wrong answers, per class or label: float64, (K,)."""

    hit: Tensor  #: said and so
    false: Tensor  #: said and not so
    missed: Tensor  #: so and not said

    @classmethod
    def of_classes(cls, said: Tensor, target: Tensor, classes: int) -> Counts:
        """Of one class per sample, int64 (n,) each."""
        kinds = torch.arange(classes, device=target.device)
        return cls.of_labels(said[:, None] == kinds, target[:, None] == kinds)

    @classmethod
    def of_labels(cls, said: Tensor, target: Tensor) -> Counts:
        """Of any number of labels per sample, bool (n, K) each."""
        pairs = ((said & target), (said & ~target), (~said & target))
        return cls(*(pair.sum(0).double() for pair in pairs))

    @property
    def f1(self) -> Tensor:
        """2 hits / (2 hits + false + missed), (K,); 0 where nothing was said and nothing is so."""
        total = 2 * self.hit + self.false + self.missed
        return torch.where(total > 0, 2 * self.hit / total.clamp_min(1), 0.0)

    @property
    def recall(self) -> Tensor:
        """Hits among what is so, (K,); 0 where nothing is."""
        support = self.hit + self.missed
        return torch.where(support > 0, self.hit / support.clamp_min(1), 0.0)

    @property
    def seen(self) -> Tensor:
        """Which classes were said or are so, bool (K,)."""
        return self.hit + self.false + self.missed > 0


def f1_scores(counts: Counts, *, only_seen: bool) -> dict[str, float]:
    """F1 as the mean over classes, the mean by how frequent they are, and over all answers.

    Args:
        counts: of the answers.
        only_seen: whether the first leaves out classes that were neither said nor are so.
    """
    f1, support = counts.f1, counts.hit + counts.missed
    macro = f1[counts.seen] if only_seen else f1
    hit, wrong = counts.hit.sum(), counts.false.sum() + counts.missed.sum()
    return {
        "f1_macro": float(macro.mean()),
        "f1_weighted": float((f1 * support).sum() / support.sum().clamp_min(1)),
        "f1_micro": float(2 * hit / (2 * hit + wrong)) if 2 * hit + wrong > 0 else 0.0,
    }


def brier_score(probabilities: Tensor, target: Tensor) -> float:
    r"""Mean of :math:`\sum_k (p_k - [y = k])^2`, between 0 and 2; (n, K) and int64 (n,)."""
    truth = torch.nn.functional.one_hot(target, probabilities.shape[1])
    return float((probabilities.double() - truth).square().sum(1).mean())


@dataclass(frozen=True, eq=False)
class Reliability:
    """How often answers are right that are given with a confidence, in bins of equal width."""

    share: Tensor  #: of all answers in each bin, (bins,)
    confidence: Tensor  #: mean in each bin; NaN in an empty one
    accuracy: Tensor  #: share of right answers in each bin; NaN in an empty one

    @property
    def error(self) -> float:
        r"""Expected calibration error, :math:`\sum_b s_b |a_b - c_b|`."""
        return float((self.share * (self.accuracy - self.confidence).abs()).nansum())


def reliability(confidence: Tensor, right: Tensor, bins: int = BINS) -> Reliability:
    """Calibration of answers given with confidences within [0, 1], (n,), right or not, bool (n,).

    Bins are closed on their right: ((b - 1) / bins, b / bins].
    """
    values = confidence.double()
    place = ((values * bins).ceil().long() - 1).clamp(0, bins - 1)
    count = torch.zeros(bins, dtype=torch.float64, device=values.device)
    total, hits = count.clone(), count.clone()
    count.index_add_(0, place, torch.ones_like(values))
    total.index_add_(0, place, values)
    hits.index_add_(0, place, right.double())
    return Reliability(count / len(values), total / count, hits / count)


def number_scores(told: Tensor, target: Tensor) -> dict[str, float]:
    r"""Mean square and absolute error, and :math:`R^2`, means over columns; (n, K) each."""
    told, target = told.double(), target.double()
    wrong = (told - target).square().sum(0)
    spread = (target - target.mean(0)).square().sum(0)
    r2 = torch.where(spread > 0, 1 - wrong / spread, torch.where(wrong > 0, 0.0, 1.0))
    return {
        "mse": float((told - target).square().mean()),
        "mae": float((told - target).abs().mean()),
        "r2": float(r2.mean()),
    }
