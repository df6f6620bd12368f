"""Cases of a sweep: which there are, and what each is called."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import pnpfusion as pf
from pnpfusion.sweeps.cases import expand, in_blocks, name_of
from tests.sweeps.swept import decays


def test_a_plan_is_all_combinations_and_then_the_cases() -> None:
    found = expand({"a": 1, "grid": {"b": [1, 2], "c": ["x", None]}, "cases": [{"a": 3}, {"b": 1}]})
    assert found == [
        {"a": 1, "b": 1, "c": "x"},
        {"a": 1, "b": 1, "c": None},
        {"a": 1, "b": 2, "c": "x"},
        {"a": 1, "b": 2, "c": None},
        {"a": 3},
        {"a": 1, "b": 1},
    ]
    assert expand([{"a": 1}]) == [{"a": 1}]


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        ({"voltage": [1]}, r'neither "grid" nor "cases", but \[\'voltage\'\]; wanted e.g.'),
        ({"grid": [1]}, r'"grid" must map names to lists .*, got \[1\]'),
        ({"grid": {}}, '"grid" must map names to lists'),
        ({"grid": {"a": 1}}, "\"grid\" must give 'a' a list of at least one value, .* got 1"),
        ({"grid": {"a": []}}, "\"grid\" must give 'a' a list of at least one value"),
        ({"a": 1, "grid": {"a": [1]}}, r"\['a'\] stand both in \"grid\" and beside it"),
        ({"cases": {}}, '"cases" must be a list of at least one case'),
        ({"cases": [1]}, '"cases" must hold dicts .*, got 1 at 0'),
        ([], '"cases" must be a list of at least one case'),
        ([{"a": float("nan")}], "must give 'a' a finite number, .* got nan"),
        ([{"a": torch.ones(2)}], r"got tensor.* \(Tensor\); of tensors and arrays take .tolist"),
        ([{1: 2}], "must have names that are text, got 1"),
    ],
)
def test_a_plan_that_cannot_be_read(tmp_path: Path, plan: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"`cases` cannot be read: .*{message}"):
        pf.sweep(decays, plan, tmp_path)


def test_blocks_hold_what_is_alike_and_nothing_twice() -> None:
    cases = [{"a": a, "b": b} for b in range(5) for a in (0, 1)] + [{"a": 0, "b": 0}]
    blocks = in_blocks(cases, ["a"], 2)
    assert blocks == [[0, 2], [1, 3], [4, 6], [5, 7], [8], [9]]


def test_a_name_is_that_of_the_parameters_alone() -> None:
    assert name_of({"a": 1, "b": 2}) == name_of({"b": 2, "a": 1})
    assert name_of({"a": 1}) != name_of({"a": 1.5})
