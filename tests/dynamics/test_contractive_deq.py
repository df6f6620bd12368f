"""The deep-equilibrium cell that is a contraction, and the bound on norms that makes it one."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import pnpfusion as pf
from pnpfusion.solvers import spectral_bound
from pnpfusion.solvers.spectral_bound import spectral_norm_bound
from tests.dynamics.deq_cells import gaussian, measured_contraction, random_masks, shuffled
from tests.registry import f64


def naive_contractive(law: pf.ContractiveDEQ, z: Tensor, x: Tensor, there: Tensor) -> Tensor:
    """One evaluation for one sample, from the equations, with loops."""
    w, gamma = dict(law.state_dict()), law.contraction

    def bound(matrix: Tensor) -> Tensor:
        singular = torch.linalg.svdvals(matrix)
        return (singular**64).sum() ** (1 / 64)

    new = []
    for i in range(len(x)):
        own, feedback = w["state_weights"][i], w["feedback_weights"][i]
        scale = min(1.0, gamma / float(bound(own) + bound(feedback)))
        inside = scale * (own @ z[i] + feedback @ z[-1]) + w["input_weights"][i] @ x[i]
        new.append((inside + w["biases"][i]).tanh() if there[i] else torch.zeros_like(x[i]))
    gate, out = w["gate_weight"], w["out_weight"]
    scale = min(1.0, gamma / float(bound(out) * (1 + (1 + gamma) / 4 * bound(gate))))
    clamped = z[-1].clamp(-1, 1)
    kept = [i for i in range(len(x)) if there[i]]
    gates = [torch.sigmoid(gate @ (clamped + new[i]) + w["gate_bias"]) for i in kept]
    mean = sum(clamped * gate for gate in gates) / len(kept)
    injected = sum(w["sum_weights"][i] * x[i] for i in kept) + w["sum_bias"]
    return torch.stack([*new, (scale * out @ mean + injected).tanh()])


@pytest.mark.parametrize("scale", [0.01, 1.0, 30.0])
def test_the_contractive_cell_is_its_equations(scale: float) -> None:
    law = shuffled(pf.ContractiveDEQ(3, 8))
    with torch.no_grad():
        for parameter in law.parameters():
            parameter.mul_(scale)
    z, x = 2 * gaussian(6, 4, 8), gaussian(6, 3, 8, seed=1)
    there = random_masks(6, 3)
    got = law.rate(torch.zeros(()), z, {"features": x, "present": there}) + z
    wanted = torch.stack([naive_contractive(law, z[k], x[k], there[k]) for k in range(6)])
    torch.testing.assert_close(got, wanted, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("gamma", [0.3, 0.5, 0.9])
@pytest.mark.parametrize("scale", [0.1, 1.0, 10.0, 1000.0])
def test_it_is_a_contraction_whatever_the_weights(scale: float, gamma: float) -> None:
    for seed in range(3):
        law = shuffled(pf.ContractiveDEQ(3, 8, contraction=gamma), seed)
        with torch.no_grad():
            for name, parameter in law.named_parameters():
                if "bias" not in name and name not in ("sum_weights", "input_weights"):
                    parameter.mul_(scale)
        x = 0.3 * gaussian(40, 3, 8, seed=seed)
        masked = {"features": x, "present": random_masks(40, 3)}
        for given in (x, masked):
            assert measured_contraction(law, given, 40, seed) <= gamma


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_the_contraction_is_nearly_reached(sign: float) -> None:
    """With aligned weights and open gates the quotient comes close to γ, so γ is not idle."""
    law = pf.ContractiveDEQ(1, 4, contraction=0.5).double()
    with torch.no_grad():
        for parameter in law.parameters():
            parameter.zero_()
        law.state_weights[0, 0, 0] = law.feedback_weights[0, 0, 0] = 10.0
        law.out_weight.copy_(sign * torch.eye(4))
        law.gate_bias.fill_(30.0)
    quotient = measured_contraction(law, torch.zeros(20, 1, 4, dtype=f64), 20)
    assert 0.4 < quotient <= 0.5


@pytest.mark.parametrize("width", [1, 3, 16, 64])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_bound_is_above_and_near(width: int, dtype: torch.dtype) -> None:
    drawn = gaussian(6, width, width).to(dtype)
    decaying = drawn * 0.5 ** torch.arange(width, dtype=dtype)
    line = drawn[:, :, :1] @ drawn[:, :1]
    orthogonal = torch.linalg.qr(drawn)[0]
    worst = width ** (1 / 64)  # by which it exceeds the norm of an orthogonal matrix
    slack = 1 + 20 * torch.finfo(dtype).eps
    for matrices in (drawn, 1e-12 * drawn, 1e9 * drawn, decaying, line, orthogonal):
        exact = torch.linalg.matrix_norm(matrices.double(), 2)
        ratio = spectral_norm_bound(matrices).double() / exact
        assert ratio.min() >= 1 / slack
        assert ratio.max() <= worst * slack


def test_the_bound_of_nothing_is_nearly_nothing() -> None:
    zero = torch.zeros(2, 3, 3, dtype=f64, requires_grad=True)
    bound = spectral_norm_bound(zero)
    assert (bound <= 1e-100).all()
    bound.sum().backward()
    assert zero.grad is not None
    assert zero.grad.isfinite().all()


def test_the_bound_has_derivatives() -> None:
    matrices = gaussian(2, 3, 4).requires_grad_()
    assert torch.autograd.gradcheck(spectral_norm_bound, (matrices,))
    assert torch.autograd.gradgradcheck(spectral_norm_bound, (matrices,))
    _, forward = torch.func.jvp(spectral_norm_bound, (matrices.detach(),), (matrices.detach(),))
    torch.testing.assert_close(forward, spectral_norm_bound(matrices).detach())  # homogeneous


def test_a_gradient_of_the_bound_takes_as_many_products_as_the_bound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    taken, original = [], spectral_bound.times_transposed

    def counted(x: Tensor, y: Tensor) -> Tensor:
        taken.append(1)
        return original(x, y)

    monkeypatch.setattr(spectral_bound, "times_transposed", counted)
    spectral_norm_bound(gaussian(2, 3, 4).requires_grad_()).sum().backward()
    assert len(taken) == 2 * 5
