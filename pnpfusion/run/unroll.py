"""The verb that feeds a law's result back, round by round."""

from __future__ import annotations

import torch
from torch import Tensor

from pnpfusion.dynamics.base import Dynamics
from pnpfusion.dynamics.input import Input
from pnpfusion.solution import Solution
from pnpfusion.solvers.arguments import check_positive, check_whole
from pnpfusion.solvers.outcome import Outcome
from pnpfusion.solvers.steppers.base import Work


def unroll(
    dynamics: Dynamics, u0: Tensor, rounds: int, *, x: Input = None, step: float | Tensor = 1.0
) -> Solution:
    r"""R rounds of :math:`u \leftarrow u + s\, f(u; x)`, differentiable through every one.

    With ``step=1`` and a law :math:`f = g(u) - u` this is g applied R times. A stiff law wants
    ``step`` below 2 / (its largest decay rate); above, the rounds grow without bound.

    Args:
        dynamics: the law, taken at time 0.
        u0: where to begin, shape ``(*batch, *state)``.
        rounds: R >= 0.
        x: what drives the law; see there. What is random in the law is drawn anew in every round.
        step: s > 0, a number or a tensor of one, which may have a gradient.

    Returns:
        The run; ``times`` are the rounds 0 ... R, ``residuals`` the RMS change of each.

    Raises:
        ValueError: ``u0`` is no state of the law, ``rounds`` < 0, or ``step`` <= 0.
    """
    if not isinstance(dynamics, Dynamics):
        raise ValueError(f"`dynamics` must be a Dynamics, got {type(dynamics).__name__}.")
    check_whole("rounds", rounds, 0)
    check_positive("step", step.item() if isinstance(step, Tensor) and step.numel() == 1 else step)
    dynamics.check_state("u0", u0, x)
    batch = tuple(u0.shape[: u0.ndim - dynamics.state_ndim])
    u = u0.reshape(-1, *u0.shape[len(batch) :])
    start = torch.zeros(len(u), dtype=u.dtype, device=u.device)
    law = dynamics.bind(u0, x)
    states = [u0]
    for _ in range(rounds):
        if dynamics.random:  # a bound law would draw the same numbers in every round
            law = dynamics.bind(u0, x)
        u = u + step * law.rate(start, u)
        states.append(u.reshape(u0.shape))
    succeeded = states[-1].detach().isfinite().flatten(len(batch)).all(-1)
    done = torch.full(batch, rounds, dtype=torch.long, device=u.device)
    none = torch.zeros_like(done)
    return Solution(
        times=torch.arange(rounds + 1, dtype=u0.dtype, device=u0.device),
        states=torch.stack(states),
        outcome=Outcome.REACHED_END if succeeded.all() else Outcome.NOT_FINITE,
        succeeded=succeeded,
        work=Work(steps=done, rejected=none, fallbacks=none, iterations=none, rate_calls=done),
        dynamics=dynamics,
        x=x,
    )
