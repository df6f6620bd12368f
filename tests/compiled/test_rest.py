"""The compiled way to a state of rest against the one in torch."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import pnpfusion as pf
from pnpfusion.solvers import convex_equilibrium
from pnpfusion.solvers.backend import using
from pnpfusion.solvers.compiled.rest import knows_rest
from tests.marks import quiet
from tests.registry import f64

pytest.importorskip("numba", reason="the compiled kernels need pnpfusion[fast]")
KINDS = ["reservoir", "closed", "one closed", "charged wall"]
ALL = ["epsilon", "charge", "voltage", "reservoir", "valence", "start"]


def parameters(batch=(3,), n=7, seed=0, dtype=f64, voltage=5.0, charge=3.0):
    """What a cell is made of, the same for every kind of cell."""
    generator = torch.Generator().manual_seed(seed)

    def random(*shape):
        return torch.rand(*shape, dtype=f64, generator=generator)

    made = {
        "epsilon": 0.02 + 0.5 * random(*batch),
        "charge": charge * (2 * random(*batch, n) - 1),
        "voltage": voltage * (2 * random(*batch) - 1),
        "reservoir": 0.2 + random(*batch),
        "valence": 0.5 + random(*batch),
        "start": 0.2 + random(*batch, 2, n),
    }
    return {name: value.to(dtype) for name, value in made.items()}


def cell_of(kind, epsilon, charge, voltage, reservoir, valence, start):
    """A cell of unequal cells, its first state and what drives it."""
    n = charge.shape[-1]
    edges = torch.linspace(0, 1, n + 1, dtype=f64) ** 1.5
    held = {
        "reservoir": {"cation": reservoir, "anion": 0.7},
        "one closed": {"anion": reservoir},
    }.get(kind)
    first = pf.Wall(potential=voltage, stern=None if held else 0.1, concentration=held)
    last = pf.Wall(surface_charge=0.3) if kind == "charged wall" else pf.Wall(potential=0.0)
    return pf.PNP(
        pf.Grid((n,), (1.0,), ("wall",), edges=(edges,)),
        [pf.Species("cation", valence), pf.Species("anion", -1)],
        permittivity=epsilon,
        fixed_charge=pf.Field(charge),
        walls={"x-": first, "x+": last},
    )


def rest_of(kind, made, tolerance=1e-11):
    rest = cell_of(kind, **made).rest(made["start"], None, tolerance)
    return rest.c, rest.phi, rest


def in_torch(monkeypatch):
    monkeypatch.setattr(convex_equilibrium, "knows_rest", lambda *_: False)


@quiet
@pytest.mark.parametrize("kind", KINDS)
def test_states_and_gradients_are_those_of_torch(kind, monkeypatch):
    made = {name: value.requires_grad_() for name, value in parameters((2, 3)).items()}
    cell = cell_of(kind, **made)
    assert knows_rest(cell.bind(made["start"]).cell, made["start"])

    def state_and_gradients():
        c, phi, rest = rest_of(kind, made)
        assert bool(rest.converged.all())
        weights = torch.linspace(-1, 1, c.numel(), dtype=f64).reshape(c.shape)
        loss = (weights * c).sum() + (weights[:, 0] * phi.square()).sum()
        gradients = torch.autograd.grad(loss, list(made.values()), allow_unused=True)
        return c, phi, rest.iterations, gradients

    c, phi, iterations, gradients = state_and_gradients()
    in_torch(monkeypatch)
    c_torch, phi_torch, iterations_torch, wanted = state_and_gradients()
    torch.testing.assert_close(c, c_torch, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(phi, phi_torch, rtol=1e-10, atol=1e-10)
    assert torch.equal(iterations, iterations_torch)
    for name, mine, theirs in zip(ALL, gradients, wanted, strict=True):
        assert (mine is None) == (theirs is None), name
        if mine is not None:
            torch.testing.assert_close(mine, theirs, rtol=1e-8, atol=1e-8, msg=name)


@quiet
@settings(max_examples=40, deadline=None)
@given(
    kind=st.sampled_from(KINDS),
    n=st.integers(1, 20),
    seed=st.integers(0, 10**6),
    voltage=st.sampled_from([0.0, 5.0, 50.0]),
    charge=st.sampled_from([0.0, 1.0, 1e3]),
)
def test_extreme_cells_rest_where_torch_says(kind, n, seed, voltage, charge):
    made = parameters((4,), n, seed, voltage=voltage, charge=charge)
    c, phi, rest = rest_of(kind, made, 1e-9)
    with pytest.MonkeyPatch.context() as patch:
        in_torch(patch)
        c_torch, phi_torch, wanted = rest_of(kind, made, 1e-9)
    assert torch.equal(rest.converged, wanted.converged)
    torch.testing.assert_close(phi, phi_torch, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(c, c_torch, rtol=1e-9, atol=1e-10)


@quiet
@pytest.mark.parametrize("kind", KINDS)
def test_single_precision_comes_as_near_as_it_can(kind):
    made = parameters((50,), 16, seed=3)
    c, phi, rest = rest_of(kind, {name: value.float() for name, value in made.items()}, 1e-4)
    assert c.dtype == phi.dtype == torch.float32
    assert bool(rest.converged.all())
    wanted = rest_of(kind, made)
    torch.testing.assert_close(phi.double(), wanted[1], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(c.double(), wanted[0], rtol=1e-3, atol=1e-4)


@quiet
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float32, f64])
def test_a_sample_is_the_same_bit_for_bit_whatever_its_mates(kind, dtype):
    """Also where its place among those side by side is another."""
    made = parameters((300,), 5, seed=1, dtype=dtype)
    law = cell_of(kind, **made).bind(made["start"])
    totals = law.cell.dielectric.total(made["start"]) @ law.invariants.to(dtype).mT
    constants = torch.log(torch.stack([made["reservoir"]] * 2, 1))

    def all_of(samples):
        own = {name: value[samples].clone().requires_grad_() for name, value in made.items()}
        rest = convex_equilibrium.convex_equilibrium(
            cell_of(kind, **own).bind(own["start"]).cell,
            totals[samples],
            law.invariants,
            constants[samples],
            tolerance=1e-4,
        )
        loss = (rest.c.square().sum((1, 2)) + rest.phi.square().sum(1)).sum()
        found = torch.autograd.grad(loss, list(own.values()), allow_unused=True)
        return rest.c, rest.phi, rest.iterations, *(one for one in found if one is not None)

    everyone = all_of(slice(None))
    for some in (slice(0, 1), slice(150, 151), slice(299, 300), slice(7, 144)):
        for mine, theirs in zip(all_of(some), everyone, strict=True):
            assert torch.equal(mine, theirs[some])


@quiet
def test_an_unsolved_sample_does_not_hurt_its_mates():
    made = parameters((200,), 6)
    cell = cell_of("reservoir", **made).bind(made["start"]).cell
    none, rows = made["start"].new_zeros(200, 0), made["start"].new_zeros(0, 2)
    constants = torch.log(torch.stack([made["reservoir"], 0.7 + 0 * made["reservoir"]], 1))

    def rest(constants, most=200):
        return convex_equilibrium.convex_equilibrium(
            cell, none, rows, constants, tolerance=1e-9, max_iterations=most
        )

    well = rest(constants)
    assert bool(well.converged.all())
    spoilt = constants.clone()
    spoilt[[5, 150]] = torch.tensor([math.nan, 0.0], dtype=f64)
    hurt = rest(spoilt)
    mates = torch.ones(200, dtype=torch.bool)
    mates[[5, 150]] = False
    assert torch.equal(hurt.converged, mates)
    assert torch.equal(hurt.c[mates], well.c[mates])
    assert torch.equal(hurt.phi[mates], well.phi[mates])
    few = int(well.iterations.min())  # too few for some: those with enough are as they were
    early = rest(constants, few)
    assert torch.equal(early.converged, well.iterations <= few)
    assert bool(early.converged.any())
    assert not bool(early.converged.all())
    assert torch.equal(early.phi[early.converged], well.phi[early.converged])


@quiet
@pytest.mark.parametrize("kind", KINDS)
def test_gradients_against_differences(kind):
    made = parameters((2,), 3, voltage=1.0, charge=1.0)
    inputs = [value.requires_grad_() for value in made.values()]

    def state(*values):
        return rest_of(kind, dict(zip(ALL, values, strict=True)), 1e-12)[:2]

    assert torch.autograd.gradcheck(state, inputs, rtol=1e-5, atol=1e-8)


@quiet
def test_a_second_derivative_is_an_error():
    made = parameters()
    made["voltage"].requires_grad_()
    c, phi, _ = rest_of("reservoir", made)
    (first,) = torch.autograd.grad(
        c.square().sum() + phi.square().sum(), made["voltage"], create_graph=True
    )
    with pytest.raises(RuntimeError, match="once_differentiable"):
        torch.autograd.grad(first.sum(), made["voltage"])


@quiet
def test_no_samples_at_all():
    made = {name: value.requires_grad_() for name, value in parameters((0,)).items()}
    none, rows = made["start"].new_zeros(0, 0), made["start"].new_zeros(0, 2)
    cell = cell_of("reservoir", **made).bind(made["start"]).cell
    rest = convex_equilibrium.convex_equilibrium(
        cell, none, rows, none.new_zeros(0, 2), tolerance=1
    )
    assert rest.c.shape == (0, 2, 7)
    rest.phi.sum().backward()
    assert made["voltage"].grad.shape == (0,)


@quiet
def test_what_the_kernel_does_not_know_goes_the_torch_way():
    made = parameters()
    start, plain = made["start"], cell_of("closed", **made)

    def known(cell):
        return knows_rest(cell.bind(start).cell, start)

    assert known(plain)
    with torch.autograd.forward_ad.dual_level():
        assert not known(plain)
    crowded = pf.PNP(plain.grid, plain.species, permittivity=1.0, walls=plain.walls, steric=0.1)
    assert not known(crowded)
    afloat = pf.PNP(plain.grid, plain.species, permittivity=1.0)
    assert not known(afloat)
    ring = pf.PNP(pf.Grid((7,), (1.0,), ("periodic",)), plain.species, permittivity=1.0)
    assert not known(ring)
    with using("torch"):
        assert not known(plain)
