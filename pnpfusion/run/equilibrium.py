"""The verb that finds where a law stands still."""

from __future__ import annotations

import torch
from torch import Tensor

from pnpfusion.dynamics.base import Dynamics, Input
from pnpfusion.solution import Solution
from pnpfusion.solvers.outcome import Outcome
from pnpfusion.solvers.steppers.base import Work


def equilibrium(
    dynamics: Dynamics,
    u0: Tensor,
    *,
    x: Input = None,
    solver: object | None = None,
    tol: float | None = None,
) -> Solution:
    r"""The state with :math:`f(u; x) = 0` in which what the law conserves is as in ``u0``.

    For a PNP cell: a damped Newton method on a convex function where nothing can flow at rest
    (closed cells, reservoirs that agree), which finds the one state of rest from anywhere; else
    Newton's method on the steady equations, the drive at the walls raised in steps where needed.
    Differentiable in ``u0``, every parameter and ``x`` by the implicit function theorem, one
    transposed solve; first derivatives only.

    Args:
        dynamics: the law.
        u0: states with the totals wanted, shape ``(*batch, *state)``.
        x: what drives the law; see there.
        solver: None is the law's own; no others yet.
        tol: of the last correction, of potentials in kT/e, of concentrations relative; None is
            1e-9 in float64 and 1e-4 in float32.

    Returns:
        A run of two states, ``u0`` and the state of rest, at "times" 0 and the iterations of the
        slowest sample; NaN for samples that were not solved. Its ``residuals`` are the RMS rates of
        the states of rest.

    Raises:
        ValueError: ``u0`` is no state of the law, or the law changes with time.
        NotImplementedError: the law does not know where it rests.
    """
    if not isinstance(dynamics, Dynamics):
        raise ValueError(f"`dynamics` must be a Dynamics, got {type(dynamics).__name__}.")
    if solver is not None:
        raise ValueError(f"`solver` must be None, the law's own, got {solver!r}.")
    if tol is not None and not tol > 0:
        raise ValueError(f"`tol` must be > 0, got {tol}.")
    dynamics.check_state("u0", u0, x)
    if tol is None:
        tol = 1e-9 if u0.dtype == torch.float64 else 1e-4
    batch = tuple(u0.shape[: u0.ndim - dynamics.state_ndim])
    rest = dynamics.solve_equilibrium(u0, x, tol)
    final = rest.c.reshape(u0.shape)
    with torch.no_grad():
        rate = dynamics.rate(torch.zeros((), dtype=u0.dtype, device=u0.device), final.detach(), x)
        residual = rate.square().flatten(len(batch)).mean(-1).sqrt()
    finite = final.detach().isfinite().flatten(len(batch)).all(-1)
    succeeded = rest.converged.reshape(batch) & finite
    found = succeeded.reshape(*batch, *(1 for _ in u0.shape[len(batch) :]))
    final = torch.where(found, final, torch.nan)  # the last iterate would look like an answer
    iterations = rest.iterations.reshape(batch)
    none = torch.zeros_like(iterations)
    last = int(iterations.max()) if iterations.numel() else 0
    if succeeded.all():
        outcome = Outcome.CONVERGED
    else:
        outcome = Outcome.NOT_CONVERGED if finite.all() else Outcome.NOT_FINITE
    return Solution(
        times=torch.tensor([0, max(last, 1)], dtype=u0.dtype, device=u0.device),
        states=torch.stack([u0, final]),
        outcome=outcome,
        succeeded=succeeded,
        residuals=residual.unsqueeze(0),
        work=Work(
            steps=none, rejected=none, fallbacks=none, iterations=iterations, rate_calls=none
        ),
        dynamics=dynamics,
        x=x,
        choice=rest.way,
    )
