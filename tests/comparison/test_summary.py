"""What is said of a comparison, as numbers and as a figure."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import pnpfusion as pf
from pnpfusion.comparison import Cell, Comparison, SetPlan
from pnpfusion.comparison.set_plan import Facts
from pnpfusion.comparison.summary import summarise
from tests.comparison.small_plans import plan
from tests.tiny_sets import tiny


def made(score: float, valid: float) -> dict[str, Any]:
    """A record with nothing but scores."""
    return {
        "score": "accuracy",
        "samples": {"test": 9},
        "valid": {"accuracy": valid, "loss": 1.0},
        "test": {"accuracy": score},
        "noise": {},
        "parameters": 1,
        "times": {"training_seconds": 1.0, "ms_per_sample": 1.0},
    }


def test_the_variation_is_chosen_by_validation_for_each_seed_and_fold() -> None:
    asked = plan(
        sets=(SetPlan("tiny", 2),), models=("concat",), tuning=({}, {"epochs": 2}), noise=()
    )
    facts = {"tiny": Facts.of(tiny("classes"))}
    found = {}
    for seed in (0, 1):
        for fold in (0, 1):
            for k, score in enumerate((0.9, 0.4)):  # the test would choose the first
                valid = 0.8 if k == (seed + fold) % 2 else 0.7
                found[Cell("tiny", fold, "concat", k, seed)] = made(score, valid)
    ((row,),) = (one.rows for one in summarise(asked, facts, found))
    assert row.chosen == {"0": 2, "1": 2}
    assert row.measures["accuracy"].mean == pytest.approx(0.65)
    del found[Cell("tiny", 1, "concat", 1, 1)]  # now the second seed is not complete
    ((row,),) = (one.rows for one in summarise(asked, facts, found))
    assert (row.done, row.of, row.measures["accuracy"].seeds) == (3, 4, 1)


def test_a_record_without_what_all_records_have_is_none() -> None:
    asked = plan(sets=("tiny",), models=("concat",), noise=())
    facts = {"tiny": Facts.of(tiny("classes"))}
    cells = [Cell("tiny", 0, "concat", 0, seed) for seed in asked.seeds]
    whole = made(0.5, 0.5)  # "health" is of some models only
    ((row,),) = (one.rows for one in summarise(asked, facts, dict.fromkeys(cells, whole)))
    assert "iterations" not in row.measures
    assert row.measures["ms_per_sample"].mean == 1
    for broken in (
        {name: value for name, value in whole.items() if name != "times"},
        {**whole, "times": {"training_seconds": 1.0}},
    ):
        with pytest.raises(KeyError):
            summarise(asked, facts, dict.fromkeys(cells, broken))
    with_absent = {**whole, "without": {"a": {"accuracy": 0.4}}}
    with pytest.raises(KeyError, match="without"):
        summarise(asked, facts, {cells[0]: with_absent} | dict.fromkeys(cells[1:], whole))


def test_differences_are_of_seeds_that_both_have() -> None:
    asked = plan(sets=("tiny",), seeds=(0, 1, 2), noise=())
    facts = {"tiny": Facts.of(tiny("classes"))}
    found = {Cell("tiny", 0, "concat", 0, seed): made(0.1 * seed, 0.5) for seed in (0, 1, 2)}
    found |= {Cell("tiny", 0, "gmf", 0, seed): made(0.1 * seed + 0.02, 0.5) for seed in (1, 2)}
    (summary,) = summarise(asked, facts, found)
    difference = summary.rows[1].difference
    assert difference is not None
    assert difference.interval.seeds == 2
    assert difference.interval.mean == pytest.approx(0.02)
    assert (difference.p, difference.least_p) == (0.5, 0.5)
    empty = summarise(asked, facts, {})
    assert [row.measures for row in empty[0].rows] == [{}, {}]


def test_the_figure_says_who_is_better(whole: tuple[Path, Comparison], tmp_path: Path) -> None:
    asked = plan(sets=("tiny",), seeds=(0, 1, 2), models=("concat", "gmf", "deq", "constant"))
    facts = {"tiny": Facts.of(tiny("classes"))}
    found = {}
    for seed in (0, 1, 2):
        for model, score in (("concat", 0.7), ("gmf", 0.9), ("deq", 0.6), ("constant", 0.1)):
            found[Cell("tiny", 0, model, 0, seed)] = made(score + 0.01 * seed**2 % 0.03, 0.5)
    figure = pf.visualize.plot_comparison(summarise(replace(asked, noise=()), facts, found))
    assert figure.get_suptitle() == "Of 3 comparisons with concat, 1 better, 2 worse, 0 open"
    left, right = figure.axes
    assert "highest with gmf, 0.9" in left.get_title(loc="left")
    assert right.get_title(loc="left").startswith("gmf with all")
    assert left.get_xlim()[0] > 0.3  # the constant does not stretch it
    pf.visualize.plot_comparison(whole[1].sets).savefig(tmp_path / "small.png")
    assert (tmp_path / "small.png").stat().st_size > 5000
    with pytest.raises(ValueError, match="at least one with a result"):
        pf.visualize.plot_comparison(summarise(asked, facts, {}))
