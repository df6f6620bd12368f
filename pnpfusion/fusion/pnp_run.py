"""What the runs of the PNP layer have in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from pnpfusion.dynamics.input import Input
from pnpfusion.dynamics.pnp import PNP
from pnpfusion.fusion.inputs import Batch
from pnpfusion.fusion.pnp_attribution import Attribution
from pnpfusion.solution import Solution


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


class Cells(Protocol):
    """The cells of a PNP layer: their law, how features enter, how it runs and what is read."""

    boxes: int  #: cells per channel

    @property
    def numbers(self) -> int:
        """How many numbers :meth:`answer` gives for a row."""

    @property
    def law(self) -> PNP:
        """The cell with the parameters as they are now; its batch ends in channels."""

    def outset(self, batch: Batch) -> Outset:
        """Where features put the run."""

    def run(self, law: PNP, outset: Outset) -> Solution:
        """The run, as the verb makes it."""

    def reach(self, law: PNP, outset: Outset) -> Reached:
        """What :meth:`run` comes to, without what it checks and reports."""

    def neutral(self) -> Tensor:
        """The state of a sample without any feature, (channels, species, cells)."""

    def read(self, u0: Tensor, final: Tensor) -> Tensor:
        """What is read of particles that went from ``u0`` to ``final``, (rows, ...)."""

    def answer(self, outset: Outset, run: Solution | None) -> tuple[Tensor, Tensor]:
        """What is read of the run from there, and which of its cells have an answer.

        A cell without one is read as one without features. ``run`` is the run, where it was made.
        """

    def attribute(
        self, names: Sequence[str], law: PNP, outset: Outset, final: Tensor
    ) -> Attribution:
        """The parts of each modality in where the run came to."""

    def reconstruct(self, read: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Losses of reading features back, by name."""


def read_of(cells: Cells, outset: Outset, run: Solution | None) -> tuple[Tensor, Tensor]:
    """:meth:`Cells.answer` by the law and its concentrations."""
    reached = cells.reach(cells.law, outset) if run is None else run
    good, u0, final = reached.succeeded, outset.u0, reached.final
    if not bool(good.all()):
        there, neutral = good[..., None, None], cells.neutral()
        u0, final = torch.where(there, u0, neutral), torch.where(there, final, neutral)
    return cells.read(u0, final), good
