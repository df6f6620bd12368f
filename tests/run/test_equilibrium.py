"""Where cells rest: one minimum where nothing flows, Newton's method where something does."""

import math

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

import pnpfusion as pf
from pnpfusion.solvers import BackwardEuler
from pnpfusion.solvers import rest as ways
from tests.marks import quiet
from tests.registry import ALL_SCHEMES, blocking_cell, f64, random, ring, times
from tests.run.cells_at_rest import (
    ALL,
    CONVEX,
    ELECTRODES,
    IONS,
    PARTS,
    SALT,
    THREE,
    box,
    line,
    start,
)


@quiet
@pytest.mark.parametrize("name", ALL)
def test_equilibria_stand_still_and_equal_long_runs(name):
    cell = ALL[name]
    c0 = start(cell)
    rest = pf.equilibrium(cell, c0).require_success()
    assert rest.outcome is pf.Outcome.CONVERGED
    assert rest.states.shape == (2, *c0.shape)
    assert torch.equal(rest.states[0], c0)
    assert float(rest.residuals) <= 1e-6
    conserved = cell.conserved(c0)
    if conserved is not None:
        torch.testing.assert_close(cell.conserved(rest.final), conserved, rtol=1e-9, atol=1e-9)
    end = pf.simulate(cell, c0, times(0, 30.0), stepper=BackwardEuler(rtol=1e-2)).final
    end = pf.simulate(cell, end, times(0, 400.0), stepper=BackwardEuler(dt=100.0)).require_success()
    torch.testing.assert_close(end.final, rest.final, rtol=1e-6, atol=1e-6)


@quiet
@pytest.mark.parametrize("name", [n for n in ALL if n != "one cell afloat"])
def test_the_way_that_each_cell_goes(name, monkeypatch):
    calls = []
    for way in ("convex_equilibrium", "steady_state"):
        real = getattr(ways, way)
        monkeypatch.setattr(
            ways, way, lambda *a, _r=real, _w=way, **k: calls.append(_w) or _r(*a, **k)
        )
    pf.equilibrium(ALL[name], start(ALL[name])).require_success()
    assert calls[-1] == ("convex_equilibrium" if name in CONVEX else "steady_state")


@quiet
@pytest.mark.parametrize("name", ALL)
def test_there_is_one_state_of_rest_for_the_same_totals(name):
    cell = ALL[name]
    rests = []
    for seed in range(3):
        c0 = start(cell, seed=seed)
        wanted = cell.mass(start(cell))
        c0 = c0 * (wanted / cell.mass(c0)).reshape(-1, *(1,) * cell.grid.ndim)
        rests.append(pf.equilibrium(cell, c0).require_success().final)
    torch.testing.assert_close(rests[1], rests[0], rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(rests[2], rests[0], rtol=1e-8, atol=1e-8)


@quiet
@settings(max_examples=30, deadline=None)
@given(
    st.integers(0, 10**6),
    st.floats(-100, 100),
    st.floats(-2, 0.5),
    st.integers(1, 20),
    st.sampled_from([None, 0.05, 0.3]),
    st.floats(-6, 0),
)
@example(seed=0, voltage=93.0, debye=-1.0, cells=8, steric=0.3, thin=0.0)  # no room is left: 6e-12
def test_the_convex_way_is_open_from_anywhere(seed, voltage, debye, cells, steric, thin):
    cell = blocking_cell(cells, debye=10**debye, voltage=voltage / 2)
    cell.steric = steric
    c0 = 10 ** (thin * random(2, cells, seed=seed))
    rest = pf.equilibrium(cell, c0).require_success()
    torch.testing.assert_close(cell.mass(rest.final), cell.mass(c0), rtol=1e-8, atol=0)
    phi = cell.potential(rest.final)
    room = torch.ones(cells, dtype=f64) if steric is None else 1 - steric * rest.final.sum(0)
    free, lost = room.log(), 2 * torch.finfo(f64).eps / float(room.min())  # in reading what is left
    for species, z in zip(rest.final, (1, -1), strict=True):
        seen = species > 1e-280
        mu = (species.log() + z * phi - free)[seen]
        assert float(mu.max() - mu.min()) <= 1e-7 * (1 + abs(voltage)) + lost


@quiet
@pytest.mark.parametrize("scheme", ALL_SCHEMES)
@pytest.mark.parametrize("voltage", [10.0, 50.0, 100.0])
def test_a_hundred_thermal_volts(voltage, scheme):
    """All schemes with a closed cell, and with a membrane, whose currents have no convex way."""
    s = torch.linspace(-1, 1, 49, dtype=f64)
    grid = pf.Grid(
        (48,), (2.0,), ("wall",), edges=((torch.tanh(3 * s) / math.tanh(3) + 1).tolist(),)
    )
    cell = pf.PNP(
        grid,
        IONS,
        permittivity=0.02,
        scheme=scheme,
        walls={"x-": pf.Wall(potential=voltage), "x+": pf.Wall(potential=0.0)},
    )
    rest = pf.equilibrium(cell, torch.ones(2, 48, dtype=f64))
    if scheme != "central":
        rest.require_success()
    assert bool(rest.succeeded) == rest.outcome.is_success
    if rest.succeeded:
        torch.testing.assert_close(cell.mass(rest.final), torch.full((2,), 2.0).double())


@quiet
def test_empty_species_stay_empty_and_the_others_rest_as_without():
    three = [*IONS, pf.Species("none", 2)]
    c0 = start(line(ELECTRODES))
    alone = pf.equilibrium(line(ELECTRODES), c0).final
    empty = torch.cat([c0, torch.zeros(1, 12, dtype=f64)])
    for scheme in ("scharfetter-gummel", "harmonic"):
        rest = pf.equilibrium(line(ELECTRODES, species=three, scheme=scheme), empty)
        assert float(rest.require_success().final[2].abs().max()) == 0
        torch.testing.assert_close(rest.final[:2], alone, rtol=1e-9, atol=1e-12)
    central = pf.equilibrium(line(ELECTRODES, species=three, scheme="central"), empty)
    assert float(central.require_success().final[2].abs().max()) < 1e-12


@quiet
def test_no_ions_at_all():
    for cell in (line(ELECTRODES), box(PARTS), line(None), line(ELECTRODES, scheme="central")):
        nothing = torch.zeros(2, *cell.grid.shape, dtype=f64)
        rest = pf.equilibrium(cell, nothing)
        assert rest.require_success().final.abs().max() == 0


@quiet
def test_an_empty_species_that_a_reaction_could_make():
    """Anions without cations or salt: the reaction has nothing to begin with, and so it is said."""
    cell = line(ELECTRODES, species=THREE, reactions=[SALT])
    c0 = torch.zeros(3, 12, dtype=f64)
    c0[1] = 1.0
    rest = pf.equilibrium(cell, c0)
    assert rest.outcome is pf.Outcome.NOT_CONVERGED
    assert not rest.succeeded


@quiet
@pytest.mark.parametrize("name", [n for n in ALL if n != "one cell afloat"])
def test_single_precision(name):
    cell = ALL[name]
    c0 = start(cell)
    rest = pf.equilibrium(cell, c0.float()).require_success()
    assert rest.final.dtype == torch.float32
    double = pf.equilibrium(cell, c0).final
    torch.testing.assert_close(rest.final.double(), double, rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda c: pf.equilibrium("cell", c), ValueError, "`dynamics` must be a Dynamics, got str"),
        (lambda c: pf.equilibrium(line(ELECTRODES), c, solver="newton"), ValueError, "`solver`"),
        (
            lambda c: pf.equilibrium(line(ELECTRODES), c, tol=0.0),
            ValueError,
            "`tol` must be a finite number > 0",
        ),
        (
            lambda c: pf.equilibrium(line(None, fixed_charge=1.0), c),
            ValueError,
            "net charge of 1.* must be neutral",
        ),
        (
            lambda c: pf.equilibrium(ring(12, permittivity=9.0), 2 * c),
            None,
            None,
        ),
        (lambda c: pf.equilibrium(line(ELECTRODES), c[:1]), ValueError, "must be"),
        (lambda c: pf.equilibrium(line(ELECTRODES), c * torch.nan), ValueError, "must be finite"),
        (lambda c: pf.equilibrium(line(ELECTRODES), -c), ValueError, "must be >= 0"),
        (
            lambda c: pf.equilibrium(line({"x-": pf.Wall(potential=lambda t: t)}), c),
            ValueError,
            "change with time has no equilibrium",
        ),
    ],
)
@quiet
def test_what_cannot_be_says_so(call, error, message):
    c0 = torch.ones(2, 12, dtype=f64)
    if error is None:
        call(c0).require_success()
        return
    with pytest.raises(error, match=message):
        call(c0)


@quiet
@pytest.mark.parametrize(
    ("charge", "wanted"), [((0.0, 1.0, -5.0), 5.1738), ((0.3, 0.7, -10.0), 2.3725)]
)
def test_a_charged_membrane_between_reservoirs_rests_from_an_uncharged_start(charge, wanted):
    first, last, density = charge
    grid = pf.Grid((64,), (1.0,), ("wall",))
    x = grid.coordinates(0)
    inside = ((x > first) & (x < last)).double()
    ends = [{"cation": c, "anion": c} for c in (1.0, 0.1)]
    cell = pf.PNP(
        grid,
        [pf.Species("cation", 1), pf.Species("anion", -1)],
        permittivity=0.02,
        walls={
            "x-": pf.Wall(potential=0.0, concentration=ends[0]),
            "x+": pf.Wall(potential=0.0, concentration=ends[1]),
        },
        fixed_charge=pf.Field(density * inside),
    )
    rest = pf.equilibrium(cell, torch.ones(2, 64, dtype=f64)).require_success().final
    late = pf.simulate(cell, torch.ones(2, 64, dtype=f64), times(0, 5.0), rtol=1e-8).final
    torch.testing.assert_close(rest, late, rtol=1e-6, atol=1e-7)
    assert float(cell.current(rest)[0]) == pytest.approx(wanted, abs=1e-3)


@quiet
def test_a_biased_p_n_junction_rests_from_a_flat_start():
    """Minority carriers of 1e-12, six voltages at once: currents do not depend on the section."""
    grid, intrinsic = pf.Grid((128,), (1.0,), ("wall",)), 1e-6
    doping = torch.where(grid.coordinates(0) < 0.5, -1.0, 1.0).double()
    bias = torch.tensor([0.0, 2.0, 5.0, 10.0, -5.0, -20.0], dtype=f64)
    left = {"hole": 1.0, "electron": intrinsic**2}
    right = {"hole": intrinsic**2, "electron": 1.0}
    cell = pf.PNP(
        grid,
        [pf.Species("hole", 1), pf.Species("electron", -1)],
        permittivity=1e-3,
        walls={
            "x-": pf.Wall(potential=0.0, concentration=left),
            "x+": pf.Wall(potential=-2 * math.log(intrinsic) - bias, concentration=right),
        },
        fixed_charge=pf.Field(doping),
    )
    rest = pf.equilibrium(cell, torch.ones(6, 2, 128, dtype=f64)).require_success().final
    current = cell.current(rest)
    assert float(current[3].max() / current[3].min()) == pytest.approx(1, abs=1e-4)
    ratio = float(current[3, 0] / current[2, 0])
    assert ratio == pytest.approx(math.exp(5), rel=0.1)  # Shockley


@quiet
def test_a_charged_membrane_comes_to_rest_from_any_start():
    ions = [pf.Species("cation", 1), pf.Species("anion", -1)]
    volts = torch.tensor([0.0, 2.0], dtype=f64)
    walls = {
        "x-": pf.Wall(potential=volts, concentration={"cation": 1.0, "anion": 1.0}),
        "x+": pf.Wall(potential=0.0, concentration={"cation": 0.1, "anion": 0.1}),
    }
    grid = pf.Grid((200,), (1.0,), ("wall",))
    cell = pf.PNP(grid, ions, permittivity=2e-5, walls=walls, fixed_charge=-2.0)
    flat = torch.ones(2, 2, 200, dtype=f64)
    neutral = torch.tensor([[2.4], [0.4]], dtype=f64).expand(2, 2, 200)
    first, second = (pf.equilibrium(cell, u0).require_success().final for u0 in (flat, neutral))
    torch.testing.assert_close(first, second, rtol=1e-8, atol=1e-10)
    late = pf.simulate(cell, neutral, torch.tensor([0.0, 3.0], dtype=f64), rtol=1e-8).final
    torch.testing.assert_close(first, late, rtol=1e-5, atol=1e-7)
