r"""How scores fall as noise rises, in the measures of MultiBench [LLD21], without its defects.

There, curves of errors keep their sign for some tasks, and every number is normalised over the
methods that happen to be compared. Here the sign is told, and nothing is normalised.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise


def relative_robustness(
    levels: Sequence[float], scores: Sequence[float], *, higher_is_better: bool = True
) -> float:
    r"""The mean score over the range of noise: the area below the curve by its width.

    .. math:: \frac{1}{s_K - s_0} \sum_k (s_{k+1} - s_k) \frac{f_k + f_{k+1}}{2}

    Args:
        levels: :math:`s_0 < s_1 < \dots`, of noise.
        scores: :math:`f_k`, at each of them.
        higher_is_better: False for errors, which count with a minus sign.

    Raises:
        ValueError: fewer than two levels, not rising, or other numbers of scores.
    """
    _check(levels, scores)
    area = sum(
        (b - a) * (f + g) / 2
        for a, b, f, g in zip(levels, levels[1:], scores, scores[1:], strict=False)
    )
    return (1 if higher_is_better else -1) * area / (levels[-1] - levels[0])


def effective_robustness(
    scores: Sequence[float], reference: Sequence[float], *, higher_is_better: bool = True
) -> float:
    r"""How much less is lost than by a reference that begins at the same score.

    .. math:: \sum_k \big[ f_k - (r_k + f_0 - r_0) \big]

    Args:
        scores: :math:`f_k`, at rising levels of noise, the first without.
        reference: :math:`r_k`, likewise.
        higher_is_better: False for errors.

    Raises:
        ValueError: nothing, or numbers of scores that differ.
    """
    if not scores or len(scores) != len(reference):
        raise ValueError(
            f"`scores` and `reference` must be as many, got {len(scores)} and {len(reference)}."
        )
    shift = scores[0] - reference[0]
    gain = sum(f - (r + shift) for f, r in zip(scores, reference, strict=True))
    return gain if higher_is_better else -gain


def retention(scores: Sequence[float]) -> list[float]:
    r"""What is left of the score without noise, :math:`f_k / f_0`.

    Args:
        scores: :math:`f_k`, at rising levels of noise, the first without.

    Returns:
        One share for each score; the first is 1.

    Raises:
        ValueError: a first score that is not positive, of which no share can be left.
    """
    if not scores or scores[0] <= 0:
        raise ValueError(f"`scores` must begin with one above 0, got {[*scores[:1]]}.")
    return [score / scores[0] for score in scores]


def _check(levels: Sequence[float], scores: Sequence[float]) -> None:
    rising = all(a < b for a, b in pairwise(levels))
    if len(levels) < 2 or len(levels) != len(scores) or not rising:
        raise ValueError(
            f"`levels` must rise, at least two, with a score each; got {[*levels]} and "
            f"{len(scores)} scores."
        )
