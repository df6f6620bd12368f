"""Runs of semi-implicit steps of cells of one axis in compiled code."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from torch import Tensor

from pnpfusion.solvers.asymptotic_preserving import step_and_change
from pnpfusion.solvers.backend import backend
from pnpfusion.solvers.compiled.cell import is_compiled
from pnpfusion.solvers.compiled.semi_implicit_cell import parameters_of
from pnpfusion.solvers.compiled.semi_implicit_steps import take_steps
from pnpfusion.solvers.device import steps as device_steps
from pnpfusion.solvers.device.cell import is_on_one_line
from pnpfusion.solvers.implicit_solve import is_followed
from pnpfusion.solvers.nernst_planck import Electrolyte
from pnpfusion.solvers.plain_steps import Advance, FixedStep, Place, Rate, Schedule, SlopedSteps

#: Cells times samples times steps in one call, so that Ctrl-C and progress bars wait a moment only.
MOST_IN_ONE_CALL = 10_000_000


def semi_implicit_step(
    cell: Electrolyte, c: Tensor, dt: Tensor, known: tuple[Tensor, ...] = ()
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """:func:`asymptotic_preserving_step`, compiled for the cells that the kernel knows.

    Beside it what the same step need not find again if it is ``known``, ``(B, 1, *grid.shape)``.
    """
    if not _is_known(cell):
        new, change = step_and_change(cell, c, dt, known[0][:, 0] if known else None)
        return new, (change.unsqueeze(1),)
    step = dt.detach().to(c.dtype).unsqueeze(0)
    lowest = dt.new_zeros(len(c))
    run = take_steps(cell, c, parameters_of(cell), step, [-1], lowest, judged=False, sloped=False)
    return run.end, ()


def _is_known(cell: Electrolyte) -> bool:
    """Whether the kernel knows a cell: points without reactions between the walls of one axis."""
    plain = cell.crowding is None and cell.reactions is None
    exact = cell.scheme.name == "scharfetter-gummel"
    if not (plain and exact):
        return False
    return is_compiled(cell, cell.valence) or is_on_one_line(cell, cell.valence)


@dataclass(frozen=True, eq=False)
class CompiledSemiImplicit(SlopedSteps):
    """Takes the steps of `march` with `AsymptoticPreserving`; see :class:`SlopedSteps`.

    A step that ends badly is not plain. A sample's answer is the same bit for bit whatever else is
    in the batch, and whether or not a gradient is recorded. The gradient keeps the state before
    each step.
    """

    cell: Electrolyte
    schedule: Schedule
    slope: Rate  #: of the law

    @classmethod
    def of(cls, cell: Electrolyte, schedule: Schedule, slope: Rate) -> CompiledSemiImplicit | None:
        """The run of ``cell``, or None where only `march` can follow it."""
        return cls(cell, schedule, slope) if _is_known(cell) else None

    def follows(self, u: Tensor) -> bool:
        """See :class:`FollowedSteps`."""
        return is_followed(u, *parameters_of(self.cell))

    def rate(self, t: Tensor, u: Tensor) -> Tensor:
        """See :class:`SlopedSteps`."""
        with torch.no_grad():
            return self.slope(t, u)

    def end(self, u: Tensor, begin: float, most: int) -> Tensor | None:
        """See :class:`SlopedSteps`; None too if the run is too long for one call."""
        most = min(most, MOST_IN_ONE_CALL // max(1, len(u) * u.shape[-1]))
        steps = self.schedule(begin, 1, most)
        if not len(u) or not steps or self.schedule(steps[-1].end, steps[-1].next, 1):
            return None
        sizes = torch.tensor([step.dt for step in steps], dtype=torch.float64).to(u)
        sizes, lowest = sizes[:, None].expand(-1, len(u)), u.new_full((len(u),), torch.inf)
        run = take_steps(
            self.cell, u, parameters_of(self.cell), sizes, [-1] * len(steps), lowest, sloped=False
        )
        return run.end if bool((run.taken == len(steps)).all()) else None

    def advance(self, place: Place, going: Tensor, left: Tensor) -> Advance:
        """See :class:`PlainSteps`. Who is behind moves first, so that all make the same steps."""
        behind = going & (place.t == place.t[going].min())
        sample = (behind & (left > 0)).nonzero().squeeze(1)
        zeros = torch.zeros_like(place.next)
        waits = behind & (left <= 0)
        if not len(sample):
            none = place.u[:0], place.lowest[:0]
            return Advance(place, waits, zeros, zeros, zeros, zeros, sample, sample, *none)
        at, chunk = int(sample[0]), max(1, MOST_IN_ONE_CALL // (len(sample) * place.u.shape[-1]))
        if backend(place.u) != "numba":
            chunk = device_steps.MOST_IN_ONE_CALL
        begin = FixedStep(0.0, float(place.t[at]), int(place.next[at]))
        steps = self.schedule(begin.end, begin.next, min(chunk, int(left[sample].min())))
        u, lowest, parameters = place.u, place.lowest, parameters_of(self.cell)
        part = len(sample) < len(going)
        if part:
            u, lowest = u[sample], lowest[sample]
            parameters = [one if len(one) == 1 else one[sample] for one in parameters]
        passed = [begin, *steps]
        saves, rows = [], 0
        for before, after in pairwise(passed):
            saves.append(rows if after.next > before.next else -1)
            rows += after.next > before.next
        sizes = torch.tensor([step.dt for step in steps], dtype=torch.float64).to(u)
        sizes = sizes[:, None].expand(-1, len(u))
        run = take_steps(self.cell, u, parameters, sizes, saves, lowest)
        new = {
            "t": torch.tensor([step.end for step in passed], dtype=torch.float64).to(place.t)[
                run.taken
            ],
            "next": torch.tensor([step.next for step in passed]).to(place.next)[run.taken],
            "u": run.end,
            "slope": run.slope,
            "lowest": run.lowest,
        }
        count = run.taken
        if part:
            new = {n: getattr(place, n).index_put((sample,), value) for n, value in new.items()}
            count = zeros.index_put((sample,), count)
        over = not self.schedule(steps[-1].end, steps[-1].next, 1)
        waits = behind & ((count < len(steps)) | ((count >= left) & (not over)))
        saving = [k for k, row in enumerate(saves) if row >= 0]
        numbers = torch.tensor(saving, dtype=torch.long, device=u.device)
        which = torch.tensor([steps[k].next - 1 for k in saving], dtype=torch.long).to(u.device)
        row, among = (run.taken > numbers[:, None]).nonzero(as_tuple=True)
        whole = len(row) == run.lowest_saved.numel()
        return Advance(
            place=replace(place, **new),
            waits=waits,
            steps=count,
            rejected=zeros,
            iterations=zeros,
            rate_calls=count,
            which=which[row],
            sample=sample[among],
            values=run.states.flatten(0, 1) if whole else run.states[row, among],
            lowest=run.lowest_saved[row, among],
        )
