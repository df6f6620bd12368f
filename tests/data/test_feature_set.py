"""Sets of features: what they hold, and what cannot be one."""

from typing import Any

import pytest
import torch

from pnpfusion import data
from tests.registry import f64


def small(**changes: Any) -> data.Features:
    values = {"a": torch.tensor([[1.0, 0.1], [3.0, 0.1], [8.0, 0.1]], dtype=f64)}
    return data.Features("small", changes.pop("modalities", values), **changes)


def test_standardising() -> None:
    scaled = small().standardised().modalities["a"]
    torch.testing.assert_close(scaled[:, 0].mean(), torch.tensor(0.0, dtype=f64))
    torch.testing.assert_close(scaled[:, 0].square().mean(), torch.tensor(1.0, dtype=f64))
    assert (scaled[:, 1] == 0).all()  # constant, also where its mean is off by round-off


def test_standardising_needs_a_spread() -> None:
    with pytest.raises(ValueError, match="'small' has one sample, and standardising takes"):
        small().samples(0).standardised()


@pytest.mark.parametrize(
    ("selection", "rows"),
    [(1, [1]), (-1, [2]), (slice(1, 3), [1, 2]), ([2, 0], [2, 0]), (torch.tensor([1]), [1])],
    ids=str,
)
def test_choosing_samples(selection: Any, rows: list[int]) -> None:
    whole = small(target=torch.tensor([0, 1, 0]), class_names=("x", "y"))
    part = whole.samples(selection)
    assert torch.equal(part.modalities["a"], whole.modalities["a"][rows])
    assert part.target is not None
    assert part.target.tolist() == [[0, 1, 0][row] for row in rows]
    assert len(part) == len(rows)


@pytest.mark.parametrize(
    ("selection", "message"),
    [(3, "has samples 0 to 2, got 3"), ([0, -4], "got -4"), ([], "`selection` is empty")],
)
def test_samples_that_are_not_there(selection: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        small().samples(selection)


def test_names_are_numbered_if_not_given() -> None:
    assert small().feature_names == {"a": ("1", "2")}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"modalities": {}}, "`modalities` of 'small' is empty"),
        ({"modalities": {"a": [1.0]}}, r"`modalities\['a'\]` must be a torch.Tensor, got list"),
        ({"modalities": {"a": torch.zeros(2, 1).half()}}, "float32 or float64, got torch.float16"),
        ({"modalities": {"a": torch.zeros(2)}}, r"must be \(samples, features\) .* got \(2,\)"),
        (
            {"modalities": {"a": torch.zeros(2, 1), "b": torch.zeros(2, 1, dtype=f64)}},
            "must have one dtype",
        ),
        ({"target": [0, 1, 0]}, "`target` must be an int64 tensor of classes, .* got list"),
        ({"target": torch.zeros(3).half()}, "or a float one of numbers, got torch.float16"),
        ({"target": torch.tensor([0])}, r"`target` of classes must be \(3,\), .* got \(1,\)"),
        (
            {"target": torch.tensor([0, 1, 2]), "class_names": ("x", "y")},
            "`target` must count from 0 to 1, .* got 0 to 2",
        ),
        ({"target": torch.zeros(3, dtype=torch.bool)}, r"`target` of labels must be \(3, K\)"),
        (
            {"target": torch.zeros(3, 2), "class_names": ("x",)},
            r"must name each column of `target`, \(3, 2\), got 1",
        ),
        ({"target": torch.tensor([0.0, 1.0, float("nan")])}, "finite, but row 2 is not"),
        ({"splits": {"train": [0]}}, r"`splits\['train'\]` must be an int64 tensor"),
        ({"splits": {"train": torch.tensor([3])}}, "must name rows 0 to 2, got 3 to 3"),
        ({"splits": {"train": torch.tensor([], dtype=torch.long)}}, "has no rows; leave it out"),
        (
            {"splits": {"train": torch.tensor([0, 1]), "test": torch.tensor([1])}},
            "must not share samples, but row 1 is in 2 places",
        ),
        ({"feature_names": {"a": ("x",)}}, r"`feature_names\['a'\]` must hold 2 names, got 1"),
        (
            {"feature_names": {"b": ("x",)}},
            r"`feature_names` has unknown modalities \['b'\]; known are",
        ),
    ],
)
def test_a_set_that_cannot_be(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        small(**changes)


def test_what_is_asked_of_a_sample() -> None:
    assert small().task is None
    assert small(target=torch.tensor([0, 1, 0]), class_names=("x", "y")).task == "classes"
    assert small(target=torch.ones(3, 2, dtype=torch.bool)).task == "labels"
    assert small(target=torch.tensor([0.5, 1.0, -3.0])).task == "numbers"


def test_a_split_is_a_set_of_its_own() -> None:
    whole = small(splits={"train": torch.tensor([2, 0]), "test": torch.tensor([1])})
    part = whole.split("train")
    assert torch.equal(part.modalities["a"], whole.modalities["a"][[2, 0]])
    assert part.splits == {}
    with pytest.raises(ValueError, match=r"has splits \['train', 'test'\], got 'valid'"):
        whole.split("valid")


def test_tokens_are_standardised_together() -> None:
    values = torch.arange(12, dtype=f64).reshape(2, 3, 2)
    whole = small(modalities={"a": values})
    scaled = whole.standardised().modalities["a"]
    assert whole.dims == {"a": 2}
    torch.testing.assert_close(scaled.mean((0, 1)), torch.zeros(2, dtype=f64))
    torch.testing.assert_close(scaled.square().mean((0, 1)), torch.ones(2, dtype=f64))


def test_the_place_of_what_is_not_finite_is_named() -> None:
    values = torch.tensor([[0.0, 1.0], [2.0, float("inf")]])
    with pytest.raises(ValueError, match=r"got inf in row 1, column 1 \(pitch\)"):
        small(modalities={"a": values}, feature_names={"a": ("loudness", "pitch")})
