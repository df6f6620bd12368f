"""The verb that finds where a law stands still."""

from __future__ import annotations

from torch import Tensor

from pnpfusion.dynamics.base import Dynamics, Input
from pnpfusion.solution import Solution


def equilibrium(
    dynamics: Dynamics,
    u0: Tensor,
    *,
    x: Input = None,
    solver: object | None = None,
    tol: float | None = None,
) -> Solution:
    """The state with f(u; x) = 0 that conserves what the law conserves: not available yet.

    Raises:
        NotImplementedError: always; simulate for a long time instead.
    """
    raise NotImplementedError(
        "`equilibrium` is not available yet; `simulate` with an implicit stepper to a long time "
        "ends in the same state, e.g. times = torch.tensor([0.0, 100.0])."
    )
