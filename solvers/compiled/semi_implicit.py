"""Runs of semi-implicit steps of cells of one axis in compiled code, with their gradient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pnpfusion.solvers.asymptotic_preserving import asymptotic_preserving_step, step_and_change
from pnpfusion.solvers.backend import backend
from pnpfusion.solvers.compiled.cell import is_compiled
from pnpfusion.solvers.device import steps as device_steps
from pnpfusion.solvers.device.cell import is_on_one_line
from pnpfusion.solvers.implicit_solve import is_followed, per_state
from pnpfusion.solvers.nernst_planck import Electrolyte
from pnpfusion.solvers.plain_steps import Advance, FixedStep, Place, Rate, Schedule, SlopedSteps

if TYPE_CHECKING:
    from pnpfusion.solvers.kernels.axis.semi_implicit import Facts, Given

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
    run = _run(cell, c, _parameters(cell), step, [-1], lowest, judged=False, sloped=False)
    return run.end, ()


def _is_known(cell: Electrolyte) -> bool:
    """Whether the kernel knows a cell: points without reactions between the walls of one axis."""
    plain = cell.crowding is None and cell.reactions is None
    exact = cell.scheme.name == "scharfetter-gummel"
    return (
        plain and exact and (is_compiled(cell, cell.valence) or is_on_one_line(cell, cell.valence))
    )


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
        return is_followed(u, *_parameters(self.cell))

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
        run = _run(
            self.cell, u, _parameters(self.cell), sizes, [-1] * len(steps), lowest, sloped=False
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
        u, lowest, parameters = place.u, place.lowest, _parameters(self.cell)
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
        run = _run(self.cell, u, parameters, sizes, saves, lowest)
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


class _Run(NamedTuple):
    """What K steps of B samples came to; R of them are saved."""

    states: Tensor  #: what is saved, (R, B, S, N); carries the gradient
    end: Tensor  #: where they are, (B, S, N); carries the gradient
    slope: Tensor  #: du/dt there, if asked for
    lowest: Tensor  #: smallest concentration since the last saved time, (B,)
    lowest_saved: Tensor  #: and since the saved time before, (R, B)
    taken: Tensor  #: steps until one ended badly, (B,)


def _run(
    cell: Electrolyte,
    u: Tensor,
    parameters: list[Tensor],
    steps: Tensor,
    saves: list[int],
    lowest: Tensor,
    *,
    judged: bool = True,
    sloped: bool = True,
) -> _Run:
    """Steps of ``cell`` with ``parameters`` in the place of its own; see the kernel."""
    followed = torch.is_grad_enabled() and is_followed(u, *parameters)
    if backend(u) != "numba":
        there = _with(cell, parameters), u, steps, saves, lowest
        return _Run(*device_steps.steps_on_device(*there, judged=judged, followed=followed))
    plan = _Plan(cell, steps, saves, followed, judged, sloped)
    if followed:
        # Views, because checkpoints look for what comes from outside in torch's own operations.
        given = (one.view_as(one) for one in (u, *parameters))
        results = _Steps.apply(plan, lowest, *given)  # type: ignore[no-untyped-call]
    else:
        results = _Steps.forward(plan, lowest, u, *parameters)
    return _Run(*results[:6])


@dataclass(frozen=True, eq=False)
class _Plan:
    cell: Electrolyte
    steps: Tensor  #: (K, B)
    saves: list[int]  #: the row of what each step saves, or -1
    followed: bool  #: whether the states before each step are kept for the gradient
    judged: bool  #: whether a bad step ends its sample
    sloped: bool  #: whether the rate in the end is asked for

    @property
    def rows(self) -> int:
        """How many states of a sample are saved."""
        return 1 + max(self.saves, default=-1)

    def arrays(self) -> tuple[Facts, NDArray[Any], NDArray[np.int64]]:
        """The plan as the kernels read it."""
        from pnpfusion.solvers.kernels.axis.semi_implicit import LANES, Facts

        volumes = self.cell.dielectric.volumes
        facts = Facts(
            volumes=volumes.contiguous().numpy(),
            closed=np.array(self.cell.closed),
            floating=self.cell.dielectric.floating,
            rows=np.arange(len(volumes) + 2),
            width=min(LANES, -(-self.steps.shape[1] // 8) * 8),
        )
        saves = np.array(self.saves, dtype=np.int64)
        return facts, self.steps.contiguous().numpy(), saves


class _Steps(torch.autograd.Function):
    @staticmethod
    def forward(plan: _Plan, lowest: Tensor, u: Tensor, *parameters: Tensor) -> tuple[Tensor, ...]:
        from pnpfusion.solvers.kernels.axis.semi_implicit import LANES, semi_implicit_1d

        facts, steps, saves = plan.arrays()
        rows, kept = plan.rows, len(steps) if plan.followed else 0
        batch, *state = u.shape
        states, lowest_saved = u.new_empty(rows, batch, *state), u.new_empty(rows, batch)
        end = u.detach().clone(memory_format=torch.contiguous_format)
        slope, lowest = torch.empty_like(end if plan.sloped else end[:0]), lowest.clone()
        taken = torch.zeros(batch, dtype=torch.long)
        history = u.new_empty(kept, -(-batch // LANES), *state, LANES)
        semi_implicit_1d(
            _given(parameters),
            facts,
            end.numpy(),
            steps,
            plan.judged,
            saves,
            *(one.numpy() for one in (lowest, states, lowest_saved, slope, taken, history)),
        )
        return states, end, slope, lowest, lowest_saved, taken, history

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        plan, _, u, *parameters = inputs
        *_, taken, history = output
        ctx.plan = plan
        ctx.mark_non_differentiable(*output[2:])
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(u, taken, history, *parameters)

    @staticmethod
    def backward(ctx: Any, by_states: Any, by_end: Any, *_: Any) -> tuple[Tensor | None, ...]:
        plan, (u, taken, history, *parameters) = ctx.plan, ctx.saved_tensors
        by_states = u.new_zeros(plan.rows, *u.shape) if by_states is None else by_states
        by_end = torch.zeros_like(u) if by_end is None else by_end
        if torch.is_grad_enabled():  # create_graph=True
            given = [one for one in (u, *parameters) if one.requires_grad]
            results = _in_torch(plan, u, parameters, taken)
            found = torch.autograd.grad(
                results, given, (by_states, by_end), create_graph=True, allow_unused=True
            )
            left = iter(found)
            by = [next(left) if one.requires_grad else None for one in (u, *parameters)]
            return None, None, *by
        from pnpfusion.solvers.kernels.axis.semi_implicit_gradient import semi_implicit_1d_gradient

        # Who is asked for nothing may hold anything, where not even a zero would pass:
        asked = by_end.flatten(1).any(1) | by_states.flatten(2).any(2).any(0)
        if not bool(asked.all()):
            taken = torch.where(asked, taken, 0)
            lanes = history.new_ones(history.shape[1] * history.shape[-1], dtype=torch.bool)
            lanes[: len(asked)] = asked
            lanes = lanes.reshape(1, history.shape[1], 1, 1, -1)
            history = torch.where(lanes, history, 1.0)
        facts, steps, saves = plan.arrays()
        sums = [torch.zeros_like(one, memory_format=torch.contiguous_format) for one in parameters]
        by_u = torch.empty_like(u, memory_format=torch.contiguous_format)
        semi_implicit_1d_gradient(
            _given(parameters),
            facts,
            steps,
            saves,
            taken.numpy(),
            history.numpy(),
            by_end.contiguous().numpy(),
            by_states.contiguous().numpy(),
            by_u.numpy(),
            _given(sums),
        )
        return None, None, by_u, *sums


def _in_torch(
    plan: _Plan, u: Tensor, parameters: list[Tensor], taken: Tensor
) -> tuple[Tensor, Tensor]:
    """The same states by the reference, for derivatives of any order."""
    cell, saved = _with(plan.cell, parameters), []
    for k, (dt, row) in enumerate(zip(plan.steps, plan.saves, strict=True)):
        going = k < taken
        new = asymptotic_preserving_step(cell, u, torch.where(going, dt, 0.0))
        u = torch.where(per_state(going, u), new, u)
        if row >= 0:
            saved.append(u)
    return torch.stack(saved) if saved else u.new_empty(0, *u.shape), u


def _parameters(cell: Electrolyte) -> list[Tensor]:
    """What derivatives are taken by, in the order of `Given`."""
    (ions,), (electric,) = cell.lines, cell.dielectric.lines
    return [
        electric.conductance,
        electric.electrode,
        electric.surface_charge,
        electric.pull,
        electric.rise,
        cell.fixed_charge,
        cell.valence,
        ions.transmissivity,
        ions.imposed,
        ions.reservoir,
    ]


def _with(cell: Electrolyte, parameters: list[Tensor]) -> Electrolyte:
    """``cell`` with other :func:`_parameters`."""
    (ions,), (electric,) = cell.lines, cell.dielectric.lines
    conductance, electrode, surface_charge, pull, rise, fixed_charge, valence, *of_ions = parameters
    electric = replace(
        electric,
        conductance=conductance,
        electrode=electrode,
        surface_charge=surface_charge,
        pull=pull,
        rise=rise,
    )
    transmissivity, imposed, reservoir = of_ions
    return replace(
        cell,
        dielectric=replace(cell.dielectric, lines=(electric,)),
        lines=(replace(ions, transmissivity=transmissivity, imposed=imposed, reservoir=reservoir),),
        fixed_charge=fixed_charge,
        valence=valence,
    )


def _given(parameters: Sequence[Tensor]) -> Given:
    """The parameters, or their gradients, as arrays that share their memory if they can."""
    from pnpfusion.solvers.kernels.axis.semi_implicit import Given

    return Given(
        *(
            (one.unsqueeze(1) if one.ndim == 2 else one).detach().contiguous().numpy()
            for one in parameters
        )
    )
