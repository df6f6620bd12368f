"""What closed boxes of two and three axes must keep: mass, positivity, energy and rest."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import pnpfusion as pf
from pnpfusion.solvers import AsymptoticPreserving, BackwardEuler, KenCarp4, Odeint
from tests.dynamics.promises import assert_energy_never_rises, assert_mass_and_positivity
from tests.marks import quiet
from tests.registry import ADAPTIVE, FIXED_STEP, f64, masked_walls, random, times

MONOTONE = ["scharfetter-gummel", "harmonic"]


@st.composite
def closed_boxes(draw):
    """Closed cells of two axes with electrodes on parts of their walls, and uneven states."""
    shape = (draw(st.integers(1, 5)), draw(st.integers(1, 5)))
    second = draw(st.sampled_from(["wall", "periodic"]))
    grid = pf.Grid(shape, (1.0, draw(st.floats(0.3, 3))), ("wall", second))
    seed = draw(st.integers(0, 10**6))
    mask = random(shape[1], seed=seed) < 0.5
    debye, voltage = 10 ** draw(st.floats(-2, 0.5)), draw(st.floats(-5, 5))
    c0 = 10 ** (2 * random(2, 2, *shape, seed=seed + 1) - 1)
    c0 = torch.stack(
        [c0[:, 0], c0[:, 1] * (c0[:, 0].sum((1, 2)) / c0[:, 1].sum((1, 2)))[:, None, None]], 1
    )
    cell = pf.PNP(
        grid,
        [pf.Species("cation", 1, 10 ** draw(st.floats(-1, 1))), pf.Species("anion", -1)],
        permittivity=pf.Field(2 * debye**2 * (0.3 + random(*shape, seed=seed + 2))),
        walls={
            "x-": [
                pf.Wall(potential=voltage, stern=draw(st.sampled_from([0.0, 0.2])), mask=mask),
                pf.Wall(surface_charge=draw(st.floats(-1, 1)), mask=~mask),
            ],
            "x+": pf.Wall(potential=0.0),
        },
        scheme=draw(st.sampled_from(MONOTONE)),
    )
    return cell, c0


@quiet
@settings(max_examples=10, deadline=None)
@given(closed_boxes(), st.sampled_from([KenCarp4(1e-3), BackwardEuler(1e-2)]))
def test_closed_boxes_keep_mass_and_stay_positive(made, stepper):
    cell, c0 = made
    run = pf.simulate(cell, c0, times(0, 1e-3, 0.1), stepper=stepper).require_success()
    assert_mass_and_positivity(run)


@quiet
@settings(max_examples=15, deadline=None)
@given(closed_boxes(), st.floats(-5, 3))
def test_the_robust_step_keeps_both_at_any_step(made, exponent):
    cell, c0 = made
    dt = 10**exponent
    run = pf.simulate(cell, c0, times(0, 3 * dt), stepper=AsymptoticPreserving(dt=dt))
    assert bool(run.succeeded.all())
    assert_mass_and_positivity(run)


@quiet
@settings(max_examples=15, deadline=None)
@given(closed_boxes(), st.floats(-4, 1))
def test_energy_never_rises_under_backward_euler(made, exponent):
    cell, c0 = made
    assert_energy_never_rises(cell, c0, 10**exponent, steps=3)


@pytest.mark.parametrize("scheme", MONOTONE)
def test_what_rests_stays_at_rest_under_every_stepper(scheme):
    cell = masked_walls(voltage=3.0)
    cell.scheme = scheme
    rest = pf.equilibrium(cell, torch.ones(2, 6, 5, dtype=f64), tol=1e-13).require_success().final
    for method in FIXED_STEP:
        run = pf.simulate(cell, rest, times(0, 5e-3), stepper=method(dt=1e-3))
        assert float((run.final - rest).abs().max()) <= 1e-13 * float(rest.max()), method
    steppers = [s for s in ADAPTIVE if not isinstance(s, Odeint)]
    for stepper in (*steppers, AsymptoticPreserving(dt=0.1), BackwardEuler(dt=0.1)):
        run = pf.simulate(cell, rest, times(0, 1.0), stepper=stepper)
        assert float((run.final - rest).abs().max()) <= 1e-13 * float(rest.max()), stepper
    assert float(max(cell.flux(rest, axis=a).abs().max() for a in (0, 1))) <= 1e-12
