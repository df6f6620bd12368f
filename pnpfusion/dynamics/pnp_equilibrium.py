"""The state of rest of a PNP cell, as `equilibrium` asks for it."""

from __future__ import annotations

import torch
from torch import Tensor

from pnpfusion.dynamics.at_rest import AtRest
from pnpfusion.dynamics.pnp_bound import BoundPNP
from pnpfusion.solvers.fixed_point.gradient import Gradient, Implicit
from pnpfusion.solvers.implicit_solve import per_state


def at_rest(law: BoundPNP, u: Tensor, goal: float, gradient: Gradient | None) -> AtRest:
    """Where ``u`` ``(B, *state)`` comes to rest, to ``goal``; NaN where no answer is found.

    Raises:
        ValueError: ``gradient`` is none that a cell's own way to rest has.
    """
    if gradient not in (None, Implicit(), Implicit(mask_unconverged=True)):
        raise ValueError(
            f"`gradient` of a cell's own way to rest is Implicit(), its linear systems solved "
            f"directly; got {gradient!r}. Give a `solver` beside it, e.g. NewtonKrylov()."
        )
    rest = law.rest(u, goal)
    finite = rest.c.detach().isfinite().flatten(1).all(1)
    found = rest.converged & finite
    c = torch.where(per_state(found, rest.c), rest.c, torch.nan)
    none = torch.zeros_like(rest.iterations)
    with torch.no_grad():
        rate = law.rate(none.to(c), c)
    return AtRest(
        u=c,  # the last iterate would look like an answer
        converged=found,
        finite=finite,
        iterations=rest.iterations,
        evaluations=none,
        rates=rate.square().flatten(1).mean(1).sqrt(),
        way=rest.way,
    )
