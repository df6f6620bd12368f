"""The paper's deep-equilibrium cell, block by block, and what no cell takes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import pnpfusion as pf
from tests.dynamics.deq_cells import gaussian, jacobian, shuffled
from tests.registry import f64

MADE = {(3, 500): 2_014_000, (2, 512): 1_583_104, (2, 768): 3_554_304}


MADE |= {(3, 64): 34_560, (3, 32): 9_088, (2, 8): 544}


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
            r"`x\['present'\]` must be a bool tensor of shape \(4, 2\), got torch.float32",
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
