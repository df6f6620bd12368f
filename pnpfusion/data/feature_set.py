"""What every reader returns: the features of some samples, modality by modality."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace

import torch
from torch import Tensor

from pnpfusion.data.feature_checks import (
    check_finite,
    check_modality,
    check_splits,
    check_target,
    masked,
)
from pnpfusion.data.task import Task, task_of
from pnpfusion.solvers.arguments import check_known
from pnpfusion.solvers.faq import Faq


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
        if not isinstance(self.name, str):
            raise TypeError(
                f"`name` comes first and must be a str, got {type(self.name).__name__}."
            )
        if not self.modalities:
            raise ValueError(f"`modalities` of {self.name!r} is empty; at least one is needed.")
        present = dict(self.present or {})
        check_known("present", present, self.modalities, "modalities")
        kept = {}
        for modality, values in self.modalities.items():
            check_modality(modality, values)
            kept[modality] = masked(modality, values, present.get(modality))
            check_finite(modality, kept[modality], self.feature_names.get(modality, ()))
        sizes = {modality: len(values) for modality, values in kept.items()}
        if len(set(sizes.values())) > 1:
            raise ValueError(
                f"`modalities` of {self.name!r} must have equal numbers of rows, got {sizes}; "
                f"row i of every modality is the same sample."
            )
        dtypes = {modality: values.dtype for modality, values in kept.items()}
        if len(set(dtypes.values())) > 1:
            raise ValueError(f"`modalities` of {self.name!r} must have one dtype, got {dtypes}.")
        if self.target is not None:
            check_target(self.target, self.class_names, len(self))
        check_splits(self.name, self.splits, len(self))
        named = dict(self.feature_names)
        for modality, width in self.dims.items():
            names = tuple(named.setdefault(modality, tuple(map(str, range(1, width + 1)))))
            if len(names) != width:
                raise ValueError(
                    f"`feature_names[{modality!r}]` must hold {width} names, got {len(names)}."
                )
        check_known("feature_names", named, self.modalities, "modalities")
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

    def __len__(self) -> int:
        return len(next(iter(self.modalities.values())))

    @property
    def dims(self) -> dict[str, int]:
        """How many features each modality has."""
        return {modality: values.shape[-1] for modality, values in self.modalities.items()}

    @property
    def task(self) -> Task | None:
        """What is asked of a sample, by the dtype of :attr:`target`; None if nothing is."""
        return None if self.target is None else task_of(self.target)

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
        check_known("modalities", modalities, self.modalities, "modalities")
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


def target_of(data: Features) -> Tensor:
    """What is to be told of each sample.

    Raises:
        ValueError: nothing is.
    """
    if data.target is None:
        raise ValueError(
            f"{data.name!r} has no target, so there is nothing to learn or to judge by; give one."
        )
    return data.target
