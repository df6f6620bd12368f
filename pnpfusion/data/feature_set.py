"""What every reader returns: the features of some samples, modality by modality."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Features:
    """Samples with features of one or more modalities, and what is known of them.

    Raises:
        ValueError: no modality, an empty one, no samples, numbers of rows that differ, entries
            that are not finite, dtypes that differ or are not float, names or labels that do not
            fit.
    """

    name: str  #: what pictures and messages call the set
    modalities: Mapping[str, Tensor]  #: (n, d) each: one row per sample; float32 or float64
    _: KW_ONLY
    labels: Tensor | None = None  #: the class of each sample, int64, (n,)
    class_names: tuple[str, ...] = ()  #: what the labels 0, 1, ... stand for
    feature_names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The columns of each modality; numbered if not given."""
    terms: str = ""  #: the terms of use, to be shown to who uses the set
    source: str = ""  #: where it comes from

    def __post_init__(self) -> None:
        if not self.modalities:
            raise ValueError(f"`modalities` of {self.name!r} is empty; at least one is needed.")
        sizes = {}
        for modality, values in self.modalities.items():
            self._check_modality(modality, values)
            sizes[modality] = len(values)
        if len(set(sizes.values())) > 1:
            raise ValueError(
                f"`modalities` of {self.name!r} must have equal numbers of rows, got {sizes}; "
                f"row i of every modality is the same sample."
            )
        dtypes = {modality: values.dtype for modality, values in self.modalities.items()}
        if len(set(dtypes.values())) > 1:
            raise ValueError(f"`modalities` of {self.name!r} must have one dtype, got {dtypes}.")
        self._check_labels()
        named = dict(self.feature_names)
        for modality, width in self.dims.items():
            names = tuple(named.setdefault(modality, tuple(map(str, range(1, width + 1)))))
            if len(names) != width:
                raise ValueError(
                    f"`feature_names[{modality!r}]` must hold {width} names, got {len(names)}."
                )
        if unknown := [modality for modality in named if modality not in self.modalities]:
            raise ValueError(
                f"`feature_names` names {unknown}, but the modalities are {list(self.modalities)}."
            )
        object.__setattr__(self, "modalities", dict(self.modalities))
        object.__setattr__(self, "feature_names", named)

    def _check_modality(self, modality: str, values: Tensor) -> None:
        what = f"`modalities[{modality!r}]`"
        if not isinstance(values, Tensor):
            raise ValueError(f"{what} must be a torch.Tensor, got {type(values).__name__}.")
        if values.dtype not in (torch.float32, torch.float64):
            raise ValueError(
                f"{what} must be float32 or float64, got {values.dtype}; "
                f"convert it, e.g. with .double()."
            )
        if values.ndim != 2 or not values.shape[1]:
            raise ValueError(
                f"{what} must be (samples, features) with at least one feature, "
                f"got {tuple(values.shape)}; leave an empty modality out."
            )
        if not len(values):
            raise ValueError(f"{what} has no rows; at least one sample is needed.")
        if len(wrong := (~values.isfinite()).nonzero()):
            row, column = wrong[0].tolist()
            named = self.feature_names.get(modality, ())
            name = f" ({named[column]})" if column < len(named) else ""
            raise ValueError(
                f"{what} must be finite, got {float(values[row, column])} in row {row}, column "
                f"{column}{name}; impute it or drop the row first."
            )

    def _check_labels(self) -> None:
        if self.labels is None:
            return
        if not isinstance(self.labels, Tensor) or self.labels.dtype != torch.int64:
            got = getattr(self.labels, "dtype", type(self.labels).__name__)
            raise ValueError(f"`labels` must be an int64 tensor, got {got}.")
        if tuple(self.labels.shape) != (len(self),):
            raise ValueError(
                f"`labels` must be ({len(self)},), one per sample, got {tuple(self.labels.shape)}."
            )
        low, high = int(self.labels.min()), int(self.labels.max())
        if low < 0 or high >= len(self.class_names):
            raise ValueError(
                f"`labels` must count from 0 to {len(self.class_names) - 1}, one for each of "
                f"`class_names`, got {low} to {high}."
            )

    def __len__(self) -> int:
        return len(next(iter(self.modalities.values())))

    @property
    def dims(self) -> dict[str, int]:
        """How many features each modality has."""
        return {modality: values.shape[1] for modality, values in self.modalities.items()}

    def standardised(self) -> Features:
        r"""The same with zero mean and unit variance of each feature over the set.

        .. math:: (x - \bar x) \big/ \sqrt{\overline{(x - \bar x)^2}}

        A feature that is the same in all samples says nothing and becomes 0. To judge a model,
        standardise by the training samples alone; this looks at all.

        Raises:
            ValueError: a single sample, which has no spread.
        """
        if len(self) < 2:
            raise ValueError(
                f"{self.name!r} has one sample, and standardising takes the spread over at least "
                f"two; give more rows, or leave the features as they are."
            )
        scaled = {}
        for modality, values in self.modalities.items():
            centred = values - values.mean(0)
            spread = centred.square().mean(0).sqrt()
            constant = (values == values[0]).all(0) | (spread == 0)
            scaled[modality] = torch.where(constant, 0, centred / torch.where(constant, 1, spread))
        return replace(self, modalities=scaled)

    def samples(self, selection: int | slice | Sequence[int] | Tensor) -> Features:
        """The set of some of the samples: one index, a slice, or several indices in their order.

        Raises:
            ValueError: an index that is not there, or nothing selected.
        """
        n = len(self)
        if isinstance(selection, slice):
            chosen = list(range(*selection.indices(n)))
        else:
            chosen = [selection] if isinstance(selection, int) else [int(i) for i in selection]
        if outside := [i for i in chosen if not -n <= i < n]:
            raise ValueError(f"{self.name!r} has samples 0 to {n - 1}, got {outside[0]}.")
        if not chosen:
            raise ValueError(f"`selection` is empty: {selection!r} of {n} samples.")
        rows = torch.tensor(chosen)
        return replace(
            self,
            modalities={modality: values[rows] for modality, values in self.modalities.items()},
            labels=None if self.labels is None else self.labels[rows],
        )
