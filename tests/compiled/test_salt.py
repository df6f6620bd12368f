"""Small cells of a salt at rest, many side by side, against the law that they obey."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import pnpfusion as pf
from pnpfusion.solvers.backend import using
from pnpfusion.solvers.compiled.salt import knows_salt, salt_at_rest
from tests.registry import f64

pytest.importorskip("numba", reason="the compiled kernels need pnpfusion[fast]")
ALL = ["charge", "permittivity", "concentration", "potential"]


def parameters(rows=3, channels=2, n=6, *, seed=0, charge=10.0, voltage=3.0, thinnest=0.3):
    """Charge, permittivity, concentration and potential."""
    generator = torch.Generator().manual_seed(seed)

    def random(*shape):
        return torch.rand(*shape, dtype=f64, generator=generator)

    outside = 0.1 + 2 * random(channels)
    debye = thinnest * (1 + 3 * random(channels))
    return [
        charge * (2 * random(rows, channels, n) - 1),
        2 * debye.square() * outside,
        outside,
        voltage * (2 * random(channels) - 1),
    ]


def by_the_law(charge, permittivity, concentration, potential):
    """The same numbers from the general way of `solve_poisson_boltzmann`, in torch."""
    rows, channels, n = charge.shape
    grid = pf.Grid((n,), (1.0,), ("wall",))

    def each(values):
        return values.expand(rows, channels)

    with using("torch"):
        phi = pf.solvers.solve_poisson_boltzmann(
            grid,
            [1.0, -1.0],
            [each(concentration)] * 2,
            permittivity=each(permittivity),
            walls={"x-": pf.Wall(potential=0.0), "x+": pf.Wall(potential=each(potential))},
            fixed_charge=pf.solvers.Field(charge),
        )
    excess = 2 * concentration[:, None] * (torch.cosh(phi) - 1)
    return torch.stack([phi, torch.log1p(excess)], 1)


@pytest.mark.parametrize("n", [1, 2, 16, 33])
def test_states_and_gradients_are_those_of_the_law(n):
    inputs = [one.requires_grad_() for one in parameters(40, 3, n)]
    weights = torch.linspace(-1, 1, 40 * 6 * n, dtype=f64).reshape(40, 2, 3, n)
    read, converged, iterations = salt_at_rest(*inputs)
    assert bool(converged.all())
    assert 1 <= int(iterations.min()) <= int(iterations.max()) <= 10
    wanted = by_the_law(*inputs)
    torch.testing.assert_close(read, wanted, rtol=1e-11, atol=1e-11)
    gradients, theirs = (torch.autograd.grad((weights * a).sum(), inputs) for a in (read, wanted))
    for name, one, other in zip(ALL, gradients, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-10, msg=name)


def test_gradients_against_differences():
    inputs = [one.requires_grad_() for one in parameters(2, 2, 3)]
    assert torch.autograd.gradcheck(lambda *one: salt_at_rest(*one)[0], inputs, rtol=1e-6)


@settings(max_examples=40, deadline=None)
@given(
    n=st.integers(1, 20),
    seed=st.integers(0, 10**6),
    charge=st.sampled_from([0.0, 1.0, 1e3, 1e6]),
    voltage=st.sampled_from([0.0, 20.0]),
    thinnest=st.sampled_from([1e-3, 0.05, 1.0]),
)
def test_extreme_cells_rest_where_the_law_says(n, seed, charge, voltage, thinnest):
    inputs = parameters(4, 2, n, seed=seed, charge=charge, voltage=voltage, thinnest=thinnest)
    read, converged, _ = salt_at_rest(*inputs)
    assert bool(converged.all())
    torch.testing.assert_close(read, by_the_law(*inputs), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("charge", [0.1, 10.0, 1e4])
def test_single_precision_is_right_to_round_off(charge):
    inputs = parameters(200, 4, 16, charge=charge)
    single = [one.float().requires_grad_() for one in inputs]
    double = [one.detach().double().requires_grad_() for one in single]
    (read, converged, _), (wanted, _, _) = salt_at_rest(*single), salt_at_rest(*double)
    assert read.dtype == torch.float32
    assert bool(converged.all())
    size = float(wanted[:, 0].detach().abs().max())
    torch.testing.assert_close(read.double(), wanted, rtol=1e-5, atol=2e-6 * (1 + size))
    gradients, theirs = (
        torch.autograd.grad(a.square().sum(), given)
        for a, given in ((read, single), (wanted, double))
    )
    for name, one, other in zip(ALL, gradients, theirs, strict=True):
        room = 1e-4 * float(other.abs().max())
        torch.testing.assert_close(one.double(), other, rtol=1e-3, atol=room, msg=name)


@pytest.mark.parametrize("dtype", [torch.float32, f64])
def test_a_sample_is_the_same_bit_for_bit_whatever_its_mates(dtype):
    """Also where its place among those side by side is another."""
    charge, *others = (one.to(dtype) for one in parameters(700, 2, 16, charge=50.0))

    def all_of(samples):
        own = charge[samples].clone().requires_grad_()
        read, converged, iterations = salt_at_rest(own, *others)
        (gradient,) = torch.autograd.grad(read.square().sum(), own)
        return read, converged, iterations, gradient

    everyone = all_of(slice(None))
    for some in (slice(0, 1), slice(350, 351), slice(699, 700), slice(7, 300)):
        for mine, theirs in zip(all_of(some), everyone, strict=True):
            assert torch.equal(mine, theirs[some])


def test_an_unsolved_sample_does_not_hurt_its_mates():
    charge, *others = parameters(300, 2, 5)
    spoilt = charge.clone()
    spoilt[[5, 290], 1, 2] = torch.tensor([math.nan, math.inf], dtype=f64)
    mates = torch.ones(300, 2, dtype=torch.bool)
    mates[[5, 290], 1] = False
    inputs = [spoilt.requires_grad_(), *(one.requires_grad_() for one in others)]
    read, converged, _ = salt_at_rest(*inputs)
    assert torch.equal(converged, mates)
    well, _, _ = salt_at_rest(charge, *others)
    there = mates[:, None, :, None]
    assert torch.equal(torch.where(there, read, 0), torch.where(there, well, 0))
    gradients = torch.autograd.grad(torch.where(there, read, 0).sum(), inputs)
    wanted = torch.autograd.grad(torch.where(there, well, 0).sum(), others)
    for one, other in zip(gradients[1:], wanted, strict=True):
        torch.testing.assert_close(one, other)
    assert not gradients[0][[5, 290], 1].any()


@pytest.mark.parametrize("beyond", [1e3, 1e15, 1e20, 1e25, 1e30, 1e38])
def test_one_that_goes_far_does_not_change_its_mates(beyond):
    """It may try many shares of a step, and in single precision may have no answer."""
    charge, *others = (one.float() for one in parameters(6, 2, 6))
    well, _, wanted = salt_at_rest(charge, *others)
    charge[2] *= beyond
    read, converged, iterations = salt_at_rest(charge, *others)
    mates = torch.arange(6) != 2
    assert bool(converged[mates].all())
    assert bool(converged[2].all()) == (beyond <= 1e20)
    assert torch.equal(iterations[mates], wanted[mates])
    assert torch.equal(read[mates], well[mates])
    assert bool(read[converged.all(1)].isfinite().all())


def test_channels_take_their_parameters_in_turn():
    charge, *others = parameters(3, 2, 5)
    twice = salt_at_rest(torch.cat([charge, charge.flip(0)], 1), *others)[0]
    one, other = (salt_at_rest(c, *others)[0] for c in (charge, charge.flip(0)))
    assert torch.equal(twice, torch.cat([one, other], 2))


def test_a_second_derivative_is_an_error():
    inputs = [one.requires_grad_() for one in parameters()]
    (first,) = torch.autograd.grad(
        salt_at_rest(*inputs)[0].square().sum(), inputs[0], create_graph=True
    )
    with pytest.raises(RuntimeError, match="once_differentiable"):
        torch.autograd.grad(first.sum(), inputs[0])


@pytest.mark.parametrize("shape", [(0, 2, 4), (3, 0, 4)])
def test_no_samples_at_all(shape):
    charge = torch.zeros(shape, dtype=f64).requires_grad_()
    others = [one.requires_grad_() for one in parameters()[1:]]
    read, converged, _ = salt_at_rest(charge, *others)
    assert read.shape == (shape[0], 2, *shape[1:])
    assert converged.shape == shape[:2]
    read.sum().backward()
    assert charge.grad.shape == shape
    assert not any(one.grad.any() for one in others)


def test_what_the_kernel_does_not_know():
    like = torch.zeros(1)
    assert knows_salt(like)
    assert not knows_salt(like.half())
    with torch.autograd.forward_ad.dual_level():
        assert not knows_salt(like)
    with using("torch"):
        assert not knows_salt(like)


@pytest.mark.parametrize("dtype", [torch.float32, f64])
def test_a_layer_answers_the_same_in_torch(dtype):
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    for coupled in (True, False):
        layer = pf.fusion.PNP({"a": 3, "b": 2}, 4, coupled=coupled, channels=3, cells=8).to(dtype)
        given = {"a": torch.randn(9, 3, generator=generator).to(dtype)}
        given["b"] = torch.randn(9, 2, generator=generator).to(dtype)

        def answer(layer=layer, given=given):
            fused = layer(given)
            return fused, torch.autograd.grad(fused.square().sum(), [*layer.parameters()])

        mine, gradients = answer()
        with using("torch"):
            wanted, theirs = answer()
        near = 1e-9 if dtype == f64 else 1e-4
        torch.testing.assert_close(mine, wanted, rtol=near, atol=near)
        for one, other in zip(gradients, theirs, strict=True):
            room = near * float(other.abs().max())
            torch.testing.assert_close(one, other, rtol=10 * near, atol=room)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_logarithms_are_right_to_some_units_of_the_last_place(dtype):
    numba = pytest.importorskip("numba")
    from pnpfusion.solvers.kernels import logarithm

    log, log1p, asinh = logarithm.log, logarithm.log1p, logarithm.asinh

    @numba.njit(error_model="numpy")
    def found(x, into):
        for i in range(len(x)):
            into[0, i] = log(x[i])
            into[1, i] = log1p(x[i])
            into[2, i] = asinh(-x[i])

    x = np.concatenate([np.logspace(-12, 15, 5001), 1 + np.logspace(-7, 0, 501)]).astype(dtype)
    mine = np.empty((3, len(x)), dtype)
    found(x, mine)
    exact = x.astype(np.longdouble)
    wanted = np.stack([np.log(exact), np.log1p(exact), np.arcsinh(-exact)])
    wrong = np.abs(mine - wanted) / np.finfo(dtype).eps
    assert (wrong[:2] / np.abs(wanted[:2]))[:, exact != 1].max() < 8
    assert wrong[2].max() < 40
