"""Features become fields and come back; the map is the documented one, and says no in words."""

import math
from collections.abc import Mapping

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import pnpfusion as pf
from pnpfusion.fields import FeatureMap
from tests.registry import f64

DIMS = {"audio": 5, "motion": 3}


def grid(cells: int, *, graded: bool = False) -> pf.Grid:
    edges = None
    if graded:
        edges = (tuple((i / cells) ** 2 * 2.0 for i in range(cells + 1)),)
    return pf.Grid((cells,), (2.0,), ("wall",), edges=edges)


def random_features(
    dims: Mapping[str, int],
    batch: tuple[int, ...] = (),
    dtype: torch.dtype = f64,
    seed: int = 0,
) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.randn((*batch, n), dtype=dtype, generator=generator) for name, n in dims.items()
    }


@settings(deadline=None, max_examples=60)
@given(
    widths=st.lists(st.integers(1, 40), min_size=1, max_size=4),
    spare=st.integers(0, 40),
    batch=st.lists(st.integers(1, 3), max_size=2),
    graded=st.booleans(),
    double=st.booleans(),
    background=st.sampled_from([0.0, 0.3, 1.0, 7.0]),
    seed=st.integers(0, 2**31),
)
def test_features_come_back(
    widths: list[int],
    spare: int,
    batch: list[int],
    graded: bool,
    double: bool,
    background: float,
    seed: int,
) -> None:
    dims = {f"m{k}": n for k, n in enumerate(widths)}
    dtype = f64 if double else torch.float32
    mapping = FeatureMap(dims, grid(max(widths) + spare, graded=graded), background=background)
    given_features = random_features(dims, tuple(batch), dtype, seed)
    c = mapping.fields(given_features)
    assert c.shape == (*batch, 2 * len(dims), mapping.cells)
    assert c.dtype == dtype
    assert (c >= background * (1 - 1e-6)).all()
    back = mapping.features(c)
    assert list(back) == list(dims)
    for name, values in given_features.items():
        slack = 20 * torch.finfo(dtype).eps * (background + values.abs().max())
        assert (back[name] - values).abs().max() <= slack


def test_the_map_is_the_documented_one() -> None:
    mapping = FeatureMap({"a": 3, "b": 2}, grid(7), background=2.0)
    a, b = torch.tensor([1.0, -3.0, 0.0], dtype=f64), torch.tensor([-0.5, 4.0], dtype=f64)
    c = mapping.fields({"a": a, "b": b})
    for values, rows in ((a, c[:2]), (b, c[2:])):
        n = len(values)
        for j in range(7):
            f = float(values[math.floor(j * n / 7)])
            assert rows[:, j].tolist() == [2 + max(f, 0), 2 + max(-f, 0)]


def test_as_many_cells_as_features_is_enough() -> None:
    mapping = FeatureMap({"a": 7}, grid(7))
    a = random_features({"a": 7})["a"]
    cation, anion = mapping.fields({"a": a})
    torch.testing.assert_close(cation - anion, a)


def test_a_pair_of_species_per_modality() -> None:
    mapping = FeatureMap(DIMS, grid(8), valence={"motion": 2.0})
    species = mapping.species(diffusivity={"audio": 0.5, "audio anion": 0.2})
    assert [one.name for one in species] == list(mapping.names)
    assert mapping.names == ("audio cation", "audio anion", "motion cation", "motion anion")
    assert [one.valence for one in species] == [1.0, -1.0, 2.0, -2.0]
    assert [one.diffusivity for one in species] == [0.5, 0.2, 1.0, 1.0]
    assert [one.diffusivity for one in mapping.species(diffusivity=3.0)] == [3.0] * 4


@pytest.mark.parametrize("boundary", ["periodic", "wall"])
@pytest.mark.parametrize("dtype", [torch.float32, f64], ids=str)
def test_a_floating_cell_is_neutralised(boundary: str, dtype: torch.dtype) -> None:
    box = pf.Grid((24,), (1.0,), ("periodic" if boundary == "periodic" else "wall",))
    mapping = FeatureMap(DIMS, box, valence={"audio": 2.0, "motion": 0.5})
    c = mapping.fields(random_features(DIMS, (3, 2), dtype))
    extra = mapping.neutralising_charge(c)
    assert extra.shape == (3, 2)
    cell = pf.PNP(box, mapping.species(), permittivity=0.5, fixed_charge=extra)
    run = pf.simulate(cell, c, torch.linspace(0, 1e-3, 3))
    assert run.succeeded.all()
    assert run.ledger.charge.abs().max() < 100 * torch.finfo(dtype).eps


def test_charge_counts_cells_by_their_width() -> None:
    mapping = FeatureMap({"a": 4}, grid(9, graded=True))
    c = mapping.fields({"a": torch.tensor([1.0, -2.0, 0.5, 3.0], dtype=f64)})
    charge = (mapping.grid.weights * (c[0] - c[1])).sum() / 2.0
    torch.testing.assert_close(mapping.neutralising_charge(c), -charge)


def test_valences_may_differ_between_samples() -> None:
    z = torch.tensor([1.0, 2.0], dtype=f64)
    mapping = FeatureMap({"a": 4}, grid(8), valence=z)
    c = mapping.fields({"a": torch.ones(2, 4, dtype=f64)})
    assert mapping.neutralising_charge(c).tolist() == [-1.0, -2.0]
    cell = pf.PNP(
        mapping.grid,
        mapping.species(),
        permittivity=100.0,
        fixed_charge=mapping.neutralising_charge(c),
    )
    cell.check_state("c", c)


def test_gradients() -> None:
    mapping = FeatureMap(DIMS, grid(7, graded=True), valence=2.0)
    a, b = random_features(DIMS, (2,)).values()

    def forth_and_back(a: Tensor, b: Tensor) -> tuple[Tensor, ...]:
        c = mapping.fields({"audio": a, "motion": b})
        return (c, *mapping.features(c).values(), mapping.neutralising_charge(c))

    assert torch.autograd.gradcheck(forth_and_back, (a.requires_grad_(), b.requires_grad_()))


def test_the_gradient_at_zero_is_that_of_the_identity() -> None:
    mapping = FeatureMap({"a": 3}, grid(6))
    zero = torch.zeros(3, dtype=f64, requires_grad=True)
    mapping.features(mapping.fields({"a": zero}))["a"].sum().backward()
    assert zero.grad is not None
    torch.testing.assert_close(zero.grad, torch.ones(3, dtype=f64))


# ---- what is refused


@pytest.mark.parametrize(
    ("dims", "options", "message"),
    [
        ({}, {}, "`dims` must map at least one modality .* got {}"),
        ({"a": 0}, {}, r"`dims\['a'\]` must be a whole number .* got 0; leave an empty"),
        ({"a": 2.5}, {}, r"`dims\['a'\]` must be a whole number of features >= 1, got 2.5"),
        ({"a": 9}, {}, "`grid` has 8 cells, fewer than the 9 features of 'a'.* give it 9 cells"),
        ({"a": 2}, {"background": -1.0}, "`background` must be finite and >= 0, got -1.0"),
        ({"a": 2}, {"background": math.nan}, "`background` must be finite and >= 0, got nan"),
        ({"a": 2}, {"valence": -1.0}, "`valence` of 'a' must be finite and > 0, got -1.0; anions"),
        (
            {"a": 2},
            {"valence": {"b": 1.0}},
            r"`valence` has unknown modalities \['b'\]; known are \['a'\]",
        ),
    ],
)
def test_a_map_that_cannot_be(
    dims: dict[str, int], options: dict[str, float], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        FeatureMap(dims, grid(8), **options)


def test_a_map_needs_one_axis() -> None:
    plane = pf.Grid((4, 4), (1.0, 1.0), ("wall", "wall"))
    with pytest.raises(ValueError, match=r"`grid` must be a Grid of one axis, got \(4, 4\)"):
        FeatureMap({"a": 2}, plane)


def features(**changes: object) -> dict[str, Tensor]:
    changed = random_features(DIMS) | changes
    return {name: value for name, value in changed.items() if value is not None}  # type: ignore[misc]


@pytest.mark.parametrize(
    ("given_features", "message"),
    [
        (
            torch.zeros(5),
            r"`features` must map modalities to tensors, got Tensor; wanted \['audio'",
        ),
        (features(motion=None), r"`features` lacks \['motion'\]; give each of"),
        (
            features(smell=torch.zeros(2)),
            r"unknown modalities \['smell'\]; known are \['audio'",
        ),
        (features(audio=[1.0]), r"`features\['audio'\]` must be a torch.Tensor, got list"),
        (features(audio=torch.zeros(5).half()), "must be float32 or float64, got torch.float16"),
        (features(audio=torch.zeros(5).long()), r"got torch.int64; convert it, e.g. with .double"),
        (
            features(audio=torch.zeros(4)),
            r"`features\['audio'\]` must be \(\*batch, 5\), got \(4,\)",
        ),
        (features(audio=torch.tensor(1.0)), r"must be \(\*batch, 5\), got \(\)"),
        (features(motion=torch.tensor([0, math.nan, 0])), r"must be finite, got nan at \(1,\)"),
        (features(motion=torch.tensor([0, 0, math.inf])), r"must be finite, got inf at \(2,\)"),
        (
            features(audio=torch.zeros(5)),
            "one dtype, got torch.float32 for 'audio' and torch.float64",
        ),
        (
            features(audio=torch.zeros(2, 5, dtype=f64)),
            r"same batch axes, got \(2,\) for 'audio' and",
        ),
    ],
)
def test_features_that_do_not_fit(given_features: dict[str, Tensor], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FeatureMap(DIMS, grid(8)).fields(given_features)


@pytest.mark.parametrize(
    ("c", "message"),
    [
        (torch.zeros(4, 7), r"`c` must end in the grid's shape \(8,\), got \(4, 7\)"),
        (torch.zeros(3, 8), r"`c` must be \(\*batch, 4, 8\), a cation and an anion per modality"),
        (torch.zeros(8), r"`c` must be \(\*batch, 4, 8\).* got \(8,\)"),
        (torch.zeros(4, 8).half(), "`c` must be float32 or float64, got torch.float16"),
    ],
)
def test_fields_that_do_not_fit(c: Tensor, message: str) -> None:
    mapping = FeatureMap(DIMS, grid(8))
    for reader in (mapping.features, mapping.neutralising_charge):
        with pytest.raises(ValueError, match=message):
            reader(c)


def test_a_diffusivity_of_nobody() -> None:
    with pytest.raises(ValueError, match=r"`diffusivity` has unknown names \['x'\]; known are"):
        FeatureMap(DIMS, grid(8)).species(diffusivity={"x": 1.0})
