"""Mass action: what it conserves, keeps positive and comes to rest at."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import pnpfusion as pf
from pnpfusion.solvers import TRBDF2, AsymptoticPreserving, BackwardEuler, KenCarp4
from pnpfusion.solvers.reactions import MassAction, null_rows
from tests.registry import f64, random, times

SALT = (["salt"], ["cation", "anion"])
IONS = [pf.Species("cation", 1), pf.Species("anion", -1, 1.5), pf.Species("salt", 0, 0.7)]


def cell_of(*reactions, species=IONS, cells=8, voltage=1.0, **more):
    return pf.PNP(
        pf.Grid((cells,), (1.0,), ("wall",)),
        species,
        permittivity=1.0,
        walls={"x-": pf.Wall(potential=voltage), "x+": pf.Wall(potential=0.0)},
        reactions=reactions,
        **more,
    )


def mass_action(forward=2.0, backward=0.5, names=("cation", "anion", "salt"), sides=SALT, **more):
    reaction = pf.Reaction(*sides, forward=forward, backward=backward)
    like = torch.zeros((), dtype=more.pop("dtype", f64))
    return MassAction.build([reaction], names, (4,), more.pop("batch", ()), like)


# ---- what is refused


@pytest.mark.parametrize(
    ("reaction", "message"),
    [
        (lambda: pf.Reaction(["salt"], ["cation"], forward=1.0), "makes a charge of 1; its two"),
        (lambda: pf.Reaction(["cation"], ["anion"], forward=1.0), "makes a charge of -2"),
        (lambda: pf.Reaction(["salt"], ["ion"], forward=1.0), "names 'ion', but the species are"),
        (lambda: pf.Reaction(["salt"], ["salt"], forward=1.0), "changes nothing"),
        (lambda: pf.Reaction("salt", ["cation"], forward=1.0), "must be a list of species names"),
        (lambda: pf.Reaction([], ["cation"], forward=1.0), "must be a list of species names"),
        (lambda: pf.Reaction(*SALT, forward=-1.0), r"`forward` of salt <=> .* must be >= 0"),
        (lambda: pf.Reaction(*SALT, forward=1.0, backward=float("nan")), "must be >= 0"),
        (lambda: "salt -> ions", "must hold Reaction objects, got str"),
    ],
)
def test_wrong_reactions_say_what_is_wanted(reaction, message):
    with pytest.raises(ValueError, match=message):
        cell_of(reaction())


def test_a_negative_constant_in_a_tensor_is_found_when_a_run_starts():
    cell = cell_of(pf.Reaction(*SALT, forward=torch.tensor([1.0, -1.0], dtype=f64)))
    with pytest.raises(ValueError, match="must be >= 0, got -1"):
        pf.simulate(cell, torch.ones(2, 3, 8, dtype=f64), times(0, 0.1))


# ---- the splitting step


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 10**6),
    st.floats(-8, 8),
    st.floats(-8, 8),
    st.sampled_from([0.0, 1e-300, 1e-12, 1.0]),
    st.sampled_from(
        [SALT, (["cation", "anion"], ["salt"]), (["salt", "salt"], ["cation", "anion", "salt"])]
    ),
)
def test_the_step_is_positive_and_conserves_at_any_size(seed, k, dt, scarce, sides):
    action = mass_action(10**k, 10 ** (k / 2), sides=sides)
    c = 10 ** (6 * random(5, 3, 4, seed=seed) - 4)
    c = torch.where(random(5, 3, 4, seed=seed + 1) < 0.3, scarce, c)
    new = action.step(c, torch.full((5,), 10**dt, dtype=f64))
    assert bool((new >= 0).all())
    assert bool((new[c > 0] > 0).all())
    for row in null_rows(action.stoichiometry):
        before, after = (torch.einsum("s,bsn->bn", row, one) for one in (c, new))
        size = torch.einsum("s,bsn->bn", row.abs(), c)
        assert bool(((after - before).abs() <= 1e-14 * size + 1e-300).all())


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.floats(-3, 3), st.floats(-4, 4))
def test_the_step_solves_its_equation(seed, k, dt):
    action, c = mass_action(10**k, 3.0), 0.1 + random(3, 3, 4, seed=seed)
    h = torch.full((3,), 10**dt, dtype=f64)
    new = action.step(c, h)
    turned = (new - c)[:, 0]
    wanted = h[:, None] * action.rates(new)[0]
    moved = h[:, None] * (10**k * new[:, 2] + 3.0 * new[:, 0] * new[:, 1])
    assert bool(((turned - wanted).abs() <= 1e-12 * (1 + moved)).all())


def test_a_large_step_reaches_the_law_of_mass_action():
    action, c = mass_action(2.0, 0.5), 0.1 + random(3, 3, 4)
    new = action.step(c, torch.full((3,), 1e12, dtype=f64))
    torch.testing.assert_close(new[:, 0] * new[:, 1] / new[:, 2], torch.full((3, 4), 4.0).double())


def test_the_step_has_its_finite_differences():
    def step(c, forward, backward, dt):
        return mass_action(forward, backward, batch=(2,)).step(c, dt)

    inputs = [
        0.3 + random(2, 3, 4),
        torch.tensor([2.0, 30.0], dtype=f64),
        torch.tensor([0.7, 0.0], dtype=f64) + 0.1,
        torch.tensor([0.2, 5.0], dtype=f64),
    ]
    assert torch.autograd.gradcheck(
        step, [one.requires_grad_() for one in inputs], check_forward_ad=True
    )


@pytest.mark.parametrize("grad", [False, True])
def test_the_step_is_the_same_with_and_without_gradients(grad):
    """Also where a reaction feeds itself, whose rate rises with its extent."""
    species, ones = ("a", "b"), torch.tensor([0.3], dtype=f64)
    action = mass_action(2.0, 0.0, names=species, sides=(["a", "b"], ["a", "b", "b"]))
    c = torch.ones(1, 2, 4, dtype=f64)
    with torch.no_grad():
        plain = action.step(c, ones)
    found = action.step(c.requires_grad_(grad), ones)
    assert torch.equal(found.detach(), plain)
    torch.testing.assert_close(plain[:, 0], torch.ones(1, 4, dtype=f64))
    assert bool((plain[:, 1] > 1).all())


# ---- runs


@pytest.mark.parametrize(
    "stepper",
    [None, TRBDF2(), BackwardEuler(dt=0.05), AsymptoticPreserving(dt=0.05)],
    ids=str,
)
def test_what_reactions_conserve_is_conserved(stepper):
    cell = cell_of(pf.Reaction(*SALT, forward=3.0, backward=1.0))
    c0 = 0.5 + random(3, 8)
    run = pf.simulate(cell, c0, times(0, 0.1, 1.0), stepper=stepper).require_success()
    mass = cell.mass(run.states)
    for members in ((0, 2), (1, 2)):
        total = mass[:, list(members)].sum(1)
        assert float((total / total[0] - 1).abs().max()) <= 1e-12
    assert float((mass[-1] / mass[0] - 1).abs().max()) > 0.05
    assert float(run.ledger.min_concentration) > 0
    conserved = cell.conserved(run.states)
    assert conserved.shape == (3, 2)
    assert float((conserved - conserved[0]).abs().max()) <= 1e-12 * float(mass[0].max())
    assert run.ledger.closed == (False, False, False)


@pytest.mark.parametrize("stepper", [None, TRBDF2(), AsymptoticPreserving(dt=0.05)], ids=str)
def test_stiff_constants_cost_no_steps(stepper):
    cell = cell_of(pf.Reaction(*SALT, forward=1e6, backward=2e6))
    run = pf.simulate(cell, 0.5 + random(3, 8), times(0, 1.0), stepper=stepper).require_success()
    assert int(run.work.steps) < 400
    ratio = run.final[0] * run.final[1] / run.final[2]
    torch.testing.assert_close(ratio, torch.full_like(ratio, 0.5), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("stepper", [KenCarp4(rtol=1e-8), TRBDF2(rtol=1e-8)], ids=str)
def test_a_stirred_cell_follows_the_ordinary_equations(stepper):
    """A <=> B + C against scipy's integrator of the three rate equations."""
    from scipy.integrate import solve_ivp

    kf, kb = 2.0, 3.0
    cell = cell_of(pf.Reaction(*SALT, forward=kf, backward=kb), cells=4, voltage=0.0)
    start = [0.2, 0.2, 1.5]
    span = times(0, 0.1, 0.5, 2.0)
    c0 = torch.tensor(start, dtype=f64)[:, None].expand(3, 4)
    run = pf.simulate(cell, c0, span, stepper=stepper).require_success()

    def rate(t, c):
        r = kf * c[2] - kb * c[0] * c[1]
        return [r, r, -r]

    exact = solve_ivp(
        rate, (0, 2), start, t_eval=span.numpy(), rtol=1e-11, atol=1e-13, method="LSODA"
    )
    torch.testing.assert_close(run.states[..., 0], torch.tensor(exact.y.T), rtol=1e-6, atol=1e-6)


def test_an_irreversible_reaction_runs_out():
    cell = cell_of(pf.Reaction(*SALT, forward=50.0))
    run = pf.simulate(cell, torch.ones(3, 8, dtype=f64), times(0, 1.0)).require_success()
    assert 0 < float(run.final[2].max()) < 1e-9
    torch.testing.assert_close(cell.mass(run.final)[:2], torch.full((2,), 2.0, dtype=f64))
    robust = AsymptoticPreserving(dt=0.1)
    run = pf.simulate(cell, torch.ones(3, 8, dtype=f64), times(0, 5.0), stepper=robust)
    assert 0 < float(run.require_success().final[2].max()) < 1e-6


@pytest.mark.parametrize("stepper", [BackwardEuler(dt=0.02), KenCarp4(), TRBDF2()], ids=str)
def test_energy_falls_where_reactions_are_in_detailed_balance(stepper):
    cell = cell_of(pf.Reaction(*SALT, forward=3.0, backward=1.0), voltage=2.0)
    run = pf.simulate(cell, 0.5 + random(3, 8), torch.linspace(0, 1, 21).double(), stepper=stepper)
    assert float(run.ledger.energy_drop) > 0.1
    assert float(run.ledger.energy_largest_rise) <= 1e-12 * 4


def test_the_energy_of_an_irreversible_reaction_has_finite_gradients():
    forward = torch.tensor(2.0, dtype=f64, requires_grad=True)
    backward = torch.tensor(0.0, dtype=f64, requires_grad=True)
    cell = cell_of(pf.Reaction(*SALT, forward=forward, backward=backward))
    c = (0.5 + random(3, 8)).requires_grad_()
    found = torch.autograd.grad(cell.energy(c), [c, forward, backward], allow_unused=True)
    assert all(g is None or bool(g.isfinite().all()) for g in found)


@pytest.mark.parametrize("voltage", [0.0, 3.0])
def test_equilibrium_obeys_mass_action_everywhere(voltage):
    cell = cell_of(pf.Reaction(*SALT, forward=3.0, backward=1.0), voltage=voltage)
    c0 = 0.5 + random(3, 8)
    rest = pf.equilibrium(cell, c0).require_success().final
    ratio = rest[0] * rest[1] / rest[2]
    torch.testing.assert_close(ratio, torch.full_like(ratio, 3.0), rtol=1e-10, atol=0)
    torch.testing.assert_close(cell.conserved(rest), cell.conserved(c0), rtol=1e-11, atol=1e-12)
    end = pf.simulate(cell, c0, times(0, 30.0), rtol=1e-7).final
    torch.testing.assert_close(end, rest, rtol=1e-6, atol=1e-6)


def test_two_reactions_and_a_species_that_counts_twice():
    """2 A <=> B and B <=> C of neutral species: C / A^2 is the product of both constants."""
    ions = [pf.Species(name, 0) for name in "ABC"]
    reactions = [
        pf.Reaction(["A", "A"], ["B"], forward=2.0, backward=1.0),
        pf.Reaction(["B"], ["C"], forward=3.0, backward=2.0),
    ]
    cell = cell_of(*reactions, species=ions)
    c0 = 0.2 + random(3, 8)
    rest = pf.equilibrium(cell, c0).require_success().final
    torch.testing.assert_close(rest[1] / rest[0] ** 2, torch.full((8,), 2.0).double())
    torch.testing.assert_close(rest[2] / rest[1], torch.full((8,), 1.5).double())
    totals = cell.mass(rest) @ torch.tensor([1.0, 2.0, 2.0]).double()
    torch.testing.assert_close(totals, cell.mass(c0) @ torch.tensor([1.0, 2.0, 2.0]).double())
    for stepper in (None, AsymptoticPreserving(dt=0.1)):
        end = pf.simulate(cell, c0, times(0, 30.0), stepper=stepper).final
        torch.testing.assert_close(end, rest, rtol=1e-4, atol=1e-4)


def test_a_dissociation_that_begins_without_ions():
    """The features' case: all salt at first, no ion anywhere."""
    cell = cell_of(pf.Reaction(*SALT, forward=5.0, backward=1.0))
    c0 = torch.stack([torch.zeros(8), torch.zeros(8), torch.ones(8)]).double()
    for stepper in (None, TRBDF2(), AsymptoticPreserving(dt=0.01)):
        run = pf.simulate(cell, c0, times(0, 0.2), stepper=stepper).require_success()
        assert float(run.final.min()) > 0
        totals = cell.mass(run.final)[0] + cell.mass(run.final)[2]
        assert float(totals) == pytest.approx(1.0, rel=1e-12)
    rest = pf.equilibrium(cell, c0).require_success().final
    torch.testing.assert_close(rest[0] * rest[1] / rest[2], torch.full((8,), 5.0).double())


def test_constants_may_be_fields_and_differ_from_sample_to_sample():
    forward = torch.tensor([1.0, 4.0], dtype=f64)
    backward = pf.Field(1 + random(8))
    c0 = 0.5 + random(2, 3, 8)
    together = pf.simulate(
        cell_of(pf.Reaction(*SALT, forward=forward, backward=backward)), c0, times(0, 0.3)
    )
    for i in range(2):
        cell = cell_of(pf.Reaction(*SALT, forward=float(forward[i]), backward=backward))
        alone = pf.simulate(cell, c0[i], times(0, 0.3))
        torch.testing.assert_close(together.final[i], alone.final, rtol=1e-9, atol=1e-10)


def test_learnt_constants_are_parameters():
    forward = torch.nn.Parameter(torch.tensor(2.0, dtype=f64))
    cell = cell_of(pf.Reaction(*SALT, forward=forward, backward=1.0))
    assert any(one is forward for one in cell.parameters())
    pf.simulate(cell, torch.ones(3, 8, dtype=f64), times(0, 0.1)).final[0].sum().backward()
    assert float(forward.grad) > 0
