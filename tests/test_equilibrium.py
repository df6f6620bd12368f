"""Where cells rest: one minimum where nothing flows, Newton's method where something does."""

import math

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

import pnpfusion as pf
from pnpfusion.solvers import BackwardEuler
from pnpfusion.solvers import rest as ways
from tests.registry import (
    ALL_SCHEMES,
    blocking_cell,
    box_of_everything,
    f64,
    masked_walls,
    random,
    ring,
    times,
)

quiet = pytest.mark.filterwarnings("ignore::pnpfusion.dynamics.resolution.ResolutionWarning")
IONS = [pf.Species("cation", 1, 1.3), pf.Species("anion", -1, 0.7)]
SALT = pf.Reaction(["salt"], ["cation", "anion"], forward=3.0, backward=1.0)


def line(walls, *, cells=12, species=IONS, permittivity=0.3, boundary="wall", **more):
    grid = pf.Grid((cells,), (1.0,), (boundary,))
    return pf.PNP(grid, species, permittivity=permittivity, walls=walls, **more)


def box(walls, *, shape=(4, 3), boundaries=("wall", "wall"), species=IONS, **more):
    grid = pf.Grid(shape, tuple(0.1 * n for n in shape), boundaries)
    more = {"permittivity": 0.5, **more}
    return pf.PNP(grid, species, walls=walls, **more)


LOW = torch.tensor([True, False, False])
ELECTRODES = {"x-": pf.Wall(potential=1.5), "x+": pf.Wall(potential=-1.0, stern=0.1)}
RESERVOIR = {"cation": 1.2, "anion": 1.2}
AGREEING = {
    "x-": pf.Wall(potential=0.5, concentration={"cation": 1.0, "anion": 1.0}),
    "x+": pf.Wall(potential=0.0, concentration={"cation": math.exp(0.5), "anion": math.exp(-0.5)}),
}
MEMBRANE = {
    "x-": pf.Wall(potential=1.0, concentration={"cation": 1.0, "anion": 1.0}),
    "x+": pf.Wall(potential=0.0, concentration={"cation": 0.1, "anion": 0.1}),
}
FED = {
    "x-": pf.Wall(potential=0.5, flux={"cation": 0.4}),
    "x+": pf.Wall(potential=0.0, flux={"cation": -0.4}),
}
LEAK = {
    "x-": pf.Wall(potential=0.5, concentration={"cation": 1.0}, flux={"anion": 0.3}),
    "x+": pf.Wall(potential=0.0, concentration={"anion": 1.0}),
}
PARTS = {
    "x-": [pf.Wall(potential=2.0, mask=LOW), pf.Wall(surface_charge=0.3, mask=~LOW)],
    "y+": pf.Wall(potential=0.0, stern=0.1),
}
CHANNEL = {
    "x-": [pf.Wall(potential=1.0, concentration=RESERVOIR, mask=LOW), pf.Wall(mask=~LOW)],
    "x+": [
        pf.Wall(potential=0.0, concentration={"cation": 0.4, "anion": 0.4}, mask=~LOW),
        pf.Wall(mask=LOW),
    ],
}
THREE = [*IONS, pf.Species("salt", 0, 0.6)]
FLOATING = pf.Field(torch.tensor([0.5, -0.7, 0.2, 0.0, 0.3, -0.3] * 2, dtype=f64))

#: Cells without currents at rest: the convex way.
CONVEX = {
    "closed": line(ELECTRODES),
    "charged wall": line({"x-": pf.Wall(surface_charge=0.8), "x+": pf.Wall(potential=0.0)}),
    "agreeing reservoirs": line(AGREEING),
    "one reservoir": line({"x-": pf.Wall(potential=0.5, concentration={"cation": 2.0})}),
    "crowding": line(ELECTRODES, steric=0.2),
    "crowded reservoir": line({"x-": AGREEING["x-"], "x+": pf.Wall(potential=2.0)}, steric=0.2),
    "reactions": line(ELECTRODES, species=THREE, reactions=[SALT]),
    "ring with fixed charge": line(None, boundary="periodic", fixed_charge=FLOATING),
    "insulated box with fixed charge": line(None, fixed_charge=FLOATING),
    "ring with reactions": line(
        None, boundary="periodic", fixed_charge=FLOATING, species=THREE, reactions=[SALT]
    ),
    "insulated and crowded": line(None, fixed_charge=FLOATING, steric=0.2),
    "harmonic": line(ELECTRODES, scheme="harmonic"),
    "two axes, in parts": box(PARTS),
    "two axes, crowded, reacting": box(PARTS, species=THREE, reactions=[SALT], steric=None),
    "torus": box(
        None,
        boundaries=("periodic", "periodic"),
        fixed_charge=pf.Field(random(4, 3) - random(4, 3).mean()),
    ),
    "one cell": line(ELECTRODES, cells=1),
    "one cell afloat": line(None, cells=1),
    "three axes": box(
        {"z-": pf.Wall(potential=1.0)}, shape=(2, 3, 2), boundaries=("wall", "periodic", "wall")
    ),
}
#: Cells with currents, or with faces that do not keep equilibria: Newton's method.
GENERAL = {
    "central": line(ELECTRODES, scheme="central"),
    "central and crowded": line(ELECTRODES, scheme="central", steric=0.2),
    "central ring": line(None, boundary="periodic", fixed_charge=FLOATING, scheme="central"),
    "central with reactions": line(ELECTRODES, species=THREE, reactions=[SALT], scheme="central"),
    "membrane": line(MEMBRANE),
    "membrane, crowded": line(MEMBRANE, steric=0.2),
    "fed": line(FED),
    "leaking both ways": line(LEAK),
    "Stern reservoir": line(
        {
            "x-": pf.Wall(potential=1.0, stern=0.2, concentration=RESERVOIR),
            "x+": pf.Wall(potential=0.0),
        }
    ),
    "mixed reservoir, crowded": line(
        {
            "x-": pf.Wall(potential=1.0, concentration={"cation": 1.2}),
            "x+": pf.Wall(potential=0.0, concentration={"cation": 0.6}),
        },
        steric=0.2,
    ),
    "membrane with reactions": line(MEMBRANE, species=THREE, reactions=[SALT]),
    "crowded reactions": line(ELECTRODES, species=THREE, reactions=[SALT], steric=0.15),
    "irreversible": line(
        MEMBRANE,
        species=THREE,
        reactions=[
            pf.Reaction(["cation", "anion"], ["salt"], forward=2.0),
            pf.Reaction(["salt"], ["cation", "anion"], forward=1.0),
        ],
    ),
    "a cycle against detailed balance": line(
        ELECTRODES,
        species=[*IONS, pf.Species("a", 0), pf.Species("b", 0), pf.Species("c", 0)],
        reactions=[pf.Reaction([p], [q], forward=2.0, backward=1.0) for p, q in ("ab", "bc", "ca")],
    ),
    "two axes, central": box(PARTS, scheme="central"),
    "two axes, channel": box(CHANNEL),
    "everything": box_of_everything((4, 3), ("wall", "periodic")),
}
ALL = {**CONVEX, **GENERAL}


def start(cell, *batch, seed=0):
    """Neutral concentrations of mean about one, as uneven as a factor of two."""
    c0 = 0.6 + random(*batch, len(cell.species), *cell.grid.shape, seed=seed)
    space = tuple(range(-cell.grid.ndim, 0))
    mean = cell.charge(c0).mean(space, keepdim=True)
    c0 = c0.clone()
    c0.select(-cell.state_ndim, 1).add_(mean)
    return c0


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
    """Anions without cations or salt: the reaction has nothing to begin with."""
    cell = line(ELECTRODES, species=THREE, reactions=[SALT])
    c0 = torch.zeros(3, 12, dtype=f64)
    c0[1] = 1.0
    rest = pf.equilibrium(cell, c0)
    if rest.succeeded:
        assert float(rest.final[[0, 2]].max()) < 1e-12
        assert float(cell.mass(rest.final)[1]) == pytest.approx(1.0, rel=1e-9)
    else:
        assert not rest.outcome.is_success


# ---- batches


@quiet
def test_a_sample_does_not_depend_on_its_mates_though_their_iterations_differ():
    voltages, counts = torch.tensor([0.01, 3.0, 40.0], dtype=f64), set()
    for make in (
        lambda u: line({"x-": pf.Wall(potential=u), "x+": pf.Wall(potential=0.0)}),
        lambda u: line({"x-": pf.Wall(potential=u), "x+": pf.Wall(potential=0.0)}, steric=0.1),
        lambda u: line(
            {
                "x-": pf.Wall(potential=u / 4, concentration=RESERVOIR),
                "x+": pf.Wall(potential=0.0, concentration={"cation": 0.3, "anion": 0.3}),
            }
        ),
        lambda u: masked_walls(voltage=u),
        lambda u: box({"x-": pf.Wall(potential=u / 10)}, scheme="central"),
    ):
        c0 = start(make(1.0), 3)
        together = pf.equilibrium(make(voltages), c0).require_success()
        counts.add(len(set(together.work.iterations.tolist())))
        for i in range(3):
            alone = pf.equilibrium(make(voltages[i]), c0[i]).require_success()
            torch.testing.assert_close(together.final[i], alone.final, rtol=1e-9, atol=1e-12)
    assert max(counts) > 1


@quiet
def test_success_is_told_for_each_sample():
    """No steady state above the limiting flux 2 D c / L of cations."""
    flux = torch.tensor([0.5, 1.0, 50.0], dtype=f64)
    walls = {
        "x-": pf.Wall(potential=0.0, flux={"cation": flux}),
        "x+": pf.Wall(potential=0.0, flux={"cation": -flux}),
    }
    run = pf.equilibrium(line(walls, permittivity=0.01), torch.ones(3, 2, 12, dtype=f64))
    assert run.succeeded.tolist()[:2] == [True, True]
    assert not bool(run.succeeded[2]) or float(run.final[2].min()) > 0
    if not run.succeeded.all():
        assert run.outcome in (pf.Outcome.NOT_CONVERGED, pf.Outcome.NOT_FINITE)
        with pytest.raises(pf.SolveError, match="1 of 3 samples"):
            run.require_success()
    assert bool(run.final[:2].isfinite().all())


@quiet
def test_what_is_fed_without_balance_never_rests():
    inflow = torch.tensor([0.4, 0.5], dtype=f64)
    walls = {
        "x-": pf.Wall(potential=0.5, flux={"cation": inflow}),
        "x+": pf.Wall(potential=0.0, flux={"cation": -0.4}),
    }
    run = pf.equilibrium(line(walls), start(line(walls), 2))
    assert run.succeeded.tolist() == [True, False]
    assert run.outcome is pf.Outcome.NOT_CONVERGED


@quiet
@pytest.mark.parametrize("flux", [0.25, 0.5, 0.9])
def test_an_applied_current_below_the_limiting_one(flux):
    """L the half width: at fraction j of 2 D c / L the middle of a cell has c = 1 - j x."""
    s = torch.linspace(-1, 1, 129, dtype=f64)
    edges = ((torch.tanh(2.5 * s) / math.tanh(2.5) + 1).tolist(),)
    grid = pf.Grid((128,), (2.0,), ("wall",), edges=edges)
    potential = 2 * math.atanh(flux)
    cell = pf.PNP(
        grid,
        [pf.Species("cation", 1), pf.Species("anion", -1)],
        permittivity=2e-6,
        walls={
            "x-": pf.Wall(potential=potential, flux={"cation": 2 * flux}),
            "x+": pf.Wall(potential=0.0, flux={"cation": -2 * flux}),
        },
    )
    rest = pf.equilibrium(cell, torch.ones(2, 128, dtype=f64)).require_success().final
    inside = slice(32, 96)
    wanted = 1 - flux * (grid.coordinates(0) - 1)
    torch.testing.assert_close(rest[0][inside], wanted[inside], rtol=2e-3, atol=2e-3)
    drop = cell.potential(rest)[[32, 95]]
    expected = math.log(float(wanted[32] / wanted[95]))
    assert float(drop[0] - drop[1]) == pytest.approx(expected, rel=1e-3)


@quiet
def test_several_batch_axes_and_an_empty_batch():
    voltage = torch.linspace(0, 2, 6, dtype=f64).reshape(2, 3)
    cell = line({"x-": pf.Wall(potential=voltage), "x+": pf.Wall(potential=0.0)})
    run = pf.equilibrium(cell, torch.ones(2, 3, 2, 12, dtype=f64)).require_success()
    assert run.final.shape == (2, 3, 2, 12)
    assert run.succeeded.shape == run.work.iterations.shape == (2, 3)
    for cell in (line(ELECTRODES), line(MEMBRANE)):
        none = pf.equilibrium(cell, torch.ones(0, 2, 12, dtype=f64))
        assert none.states.shape == (2, 0, 2, 12)


# ---- gradients


def parts_of_a_cell(way):
    """A run to rest as a function of every parameter, and values for them, in two axes."""
    shape, low = (3, 2), torch.tensor([True, False])
    values = {
        "c0": 0.6 + random(3, *shape),
        "d": 0.5 + random(*shape, seed=1),
        "z": torch.tensor(1.0, dtype=f64),
        "epsilon": 0.5 + random(*shape, seed=2),
        "charge": 0.2 * random(*shape, seed=3),
        "u": random(2, seed=4),
        "stern": torch.tensor(0.2, dtype=f64),
        "sigma": torch.tensor(0.3, dtype=f64),
        "k": torch.tensor([2.0, 1.5], dtype=f64),
    }
    if way == "convex":
        values["reservoir"] = torch.tensor(0.8, dtype=f64)
    else:
        values |= {
            "steric": torch.tensor(0.1, dtype=f64),
            "reservoir": random(2, seed=5) + 0.5,
            "inflow": torch.tensor(0.1, dtype=f64),
        }

    def rest(c0, d, z, epsilon, charge, u, stern, sigma, k, *more):
        walls = {
            "x-": [
                pf.Wall(potential=pf.Field(u), stern=stern, mask=low),
                pf.Wall(surface_charge=sigma, mask=~low),
            ],
            "y+": pf.Wall(potential=0.3),
        }
        species = [pf.Species("cation", z, pf.Field(d)), pf.Species("anion", -z)]
        reactions = []
        if way == "convex":
            (held,) = more
            c0 = c0[:2]
            species.append(pf.Species("neutral", 0))
            walls["x+"] = pf.Wall(concentration={"neutral": held}, potential=0.0)
            c0 = torch.cat([c0, 0.5 * c0[:1] * k.sum()])
            extra = {}
        else:
            steric, held, inflow = more
            species.append(pf.Species("salt", 0))
            reactions = [pf.Reaction(["salt"], ["cation", "anion"], k[0], k[1])]
            walls["x+"] = pf.Wall(
                concentration={"cation": pf.Field(held)}, flux={"salt": inflow}, potential=0.0
            )
            walls["y-"] = pf.Wall(concentration={"salt": 0.3})
            extra = {"steric": steric}
        cell = pf.PNP(
            pf.Grid(shape, (0.5, 0.4), ("wall", "wall")),
            species,
            permittivity=pf.Field(epsilon),
            fixed_charge=pf.Field(charge),
            walls=walls,
            reactions=reactions,
            **extra,
        )
        return pf.equilibrium(cell, c0, tol=1e-12).require_success().final

    return rest, [value.requires_grad_() for value in values.values()]


@quiet
@pytest.mark.parametrize("way", ["convex", "general"])
def test_gradients_of_both_ways_in_every_parameter(way):
    rest, inputs = parts_of_a_cell(way)
    assert torch.autograd.gradcheck(rest, inputs, rtol=1e-4, atol=1e-7, eps=1e-5)


@quiet
@pytest.mark.parametrize("name", [n for n in ALL if n != "one cell afloat"])
def test_gradients_in_the_start_and_in_what_drives(name):
    """In the masses through the start, along random neutral directions, and in the charge."""
    cell = ALL[name]
    held = cell.fixed_charge
    fixed = (
        held.values if isinstance(held, pf.Field) else torch.full(cell.grid.shape, held).double()
    )
    c0 = start(cell)
    move, push = random(*c0.shape, seed=8) - 0.5, random(*cell.grid.shape, seed=9) - 0.5
    weights = random(*c0.shape, seed=10) - 0.5
    if cell.bind(c0).cell.dielectric.floating:  # stay among neutral states
        push = push - push.mean()
        z = torch.tensor([float(one.valence) for one in cell.species], dtype=f64)
        move[0] -= torch.einsum("s,s...->...", z, move).mean() / z[0]

    def loss(step, other):
        x = {"fixed_charge": pf.Field(fixed + other * push)}
        return (weights * pf.equilibrium(cell, c0 + step * move, x=x, tol=1e-12).final).sum()

    zero = torch.zeros((), dtype=f64)
    assert torch.autograd.gradcheck(
        loss,
        (zero.clone().requires_grad_(), zero.clone().requires_grad_()),
        rtol=1e-5,
        atol=1e-7,
        eps=1e-4,
    )


@quiet
def test_the_gradient_is_that_of_a_long_run():
    u = torch.tensor(1.5, dtype=f64)

    def cell(u):
        return line({"x-": pf.Wall(potential=u), "x+": pf.Wall(potential=-1.0)})

    c0 = start(cell(1.0))
    at = u.clone().requires_grad_()
    (found,) = torch.autograd.grad(pf.equilibrium(cell(at), c0).final.square().sum(), at)

    def late(u):
        run = pf.simulate(cell(u), c0, times(0, 20.0), rtol=1e-7)
        return pf.simulate(cell(u), run.final, times(0, 1e4), stepper=BackwardEuler(dt=1e3)).final

    wanted = (late(u + 1e-4).square().sum() - late(u - 1e-4).square().sum()) / 2e-4
    assert float(found) == pytest.approx(float(wanted), rel=1e-6)


@quiet
@pytest.mark.parametrize("name", ["closed", "reactions", "membrane", "central"])
def test_the_gradient_takes_one_transposed_solve(name, monkeypatch):
    from pnpfusion.solvers import convex_equilibrium, elliptic, stencil

    monkeypatch.setattr(convex_equilibrium, "knows_rest", lambda *_: False)  # the torch way
    calls = []
    for owner, key in ((elliptic, "_solve_line"), (stencil.Stencil, "_solve")):
        real = getattr(owner, key)
        monkeypatch.setattr(
            owner, key, lambda *a, _r=real, _k=key, **k: calls.append(_k) or _r(*a, **k)
        )
    cell, c0 = ALL[name], start(ALL[name])
    u = torch.tensor(0.7, dtype=f64, requires_grad=True)
    rest = pf.equilibrium(cell, c0, x={"potential:x-": u})
    forward = len(calls)
    assert forward > 1
    rest.final.square().sum().backward()
    assert len(calls) == forward + 1


@quiet
@pytest.mark.parametrize("name", ["closed", "membrane"])
def test_a_second_derivative_is_an_error_not_a_wrong_number(name):
    u = torch.tensor(0.7, dtype=f64, requires_grad=True)
    final = pf.equilibrium(ALL[name], start(ALL[name]), x={"potential:x-": u}).final
    weights = torch.linspace(0, 1, final.numel(), dtype=f64).reshape(final.shape)
    (gradient,) = torch.autograd.grad((weights * final**3).sum(), u, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.square().backward()


# ---- what is accepted and said


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
            "`tol` must be a number > 0",
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
