"""What `simulate` accepts, and how it says no."""

from math import inf

import numpy as np
import pytest
import torch

import pnpfusion as pf
from pnpfusion.dynamics.resolution import ResolutionWarning
from pnpfusion.solvers import ETDRK4, TRBDF2, AsymptoticPreserving, Euler, KenCarp4, Odeint
from tests.registry import blocking_cell, f64, ring, times


@pytest.mark.parametrize(
    ("u0", "message"),
    [
        (torch.ones(2, 31), r"must end in the grid's shape \(32,\), got \(2, 31\)"),
        (torch.ones(3, 32), r"\(\*batch, 2, 32\), got \(3, 32\)"),
        (torch.ones(32), r"got \(32,\)"),
        (torch.ones(2, 32).half(), "float32 or float64, got torch.float16"),
        (torch.full((2, 32), torch.nan), "must be finite, got NaN"),
        (-torch.ones(2, 32), "must be >= 0, got -1"),
        ([[1.0]], "must be a torch.Tensor, got list"),
    ],
)
def test_a_wrong_state_says_what_is_wanted(u0, message):
    with pytest.raises(ValueError, match=f"`u0` .*{message}"):
        pf.simulate(blocking_cell(), u0, times(0, 1))


@pytest.mark.parametrize(
    ("span", "message"),
    [
        (times(0, 1, 1), "must increase strictly, got 1 and then 1"),
        (times(0, 2, 1), "must increase strictly, got 2 and then 1"),
        (times(), r"must have shape \(T,\) with T >= 1, got \(0,\)"),
        (times(0, 1)[None], r"must have shape \(T,\) with T >= 1, got \(1, 2\)"),
        (times(0, float("nan")), "must be finite"),
    ],
)
def test_wrong_times_say_what_is_wanted(span, message):
    with pytest.raises(ValueError, match=f"`times` {message}"):
        pf.simulate(blocking_cell(), torch.ones(2, 32), span)


def test_tolerances_beside_a_stepper_are_an_error():
    with pytest.raises(ValueError, match=r"stepper=TRBDF2\(rtol"):
        pf.simulate(blocking_cell(), torch.ones(2, 32), times(0, 1), stepper=TRBDF2(), rtol=1e-3)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TRBDF2(dt=0.1, rtol=1e-3), "`dt` fixes the steps"),
        (lambda: TRBDF2(rtol=-1.0), "`rtol` must be a finite number > 0, got -1"),
        (lambda: Euler(dt=0.0), "`dt` must be a finite number > 0, got 0"),
        (lambda: AsymptoticPreserving(dt=-1.0), "`dt` must be a finite number > 0, got -1"),
        (lambda: Odeint("euler"), "must be one of .*dopri5.*got 'euler'"),
        (lambda: TRBDF2(rtol=float("inf")), "`rtol` must be a finite number > 0, got inf"),
        (lambda: TRBDF2(max_steps=0.5), r"`max_steps` must be a whole number >= 1, got 0\.5"),
        (lambda: TRBDF2(max_steps=True), "`max_steps` must be a whole number >= 1, got True"),
        (lambda: Euler(dt=torch.tensor(0.1, requires_grad=True)), "`dt` must be a finite number"),
        (lambda: Odeint(rtol=0.0), "`rtol` must be a finite number > 0"),
    ],
)
def test_wrong_settings_of_a_stepper_say_what_is_wanted(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("given", "plain"),
    [
        (lambda: KenCarp4(rtol=np.float32(0.5)), KenCarp4(rtol=0.5)),
        (lambda: KenCarp4(rtol=torch.tensor(0.5), atol=np.int64(1)), KenCarp4(rtol=0.5, atol=1)),
        (lambda: KenCarp4(max_steps=1e5), KenCarp4(max_steps=100_000)),
        (lambda: ETDRK4(dt=np.float64(0.5), max_steps=np.int64(100)), ETDRK4(0.5, max_steps=100)),
        (lambda: Odeint(rtol=np.float32(0.5), max_steps=1e5), Odeint(rtol=0.5, max_steps=100_000)),
        (lambda: Euler(dt=times(0, 0.5).diff()), Euler(dt=0.5)),
        (lambda: AsymptoticPreserving(dt=torch.tensor(0.5)), AsymptoticPreserving(dt=0.5)),
    ],
)
def test_numbers_of_numpy_and_tensors_of_one_serve_a_stepper_as_pythons_do(given, plain):
    assert given() == plain
    assert repr(given()) == repr(plain)


@pytest.mark.parametrize("made", [TRBDF2, AsymptoticPreserving])
def test_an_infinite_step_goes_from_one_saved_time_to_the_next_and_steps_may_be_unlimited(made):
    c0 = torch.ones(2, 32, dtype=f64)
    cell = blocking_cell()
    run = pf.simulate(cell, c0, times(0, 0.1, 0.2), stepper=made(dt=inf, max_steps=inf))
    assert run.outcome is pf.Outcome.REACHED_END
    assert run.work.steps.item() == 2
    plain = pf.simulate(cell, c0, times(0, 0.1, 0.2), stepper=made(dt=1.0))
    assert torch.equal(run.states, plain.states)


def test_too_tight_a_tolerance_for_single_precision_is_an_error():
    with pytest.raises(ValueError, match=r"`rtol` must be >= .* for torch.float32, got 1e-08"):
        pf.simulate(blocking_cell(), torch.ones(2, 32), times(0, 1), rtol=1e-8)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"species": []}, "`species` must be one or more Species"),
        ({"species": [pf.Species("a", 1), pf.Species("a", -1)]}, "different names"),
        ({"species": [pf.Species("a", 1, -1.0)]}, "`diffusivity` must be > 0, got -1"),
        ({"species": [pf.Species("a", float("inf"))]}, "valence of 'a'` must be finite"),
        ({"permittivity": -1.0}, "`permittivity` must be > 0, got -1"),
        ({"permittivity": 0.0}, "`permittivity` must be > 0, got 0"),
        ({"scheme": "upwind"}, "must be one of .*'central'.*got 'upwind'"),
        ({"walls": {"y-": pf.Wall()}}, "names 'y-', but the walls of this grid are 'x-', 'x"),
        (
            {"walls": {"x-": pf.Wall(potential=0.0, flux={"b": 1.0})}},
            r"has unknown species \['b'\]; known are",
        ),
        (
            {"walls": {"x-": pf.Wall(flux=dict.fromkeys("hgfedcb", 1.0))}},
            r"has unknown species \['b', 'c', 'd', 'e', 'f', 'g', 'h'\]; known are",
        ),
        ({"walls": {"x-": pf.Wall(concentration={"a": 1.0})}}, "needs a `potential` at one wall"),
        ({"walls": {"x-": pf.Wall(potential=0.0, concentration={"a": -1.0})}}, "must be >= 0"),
        (
            {"walls": {"x-": pf.Wall(mask=torch.ones(1, dtype=torch.bool))}},
            "needs a grid of 2 or 3 axes",
        ),
        ({"grid": 64}, "`grid` must be a Grid, got int"),
        ({"steric": 0.0}, "`steric` must be > 0"),
        (
            {"reactions": [pf.Reaction(["a"], ["a", "a"], 1.0)]},
            "a <=> a \\+ a makes a charge of 1; its two sides must carry the same",
        ),
        (
            {"reactions": [pf.Reaction(["salt"], ["cation", "anion"], 1.0)]},
            "names 'salt', but the species are",
        ),
        ({"reactions": [pf.Reaction(["a"], ["a"], 1.0)]}, "changes nothing"),
        ({"walls": {"x-": [pf.Wall(), pf.Wall()]}}, "2 parts, so each needs a `mask`"),
    ],
)
def test_a_wrong_cell_says_what_is_wanted(settings, message):
    given = {
        "grid": pf.Grid((8,), (1.0,), ("wall",)),
        "species": [pf.Species("a", 1)],
        "permittivity": 1.0,
    } | settings
    grid, species = given.pop("grid"), given.pop("species")
    with pytest.raises(ValueError, match=message):
        pf.PNP(grid, species, **given)


def test_a_charged_floating_box_is_refused_and_says_by_how_much():
    c0 = torch.stack([torch.full((32,), 1.5), torch.ones(32)]).double()
    with pytest.raises(ValueError, match=r"`u0` carries a net charge of 0.5 \(sample 0\)"):
        pf.simulate(ring(), c0, times(0, 1))


def test_parameters_of_another_batch_are_refused():
    cell = blocking_cell(voltage=torch.ones(5, dtype=f64))
    with pytest.raises(ValueError, match=r"have the batch shape \(3,\), got \(5,\)"):
        pf.simulate(cell, torch.ones(3, 2, 32, dtype=f64), times(0, 1))


def test_input_overrides_what_the_cell_says():
    c0 = torch.ones(3, 2, 32, dtype=f64)
    x = {"potential:x-": times(0, -1, 2), "fixed_charge": pf.Field(torch.linspace(-1, 1, 32))}
    run = pf.simulate(blocking_cell(), c0, times(0, 0.1), x=x)
    alone = pf.PNP(
        run.dynamics.grid,
        run.dynamics.species,
        permittivity=run.dynamics.permittivity,
        fixed_charge=pf.Field(torch.linspace(-1, 1, 32)),
        walls={"x-": pf.Wall(potential=2.0), "x+": pf.Wall(potential=1.0)},
    )
    torch.testing.assert_close(
        run.final[2], pf.simulate(alone, c0[2], times(0, 0.1)).final, rtol=1e-9, atol=1e-9
    )


@pytest.mark.parametrize(
    ("x", "message"),
    [
        ({"potential:left": 1.0}, "unknown key 'potential:left'; a PNP cell reads .*potential:x-"),
        (torch.ones(3), "must map names to values"),
        ({"potential:x-": pf.Field(torch.ones(32))}, "must be one number or have the batch shape"),
    ],
)
def test_wrong_input_says_what_is_wanted(x, message):
    with pytest.raises(ValueError, match=message):
        pf.simulate(blocking_cell(), torch.ones(2, 32), times(0, 1), x=x)


def test_a_coarse_grid_is_a_warning_that_names_the_cells_needed():
    with pytest.warns(ResolutionWarning, match=r"which is 160 equal cells \(here 32\)"):
        pf.simulate(blocking_cell(debye=0.05), torch.ones(2, 32).double(), times(0, 1e-3))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (pf.Field(torch.ones(8)), "must be one number or have the batch shape"),
    ],
)
def test_what_a_wall_potential_cannot_be(value, message):
    cell = pf.PNP(
        pf.Grid((8,), (1.0,), ("wall",)),
        [pf.Species("a", 0, torch.ones(1))],
        permittivity=1.0,
        walls={"x-": pf.Wall(potential=value)},
    )
    with pytest.raises(ValueError, match=message):
        pf.simulate(cell, torch.ones(1, 1, 8), times(0, 1))


@pytest.mark.parametrize("stepper", [KenCarp4, "rk4"])
def test_what_is_no_stepper_is_refused(stepper):
    with pytest.raises(ValueError, match="`stepper` must be a stepper such as"):
        pf.simulate(blocking_cell(), torch.ones(2, 32), times(0, 1), stepper=stepper)


def test_a_small_net_charge_is_seen_in_single_precision():
    c = torch.stack([torch.full((32,), 1.02), torch.ones(32)])
    with pytest.raises(ValueError, match="`u0` carries a net charge"):
        pf.simulate(ring(), c, times(0, 1))


def test_tolerances_may_be_whole_numbers():
    span = times(0, 0.01)
    u0 = torch.ones(2, 32, dtype=f64)
    runs = [pf.simulate(blocking_cell(), u0, span, rtol=0.01, atol=atol) for atol in (1, 1.0)]
    assert torch.equal(*(run.final for run in runs))
