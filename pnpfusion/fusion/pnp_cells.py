"""The cells of a PNP layer, whichever way they run."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pnpfusion.dynamics.input import Input
from pnpfusion.dynamics.pnp import PNP
from pnpfusion.fusion.inputs import Batch
from pnpfusion.fusion.pnp_attribution import Attribution
from pnpfusion.fusion.pnp_parameters import Bounded
from pnpfusion.solution import Solution
from pnpfusion.solvers.grid import Grid


@dataclass(frozen=True, eq=False)
class Outset:
    """What a run of the layer's law is told of a batch."""

    u0: Tensor  #: (rows, channels, species, cells); (rows, modalities, channels, ...) uncoupled
    x: Input  #: what drives the law
    parts: list[Tensor]  #: what each modality gives, (rows, channels, ..., cells)


@dataclass(frozen=True, eq=False)
class Reached:
    """Where a run came to."""

    final: Tensor  #: like `Outset.u0`
    succeeded: Tensor  #: bool, of its batch's shape


class Cells(nn.Module, ABC):
    """``channels`` cells of one axis: their law, how features enter, how it runs, what is read."""

    kinds: int = 2  #: of particles
    debye_length: Bounded  #: (channels,)
    concentration: Bounded  #: of each ion where nothing charges the cell, (channels,)
    applied_potential: Bounded  #: of the wall "x+" against "x-", (channels,)

    def __init__(
        self, dims: Mapping[str, int], *, coupled: bool, channels: int, cells: int
    ) -> None:
        super().__init__()
        self.grid = Grid((cells,), (1.0,), ("wall",))
        self.shape = (channels, cells)
        self.boxes = 1 if coupled else len(dims)  #: per channel

    @property
    @abstractmethod
    def permittivity(self) -> Tensor:
        """Of each channel, (channels,)."""

    @property
    @abstractmethod
    def law(self) -> PNP:
        """The cell with the parameters as they are now; its batch ends in channels."""

    @property
    @abstractmethod
    def numbers(self) -> int:
        """How many numbers :meth:`answer` gives for a row."""

    @abstractmethod
    def outset(self, batch: Batch) -> Outset:
        """Where features put the run."""

    @abstractmethod
    def run(self, law: PNP, outset: Outset) -> Solution:
        """The run, as the verb makes it."""

    @abstractmethod
    def reach(self, law: PNP, outset: Outset) -> Reached:
        """What :meth:`run` comes to, without what it checks and reports."""

    @abstractmethod
    def read(self, u0: Tensor, final: Tensor) -> Tensor:
        """What is read of particles that went from ``u0`` to ``final``, (rows, ...)."""

    @abstractmethod
    def attribute(
        self, names: Sequence[str], law: PNP, outset: Outset, final: Tensor
    ) -> Attribution:
        """The parts of each modality in where the run came to."""

    def answer(self, outset: Outset, run: Solution | None) -> tuple[Tensor, Tensor]:
        """What is read of the run from there, and which of its cells have an answer.

        A cell without one is read as one without features. ``run`` is the run, where it was made.
        """
        reached = self.reach(self.law, outset) if run is None else run
        good, u0, final = reached.succeeded, outset.u0, reached.final
        if not bool(good.all()):
            there, neutral = good[..., None, None], self.neutral()
            u0, final = torch.where(there, u0, neutral), torch.where(there, final, neutral)
        return self.read(u0, final), good

    def neutral(self) -> Tensor:
        """The state of a sample without any feature, (channels, species, cells)."""
        outside = self.concentration.values.detach()[:, None, None]
        return outside.expand(-1, self.kinds, self.shape[1])

    def together(self, parts: list[Tensor]) -> Tensor:
        """What all modalities give, (rows, channels, ...), or each of them, (rows, N, ...)."""
        return sum(parts[1:], parts[0]) if self.boxes == 1 else torch.stack(parts, 1)

    def reconstruct(self, read: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Losses of reading features back, by name; here there is nothing to read back."""
        return {}
