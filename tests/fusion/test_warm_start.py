"""Solves of fusion layers that begin where they are told."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

import pnpfusion as pf
from pnpfusion.fusion import FusionInfo, WarmStart
from tests.dynamics.deq_cells import gaussian
from tests.dynamics.deq_laws import paper

DIMS = {"audio": 8, "motion": 8}
LAYERS = {
    "paper": lambda: pf.fusion.DEQ(DIMS, 8, cell=paper(0, 2, 8), jacobian_probes=0),
    "contractive": lambda: pf.fusion.DEQ(DIMS, 8),
    "progressive": lambda: pf.fusion.Progressive(DIMS, 8, rounds=None),
}
each_layer = pytest.mark.parametrize("name", LAYERS)


def made(name: str, tol: float = 1e-11) -> pf.fusion.FusionLayer:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layer = LAYERS[name]().double()
    layer.tol = tol
    return layer


def samples(count: int = 6) -> dict[str, Tensor]:
    return {name: gaussian(count, d, seed=k) for k, (name, d) in enumerate(DIMS.items())}


def call(
    layer: pf.fusion.FusionLayer, inputs: dict[str, Tensor], start: Tensor | None = None
) -> tuple[Tensor, FusionInfo]:
    return layer(inputs, start=start, return_info=True)  # type: ignore[no-any-return]


@each_layer
def test_the_answer_and_its_gradient_are_those_from_zero(name: str) -> None:
    layer, inputs = made(name), samples()
    weights = [*layer.parameters()]
    fused, info = call(layer, inputs)
    assert info.solution is not None
    near = info.solution.final + 1e-3 * gaussian(*info.solution.final.shape, seed=3)
    again, warm = call(layer, inputs, near.requires_grad_())
    assert warm.succeeded.all()
    assert warm.iterations.sum() < info.iterations.sum()
    torch.testing.assert_close(again, fused, rtol=1e-8, atol=1e-9)
    wanted = torch.autograd.grad(fused.sin().sum(), weights, allow_unused=True)
    got = torch.autograd.grad(again.sin().sum(), [*weights, near], allow_unused=True)
    assert got[-1] is None
    for one, other in zip(got, wanted, strict=False):
        if other is not None:
            torch.testing.assert_close(one, other, rtol=1e-7, atol=1e-8)


@each_layer
def test_where_a_sample_rests_it_stays(name: str) -> None:
    layer, inputs = made(name), samples()
    warm = WarmStart()
    assert warm.of(range(6)) is None
    fused, info = call(layer, inputs)
    warm.keep(torch.arange(6), info)
    start = warm.of(torch.arange(6))
    layer.tol = 1e-9
    again, second = call(layer, inputs, start)
    assert second.iterations.tolist() == [1] * 6
    torch.testing.assert_close(again, fused, rtol=1e-9, atol=1e-10)


def test_samples_are_known_by_their_number_whatever_the_order() -> None:
    layer, inputs = made("contractive"), samples()
    warm = WarmStart()
    _, info = call(layer, inputs)
    assert info.solution is not None
    warm.keep(torch.tensor([30, 31, 32, 33, 34, 35]), info)
    start = warm.of([35, 7, 30])
    assert start is not None
    assert torch.equal(start[0], info.solution.final[5])
    assert torch.equal(start[2], info.solution.final[0])
    assert not start[1].any()
    assert not start.requires_grad
    warm.clear()
    assert len(warm) == 0
    assert warm.of([35]) is None


def test_what_was_kept_longest_ago_is_forgotten_first() -> None:
    layer = made("contractive")
    warm = WarmStart(capacity=4)
    for numbers in ([0, 1, 2], [0, 3], [4]):
        _, info = call(layer, samples(len(numbers)))
        warm.keep(numbers, info)
    assert len(warm) == 4
    assert warm.of([1]) is None
    fewer, (_, info) = WarmStart(capacity=2), call(layer, samples(3))
    fewer.keep(range(3), info)
    assert info.solution is not None
    assert torch.equal(fewer.of([1, 2]), info.solution.final[1:])  # type: ignore[arg-type]
    for number in (2, 0, 3, 4):
        assert warm.of([number]) is not None


def test_states_without_success_are_not_kept() -> None:
    layer, inputs = made("contractive"), samples()
    warm = WarmStart()
    _, info = call(layer, inputs)
    failed = torch.tensor([False, True, True, False, True, True])
    warm.keep(range(6), replace(info, succeeded=failed))
    assert len(warm) == 4
    kept = warm.of([1])
    warm.keep(range(6), replace(call(layer, samples())[1], succeeded=torch.zeros(6).bool()))
    assert torch.equal(warm.of([1]), kept)  # type: ignore[arg-type]


def test_a_start_is_cast_to_the_layer() -> None:
    layer, inputs = made("contractive"), samples()
    start = call(layer, inputs)[1].solution.final  # type: ignore[union-attr]
    layer.float()
    layer.tol = 1e-5
    single = {name: values.float() for name, values in inputs.items()}
    fused, info = call(layer, single, start)
    assert fused.dtype == torch.float32
    assert info.iterations.max() == 1


def test_tokens_are_rows() -> None:
    layer = made("contractive")
    inputs = {name: gaussian(2, 3, d, seed=k) for k, (name, d) in enumerate(DIMS.items())}
    warm = WarmStart()
    _, info = call(layer, inputs)
    warm.keep(range(6), info)
    _, again = call(layer, inputs, warm.of(range(6)))
    assert again.iterations.shape == (2, 3)
    assert (again.iterations < info.iterations).all()


def test_wrong_starts_are_told() -> None:
    layer, inputs = made("contractive"), samples()
    with pytest.raises(ValueError, match=r"`start` must be a tensor of shape \(6, 3, 8\), got \(6"):
        layer(inputs, start=torch.zeros(6, 8))
    with pytest.raises(ValueError, match=r"`start` is for layers that iterate .* Concat"):
        pf.fusion.Concat(DIMS, 8).double()(inputs, start=torch.zeros(6, 3, 8))
    with pytest.raises(ValueError, match="`start` is for layers"):
        pf.fusion.DEQ(DIMS, 8, rounds=2).double()(inputs, start=torch.zeros(6, 3, 8))
    with pytest.raises(ValueError, match="`capacity` must be a whole number >= 1 or None, got 0"):
        WarmStart(capacity=0)
    info = call(layer, inputs)[1]
    with pytest.raises(ValueError, match="`index` must have a number for each of 6 rows, got 2"):
        WarmStart().keep([0, 1], info)
    with pytest.raises(ValueError, match="no `solution` in it"):
        WarmStart().keep([0, 1], FusionInfo.without_solve(2, torch.device("cpu")))


@pytest.mark.parametrize(
    "layer",
    [pf.fusion.Progressive(DIMS, 8, rounds=2), pf.fusion.PNP(DIMS, 8, channels=2, cells=8)],
    ids=["progressive", "pnp"],
)
def test_layers_that_take_no_start_are_refused_at_once(layer: pf.fusion.FusionLayer) -> None:
    warm, info = WarmStart(), call(layer.double(), samples())[1]
    assert info.solution is not None
    with pytest.raises(ValueError, match=r"iterates to an equilibrium, .* got one that takes no"):
        warm.keep(range(6), info)
    assert repr(warm) == "WarmStart(0 samples, capacity=None)"
    warm.keep(range(6), call(made("contractive"), samples())[1])
    assert repr(warm) == "WarmStart(6 samples, states (3, 8), capacity=None)"
