"""GMF: what can be read back, folding it away, and what the loss reaches."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import pnpfusion as pf
from tests.fusion.gmf_layers import DIMS, NAMES, features, gmf

# what can be read back


def least_squares_residual(of: Tensor, target: Tensor) -> float:
    """The largest error of the best affine map from one to the other."""
    design = torch.cat([of, torch.ones_like(of[:, :1])], 1)
    best = torch.linalg.lstsq(design, target).solution
    return float((design @ best - target).detach().abs().max())


@pytest.mark.parametrize("name", NAMES)
def test_features_can_be_read_back_from_the_exchanged_parts(name: str) -> None:
    given = features(batch=4 * 8)
    stages = gmf().stages(given)
    assert least_squares_residual(stages.exchanged[name], given[name]) < 1e-10


def test_features_can_be_read_back_from_the_specific_part_alone() -> None:
    """So a reconstruction without error says nothing about the invariants."""
    given = features(batch=32)
    enough = gmf(magnification=2, boundary=0.5).stages(given)
    for name in NAMES:
        assert least_squares_residual(enough.specific[name], given[name]) < 1e-10
    with pytest.warns(UserWarning, match="full rank"):
        layer = gmf(magnification=2, boundary=0.75)
    assert least_squares_residual(layer.stages(given).specific["audio"], given["audio"]) > 0.1


def test_training_brings_the_reconstruction_loss_down() -> None:
    layer, given = gmf(), features(batch=32)
    adam = torch.optim.Adam(layer.parameters(), lr=1e-2)
    losses = []
    for _ in range(300):
        loss = layer(given, return_info=True)[1].losses["reconstruction"]
        adam.zero_grad()
        loss.backward()
        adam.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 1e-5 * losses[0]


def test_reconstruction_loss_is_the_sum_of_mean_squares() -> None:
    given = features()
    found = gmf().stages(given).reconstructed
    wanted = sum((found[name] - given[name]).square().mean() for name in NAMES)
    _, info = gmf()(given, return_info=True)
    torch.testing.assert_close(info.losses["reconstruction"], wanted, rtol=1e-14, atol=0)
    assert info.succeeded.all()
    assert (info.iterations == 0).all()


# folding


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("out_dim", [None, 7])
def test_folding_keeps_the_output(bias: bool, out_dim: int | None) -> None:
    layer = gmf(DIMS, out_dim, bias=bias)
    folded = layer.fold()
    torch.testing.assert_close(folded(features()), layer(features()), rtol=1e-12, atol=1e-12)
    whole, short = layer.stages(features()), folded.stages(features())
    for part in ("invariant", "specific"):
        torch.testing.assert_close(
            getattr(short, part), getattr(whole, part), rtol=1e-12, atol=1e-12
        )
    assert short.reconstructed == {}
    assert folded(features(), return_info=True)[1].losses == {}
    assert "folded" in repr(folded)
    assert "folded" not in repr(layer)


def test_folding_keeps_the_back_end_and_touches_nothing() -> None:
    layer = gmf(backend=pf.fusion.Concat(DIMS, 2).double())
    before = {k: v.clone() for k, v in layer.state_dict().items()}
    folded = layer.fold()
    torch.testing.assert_close(folded(features()), layer(features()), rtol=1e-12, atol=1e-12)
    with torch.no_grad():
        for parameter in folded.parameters():
            parameter.zero_()
    assert all(torch.equal(before[k], v) for k, v in layer.state_dict().items())
    torch.testing.assert_close(folded.fold()(features()), folded(features()))


# what the loss reaches


def loss_gradients(detach: str) -> tuple[list[Tensor | None], pf.fusion.GMF, dict[str, Tensor]]:
    layer = gmf(detach=detach)
    given = {name: f.requires_grad_() for name, f in features().items()}
    loss = layer(given, return_info=True)[1].losses["reconstruction"]
    loss.backward()
    return [f.grad for f in given.values()], layer, given


def test_detached_input_keeps_the_loss_from_the_features() -> None:
    grads, layer, _ = loss_gradients("input")
    assert grads == [None] * 3
    assert all(p.grad is not None and p.grad.any() for p in layer.parameters())


def test_detached_input_leaves_the_task_alone() -> None:
    grads = {}
    for detach in ("input", "none"):
        given = {name: f.requires_grad_() for name, f in features().items()}
        fused, _ = gmf(detach=detach)(given, return_info=True)
        grads[detach] = torch.autograd.grad(fused.square().sum(), [*given.values()])
    torch.testing.assert_close(grads["input"], grads["none"], rtol=0, atol=0)


def test_detached_target_leaves_the_path_through_the_reconstruction() -> None:
    """The whole gradient is that path and the target's own, -2 (found - f) / numel."""
    target, _, _ = loss_gradients("target")
    none, layer, given = loss_gradients("none")
    found = layer.stages(given).reconstructed
    for through, whole, name in zip(target, none, NAMES, strict=True):
        error = (found[name] - given[name]).detach()
        assert through is not None
        torch.testing.assert_close(
            whole, through - 2 * error / error.numel(), rtol=1e-12, atol=1e-15
        )
