"""How a model is trained: every number of it, in one place, the same for every model."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

from pnpfusion.solvers.arguments import check_choice, check_whole
from pnpfusion.training.checks import check_number, known_fields

Schedule = Literal["cosine", "constant"]
Precision = Literal["float32", "float64", "bfloat16-mixed"]
ClassWeights = Literal["none", "balanced"]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    r"""AdamW with a warm-up and a schedule, what keeps it from learning by heart, and when it ends.

    The loss of a batch is that of the task plus :math:`\sum_k w_k L_k` over ``info.losses``. The
    defaults are those that served all models on HTAD, by validation; no model has its own.

    Raises:
        ValueError: a value out of its range.
    """

    epochs: int = 60  #: times through the samples, at most
    batch: int = 64  #: samples of a step, over all processes
    learning_rate: float = 1e-2
    weight_decay: float = 0.1  #: of weights of two axes and more, decoupled (AdamW)
    schedule: Schedule = "cosine"  #: to 0 at the last step, or level, after the warm-up
    warmup: float = 0.05  #: share of all steps in which the rate rises to its height
    clip: float | None = 1.0  #: largest norm of the gradient; None for any
    patience: int | None = 20
    """Epochs without a better validation after which training ends; None for never."""
    input_dropout: float = 0.2  #: share of standardised features that are zero in a step
    modality_dropout: float = 0.0
    """Probability that a sample lacks a modality in a step, each by itself; never all of them."""
    label_smoothing: float = 0.05  #: of classes and labels
    class_weights: ClassWeights | tuple[float, ...] = "none"
    """Of each class or of the presence of each label; "balanced": as n / (K n_k), or (n - n_k) /
    n_k for labels."""
    loss_weights: Mapping[str, float] = field(
        default_factory=lambda: {"reconstruction": 0.1, "jacobian": 0.1, "completion": 0.1}
    )
    """Of ``info.losses``, by name; a loss that is not named has weight 0."""
    seed: int = 0  #: of all that is random in training
    precision: Precision = "float32"
    """"bfloat16-mixed": float32 weights and solves, encoders and head under autocast."""

    def __post_init__(self) -> None:
        for name, least in (("epochs", 1), ("batch", 1), ("seed", 0)):
            check_whole(name, getattr(self, name), least)
        if self.patience is not None:
            check_whole("patience", self.patience, 1)
        check_number("learning_rate", self.learning_rate, 0, math.inf, open_below=True)
        check_number("weight_decay", self.weight_decay, 0, math.inf)
        check_number("warmup", self.warmup, 0, 1)
        if self.clip is not None:
            check_number("clip", self.clip, 0, math.inf, open_below=True)
        for name in ("input_dropout", "modality_dropout", "label_smoothing"):
            check_number(name, getattr(self, name), 0, 1)
            if getattr(self, name) == 1:
                raise ValueError(f"`{name}` must be below 1, got 1, which leaves nothing.")
        check_choice("schedule", self.schedule, get_args(Schedule))
        check_choice("precision", self.precision, get_args(Precision))
        self._check_weights()

    def _check_weights(self) -> None:
        given = self.class_weights
        if isinstance(given, str):
            if given not in get_args(ClassWeights):
                raise ValueError(
                    f"`class_weights` must be one of {[*get_args(ClassWeights)]} or a number for "
                    f"each class, got {given!r}."
                )
        else:
            if not isinstance(given, tuple | list) or not given:
                raise ValueError(f"`class_weights` must be a tuple of numbers, got {given!r}.")
            for k, weight in enumerate(given):
                check_number(f"class_weights[{k}]", weight, 0, math.inf)
            object.__setattr__(self, "class_weights", tuple(map(float, given)))
        if not isinstance(self.loss_weights, Mapping):
            raise ValueError(
                f"`loss_weights` must map names to numbers, got {self.loss_weights!r}."
            )
        for name, weight in self.loss_weights.items():
            check_number(f"loss_weights[{name!r}]", weight, 0, math.inf)
        object.__setattr__(self, "loss_weights", dict(self.loss_weights))

    def rate_at(self, step: int, steps: int) -> float:
        r"""The learning rate of a step, 0 <= ``step`` < ``steps``, of the whole training.

        It rises linearly over the warm-up; then :math:`\eta (1 + \cos \pi s) / 2` with s from 0
        to 1, or :math:`\eta`.
        """
        rising = math.ceil(self.warmup * steps)
        if step < rising:
            return self.learning_rate * (step + 1) / rising
        if self.schedule == "constant":
            return self.learning_rate
        share = (step - rising) / max(1, steps - rising)
        return self.learning_rate * (1 + math.cos(math.pi * share)) / 2

    def to_json(self) -> dict[str, Any]:
        """As JSON has it; :meth:`from_json` reads it back."""
        told = asdict(self)
        if isinstance(self.class_weights, tuple):
            told["class_weights"] = [*self.class_weights]
        return told

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> Recipe:
        """The recipe that :meth:`to_json` wrote, or one with the defaults for what is not named.

        Args:
            told: a JSON object, read.

        Raises:
            ValueError: no object, an unknown name, or a value out of its range.
        """
        return cls(**known_fields(cls, told, "recipe"))
