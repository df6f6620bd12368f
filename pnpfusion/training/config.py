"""What a model is made of, as a file can say it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, asdict, dataclass
from typing import Any, Literal, get_args

from pnpfusion.data.feature_set import Features, target_of
from pnpfusion.data.task import Task, outputs_of, task_of
from pnpfusion.solvers.arguments import check_choice, check_whole
from pnpfusion.training.checks import known_fields
from pnpfusion.training.models import modalities_of

OWN = "own"  #: what a config calls a module that is the user's, not ours to build
DType = Literal["float32", "float64"]


@dataclass(frozen=True)
class ModelConfig:
    """What it takes to build a :class:`FusionModel`, but for its weights.

    Raises:
        ValueError: an entry that is none of those it may be.
    """

    model: str
    """Its fusion layer, one of :data:`MODELS`, with options after a colon where it has such
    (``pnp:coupled=false``), "only:NAME", or "own"."""
    dims: Mapping[str, int]  #: the width of each modality of the data, by name
    task: Task
    outputs: int  #: classes, labels, or numbers to be told
    _: KW_ONLY
    class_names: tuple[str, ...] = ()  #: in the order of the outputs
    hidden: int = 64  #: the width of each modality's encoding
    width: int = 64  #: of the fused feature
    encoders: Literal["relu", "own"] = "relu"  #: linear and ReLU, or the user's
    dtype: DType = "float32"

    def __post_init__(self) -> None:
        if not isinstance(self.dims, Mapping) or not self.dims:
            raise ValueError(f"`dims` must map modalities to widths, got {self.dims!r}.")
        sizes = {f"dims[{name!r}]": size for name, size in self.dims.items()}
        sizes |= {name: getattr(self, name) for name in ("outputs", "hidden", "width")}
        for name, size in sizes.items():
            check_whole(name, size, 1)
        check_choice("task", self.task, get_args(Task))
        check_choice("encoders", self.encoders, ("relu", OWN))
        check_choice("dtype", self.dtype, get_args(DType))
        if self.model != OWN:
            modalities_of(self.model, self.dims)
        object.__setattr__(self, "dims", dict(self.dims))
        object.__setattr__(self, "class_names", tuple(map(str, self.class_names)))

    @classmethod
    def of(
        cls, data: Features, model: str = "pnp", *, hidden: int = 64, width: int = 64
    ) -> ModelConfig:
        """That of a model of this name for these data.

        Args:
            data: a set with a target.
            model: a name of :data:`~pnpfusion.training.MODELS`.
            hidden: the width of each modality's encoding.
            width: of the fused feature.

        Raises:
            ValueError: data without a target, or no such model.
        """
        target, names = target_of(data), data.class_names
        return cls(
            model,
            data.dims,
            task_of(target),
            outputs_of(target, names),
            class_names=names,
            hidden=hidden,
            width=width,
        )

    def to_json(self) -> dict[str, Any]:
        """As JSON has it; :meth:`from_json` reads it back."""
        return asdict(self) | {"class_names": [*self.class_names]}

    @classmethod
    def from_json(cls, told: object) -> ModelConfig:
        """The config that :meth:`to_json` wrote.

        Args:
            told: a JSON object, read.

        Raises:
            ValueError: no object, an unknown or missing name, or a value that it may not have.
        """
        given = known_fields(cls, told, "model's config")
        if lacking := [name for name in ("model", "dims", "task", "outputs") if name not in given]:
            raise ValueError(f"a model's config must have {lacking}, got {[*given]}.")
        return cls(**given)
