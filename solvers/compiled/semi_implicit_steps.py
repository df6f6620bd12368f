"""Some semi-implicit steps of every sample in compiled code, with their gradient."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pnpfusion.solvers.arrays import as_array
from pnpfusion.solvers.asymptotic_preserving import asymptotic_preserving_step
from pnpfusion.solvers.backend import backend
from pnpfusion.solvers.compiled.semi_implicit_cell import as_given, with_parameters
from pnpfusion.solvers.device.steps import steps_on_device
from pnpfusion.solvers.implicit_solve import is_followed, per_state
from pnpfusion.solvers.nernst_planck import Electrolyte

if TYPE_CHECKING:
    from pnpfusion.solvers.kernels.axis.semi_implicit_block import Facts


class Steps(NamedTuple):
    """What K steps of B samples came to; R of them are saved."""

    states: Tensor  #: what is saved, (R, B, S, N); carries the gradient
    end: Tensor  #: where they are, (B, S, N); carries the gradient
    slope: Tensor  #: du/dt there, if asked for
    lowest: Tensor  #: smallest concentration since the last saved time, (B,)
    lowest_saved: Tensor  #: and since the saved time before, (R, B)
    taken: Tensor  #: steps until one ended badly, (B,)


def take_steps(
    cell: Electrolyte,
    u: Tensor,
    parameters: list[Tensor],
    steps: Tensor,
    saves: list[int],
    lowest: Tensor,
    *,
    judged: bool = True,
    sloped: bool = True,
) -> Steps:
    """Steps of ``cell`` with ``parameters`` in the place of its own; see the kernel."""
    followed = torch.is_grad_enabled() and is_followed(u, *parameters)
    if backend(u) != "numba":
        there = with_parameters(cell, parameters), u, steps, saves, lowest
        return Steps(*steps_on_device(*there, judged=judged, followed=followed))
    plan = _Plan(cell, steps, saves, followed, judged, sloped)
    if followed:
        # Views, because checkpoints look for what comes from outside in torch's own operations.
        given = (one.view_as(one) for one in (u, *parameters))
        results = _Attached.apply(plan, lowest, *given)  # type: ignore[no-untyped-call]
    else:
        results = _Attached.forward(plan, lowest, u, *parameters)
    return Steps(*results[:6])


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
        from pnpfusion.solvers.kernels.axis.semi_implicit_block import LANES, Facts

        volumes = self.cell.dielectric.volumes
        facts = Facts(
            volumes=as_array(volumes),
            closed=np.array(self.cell.closed),
            floating=self.cell.dielectric.floating,
            rows=np.arange(len(volumes) + 2),
            width=min(LANES, -(-self.steps.shape[1] // 8) * 8),
        )
        saves = np.array(self.saves, dtype=np.int64)
        return facts, as_array(self.steps), saves


class _Attached(torch.autograd.Function):
    @staticmethod
    def forward(plan: _Plan, lowest: Tensor, u: Tensor, *parameters: Tensor) -> tuple[Tensor, ...]:
        from pnpfusion.solvers.kernels.axis.semi_implicit import semi_implicit_1d
        from pnpfusion.solvers.kernels.axis.semi_implicit_block import LANES

        facts, steps, saves = plan.arrays()
        rows, kept = plan.rows, len(steps) if plan.followed else 0
        batch, *state = u.shape
        states, lowest_saved = u.new_empty(rows, batch, *state), u.new_empty(rows, batch)
        end = u.detach().clone(memory_format=torch.contiguous_format)
        slope, lowest = torch.empty_like(end if plan.sloped else end[:0]), lowest.clone()
        taken = torch.zeros(batch, dtype=torch.long)
        history = u.new_empty(kept, -(-batch // LANES), *state, LANES)
        semi_implicit_1d(
            as_given(parameters),
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
            as_given(parameters),
            facts,
            steps,
            saves,
            taken.numpy(),
            history.numpy(),
            as_array(by_end),
            as_array(by_states),
            by_u.numpy(),
            as_given(sums),
        )
        return None, None, by_u, *sums


def _in_torch(
    plan: _Plan, u: Tensor, parameters: list[Tensor], taken: Tensor
) -> tuple[Tensor, Tensor]:
    """The same states by the reference, for derivatives of any order."""
    cell, saved = with_parameters(plan.cell, parameters), []
    for k, (dt, row) in enumerate(zip(plan.steps, plan.saves, strict=True)):
        going = k < taken
        new = asymptotic_preserving_step(cell, u, torch.where(going, dt, 0.0))
        u = torch.where(per_state(going, u), new, u)
        if row >= 0:
            saved.append(u)
    return torch.stack(saved) if saved else u.new_empty(0, *u.shape), u
