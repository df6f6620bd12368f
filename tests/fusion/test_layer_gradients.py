"""Gradients of every fusion layer, however it is used."""

from __future__ import annotations

import pytest
import torch

import pnpfusion as pf
from tests.fusion.every_layer import every_layer, features, gradients, make, rows, same

#: Layers without data-dependent control flow compile into one graph.
ONE_GRAPH = {"Concat", "Attention", "GMF", "GMF before Concat"}


@every_layer
def test_gradients_reach_every_parameter_and_input(name: str) -> None:
    layer = make(name)
    given = {k: f.requires_grad_() for k, f in features(3).items()}
    fused, info = layer(given, return_info=True)
    (fused.square().sum() + sum(info.losses.values())).backward()
    for k, p in layer.named_parameters():
        assert p.grad is not None, k
        assert p.grad.isfinite().all(), k
        assert p.grad.any(), k
    for k, f in given.items():
        assert f.grad is not None, k
        assert f.grad.any(1).all(), k


@every_layer
def test_two_forwards_before_one_backward(name: str) -> None:
    first, second = features(3), features(2, seed=1)
    apart, together = make(name), make(name)
    for x in (first, second):
        apart(x).square().sum().backward()
    one, two = together(first), together(second)
    (one.square().sum() + two.square().sum()).backward()
    torch.testing.assert_close(gradients(together), gradients(apart), rtol=1e-10, atol=1e-10)


@every_layer
def test_gradients_of_parts_add_up(name: str) -> None:
    given = features(4)
    whole, parts = make(name), make(name)
    whole(given).square().sum().backward()
    for which in (slice(0, 1), slice(1, 4)):
        parts(rows(given, which)).square().sum().backward()
    torch.testing.assert_close(gradients(parts), gradients(whole), rtol=1e-9, atol=1e-9)


@every_layer
def test_a_layer_used_twice_has_the_gradient_of_both_uses(name: str) -> None:
    """Against a copy of it for the second use, on features made from the first's answer."""
    given = features(3)

    def run(first: pf.fusion.FusionLayer, second: pf.fusion.FusionLayer) -> None:
        fused = first(given)
        again = {k: f + fused[:, : f.shape[1]] for k, f in given.items()}
        second(again).square().sum().backward()

    layer, one, two = make(name), make(name), make(name)
    run(layer, layer)
    run(one, two)
    first, second = gradients(one), gradients(two)
    assert first.keys() == second.keys() == gradients(layer).keys()
    wanted = {k: first[k] + second[k] for k in first}
    torch.testing.assert_close(gradients(layer), wanted, rtol=1e-9, atol=1e-9)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
@every_layer
@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_a_compiled_layer_is_the_same(name: str, backend: str) -> None:
    torch.compiler.reset()
    layer, twin, given = make(name), make(name), features(3)
    flags = {"video": torch.tensor([True, True, False])}
    compiled = torch.compile(twin, backend=backend, fullgraph=name in ONE_GRAPH)
    for present in (None, flags):
        wanted = layer(given, present=present)
        found = compiled(given, present=present)
        same(found, wanted)
        wanted.square().sum().backward()
        found.square().sum().backward()
    torch.testing.assert_close(gradients(twin), gradients(layer), rtol=1e-9, atol=1e-9)
