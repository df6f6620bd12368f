from decimal import Decimal, getcontext

import pytest
import torch

from pnpfusion.solvers.fluxes import FACE_SCHEMES, bernoulli, bernoulli_pair

getcontext().prec = 60
POINTS = [0.0, 1e-300, 1e-9, 9.99e-3, 1.001e-2, 0.24, 0.26, 1.0, 2.0, 30.0, 300.0, 700.0]


def exact(u: float) -> float:
    """B(u) in 60 digits."""
    x = Decimal(u)
    return 1.0 if u == 0 else float(x / (x.exp() - 1)) if abs(u) > 1e-40 else 1.0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("sign", [1, -1])
def test_bernoulli_is_right_to_round_off(dtype, sign):
    points = torch.tensor(
        [sign * p for p in POINTS if p < 80 or dtype == torch.float64], dtype=dtype
    )
    wanted = torch.tensor([exact(float(p)) for p in points], dtype=dtype)
    torch.testing.assert_close(bernoulli(points), wanted, rtol=4 * torch.finfo(dtype).eps, atol=0)


def test_the_pair_is_b_of_plus_and_minus_u():
    u = torch.linspace(-60, 60, 481, dtype=torch.float64)
    there, back = bernoulli_pair(u)
    torch.testing.assert_close(back, bernoulli(-u), rtol=1e-15, atol=0)
    torch.testing.assert_close(back - there, u, rtol=1e-14, atol=1e-14)


def test_bernoulli_passes_gradcheck_to_the_second_derivative():
    u = torch.tensor([0.0, 1e-3, -9.9e-3, 0.0101, -0.5, 3.0, -40.0], dtype=torch.float64)
    u.requires_grad_()
    assert torch.autograd.gradcheck(bernoulli, u)
    assert torch.autograd.gradgradcheck(bernoulli, u)


def test_derivatives_are_finite_and_right_from_zero_to_overflow():
    u = torch.tensor([0.0, -0.0, 1e-320, 5e-3, 0.02, 709.0, 711.0, -800.0, 800.0]).double()
    u.requires_grad_()
    (first,) = torch.autograd.grad(bernoulli(u).sum(), u, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), u)
    first = first.detach()
    assert first.isfinite().all()
    assert second.isfinite().all()
    assert float(first[0]) == -0.5
    assert float(second[0]) == pytest.approx(1 / 6)
    # B'' = (1/6) (1 - u^2/10 + ...)
    assert float(second[3]) == pytest.approx(1 / 6 - 5e-3**2 / 60, abs=1e-10)
    assert float(second[4]) == pytest.approx(1 / 6 - 2e-2**2 / 60, abs=1e-8)


@pytest.mark.parametrize("name", FACE_SCHEMES)
def test_stated_slopes_are_the_derivatives_of_the_weights(name):
    scheme = FACE_SCHEMES[name]
    u = torch.cat([torch.linspace(-30, 30, 121), torch.tensor([1e-4, -9e-3, 0.011])]).double()
    u.requires_grad_()
    weights = scheme.weights(u)
    slopes = scheme.slopes(u.detach(), scheme.weights(u.detach()))
    for weight, stated in zip(weights, slopes, strict=True):
        (slope,) = torch.autograd.grad(weight.sum(), u, retain_graph=True)
        torch.testing.assert_close(slope, stated, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("name", FACE_SCHEMES)
def test_weights_are_mirror_images_and_monotone_where_declared(name):
    scheme = FACE_SCHEMES[name]
    u = torch.linspace(-50, 50, 101, dtype=torch.float64)
    ahead, back = scheme.weights(u)
    torch.testing.assert_close(back, scheme.weights(-u)[0], rtol=1e-14, atol=1e-14)
    assert bool((ahead > 0).all() and (back > 0).all()) == scheme.monotone


@pytest.mark.parametrize("name", FACE_SCHEMES)
def test_boltzmann_ratio_carries_no_flux_where_declared(name):
    scheme = FACE_SCHEMES[name]
    u = torch.tensor([0.3, -2.0, 9.0, -30.0], dtype=torch.float64)
    ahead, back = scheme.weights(u)
    left = torch.ones_like(u)
    right = torch.exp(-u)
    flux = (ahead * left - back * right) / (ahead * left + back * right)
    assert bool((flux.abs() < 1e-15).all()) == scheme.well_balanced
