"""What is asked of a model: the loss of each task, its answers, and how they are judged."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from pnpfusion.data.task import Task
from pnpfusion.training.metrics import (
    Counts,
    brier_score,
    f1_scores,
    number_scores,
    reliability,
)
from pnpfusion.training.recipe import ClassWeights


class Objective(ABC):
    """A task: outputs of a model, (n, K), beside what is so."""

    score: ClassVar[str]  #: the metric by which epochs are compared, the larger the better
    outputs: int  #: K

    def prepare(self, target: Tensor, weights: ClassWeights | tuple[float, ...]) -> None:
        """Take from the training samples what :meth:`losses` weighs them by.

        Raises:
            ValueError: weights that the task does not have, or of another number.
        """
        if weights != "none":
            raise ValueError(
                f"`class_weights` are for classes and labels, got {weights!r} for numbers; "
                f'leave them "none".'
            )

    @abstractmethod
    def losses(self, outputs: Tensor, target: Tensor) -> Tensor:
        """The loss of each sample, (n,)."""

    def weights(self, target: Tensor) -> Tensor:
        """What each sample counts in the mean, (n,)."""
        return torch.ones(len(target), dtype=torch.float64, device=target.device)

    @abstractmethod
    def answers(self, outputs: Tensor) -> Tensor:
        """What is told: classes int64 (n,), labels bool (n, K), or numbers (n, K)."""

    @abstractmethod
    def metrics(self, outputs: Tensor, target: Tensor) -> dict[str, float]:
        """How good answers are, "loss" and :attr:`score` among it; without smoothing or weights."""


class Classes(Objective):
    """One of K classes, by cross entropy."""

    score = "accuracy"

    def __init__(self, outputs: int, smoothing: float = 0.0) -> None:
        self.outputs, self.smoothing = outputs, smoothing
        self.of_class: Tensor | None = None

    def prepare(self, target: Tensor, weights: ClassWeights | tuple[float, ...]) -> None:
        """See :meth:`Objective.prepare`."""
        if weights == "balanced":
            counts = target.bincount(minlength=self.outputs).double()
            self.of_class = torch.where(
                counts > 0, len(target) / (self.outputs * counts.clamp_min(1)), 0.0
            )
        elif isinstance(weights, tuple):
            self.of_class = _given(weights, self.outputs, target)

    def losses(self, outputs: Tensor, target: Tensor) -> Tensor:
        """See :meth:`Objective.losses`."""
        return cross_entropy(outputs, target, reduction="none", label_smoothing=self.smoothing)

    def weights(self, target: Tensor) -> Tensor:
        """See :meth:`Objective.weights`."""
        if self.of_class is None:
            return super().weights(target)
        return self.of_class.to(target.device)[target]

    def answers(self, outputs: Tensor) -> Tensor:
        """See :meth:`Objective.answers`."""
        return outputs.argmax(1)

    def metrics(self, outputs: Tensor, target: Tensor) -> dict[str, float]:
        """Loss, accuracy, mean recall, F1, Brier score and calibration error."""
        said = self.answers(outputs)
        likely = outputs.double().softmax(1)
        right = said == target
        counts = Counts.of_classes(said, target, self.outputs)
        recall = counts.recall[counts.hit + counts.missed > 0]
        scores = f1_scores(counts, only_seen=True)
        del scores["f1_micro"]  # which is the accuracy
        return {
            "loss": float(cross_entropy(outputs.double(), target)),
            "accuracy": float(right.double().mean()),
            "balanced_accuracy": float(recall.mean()),
            **scores,
            "brier": brier_score(likely, target),
            "calibration_error": reliability(likely.amax(1), right).error,
        }


class Labels(Objective):
    """Any of K labels, each by binary cross entropy."""

    score = "f1_micro"

    def __init__(self, outputs: int, smoothing: float = 0.0) -> None:
        self.outputs, self.smoothing = outputs, smoothing
        self.of_presence: Tensor | None = None

    def prepare(self, target: Tensor, weights: ClassWeights | tuple[float, ...]) -> None:
        """See :meth:`Objective.prepare`."""
        if weights == "balanced":
            there = target.double().sum(0)
            self.of_presence = torch.where(there > 0, (len(target) - there) / there, 1.0)
        elif isinstance(weights, tuple):
            self.of_presence = _given(weights, self.outputs, target)

    def losses(self, outputs: Tensor, target: Tensor) -> Tensor:
        """See :meth:`Objective.losses`."""
        wanted = target.to(outputs.dtype) * (1 - self.smoothing) + self.smoothing / 2
        weight = None if self.of_presence is None else self.of_presence.to(outputs)
        return binary_cross_entropy_with_logits(
            outputs, wanted, pos_weight=weight, reduction="none"
        ).mean(1)

    def answers(self, outputs: Tensor) -> Tensor:
        """See :meth:`Objective.answers`."""
        return outputs > 0

    def metrics(self, outputs: Tensor, target: Tensor) -> dict[str, float]:
        """Loss, F1, and the share of samples of which all labels are right."""
        said = self.answers(outputs)
        return {
            "loss": float(binary_cross_entropy_with_logits(outputs.double(), target.double())),
            **f1_scores(Counts.of_labels(said, target), only_seen=False),
            "accuracy": float((said == target).all(1).double().mean()),
        }


class Numbers(Objective):
    """K numbers, by the mean square error in units of their spread in training."""

    score = "r2"

    def __init__(self, outputs: int, scale: Tensor) -> None:
        self.outputs, self.scale = outputs, scale

    def losses(self, outputs: Tensor, target: Tensor) -> Tensor:
        """See :meth:`Objective.losses`."""
        target = target.reshape(len(target), -1).to(outputs.dtype)
        return ((outputs - target) / self.scale.to(outputs)).square().mean(1)

    def answers(self, outputs: Tensor) -> Tensor:
        """See :meth:`Objective.answers`."""
        return outputs

    def metrics(self, outputs: Tensor, target: Tensor) -> dict[str, float]:
        """Loss, mean square and absolute error, and the share of the variance that is explained."""
        loss = float(self.losses(outputs.double(), target).mean())
        return {"loss": loss, **number_scores(outputs, target.reshape(len(target), -1))}


def objective_of(task: Task, outputs: int, scale: Tensor, smoothing: float = 0.0) -> Objective:
    """That of a task.

    Args:
        task: "classes", "labels" or "numbers".
        outputs: K.
        scale: the spread of numbers in training, (K,).
        smoothing: of classes and labels.
    """
    if task == "classes":
        return Classes(outputs, smoothing)
    if task == "labels":
        return Labels(outputs, smoothing)
    return Numbers(outputs, scale)


def _given(weights: tuple[float, ...], outputs: int, like: Tensor) -> Tensor:
    if len(weights) != outputs:
        raise ValueError(
            f"`class_weights` must be {outputs} numbers, one for each output, got {len(weights)}."
        )
    return torch.tensor(weights, dtype=torch.float64, device=like.device)
