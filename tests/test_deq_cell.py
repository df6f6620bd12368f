"""The deep-equilibrium cells: the paper's, block by block, and the one that is a contraction."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

import pnpfusion as pf
from pnpfusion.solvers import spectral_bound
from pnpfusion.solvers.spectral_bound import spectral_norm_bound
from tests.registry import f64

MADE = {(3, 500): 2_014_000, (2, 512): 1_583_104, (2, 768): 3_554_304}
MADE |= {(3, 64): 34_560, (3, 32): 9_088, (2, 8): 544}


def gaussian(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, dtype=f64, generator=torch.Generator().manual_seed(seed))


def shuffled(law: pf.Dynamics, seed: int = 0) -> pf.Dynamics:
    """The law in float64 with every parameter drawn anew, those that begin at 0 or 1 too."""
    generator = torch.Generator().manual_seed(seed)
    law.double()
    with torch.no_grad():
        for parameter in law.parameters():
            drawn = torch.randn(parameter.shape, dtype=f64, generator=generator)
            parameter.copy_(drawn / max(1.0, math.sqrt(parameter.shape[-1] if drawn.ndim else 1)))
    return law


def group_norm(v: Tensor, gain: Tensor, shift: Tensor, groups: int) -> Tensor:
    grouped = v.reshape(groups, -1)
    centred = grouped - grouped.mean(1, keepdim=True)
    scaled = centred / (centred.square().mean(1, keepdim=True) + 1e-5).sqrt()
    return scaled.reshape(-1) * gain + shift


def paper_cell(
    w: dict[str, Tensor], z: Tensor, x: Tensor, *, residual: bool, norm_first: bool, groups: int
) -> Tensor:
    """One evaluation for one sample, written down from the equations, modality by modality."""
    number = len(x)
    sums = w.get("sum_weights", torch.ones(number, dtype=f64))
    injected = sum(sums[i] * x[i] for i in range(number)) + w.get("sum_bias", 0.0)

    def linear(name: str, v: Tensor) -> Tensor:
        return w[f"{name}.weight"] @ v + w[f"{name}.bias"]

    def norm(name: str, v: Tensor) -> Tensor:
        return group_norm(v, w[f"{name}.weight"], w[f"{name}.bias"], groups)

    new = []
    for i in range(number):
        at = f"unimodal.{i}"
        h = norm(f"{at}.norm1", linear(f"{at}.linear1", z[i])).clamp(min=0)
        u = norm(f"{at}.norm2", linear(f"{at}.linear2", h) + x[i])
        new.append(norm(f"{at}.norm3", (u + z[i] if residual else u).clamp(min=0)))
    gated = sum(z[-1] * linear("fusion.gate", new[i] + z[-1]) for i in range(number))
    mixed = linear("fusion.out", gated) + injected
    if norm_first:
        fused = norm("fusion.norm", mixed).clamp(min=0)
    else:
        fused = norm("fusion.norm", mixed.clamp(min=0))
    return torch.stack([*new, fused])


@pytest.mark.parametrize("learned_sum", [True, False])
@pytest.mark.parametrize("state_residual", [True, False])
@pytest.mark.parametrize("order", ["relu-norm", "norm-relu"])
@pytest.mark.parametrize(("number", "width", "groups"), [(3, 16, 4), (2, 8, 4), (1, 6, 3)])
def test_the_cell_is_the_papers(
    number: int, width: int, groups: int, order: str, state_residual: bool, learned_sum: bool
) -> None:
    law = shuffled(
        pf.DEQ(
            number,
            width,
            order=order,  # type: ignore[arg-type]
            state_residual=state_residual,
            learned_sum=learned_sum,
            groups=groups,
        )
    )
    z, x = gaussian(5, number + 1, width), gaussian(5, number, width, seed=1)
    weights = dict(law.state_dict())
    wanted = torch.stack(
        [
            paper_cell(
                weights,
                z[k],
                x[k],
                residual=state_residual,
                norm_first=order == "norm-relu",
                groups=groups,
            )
            for k in range(5)
        ]
    )
    got = law.rate(torch.zeros((), dtype=f64), z, x) + z
    torch.testing.assert_close(got, wanted, rtol=1e-10, atol=1e-10)


def test_keys_are_the_papers() -> None:
    parts = ["linear1", "linear2", "norm1", "norm2", "norm3"]
    wanted = {f"unimodal.{i}.{part}.{kind}" for i in (0, 1) for part in parts for kind in KINDS}
    wanted |= {f"fusion.{part}.{kind}" for part in ("gate", "out", "norm") for kind in KINDS}
    assert set(pf.DEQ(2, 8, learned_sum=False).state_dict()) == wanted
    law = pf.DEQ(2, 8)
    assert set(law.state_dict()) == wanted | {"sum_weights", "sum_bias"}
    assert law.state_dict()["sum_weights"].tolist() == [1.0, 1.0]
    assert law.state_dict()["sum_bias"].shape == ()


KINDS = ("weight", "bias")


@pytest.mark.parametrize(("number", "width"), MADE)
def test_parameters_are_the_papers(number: int, width: int) -> None:
    def count(learned_sum: bool) -> int:
        law = pf.DEQ(number, width, learned_sum=learned_sum)
        return sum(parameter.numel() for parameter in law.parameters())

    assert count(False) == MADE[number, width]
    assert count(True) == MADE[number, width] + number + 1


def test_the_first_step_injects_the_features_alone() -> None:
    law = shuffled(pf.DEQ(3, 16))
    x, zero = gaussian(4, 3, 16), torch.zeros(4, 4, 16, dtype=f64)
    fused = law.rate(torch.zeros(()), zero, x)[:, -1]
    injected = torch.einsum("n,bnd->bd", law.sum_weights, x) + law.sum_bias
    wanted = law.fusion.norm((law.fusion.out.bias + injected).relu())
    torch.testing.assert_close(fused, wanted, rtol=1e-12, atol=1e-12)


def jacobian(law: pf.Dynamics, z: Tensor, x: object) -> Tensor:
    """That of the cell at one state ``z`` (N + 1, d), as blocks (N + 1, d, N + 1, d)."""
    own = torch.eye(z.numel(), dtype=z.dtype).reshape(*z.shape, *z.shape)
    with torch.no_grad():
        rate = torch.func.jacrev(lambda v: law.rate(torch.zeros(()), v, x))(z)
    return rate + own


@pytest.mark.parametrize("norm", ["group", "rms", "none"])
def test_the_jacobian_is_block_lower_triangular(norm: str) -> None:
    law = shuffled(pf.DEQ(3, 16, norm=norm))  # type: ignore[arg-type]
    blocks = jacobian(law, gaussian(4, 16), gaussian(3, 16, seed=1))
    for i in range(3):
        for j in range(4):
            if i != j:
                assert not blocks[i, :, j].any()
    whole = torch.linalg.eigvals(blocks.reshape(64, 64))
    apart = torch.cat([torch.linalg.eigvals(blocks[k, :, k]) for k in range(4)])
    distances = (whole[:, None] - apart).abs()
    # A cluster of zeros (dead units) has eigenvalues of the square root of round-off.
    large = whole.abs() > 1e-3
    assert large.sum() >= 8
    assert distances.min(1).values[large].max() < 1e-8
    assert distances.min(0).values[apart.abs() > 1e-3].max() < 1e-8


@pytest.mark.parametrize("make", [pf.DEQ, pf.ContractiveDEQ])
def test_permuted_modalities_permute_the_states(make: type[pf.DEQ]) -> None:
    law, other = shuffled(make(3, 8)), make(3, 8).double()
    order = [2, 0, 1]
    weights = {}
    for key, value in law.state_dict().items():
        head, *rest = key.split(".")
        if head == "unimodal":
            key = ".".join([head, str(order.index(int(rest[0]))), *rest[1:]])
        of_modalities = ("state_weights", "feedback_weights", "input_weights", "biases")
        weights[key] = value[order] if key in ("sum_weights", *of_modalities) else value
    other.load_state_dict(weights)
    z, x = gaussian(5, 4, 8), gaussian(5, 3, 8, seed=1)
    got = other.rate(torch.zeros(()), z[:, [*order, 3]], x[:, order])
    wanted = law.rate(torch.zeros(()), z, x)[:, [*order, 3]]
    torch.testing.assert_close(got, wanted, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("make", [pf.DEQ, pf.ContractiveDEQ])
def test_an_absent_modality_leaves_the_sums(make: type[pf.DEQ]) -> None:
    """What the others do is what a law without that modality does."""
    law, smaller = shuffled(make(3, 8)), make(2, 8).double()
    weights = {}
    for key, value in law.state_dict().items():
        of_modalities = ("state_weights", "feedback_weights", "input_weights", "biases")
        if not key.startswith("unimodal.2"):
            weights[key] = value[:2] if key in ("sum_weights", *of_modalities) else value
    smaller.load_state_dict(weights)
    z, x = gaussian(5, 4, 8), gaussian(5, 3, 8, seed=1)
    x[:, 2] = torch.nan  # what stands in the place of absent features is not looked at
    present = torch.tensor([True, True, False]).expand(5, 3)
    got = law.rate(torch.zeros(()), z, {"features": x, "present": present}) + z
    wanted = smaller.rate(torch.zeros(()), z[:, [0, 1, 3]], x[:, :2]) + z[:, [0, 1, 3]]
    torch.testing.assert_close(got[:, [0, 1, 3]], wanted, rtol=1e-12, atol=1e-12)
    assert not got[:, 2].any()


@pytest.mark.parametrize("make", [pf.DEQ, pf.ContractiveDEQ])
def test_any_batch_axes(make: type[pf.DEQ]) -> None:
    law = shuffled(make(2, 8))
    z, x = gaussian(6, 3, 8), gaussian(6, 2, 8, seed=1)
    flat = law.rate(torch.zeros(()), z, x)
    shaped = law.rate(torch.zeros(()), z.reshape(2, 3, 3, 8), x.reshape(2, 3, 2, 8))
    assert torch.equal(shaped.reshape(6, 3, 8), flat)
    torch.testing.assert_close(law.rate(torch.zeros(()), z[4], x[4]), flat[4], rtol=1e-12, atol=0)


@pytest.mark.parametrize("make", [pf.DEQ, pf.ContractiveDEQ])
def test_derivatives_of_the_rate(make: type[pf.DEQ]) -> None:
    law = shuffled(make(2, 4))
    z, x = gaussian(2, 3, 4).requires_grad_(), gaussian(2, 2, 4, seed=1).requires_grad_()
    names = [name for name, _ in law.named_parameters()]

    def rate(z: Tensor, x: Tensor, *values: Tensor) -> Tensor:
        weights = dict(zip(names, values, strict=True))
        return torch.func.functional_call(law, weights, (z, x))

    law.forward = lambda z, x: law.rate(torch.zeros(()), z, x)  # type: ignore[method-assign]
    values = [parameter.detach().requires_grad_() for parameter in law.parameters()]
    assert torch.autograd.gradcheck(rate, (z, x, *values))


# The contraction


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


def random_masks(samples: int, number: int) -> Tensor:
    """Flags with at least one modality for each sample."""
    generator = torch.Generator().manual_seed(3)
    there = torch.rand(samples, number, generator=generator) < 0.5
    there[torch.arange(samples), torch.arange(samples) % number] = True
    return there


def block_norm(z: Tensor) -> Tensor:
    """The largest Euclidean norm of a block."""
    return z.norm(dim=-1).amax(-1)


def measured_contraction(law: pf.Dynamics, x: object, samples: int, seed: int = 0) -> float:
    """The largest quotient of distances after and before the cell, near and far, any direction."""
    with torch.no_grad():
        shape = (samples, *law.state_shape)
        worst = 0.0
        for size in (0.1, 1.0, 3.0):
            for step in (1e-4, 1e-1, 1.0):
                z = size * gaussian(*shape, seed=seed)
                other = z + step * gaussian(*shape, seed=seed + 1)
                change = other - z
                for _ in range(5):  # towards the direction that is stretched most
                    stretched = cell(law, z + change, x) - cell(law, z, x)
                    quotient = block_norm(stretched) / block_norm(change)
                    worst = max(worst, float(quotient.max()))
                    change = stretched / block_norm(stretched)[:, None, None] * step
        return worst


def cell(law: pf.Dynamics, z: Tensor, x: object) -> Tensor:
    return law.rate(torch.zeros(()), z, x) + z  # type: ignore[arg-type]


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


# What is refused


def test_groups_that_do_not_divide_the_width() -> None:
    with pytest.raises(ValueError, match=r"`groups` must divide the width 10, got 4"):
        pf.DEQ(2, 10)
    assert pf.DEQ(2, 10, norm="rms").width == 10


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"modalities": 0}, "`modalities` must be a whole number >= 1, got 0"),
        ({"width": 2.0}, r"`width` must be a whole number >= 1, got 2\.0"),
        ({"order": "norm"}, r"`order` must be one of \['relu-norm', 'norm-relu'\], got 'norm'"),
        ({"norm": "batch"}, r"`norm` must be one of \['group', 'rms', 'none'\], got 'batch'"),
    ],
)
def test_options_that_do_not_exist(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pf.DEQ(**{"modalities": 2, "width": 8, **options})  # type: ignore[arg-type]


@pytest.mark.parametrize("gamma", [0.0, 1.0, -1, True])
def test_a_contraction_that_is_none(gamma: float) -> None:
    with pytest.raises(ValueError, match="`contraction` must be between 0 and 1, got"):
        pf.ContractiveDEQ(2, 8, contraction=gamma)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (None, r"tensor of shape \(4, 2, 8\).*got NoneType"),
        (torch.zeros(4, 3, 8), r"tensor of shape \(4, 2, 8\).*got \(4, 3, 8\)"),
        (torch.zeros(4, 2, 8, dtype=torch.long), "floating dtype, got torch.int64"),
        ({"feature": torch.zeros(4, 2, 8)}, r"unknown keys \['feature'\]"),
        (
            {"features": torch.zeros(4, 2, 8), "present": torch.ones(4, 2)},
            r"`x\['present'\]` must be bool of shape \(4, 2\), got torch.float32",
        ),
        (torch.zeros(4, 2, 8, dtype=f64), "`x` must be as `u0`, torch.float32"),
    ],
)
def test_inputs_that_are_none(x: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pf.unroll(pf.DEQ(2, 8), torch.zeros(4, 3, 8), 1, x=x)  # type: ignore[arg-type]


def test_states_that_are_none() -> None:
    x = torch.zeros(4, 2, 8)
    with pytest.raises(ValueError, match=r"`u0` must end in \(3, 8\), .* got \(4, 2, 8\)"):
        pf.unroll(pf.DEQ(2, 8), torch.zeros(4, 2, 8), 1, x=x)
    with pytest.raises(ValueError, match=r"`u0` must be as the law's parameters, torch.float32"):
        pf.unroll(pf.DEQ(2, 8), torch.zeros(4, 3, 8, dtype=f64), 1, x=x)
