"""The health of the solves of a training: what is told of it, and when it is warned of."""

from __future__ import annotations

import warnings
from typing import Any

import pytest

from pnpfusion.solvers import ConvergenceWarning
from pnpfusion.training import HealthWarning, Recipe
from pnpfusion.training.health import warn_if_worse
from tests.tiny_sets import tiny
from tests.training.learning import learn


def test_what_cells_in_time_resolve_is_said() -> None:
    health = learn("pnp-transient").history[-1]["health"]
    assert health.keys() >= {"courant", "diffusion_number", "debye_cells"}
    assert health["diffusion_number"] == pytest.approx(0.3 / 4 * 16**2, rel=0.2)


def row(epoch: int, unconverged: float) -> dict[str, Any]:
    return {"epoch": epoch, "health": {"unconverged": unconverged, "iterations": 30.0}}


def test_health_warns_when_it_gets_worse_and_once() -> None:
    shares = [0.0, 0.02, 0.04, 0.015, 0.3, 0.25, 0.35]
    warned = []
    for n in range(1, len(shares) + 1):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            warn_if_worse([row(k + 1, share) for k, share in enumerate(shares[:n])])
        warned += [n] * len(caught)
    assert warned == [2, 5]
    with pytest.warns(HealthWarning, match=r"in epoch 5 30.0% of samples .*\(4.0% at most before"):
        warn_if_worse([row(k + 1, share) for k, share in enumerate(shares[:5])])


def test_the_papers_cell_is_warned_of_while_it_learns() -> None:
    """Wide features drive it out of where it contracts; each solve's own warning is not heard."""
    data = tiny("classes", samples=96)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trained = learn("deq-paper", data, Recipe(epochs=2, learning_rate=0.05))
    kinds = {one.category for one in caught}
    worst = max(row["health"]["unconverged"] for row in trained.history)
    assert worst > 0.01
    assert HealthWarning in kinds
    assert ConvergenceWarning not in kinds
