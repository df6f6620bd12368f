"""The compiled Newton iteration against the one in torch."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import pnpfusion as pf
from pnpfusion.solvers import coupled_newton
from pnpfusion.solvers.backend import using
from pnpfusion.solvers.compiled.cell import is_compiled
from tests.registry import ALL_SCHEMES, f64

pytest.importorskip("numba", reason="the compiled kernels need pnpfusion[fast]")
MOST = 12


@st.composite
def walls(draw, potential):
    """One wall of any kind; ``potential`` says whether it holds one."""
    given_ = {}
    if potential:
        given_["potential"] = draw(st.floats(-3, 3))
        if draw(st.booleans()):
            given_["stern"] = draw(st.floats(0, 0.5))
    elif draw(st.booleans()):
        given_["surface_charge"] = draw(st.floats(-0.3, 0.3))
    kind = draw(st.sampled_from(["blocking", "reservoir", "flux", "both"]))
    if kind in ("reservoir", "both"):
        given_["concentration"] = {"cation": draw(st.floats(0.2, 2))}
    if kind in ("flux", "both"):
        given_["flux"] = {"anion": draw(st.floats(-0.2, 0.2))}
    return pf.Wall(**given_)


@st.composite
def cells(draw, batch=3, *, crowding_of_each=True):
    """A cell with anything that the compiled iteration knows, and one implicit equation."""
    n, kinds = draw(st.integers(1, 17)), 3 if crowding_of_each else 2
    generator = torch.Generator().manual_seed(draw(st.integers(0, 10**6)))

    def random(*shape, low=0.5, high=1.5):
        return low + (high - low) * torch.rand(*shape, dtype=f64, generator=generator)

    names = draw(st.sampled_from([("cation", "anion"), ("cation", "anion", "salt")]))
    valences = {"cation": draw(st.sampled_from([1, 2, random(batch)])), "anion": -1, "salt": 0}
    floating = draw(st.booleans())
    if floating:
        valences["cation"] = 1
    sides = {"x-": pf.Wall(), "x+": pf.Wall()}
    if not floating:
        sides = {"x-": draw(walls(True)), "x+": draw(walls(draw(st.booleans())))}
    edges = None
    if draw(st.booleans()):
        edges = (torch.cat([torch.zeros(1), random(n).cumsum(0)]),)
    reactions = []
    if "salt" in names and isinstance(valences["cation"], int) and draw(st.booleans()):
        valences["cation"] = 1
        reactions = [pf.Reaction(["salt"], ["cation", "anion"], pf.Field(random(n)), random(batch))]
    species = [
        pf.Species(name, valences[name], draw(st.sampled_from([1.0, pf.Field(random(n))])))
        for name in names
    ]
    cell = pf.PNP(
        pf.Grid((n,), (1.0 if edges is None else float(edges[0][-1]),), ("wall",), edges=edges),
        species,
        permittivity=draw(st.sampled_from([0.1, random(batch), pf.Field(random(n))])),
        walls=sides,
        fixed_charge=0.0 if floating else draw(st.sampled_from([0.0, pf.Field(random(n))])),
        scheme=draw(st.sampled_from(ALL_SCHEMES)),
        steric=draw(st.sampled_from([None, 0.15, random(batch, low=0.1, high=0.2)][:kinds])),
        reactions=reactions,
    )
    c = random(batch, len(names), n)
    if floating:
        c[:, 1] = c[:, 0]
    step = 10 ** random(batch, low=-3.0, high=-0.5)  # round-off grows with h times the stiffness
    return cell, c, step


def both_ways(cell, c, step, scale, most=MOST):
    bound = cell.electrolyte((len(c),), c, None)
    arguments = bound, c, step, c, scale, most
    assert is_compiled(bound, c)
    return coupled_newton._iterate_compiled(*arguments), coupled_newton._iterate(*arguments)


@settings(max_examples=60, deadline=None)
@given(cells())
def test_one_iteration_is_that_of_torch(made):
    cell, c, step = made
    compiled, wanted = both_ways(cell, c, step, torch.full_like(c, 1e-6), most=1)
    for mine, theirs in zip(compiled, wanted, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-12, atol=1e-12)


@settings(max_examples=60, deadline=None)
@given(cells())
def test_it_ends_where_and_when_torch_does(made):
    cell, c, step = made
    compiled, wanted = both_ways(cell, c, step, torch.full_like(c, 1e-9))
    assert torch.equal(compiled[2], wanted[2])
    assert torch.equal(compiled[3], wanted[3])
    ended = wanted[2]  # what has not converged is anywhere
    for mine, theirs in zip(compiled[:2], wanted[:2], strict=True):
        torch.testing.assert_close(mine[ended], theirs[ended], rtol=1e-12, atol=1e-12)


def one_cell(batch=3, n=16, dtype=f64, boundary="wall"):
    walls = {"x-": pf.Wall(potential=1.0), "x+": pf.Wall(potential=0.0)}
    cell = pf.PNP(
        pf.Grid((n,), (1.0,), (boundary,)),
        [pf.Species("cation", +1), pf.Species("anion", -1)],
        permittivity=0.2,
        walls=walls if boundary == "wall" else None,
    )
    c = 0.5 + torch.rand(batch, 2, n, dtype=dtype, generator=torch.Generator().manual_seed(0))
    return cell, c, torch.linspace(0.01, 0.1, batch, dtype=dtype)


def test_a_sample_is_the_same_bit_for_bit_whatever_its_mates():
    cell, c, step = one_cell()
    together, _ = both_ways(cell, c, step, torch.full_like(c, 1e-9))
    for i in range(len(c)):
        alone, _ = both_ways(cell, c[i : i + 1], step[i : i + 1], torch.full_like(c[:1], 1e-9))
        for mine, theirs in zip(together, alone, strict=True):
            assert torch.equal(mine[i], theirs[0])


def test_in_single_precision_too():
    cell, c, step = one_cell(dtype=torch.float32)
    compiled, wanted = both_ways(cell, c, step, torch.full_like(c, 1e-4))
    assert compiled[0].dtype == compiled[1].dtype == torch.float32
    assert compiled[2].all()
    torch.testing.assert_close(compiled[0], wanted[0], rtol=1e-5, atol=1e-5)


def test_a_sample_that_is_not_finite_ends_as_in_torch_and_spares_its_mates():
    cell, c, step = one_cell()
    good, _ = both_ways(cell, c, step, torch.full_like(c, 1e-9))
    c[1, 0, 3] = torch.nan
    compiled, wanted = both_ways(cell, c, step, torch.full_like(c, 1e-9))
    assert compiled[2].tolist() == wanted[2].tolist() == [True, False, True]
    assert torch.equal(compiled[3], wanted[3])
    for mine, before in zip(compiled, good, strict=True):
        assert torch.equal(mine[[0, 2]], before[[0, 2]])


def test_rings_boxes_and_machines_without_numba_keep_to_torch():
    cell, c, _ = one_cell()
    assert is_compiled(cell.electrolyte((3,), c, None), c)
    ring, c, _ = one_cell(boundary="periodic")
    assert not is_compiled(ring.electrolyte((3,), c, None), c)
    with using("torch"):
        assert not is_compiled(cell.electrolyte((3,), c, None), c)
