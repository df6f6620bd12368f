"""Products of modalities: what sharing a potential is for."""

from __future__ import annotations

import pytest
import torch

import pnpfusion as pf
from benchmarks import interaction as benchmark

DIMS = {"a": 16, "b": 16}
SHARED = ["PNP, equilibrium", "PNP, transient"]
APART = [f"{name}, uncoupled" for name in SHARED]


def test_both_classes_are_equally_frequent() -> None:
    made = pf.data.interaction(1001, generator=torch.Generator().manual_seed(0))
    assert made.dims == DIMS
    assert made.target is not None
    assert int(made.target.sum()) == 500
    again = pf.data.interaction(1001, generator=torch.Generator().manual_seed(0))
    assert torch.equal(again.modalities["b"], made.modalities["b"])


def test_the_class_is_the_sign_of_a_product() -> None:
    made = pf.data.interaction(4000, {"a": 1, "b": 1}, generator=torch.Generator().manual_seed(1))
    product = made.modalities["a"][:, 0] * made.modalities["b"][:, 0]
    high = made.target == 1
    assert bool(
        (product[high].min() >= product[~high].max())
        | (product[high].max() <= product[~high].min())
    )
    for values in made.modalities.values():  # one modality says nothing
        assert abs(float(values[high].mean() - values[~high].mean())) < 0.1


@pytest.mark.parametrize(
    ("samples", "dims", "message"),
    [
        (1, None, "`samples` must be >= 2"),
        (9, {"a": 3}, "`dims` must name two modalities"),
        (9, {"a": 3, "b": 0}, r"`dims\['b'\]` must be >= 1, got 0"),
    ],
)
def test_wrong_arguments_are_refused(
    samples: int, dims: dict[str, int] | None, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        pf.data.interaction(samples, dims, generator=torch.Generator())


@pytest.mark.parametrize("name", SHARED)
def test_shared_cells_learn_a_product(name: str) -> None:
    pytest.importorskip("numba", reason="training takes minutes without pnpfusion[fast]")
    train, test = benchmark.train(benchmark.LAYERS[name], 0, dims=DIMS, epochs=20)
    assert test >= 0.9, (train, test)


@pytest.mark.parametrize("name", [*APART, "Concat"])
def test_what_shares_nothing_does_not(name: str) -> None:
    pytest.importorskip("numba", reason="training takes minutes without pnpfusion[fast]")
    train, test = benchmark.train(benchmark.LAYERS[name], 0, dims=DIMS, epochs=10)
    assert test <= 0.56, (train, test)


@pytest.mark.parametrize("seed", range(1, 5))
@pytest.mark.parametrize(
    "name",
    [
        *(pytest.param(name, marks=pytest.mark.slow) for name in SHARED),
        *(pytest.param(name, marks=pytest.mark.long) for name in APART),
    ],
)
def test_every_seed_agrees(name: str, seed: int) -> None:
    pytest.importorskip("numba", reason="training takes minutes without pnpfusion[fast]")
    train, test = benchmark.train(benchmark.LAYERS[name], seed, dims=DIMS)
    assert test <= 0.56 if name in APART else test >= 0.9, (train, test)
