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

from pnpfusion.solvers.asymptotic_preserving import asymptotic_preserving_step
from pnpfusion.solvers.compiled_cell import is_compiled
from pnpfusion.solvers.implicit_solve import is_followed, per_state
from pnpfusion.solvers.nernst_planck import Electrolyte
from pnpfusion.solvers.plain_steps import Advance, FixedStep, Place, Schedule

if TYPE_CHECKING:
    from pnpfusion.solvers.kernels.semi_implicit_1d import Facts, Given

#: Cells times samples times steps in one call, so that Ctrl-C and progress bars wait a moment only.
MOST_IN_ONE_CALL = 10_000_000


@dataclass(frozen=True, eq=False)
class CompiledSemiImplicit:
    """Takes the steps of `march` with `AsymptoticPreserving`; see :class:`FollowedSteps`.

    A step that ends badly is not plain. A sample's answer is the same bit for bit whatever else is
    in the batch, and whether or not a gradient is recorded. The gradient keeps the state before
    each step.
    """

    cell: Electrolyte
    schedule: Schedule

    @classmethod
    def of(cls, cell: Electrolyte, schedule: Schedule) -> CompiledSemiImplicit | None:
        """The run of ``cell``: of points without reactions, between walls; else None."""
        plain = cell.crowding is None and cell.reactions is None
        if not plain or cell.scheme.name != "scharfetter-gummel":
            return None
        return cls(cell, schedule) if is_compiled(cell, cell.valence) else None

    def rate(self, t: Tensor, u: Tensor) -> Tensor:
        """See :class:`FollowedSteps`."""
        with torch.no_grad():
            return _run(self.cell, u, _parameters(self.cell), [], u[:, 0, 0]).slope

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
        begin = FixedStep(0.0, float(place.t[at]), int(place.next[at]))
        steps = self.schedule(begin.end, begin.next, min(chunk, int(left[sample].min())))
        u, lowest, parameters = place.u, place.lowest, _parameters(self.cell)
        part = len(sample) < len(going)
        if part:
            u, lowest = u[sample], lowest[sample]
            parameters = [one if len(one) == 1 else one[sample] for one in parameters]
        passed = [begin, *steps]
        run = _run(self.cell, u, parameters, passed, lowest)
        new = {
            "t": torch.tensor([step.end for step in passed], dtype=place.t.dtype)[run.taken],
            "next": torch.tensor([step.next for step in passed])[run.taken],
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
        numbers = torch.tensor([k for k, row in enumerate(run.saves) if row >= 0])
        which = torch.tensor([steps[k].next - 1 for k in numbers.tolist()], dtype=torch.long)
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
    slope: Tensor  #: du/dt there
    lowest: Tensor  #: smallest concentration since the last saved time, (B,)
    lowest_saved: Tensor  #: and since the saved time before, (R, B)
    taken: Tensor  #: steps until one ended badly, (B,)
    saves: list[int]  #: the row of what each step saves, or -1


def _run(
    cell: Electrolyte, u: Tensor, parameters: list[Tensor], steps: list[FixedStep], lowest: Tensor
) -> _Run:
    """``steps`` of ``cell`` with ``parameters`` in the place of its own; the first is the start."""
    saves, rows = [], 0
    for before, after in pairwise(steps):
        saves.append(rows if after.next > before.next else -1)
        rows += after.next > before.next
    plan = _Plan(
        cell,
        [step.dt for step in steps[1:]],
        saves,
        torch.is_grad_enabled() and is_followed(u, *parameters),
    )
    results = _Steps.apply(plan, u, lowest, *parameters)  # type: ignore[no-untyped-call]
    return _Run(*results[:-1], saves)


@dataclass(frozen=True, eq=False)
class _Plan:
    cell: Electrolyte
    steps: list[float]
    saves: list[int]
    followed: bool  #: whether the states before each step are kept for the gradient

    def arrays(self, like: Tensor) -> tuple[Facts, NDArray[Any], NDArray[np.int64]]:
        """The plan as the kernels read it."""
        from pnpfusion.solvers.kernels.semi_implicit_1d import LANES, Facts

        volumes = self.cell.dielectric.volumes.detach()
        facts = Facts(
            volumes=volumes.contiguous().numpy(),
            closed=np.array(self.cell.closed),
            floating=self.cell.dielectric.floating,
            rows=np.arange(len(volumes) + 2),
            width=LANES,
        )
        steps = torch.tensor(self.steps, dtype=torch.float64).to(like.dtype).numpy()
        return facts, steps, np.array(self.saves, dtype=np.int64)


class _Steps(torch.autograd.Function):
    @staticmethod
    def forward(plan: _Plan, u: Tensor, lowest: Tensor, *parameters: Tensor) -> tuple[Tensor, ...]:
        from pnpfusion.solvers.kernels.semi_implicit_1d import LANES, semi_implicit_1d

        facts, steps, saves = plan.arrays(u)
        rows = 1 + int(max(plan.saves, default=-1))
        kept = len(steps) if plan.followed else 0
        batch, *state = u.shape
        states, lowest_saved = u.new_empty(rows, batch, *state), u.new_empty(rows, batch)
        end = u.detach().clone(memory_format=torch.contiguous_format)
        slope, lowest = torch.empty_like(end), lowest.clone()
        taken = torch.zeros(batch, dtype=torch.long)
        history = u.new_empty(kept, -(-batch // LANES), *state, LANES)
        arrays = (one.numpy() for one in (lowest, states, lowest_saved, slope, taken, history))
        semi_implicit_1d(_given(parameters), facts, end.numpy(), steps, saves, *arrays)
        return states, end, slope, lowest, lowest_saved, taken, history

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        plan, u, _, *parameters = inputs
        *_, taken, history = output
        ctx.plan = plan
        ctx.mark_non_differentiable(*output[2:])
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(u, taken, history, *parameters)

    @staticmethod
    def backward(ctx: Any, by_states: Any, by_end: Any, *_: Any) -> tuple[Tensor | None, ...]:
        plan, (u, taken, history, *parameters) = ctx.plan, ctx.saved_tensors
        rows = 1 + int(max(plan.saves, default=-1))
        by_states = u.new_zeros(rows, *u.shape) if by_states is None else by_states
        by_end = torch.zeros_like(u) if by_end is None else by_end
        if torch.is_grad_enabled():  # create_graph=True
            given = [one for one in (u, *parameters) if one.requires_grad]
            results = _in_torch(plan, u, parameters, taken)
            found = torch.autograd.grad(
                results, given, (by_states, by_end), create_graph=True, allow_unused=True
            )
            left = iter(found)
            by = [next(left) if one.requires_grad else None for one in (u, *parameters)]
            return None, by[0], None, *by[1:]
        from pnpfusion.solvers.kernels.semi_implicit_1d_gradient import semi_implicit_1d_gradient

        facts, steps, saves = plan.arrays(u)
        sums = [torch.zeros_like(one, memory_format=torch.contiguous_format) for one in parameters]
        by_u = torch.empty_like(u, memory_format=torch.contiguous_format)
        tensors = taken, history, by_end.contiguous(), by_states.contiguous(), by_u
        arrays = (one.detach().numpy() for one in tensors)
        semi_implicit_1d_gradient(_given(parameters), facts, steps, saves, *arrays, _given(sums))
        return None, by_u, None, *sums


def _in_torch(
    plan: _Plan, u: Tensor, parameters: list[Tensor], taken: Tensor
) -> tuple[Tensor, Tensor]:
    """The same states by the reference, for derivatives of any order."""
    cell, saved = _with(plan.cell, parameters), []
    for k, (dt, row) in enumerate(zip(plan.steps, plan.saves, strict=True)):
        going = k < taken
        new = asymptotic_preserving_step(cell, u, torch.where(going, dt, 0.0).to(u.dtype))
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
    from pnpfusion.solvers.kernels.semi_implicit_1d import Given

    return Given(
        *(
            (one.unsqueeze(1) if one.ndim == 2 else one).detach().contiguous().numpy()
            for one in parameters
        )
    )
