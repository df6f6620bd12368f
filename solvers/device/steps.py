"""Runs of semi-implicit steps on a graphics card: the host only launches them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pnpfusion.solvers.asymptotic_preserving import asymptotic_preserving_step
from pnpfusion.solvers.device.captured import Step, captured
from pnpfusion.solvers.implicit_solve import per_state
from pnpfusion.solvers.nernst_planck import Electrolyte

#: Steps in one call, so that Ctrl-C and progress bars wait a moment only.
MOST_IN_ONE_CALL = 200
#: Steps from which on recording them as a graph is worth its while: it takes three.
WORTH_A_GRAPH = 8


@dataclass(frozen=True, eq=False)
class OneStep:
    """A semi-implicit step of every sample that is still alive, in operations of the device."""

    cell: Electrolyte
    judged: bool  #: whether a step that ends badly ends its sample; else it stands

    def __call__(
        self, u: Tensor, lowest: Tensor, alive: Tensor, taken: Tensor, dt: Tensor
    ) -> tuple[Tensor, ...]:
        """The same after a step ``dt`` ``(B,)``.

        Args:
            u: concentrations, ``(B, S, N)``.
            lowest: the smallest so far, ``(B,)``.
            alive: who still moves, bool ``(B,)``.
            taken: how many steps they took, ``(B,)``.
            dt: the step, ``(B,)``.
        """
        new = asymptotic_preserving_step(self.cell, u, torch.where(alive, dt, 0.0))
        worst = torch.where(new < torch.inf, new, -1.0).detach().flatten(1).amin(1)  # NaN: -1
        if self.judged:
            before = u.detach().flatten(1).amin(1)
            alive = alive & ((worst > 0) | ((worst == 0) & (before == 0)))
        return (
            torch.where(per_state(alive, u), new, u),
            torch.where(alive & (worst < lowest), worst, lowest),
            alive,
            taken + alive,
            dt,
        )


def steps_on_device(
    cell: Electrolyte,
    u: Tensor,
    steps: Tensor,
    saves: list[int],
    lowest: Tensor,
    *,
    judged: bool,
    followed: bool,
) -> tuple[Tensor, ...]:
    """K steps of B samples; see `Steps` of `compiled/semi_implicit_steps.py` for what is returned.

    Args:
        cell: the cell.
        u: where they begin, ``(B, S, N)``.
        steps: their sizes, ``(K, B)``.
        saves: the row of what each step saves, or -1.
        lowest: the smallest concentration since the last saved time, ``(B,)``.
        judged: whether a step that ends badly ends its sample; else it stands.
        followed: whether states carry a gradient; steps are then not replayed but recorded.
    """
    taken = torch.zeros(len(u), dtype=torch.long, device=u.device)
    state = [u, lowest, torch.ones_like(taken, dtype=torch.bool), taken]
    states, lowest_saved = [], []
    with torch.set_grad_enabled(followed):
        step: Step = OneStep(cell, judged)
        if len(saves) >= WORTH_A_GRAPH and not followed:
            step = captured(step, (*state, steps[0]))
        for dt, row in zip(steps, saves, strict=True):
            *state, _ = step(*state, dt)
            if row >= 0:
                states.append(state[0].clone())
                lowest_saved.append(state[1].clone())
                state[1] = torch.where(state[2], torch.inf, state[1])
    end, lowest, _, taken = (value.clone() for value in state)
    with torch.no_grad():
        slope = cell.rate(end)
    none = u.new_empty(0, *u.shape)
    return (
        torch.stack(states) if states else none,
        end,
        slope,
        lowest,
        torch.stack(lowest_saved) if states else none[..., 0, 0],
        taken,
    )
