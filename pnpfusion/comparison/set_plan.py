"""A data set of a comparison: how it is cut up, and what must be known of it beforehand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pnpfusion.data.feature_set import Features, target_of
from pnpfusion.data.task import Task, task_of
from pnpfusion.solvers.arguments import check_whole
from pnpfusion.training.identity import fingerprint

#: Sets whose neighbouring samples are alike, and into how many blocks each class is cut if nothing
#: is said.
BLOCKS = {"htad": 5}


@dataclass(frozen=True)
class SetPlan:
    """A data set, and how it is cut up.

    Raises:
        ValueError: no text, or a number of folds that is none.
    """

    data: str  #: as :func:`pnpfusion.data.open_set` takes it
    folds: int | None = None
    """Contiguous blocks of each class (:func:`pnpfusion.data.folds_of_blocks`), 2 or more; 1 judges
    by the set's own split "test", or a share drawn anew for each seed; None is 5 for HTAD, else 1.
    """

    def __post_init__(self) -> None:
        if not isinstance(self.data, str) or not self.data:
            raise ValueError(f"`data` must be the name of a set or a path, got {self.data!r}.")
        folds = self.folds
        if folds is None:
            folds = BLOCKS.get(self.data.partition(":")[0], 1)
        check_whole("folds", folds, 1)
        object.__setattr__(self, "folds", folds)

    @property
    def parts(self) -> int:
        """How many folds there are."""
        return self.folds or 1


@dataclass(frozen=True)
class Facts:
    """What must be known of a set before anything is trained."""

    name: str
    task: Task
    dims: Mapping[str, int]
    digest: str  #: of all its numbers
    smallest: int = 0  #: samples of the smallest class; 0 for other tasks

    @classmethod
    def of(cls, data: Features) -> Facts:
        """Those of a set.

        Raises:
            ValueError: it has no target.
        """
        task, smallest = task_of(target_of(data)), 0
        if task == "classes":
            counts = target_of(data).bincount()
            smallest = int(counts[counts > 0].min())
        return cls(data.name, task, data.dims, fingerprint(data), smallest)
