"""What goes wrong ends in an answer, a warning or a sentence: not in NaN unsaid, nor a loop."""

from dataclasses import replace

import pytest
import torch

import pnpfusion as pf
from pnpfusion.dynamics.resolution import ResolutionWarning
from pnpfusion.solvers import TRBDF2, AsymptoticPreserving, BackwardEuler, Euler, KenCarp4, Odeint
from pnpfusion.solvers.backend import using
from tests.marks import quiet
from tests.registry import f64, masked_walls, random, times

IONS = [pf.Species("cation", 1), pf.Species("anion", -1)]
GRID = pf.Grid((4, 3), (0.4, 0.3), ("wall", "wall"))
LOW = torch.tensor([True, False, False])
STEPPERS = [
    KenCarp4(),
    TRBDF2(max_steps=2000),
    BackwardEuler(dt=0.02),
    AsymptoticPreserving(dt=0.02),
]


def box(walls=None, *, grid=GRID, species=IONS, permittivity=0.5, **more):
    return pf.PNP(grid, species, permittivity=permittivity, walls=walls, **more)


def honest(run):
    """Whether NaN stands only where the run says that it failed."""
    finite = run.final.isfinite().flatten(run.succeeded.ndim).all(-1)
    assert bool((finite | ~run.succeeded).all())
    assert run.outcome.is_success == bool(run.succeeded.all())
    return bool(run.succeeded.all())


ONES = torch.ones(4, 3, dtype=torch.bool)


@pytest.mark.parametrize(
    "verb", [pf.equilibrium, lambda cell, u: pf.simulate(cell, u, times(0.0, 0.01))]
)
def test_a_warning_names_the_line_of_the_user(verb):
    cell = box({"x-": pf.Wall(potential=1.0)}, permittivity=1e-3)
    with pytest.warns(ResolutionWarning) as heard:
        verb(cell, torch.ones(2, *GRID.shape, dtype=f64))
    assert heard[0].filename == __file__


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: pf.Species("ion", "+1"), "`valence` of 'ion' must be a number .*, got '\\+1'"),
        (lambda: pf.Species(1, 1), "`name` of a Species must be a word, got 1"),
        (lambda: pf.Wall(mask=torch.ones(3)), "`mask` must be a bool tensor"),
        (lambda: pf.Wall(mask=[True, False, False]), "`mask` must be a bool tensor"),
        (
            lambda: box({"x-": pf.Wall(potential=1.0, mask=torch.ones(4, dtype=torch.bool))}),
            r"`walls\['x-'\].mask` must have the wall's shape \(3,\), got \(4,\)",
        ),
        (lambda: box({"x-": pf.Wall(mask=ONES)}), r"the wall's shape \(3,\), got \(4, 3\)"),
        (
            lambda: box({"x-": [pf.Wall(potential=1.0), pf.Wall(mask=LOW)]}),
            "has 2 parts, so each needs a `mask`",
        ),
        (
            lambda: box({"x-": [pf.Wall(potential=1.0, mask=LOW), pf.Wall(mask=LOW)]}),
            "masks of .* overlap",
        ),
        (
            lambda: box({"z-": pf.Wall(potential=1.0)}),
            "the walls of this grid are 'x-', 'x.', 'y-'",
        ),
        (lambda: box({"x-": "electrode"}), "must be a Wall, got str"),
        (
            lambda: box(
                {"x-": pf.Wall(potential=1.0, mask=torch.ones(1, dtype=torch.bool))},
                grid=pf.Grid((4,), (1.0,), ("wall",)),
            ),
            "mask` needs a grid of 2 or 3 axes",
        ),
        (
            lambda: box({"x-": pf.Wall(potential=1.0, concentration={"ion": 1.0})}),
            "unknown species .'ion'.",
        ),
        (lambda: box({"x-": pf.Wall(concentration={"cation": 1.0})}), "needs a `potential` at one"),
        (lambda: box({"x-": pf.Wall(flux={"cation": 1.0})}), "needs a `potential` at one wall"),
        (lambda: box(permittivity=0.0), "`permittivity` must be > 0"),
        (lambda: box(permittivity=float("nan")), "`permittivity` must be finite"),
        (lambda: box(species=[pf.Species("ion", 1, -1.0)]), "`diffusivity` must be > 0"),
        (lambda: box(species=[]), "`species` must be one or more"),
        (
            lambda: box({"x-": pf.Wall(potential=0.0, concentration={"cation": -1.0})}),
            "`concentration` must be >= 0",
        ),
    ],
)
def test_wrong_cells_say_what_is_wanted(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("verb", ["simulate", "equilibrium"])
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: box({"x-": pf.Wall(potential=pf.Field(torch.ones(4).double()))}),
            r"is a Field and must end in the shape \(3,\).* or the wall's",
        ),
        (lambda: box(permittivity=pf.Field(torch.ones(3, 4).double())), r"must end in .*\(4, 3\)"),
        (lambda: box(permittivity=torch.ones(4, 3).double()), "must be wrapped in pnpfusion.Field"),
        (lambda: box(fixed_charge=pf.Field(torch.ones(3).double())), "`fixed_charge` is a Field"),
        (
            lambda: box({"x-": pf.Wall(potential=torch.tensor(float("nan")))}),
            r"`walls\['x-'\].potential` must be finite",
        ),
        (
            lambda: box({"x-": pf.Wall(potential=0.0, stern=pf.Field(-torch.ones(3)))}),
            "`stern` must be >= 0",
        ),
        (
            lambda: box({"x-": pf.Wall(surface_charge=0.5)}),
            r"net charge of 0.15 .* must be neutral",
        ),
        (
            lambda: box(
                grid=pf.Grid((4, 3), (0.4, 0.3), ("periodic", "periodic")), fixed_charge=1.0
            ),
            "net charge of 0.12",
        ),
    ],
)
def test_what_a_run_finds_wrong_says_so(make, message, verb):
    c0 = torch.ones(2, 4, 3, dtype=f64)
    with pytest.raises(ValueError, match=message):
        pf.simulate(make(), c0, times(0, 0.1)) if verb == "simulate" else pf.equilibrium(make(), c0)


def test_a_grid_that_is_too_coarse_warns():
    for walls in ({"x-": pf.Wall(potential=1.0)}, None):
        cell = box(walls, permittivity=1e-4)
        with pytest.warns(ResolutionWarning, match="coarse for the Debye length 0.00707"):
            pf.equilibrium(cell, torch.ones(2, 4, 3, dtype=f64))


@quiet
@pytest.mark.slow
@pytest.mark.parametrize("voltage", [30.0, 300.0, 3000.0])
@pytest.mark.parametrize("steric", [None, 0.1])
@pytest.mark.parametrize("stepper", STEPPERS, ids=lambda s: type(s).__name__)
def test_overdriven_runs_end_and_are_honest(stepper, voltage, steric):
    cell = box(
        {
            "x-": [pf.Wall(potential=voltage, mask=LOW), pf.Wall(mask=~LOW)],
            "x+": pf.Wall(potential=0.0, concentration={"cation": 1.0, "anion": 1.0}),
        },
        permittivity=0.01,
        steric=steric,
    )
    if not isinstance(stepper, AsymptoticPreserving):
        stepper = replace(stepper, max_steps=60)  # an honest end is enough
    run = pf.simulate(cell, torch.ones(2, 4, 3, dtype=f64), times(0, 0.05), stepper=stepper)
    if honest(run) and voltage < 100:
        assert float(run.final.min()) > 0


@quiet
@pytest.mark.parametrize("scheme", ["scharfetter-gummel", "harmonic", "central"])
@pytest.mark.parametrize("voltage", [30.0, 1000.0, 1e5])
def test_overdriven_equilibria_end_and_are_honest(voltage, scheme):
    for reservoir in (None, {"cation": 1.0, "anion": 0.3}):
        walls = {
            "x-": pf.Wall(potential=voltage, concentration={"cation": 0.2} if reservoir else None),
            "x+": pf.Wall(potential=0.0, concentration=reservoir),
        }
        rest = pf.equilibrium(box(walls, scheme=scheme), torch.ones(2, 4, 3, dtype=f64))
        honest(rest)
        if voltage == 30.0 and scheme != "central":
            rest.require_success()


@quiet
@pytest.mark.filterwarnings("ignore::pnpfusion.dynamics.resolution.StabilityWarning")
def test_explicit_steps_that_blow_up_say_so():
    c0 = 0.5 + random(2, 4, 3)
    run = pf.simulate(
        box(),
        c0 + (c0[:1] - c0[1:]).mean() * torch.tensor([-0.5, 0.5]).double()[:, None, None],
        torch.linspace(0, 50, 4).double(),
        stepper=Euler(dt=0.1),
    )
    assert not honest(run)
    assert run.outcome is pf.Outcome.NOT_FINITE


@quiet
@pytest.mark.parametrize("stepper", [*STEPPERS, Odeint()], ids=lambda s: type(s).__name__)
@pytest.mark.parametrize("steric", [None, 0.2])
def test_no_ions_at_all_stay_none(stepper, steric):
    cell = box({"x-": pf.Wall(potential=1.0)}, steric=steric)
    run = pf.simulate(cell, torch.zeros(2, 4, 3, dtype=f64), times(0, 0.1), stepper=stepper)
    assert honest(run)
    assert float(run.final.abs().max()) == 0
    torch.testing.assert_close(cell.potential(run.final), torch.ones(4, 3, dtype=f64))


@quiet
@pytest.mark.parametrize("stepper", [*STEPPERS, Odeint()], ids=lambda s: type(s).__name__)
@pytest.mark.parametrize("z", [0, 1, -2])
def test_one_species_alone(stepper, z):
    cell = box({"x-": pf.Wall(potential=1.0)}, species=[pf.Species("ion", z)])
    c0 = 0.5 + random(1, 4, 3)
    run = pf.simulate(cell, c0, times(0, 0.05), stepper=stepper)
    assert honest(run)
    torch.testing.assert_close(cell.mass(run.final), cell.mass(c0), rtol=1e-11, atol=0)
    rest = pf.equilibrium(cell, c0).require_success().final
    mu = rest[0].log() + z * cell.potential(rest)
    assert float(mu.max() - mu.min()) < 1e-9


VERBS = {
    "simulate": lambda cell, c0: pf.simulate(cell, c0, times(0, 0.1)),
    "equilibrium": pf.equilibrium,
    "unroll": lambda cell, c0: pf.unroll(cell, c0, 2),
}


@quiet
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -1.0])
@pytest.mark.parametrize("verb", VERBS)
def test_bad_states_are_refused(verb, bad):
    c0 = torch.ones(2, 2, 6, 5, dtype=f64)
    c0[1, 0, 2, 2] = bad
    with pytest.raises(ValueError, match=r"must be finite|must be >= 0"):
        VERBS[verb](masked_walls(), c0)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda cell, c: cell.flux(c, axis=2), "`axis` must be 0 to 1, got 2"),
        (lambda cell, c: cell.field(c, axis=-1), "`axis` must be 0 to 1, got -1"),
        (lambda cell, c: cell.current(c[:, :5]), "must end in the grid's shape"),
        (lambda cell, c: cell.electrode_charge(c, "z-"), "`side` must be one of"),
        (lambda cell, c: cell.potential(c[:1]), "must be"),
        (lambda cell, c: cell.potential(c, x={"potential:z-": 1.0}), "unknown key 'potential:z-'"),
        (lambda cell, c: cell.potential(c, x={"potential:y-": torch.ones(2, 2)}), "batch shape"),
    ],
)
def test_wrong_questions_say_what_is_wanted(function, message):
    with pytest.raises(ValueError, match=message):
        function(masked_walls(), torch.ones(2, 6, 5, dtype=f64))


@quiet
def test_a_sample_that_fails_spares_its_mates_in_two_axes():
    voltage = torch.tensor([0.5, 1e6], dtype=f64)
    c0 = torch.ones(2, 2, 6, 5, dtype=f64)
    stepper = TRBDF2(max_steps=40)
    run = pf.simulate(masked_walls(voltage=voltage), c0, times(0, 0.1), stepper=stepper)
    assert honest(run) is bool(run.succeeded.all())
    assert bool(run.succeeded[0])
    alone = pf.simulate(masked_walls(voltage=0.5), c0[0], times(0, 0.1), stepper=stepper)
    torch.testing.assert_close(run.final[0], alone.final, rtol=1e-9, atol=1e-10)


@quiet
def test_an_error_that_is_no_number_shortens_the_step(monkeypatch):
    def lost(self, error, before, after):
        return torch.full((len(after),), torch.nan, dtype=after.dtype)

    monkeypatch.setattr("pnpfusion.solvers.steppers.control.Tolerance.ratio", lost)
    with using("torch"):
        run = pf.simulate(box(), torch.ones(2, 4, 3, dtype=f64), times(0, 0.1), stepper=KenCarp4())
    assert run.outcome is pf.Outcome.STEP_TOO_SMALL
    assert int(run.work.steps) == 0
    assert int(run.work.rejected) < 200
