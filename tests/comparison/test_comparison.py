"""Comparisons: nothing is computed twice, nothing is lost, and nothing stops the rest."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pnpfusion.comparison import Cell, Comparison, Plan, SetPlan, compare
from pnpfusion.comparison.measure import opened
from pnpfusion.comparison.runner import CELLS, tasks_of
from pnpfusion.comparison.set_plan import Facts
from pnpfusion.comparison.workers import Failure, attempt
from pnpfusion.sweeps.folder import FolderError
from tests.comparison.small_plans import RECIPE, SMALL, plan, saved

not_on_windows = pytest.mark.skipif(sys.platform == "win32", reason="no such signals there")


def untimed(found: Comparison) -> list[Any]:
    """What must not change from run to run."""
    sets = found.to_json()["sets"]
    for row in (row for one in sets for row in one["rows"]):
        for name in ("training_seconds", "ms_per_sample"):
            row["measures"].pop(name, None)
    return list(sets)


def stamps(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in (folder / CELLS).glob("*.json")}


def test_a_record_has_all_that_is_compared(whole: tuple[Path, Comparison]) -> None:
    folder, found = whole
    (one,) = found.sets
    assert (one.score, one.reference, one.seeds, found.missing) == ("accuracy", "concat", 2, 0)
    assert {path.name for path in folder.iterdir()} == {
        *("plan.json", "cells", "comparison.json", "table.md", "table.csv")
    }
    concat, gmf = one.rows
    assert concat.difference is None
    assert gmf.difference is not None
    assert gmf.difference.interval.mean == pytest.approx(
        gmf.measures["accuracy"].mean - concat.measures["accuracy"].mean
    )
    wanted = {"f1_macro", "brier", "calibration_error", "without a", "without one", "noise all"}
    assert wanted | {"parameters", "ms_per_sample", "training_seconds"} <= {*gmf.measures}
    assert concat.measures["effective all"].mean == 0
    for row in (concat, gmf):
        some = row.measures
        lost = some["accuracy"].mean - (some["without a"].mean + some["without b"].mean) / 2
        assert some["lost without one"].mean == pytest.approx(lost)
        assert np.mean(row.scores) == pytest.approx(some["accuracy"].mean)
    assert untimed(Comparison.load(folder)) == untimed(found)
    shares = ("accuracy", "f1_macro", "calibration_error", "without a", "without one")
    bounds = [row.measures[name] for row in one.rows for name in shares]
    assert all(0 <= each.low <= each.mean <= each.high <= 1 for each in bounds)
    assert "Of two seeds such an interval is 18 times" in found.table
    for text in ("| concat", "| gmf", "accuracy", "minus concat", "1 variation"):
        assert text in found.table


def test_nothing_is_done_twice_and_a_plan_may_grow(
    whole: tuple[Path, Comparison], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, found = whole
    before, done = stamps(folder), []

    def counted(plan: Plan, cell: Cell, seconds: float | None) -> Any:
        done.append(cell)
        return attempt(plan, cell, seconds)

    monkeypatch.setattr("pnpfusion.comparison.workers.attempt", counted)
    assert untimed(compare(plan(), folder)) == untimed(found)
    assert not done
    grown = compare(plan(models=("concat", "gmf", "logistic"), seeds=(0, 1, 2)), folder)
    assert len(done) == 5
    assert grown.sets[0].seeds == 3
    assert {name: time for name, time in stamps(folder).items() if name in before} == before
    assert untimed(compare(plan(), folder)) == untimed(found)
    assert len(done) == 5


def test_another_set_recipe_or_width_is_another_cell() -> None:
    facts = {SMALL: Facts.of(opened(SMALL))}
    (first, *_) = tasks_of(plan(), facts)
    others = [
        plan(recipe=replace(RECIPE, epochs=4)),
        plan(width=9),
        plan(valid=0.3),
        plan(noise=(2.0,)),
        plan(sets=(SetPlan(SMALL, 2),)),
    ]
    names = {tasks_of(one, facts)[0].file for one in others}
    changed = {SMALL: replace(facts[SMALL], digest="another")}
    names.add(tasks_of(plan(), changed)[0].file)
    assert len(names | {first.file}) == 7
    tuned = tasks_of(plan(tuning=({"epochs": 9}, {})), facts)
    assert first.file in {one.file for one in tuned}  # found again, at another place


@pytest.mark.parametrize("harm", ["flip", "cut", "empty", "text", "other"])
def test_a_damaged_file_is_done_again(
    harm: str, whole: tuple[Path, Comparison], tmp_path: Path
) -> None:
    folder, found = whole
    (tmp_path / CELLS).mkdir()
    for path in (folder / CELLS).glob("*.json"):
        (tmp_path / CELLS / path.name).write_bytes(path.read_bytes())
    facts = {SMALL: Facts.of(opened(SMALL))}
    first, second, *_ = (task.file for task in tasks_of(plan(), facts))
    path = tmp_path / CELLS / first
    content = path.read_bytes()
    at = content.index(b'"accuracy": 0.') + len(b'"accuracy": 0.')
    flipped = content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]
    path.write_bytes(
        {
            "flip": flipped,
            "cut": content[: len(content) // 2],
            "empty": b"",
            "text": b"[1, 2]",
            "other": (tmp_path / CELLS / second).read_bytes(),
        }[harm]
    )
    before = stamps(tmp_path)
    assert untimed(compare(plan(), tmp_path)) == untimed(found)
    after = stamps(tmp_path)
    assert {name for name in after if after[name] != before[name]} == {first}


def test_a_failing_cell_is_told_and_does_not_stop_the_others(tmp_path: Path) -> None:
    doomed = plan(models=("concat", "gmf"), recipe=replace(RECIPE, class_weights=(1.0, 2.0, 3.0)))
    mixed = plan(
        models=("concat", "logistic"), tuning=({}, {"class_weights": [1.0, 2.0, 3.0]}), seeds=(0,)
    )
    found = compare(doomed, tmp_path / "doomed")
    assert found.missing == len(found.failures) == 4
    assert all("`class_weights` must be 2 numbers" in text for text in found.failures.values())
    assert [row.done for row in found.sets[0].rows] == [0, 0]
    found = compare(mixed, tmp_path / "mixed")
    assert [cell.variation for cell in found.failures] == [1]
    assert [row.done for row in found.sets[0].rows] == [0, 1]  # no choice without all variations
    assert "concat (0 of 1)" in found.table
    told = json.loads((tmp_path / "mixed" / "comparison.json").read_text())
    assert len(told["failures"]) == told["missing"] == 1


def test_two_workers_find_what_one_finds(whole: tuple[Path, Comparison], tmp_path: Path) -> None:
    assert untimed(compare(plan(), tmp_path, workers=2)) == untimed(whole[1])


@not_on_windows
def test_a_worker_that_dies_costs_its_cell_alone(tmp_path: Path) -> None:
    asked = plan(seeds=(0, 1), recipe=replace(RECIPE, epochs=60))

    def kill() -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if stamps(tmp_path) and (children := multiprocessing.active_children()):
                assert children[0].pid is not None
                os.kill(children[0].pid, signal.SIGKILL)
                return
            time.sleep(0.01)

    killer = threading.Thread(target=kill)
    killer.start()
    found = compare(asked, tmp_path, workers=2)
    killer.join()
    assert [*found.failures.values()] == ["its process ended by signal 9"]
    assert found.missing == 1
    again = compare(asked, tmp_path, workers=2)
    assert again.missing == 0


@not_on_windows
def test_a_cell_may_take_so_long_and_no_longer() -> None:
    asked = plan(recipe=replace(RECIPE, epochs=100_000))
    found = attempt(asked, Cell(SMALL, 0, "concat", 0, 0), 0.3)
    assert found == Failure("TimeUpError: not done after 0.3 seconds")
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)


def test_ctrl_c_keeps_what_is_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    count = []

    def stopped(plan: Plan, cell: Cell, seconds: float | None) -> Any:
        if len(count) == 2:
            raise KeyboardInterrupt
        count.append(cell)
        return attempt(plan, cell, seconds)

    with monkeypatch.context() as patch:
        patch.setattr("pnpfusion.comparison.workers.attempt", stopped)
        with pytest.raises(KeyboardInterrupt):
            compare(plan(), tmp_path)
    kept = stamps(tmp_path)
    assert len(kept) == 2
    assert compare(plan(), tmp_path).missing == 0
    assert kept.items() <= stamps(tmp_path).items()


def test_one_comparison_at_a_time_works_in_a_folder(tmp_path: Path) -> None:
    from pnpfusion.sweeps.folder import locked

    with (
        locked(tmp_path, shared=False, what="comparison"),
        pytest.raises(FolderError, match="another comparison"),
    ):
        compare(plan(), tmp_path)


def test_bad_arguments(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="`workers`"):
        compare(plan(), tmp_path, workers=0)
    with pytest.raises(ValueError, match="`max_seconds`"):
        compare(plan(), tmp_path, max_seconds=0)
    text = saved("numbers", tmp_path)
    with pytest.raises(ValueError, match="folds are of classes"):
        compare(plan(sets=(SetPlan(text, 3),)), tmp_path)
