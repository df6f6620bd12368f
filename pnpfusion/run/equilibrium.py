"""The verb that finds where a law stands still."""

from __future__ import annotations

import torch
from torch import Tensor

from pnpfusion.dynamics.base import Dynamics
from pnpfusion.dynamics.input import Input
from pnpfusion.solution import Solution
from pnpfusion.solvers.arguments import check_positive
from pnpfusion.solvers.fixed_point.base import FixedPointSolver, Tolerance
from pnpfusion.solvers.fixed_point.gradient import Gradient
from pnpfusion.solvers.outcome import Outcome
from pnpfusion.solvers.steppers.base import Work


def equilibrium(
    dynamics: Dynamics,
    u0: Tensor,
    *,
    x: Input = None,
    solver: FixedPointSolver | None = None,
    tol: float | None = None,
    atol: float | None = None,
    gradient: Gradient | None = None,
) -> Solution:
    r"""The state with :math:`f(u; x) = 0` in which what the law conserves is as in ``u0``.

    Any law can be asked: f(u) = 0 is solved by iteration, each sample by itself, on the shell of
    what is conserved. Laws that know a better way take it: a PNP cell a damped Newton method on a
    convex function where nothing can flow at rest (closed cells, reservoirs that agree), which
    finds the one state of rest from anywhere, else Newton's method on the steady equations, the
    drive at the walls raised in steps where needed. `Solution.choice` says which way it was.

    Differentiable in every parameter and ``x``, and in ``u0`` as far as it sets what is conserved,
    by the implicit function theorem, one transposed solve; first derivatives only.

    Args:
        dynamics: the law.
        u0: where to begin, with the totals wanted, shape ``(*batch, *state)``.
        x: what drives the law; see there.
        solver: such as :class:`pnpfusion.solvers.Anderson`; None is the law's own way.
        tol: what Newton's method would still correct, relative to the state; of other iterations
            the RMS of f(u) relative to that of u + f(u), so time counts in the law's own unit: a
            law that is slow in it needs a smaller one. Of a cell's own way the last correction, of
            potentials in kT/e, of concentrations relative. None is 1e-9 in float64 and 1e-4 in
            float32.
        atol: the same in absolute terms, for states near zero; None is tol / 1000.
        gradient: :class:`Implicit`, the default, or :class:`Phantom`, cheap and biased.

    Returns:
        A run of two states, ``u0`` and the state of rest, at "times" 0 and the iterations of the
        slowest sample. Its ``residuals`` are the RMS rates of the state of rest, its ``history``
        the relative residuals of all iterates. Samples that were not solved (``succeeded``) hold
        their best iterate, or NaN on a cell's own way.

    Raises:
        ValueError: ``u0`` is no state of the law, the law changes with time, or a wrong argument.
    """
    if not isinstance(dynamics, Dynamics):
        raise ValueError(f"`dynamics` must be a Dynamics, got {type(dynamics).__name__}.")
    for name, value, kind, example in (
        ("solver", solver, FixedPointSolver, "pnpfusion.solvers.Anderson()"),
        ("gradient", gradient, Gradient, "pnpfusion.solvers.Implicit()"),
    ):
        if value is not None and not isinstance(value, kind):
            raise ValueError(f"`{name}` must be None or e.g. {example}, got {value!r}.")
    for name, number in (("tol", tol), ("atol", atol)):
        if number is not None:
            check_positive(name, number)
    dynamics.check_state("u0", u0, x)
    dynamics.check_rest(u0, x)
    if tol is None:
        tol = 1e-9 if u0.dtype == torch.float64 else 1e-4
    tolerance = Tolerance.of(tol) if atol is None else Tolerance(tol, atol)
    batch = tuple(u0.shape[: u0.ndim - dynamics.state_ndim])
    rest = dynamics.solve_equilibrium(u0, x, tolerance, solver, gradient)
    if rest.converged.all():
        outcome = Outcome.CONVERGED
    else:
        outcome = Outcome.NOT_CONVERGED if rest.finite.all() else Outcome.NOT_FINITE
    none = torch.zeros_like(rest.iterations)
    work = Work(
        steps=none,
        rejected=none,
        fallbacks=none,
        iterations=rest.iterations,
        rate_calls=rest.evaluations,
    )
    rounds = torch.maximum(rest.iterations, rest.evaluations)
    last = int(rounds.max()) if rounds.numel() else 0
    return Solution(
        times=torch.tensor([0, max(last, 1)], dtype=u0.dtype, device=u0.device),
        states=torch.stack([u0, rest.u.reshape(u0.shape)]),
        outcome=outcome,
        succeeded=rest.converged.reshape(batch),
        rest_rates=rest.rates.reshape(1, *batch),
        work=work.reshape(batch),
        dynamics=dynamics,
        x=x,
        choice=rest.way,
        history=None if rest.history is None else rest.history.reshape(len(rest.history), *batch),
        backward=rest.backward,
    )
