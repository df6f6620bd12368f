"""What every reader returns: the features of some samples, modality by modality."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from typing import Literal

import torch
from torch import Tensor

from pnpfusion.data.presence import masked
from pnpfusion.solvers.faq import Faq

#: What is asked of a sample: one class, which of several labels, or numbers.
Task = Literal["classes", "labels", "numbers"]


@dataclass(frozen=True, eq=False)
class Features:
    """Samples with features of one or more modalities, and what is known of them.

    Raises:
        ValueError: no modality, an empty one, no samples, numbers of rows that differ, entries
            that are not finite, dtypes that differ or are not float, samples without any modality,
            names, a target or splits that do not fit.
    """

    name: str  #: what pictures and messages call the set
    modalities: Mapping[str, Tensor]
    """(n, d) each, or (n, tokens, d): one row per sample; float32 or float64."""
    _: KW_ONLY
    present: Mapping[str, Tensor] | None = None
    """Which samples have a modality, bool (n,), of those that some lack; None: all have all. What
    stands where one is absent is not looked at, and is 0 here."""
    target: Tensor | None = None
    """What is to be told: the class of each sample, int64, (n,); which of K labels it has, bool,
    (n, K); or numbers, (n,) or (n, K), float32 or float64."""
    class_names: tuple[str, ...] = ()  #: what classes 0, 1, ..., labels or columns are called
    splits: Mapping[str, Tensor] = field(default_factory=dict)
    """Samples by what they are for, such as "train", "valid" and "test": int64, (m,) each."""
    feature_names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The columns of each modality; numbered if not given."""
    terms: str = ""  #: the terms of use, to be shown to who uses the set
    source: str = ""  #: where it comes from

    def __post_init__(self) -> None:
        if not self.modalities:
            raise ValueError(f"`modalities` of {self.name!r} is empty; at least one is needed.")
        present = dict(self.present or {})
        if unknown := [modality for modality in present if modality not in self.modalities]:
            raise ValueError(
                f"`present` names {unknown}, but the modalities are {list(self.modalities)}."
            )
        kept, sizes = {}, {}
        for modality, values in self.modalities.items():
            self._check_modality(modality, values)
            kept[modality] = masked(modality, values, present.get(modality))
            self._check_finite(modality, kept[modality])
            sizes[modality] = len(values)
        if len(set(sizes.values())) > 1:
            raise ValueError(
                f"`modalities` of {self.name!r} must have equal numbers of rows, got {sizes}; "
                f"row i of every modality is the same sample."
            )
        dtypes = {modality: values.dtype for modality, values in self.modalities.items()}
        if len(set(dtypes.values())) > 1:
            raise ValueError(f"`modalities` of {self.name!r} must have one dtype, got {dtypes}.")
        self._check_target()
        self._check_splits()
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
        some = {name: flags.clone() for name, flags in present.items() if not bool(flags.all())}
        object.__setattr__(self, "modalities", kept)
        object.__setattr__(self, "present", some or None)
        alone = ~torch.stack([self.there(modality) for modality in kept]).any(0)
        if alone.any():
            raise ValueError(
                f"`present` leaves {int(alone.sum())} samples of {self.name!r} without any "
                f"modality, the first is row {int(alone.nonzero()[0])}; drop them"
                f" {Faq.MISSING_MODALITY}."
            )
        object.__setattr__(self, "feature_names", named)
        object.__setattr__(self, "splits", dict(self.splits))

    def _check_modality(self, modality: str, values: Tensor) -> None:
        what = f"`modalities[{modality!r}]`"
        if not isinstance(values, Tensor):
            raise ValueError(f"{what} must be a torch.Tensor, got {type(values).__name__}.")
        if values.dtype not in (torch.float32, torch.float64):
            raise ValueError(
                f"{what} must be float32 or float64, got {values.dtype}; "
                f"convert it, e.g. with .double() {Faq.WRONG_SHAPE}."
            )
        if values.ndim not in (2, 3) or 0 in values.shape[1:]:
            raise ValueError(
                f"{what} must be (samples, features) or (samples, tokens, features) with at least "
                f"one feature, got {tuple(values.shape)}; leave an empty modality out"
                f" {Faq.WRONG_SHAPE}."
            )
        if not len(values):
            raise ValueError(f"{what} has no rows; at least one sample is needed.")

    def _check_finite(self, modality: str, values: Tensor) -> None:
        what = f"`modalities[{modality!r}]`"
        if len(wrong := (~values.isfinite()).nonzero()):
            row, *_, column = wrong[0].tolist()
            named = self.feature_names.get(modality, ())
            name = f" ({named[column]})" if column < len(named) else ""
            raise ValueError(
                f"{what} must be finite, got {float(values[tuple(wrong[0].tolist())])} in row "
                f"{row}, column {column}{name}; impute it, drop the row, or say by `present` that "
                f"it is absent {Faq.BAD_NUMBERS}."
            )

    def _check_target(self) -> None:
        target, names = self.target, len(self.class_names)
        if target is None:
            return
        kinds = (torch.int64, torch.bool, torch.float32, torch.float64)
        if not isinstance(target, Tensor) or target.dtype not in kinds:
            got = getattr(target, "dtype", type(target).__name__)
            raise ValueError(
                f"`target` must be an int64 tensor of classes, a bool one of labels, or a float "
                f"one of numbers, got {got}."
            )
        axes = {"classes": (1,), "labels": (2,), "numbers": (1, 2)}[self.task or "classes"]
        if target.ndim not in axes or len(target) != len(self) or 0 in target.shape:
            one = f"({len(self)},)" if axes == (1,) else f"({len(self)}, K)"
            raise ValueError(
                f"`target` of {self.task} must be {one}, one row per sample, got "
                f"{tuple(target.shape)}."
            )
        if self.task == "classes":
            low, high = int(target.min()), int(target.max())
            if low < 0 or high >= names:
                raise ValueError(
                    f"`target` must count from 0 to {names - 1}, one for each of `class_names`, "
                    f"got {low} to {high}."
                )
        elif names and names != (target.shape[1] if target.ndim == 2 else 1):
            raise ValueError(
                f"`class_names` must name each column of `target`, {tuple(target.shape)}, got "
                f"{names}."
            )
        if self.task == "numbers" and not target.isfinite().all():
            row = int((~target.isfinite()).nonzero()[0, 0])
            raise ValueError(f"`target` must be finite, but row {row} is not; drop that sample.")

    def _check_splits(self) -> None:
        for split, rows in self.splits.items():
            what = f"`splits[{split!r}]`"
            if not isinstance(rows, Tensor) or rows.dtype != torch.int64 or rows.ndim != 1:
                raise ValueError(f"{what} must be an int64 tensor (m,) of rows.")
            if not len(rows):
                raise ValueError(f"{what} has no rows; leave it out.")
            if int(rows.min()) < 0 or int(rows.max()) >= len(self):
                raise ValueError(
                    f"{what} must name rows 0 to {len(self) - 1}, got {int(rows.min())} to "
                    f"{int(rows.max())}."
                )
        together = torch.cat([torch.zeros(0, dtype=torch.long), *self.splits.values()])
        counts = together.bincount(minlength=1)
        if int(counts.max()) > 1:
            raise ValueError(
                f"`splits` of {self.name!r} must not share samples, but row "
                f"{int(counts.argmax())} is in {int(counts.max())} places; a sample that is judged "
                f"must not be learnt from."
            )

    def __len__(self) -> int:
        return len(next(iter(self.modalities.values())))

    @property
    def dims(self) -> dict[str, int]:
        """How many features each modality has."""
        return {modality: values.shape[-1] for modality, values in self.modalities.items()}

    @property
    def task(self) -> Task | None:
        """What is asked of a sample, by the dtype of :attr:`target`; None if nothing is."""
        if self.target is None:
            return None
        kinds: dict[torch.dtype, Task] = {torch.int64: "classes", torch.bool: "labels"}
        return kinds.get(self.target.dtype, "numbers")

    def there(self, modality: str) -> Tensor:
        """Which samples have a modality, bool (n,)."""
        flags = (self.present or {}).get(modality)
        return torch.ones(len(self), dtype=torch.bool) if flags is None else flags

    def measured(self, modality: str) -> Tensor:
        """A modality of the samples that have it, (m, d) or (m, tokens, d).

        Raises:
            ValueError: none has.
        """
        values = self.modalities[modality]
        if self.present is None or modality not in self.present:
            return values
        if not (flags := self.present[modality]).any():
            raise ValueError(
                f"no sample of {self.name!r} to learn from has {modality!r}; leave it out."
            )
        return values[flags]

    def rows_without(self, modalities: Sequence[str]) -> Tensor:
        """The rows of samples that have another modality than these, int64 (m,), m >= 0.

        Raises:
            ValueError: unknown modalities.
        """
        if unknown := [name for name in modalities if name not in self.modalities]:
            raise ValueError(f"`modalities` names {unknown}; there are {[*self.modalities]}.")
        others = [self.there(name) for name in self.modalities if name not in modalities]
        none = torch.zeros(len(self), dtype=torch.bool)
        return torch.stack([none, *others]).any(0).nonzero()[:, 0]

    def without(self, modalities: Sequence[str]) -> Features:
        """The same where no sample has these modalities; who has no other is left out.

        Raises:
            ValueError: unknown modalities, or no sample that is left.
        """
        left = self.rows_without(modalities)
        if not len(left):
            raise ValueError(f"nothing is left of {self.name!r} without {[*modalities]}.")
        kept = {name: rows[torch.isin(rows, left)] for name, rows in self.splits.items()}
        splits = {name: torch.searchsorted(left, rows) for name, rows in kept.items() if len(rows)}
        rest, absent = self.samples(left), torch.zeros(len(left), dtype=torch.bool)
        present = {**(rest.present or {}), **dict.fromkeys(modalities, absent)}
        return replace(rest, present=present, splits=splits)

    def split(self, name: str) -> Features:
        """The samples of one of :attr:`splits`.

        Raises:
            ValueError: there is none of that name.
        """
        if name not in self.splits:
            raise ValueError(f"{self.name!r} has splits {list(self.splits)}, got {name!r}.")
        return self.samples(self.splits[name])

    def standardised(self) -> Features:
        r"""The same with zero mean and unit variance of each feature over the samples that have it.

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
            rows = self.measured(modality).flatten(0, -2)
            centred = values - rows.mean(0)
            spread = (rows - rows.mean(0)).square().mean(0).sqrt()
            constant = (rows == rows[0]).all(0) | (spread == 0)
            scaled[modality] = torch.where(constant, 0, centred / torch.where(constant, 1, spread))
        return replace(self, modalities=scaled)

    def samples(self, selection: int | slice | Sequence[int] | Tensor) -> Features:
        """The set of some of the samples: one index, a slice, or several indices in their order.

        It has no splits: the rows are others.

        Args:
            selection: which rows.

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
        flags = self.present
        return replace(
            self,
            modalities={modality: values[rows] for modality, values in self.modalities.items()},
            present=None if flags is None else {name: one[rows] for name, one in flags.items()},
            target=None if self.target is None else self.target[rows],
            splits={},
        )
