"""Comparisons: every model sees the same, nothing is computed twice, and nothing stops the rest."""

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
import torch

import pnpfusion as pf
from pnpfusion.comparison import BASELINES, Cell, Comparison, Plan, SetPlan, compare
from pnpfusion.comparison.measure import measure, opened, splits_of
from pnpfusion.comparison.runner import CELLS, tasks_of
from pnpfusion.comparison.set_plan import Facts
from pnpfusion.comparison.summary import summarise
from pnpfusion.comparison.workers import Failure, attempt
from pnpfusion.data.scales import Scales
from pnpfusion.sweeps.folder import FolderError
from pnpfusion.training import Recipe
from pnpfusion.training.noise import noised
from tests.tiny_sets import TASKS, tiny

SMALL = "interaction:samples=150,width=4"
RECIPE = Recipe(epochs=3, batch=32, patience=None)
not_on_windows = pytest.mark.skipif(sys.platform == "win32", reason="no such signals there")


def plan(**changes: Any) -> Plan:
    given = {
        "sets": (SMALL,),
        "models": ("concat", "gmf"),
        "seeds": (0, 1),
        "recipe": RECIPE,
        "hidden": 8,
        "width": 8,
        "noise": (1.0,),
    }
    return Plan(**{**given, **changes})


def untimed(found: Comparison) -> list[Any]:
    """What must not change from run to run."""
    sets = found.to_json()["sets"]
    for row in (row for one in sets for row in one["rows"]):
        for name in ("training_seconds", "ms_per_sample"):
            row["measures"].pop(name, None)
    return list(sets)


def stamps(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in (folder / CELLS).glob("*.json")}


def saved(task: str, folder: Path) -> str:
    """A tiny set of a task as a file, without splits."""
    data = tiny(task, 90)
    assert data.target is not None
    arrays = {name: values.numpy() for name, values in data.modalities.items()}
    key = "target" if task == "numbers" else "label"
    path = folder / f"{task}.npz"
    np.savez(path, **arrays, **{key: data.target.numpy()})  # type: ignore[arg-type]
    return str(path)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Comparison]:
    folder = tmp_path_factory.mktemp("whole")
    return folder, compare(plan(), folder)


def test_the_room_is_public() -> None:
    assert pf.comparison.compare is compare


def test_a_plan_comes_back_from_its_file(tmp_path: Path) -> None:
    given = plan(
        sets=("htad", SetPlan("digits", 3)), tuning=({}, {"epochs": 2, "width": 16}), noise=()
    )
    text = json.dumps(given.to_json())
    (tmp_path / "plan.json").write_text(text)
    assert Plan.load(tmp_path / "plan.json") == given
    assert [one.folds for one in given.sets] == [5, 3]
    short = Plan.from_json({"sets": ["digits"], "models": ["pnp", "deq"], "seeds": 3})
    assert (short.seeds, short.against) == ((0, 1, 2), "pnp")


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ([], "a plan must be an object"),
        ({"sets": ["digits"]}, r"a plan must have \['models'\]"),
        ({"sets": ["digits"], "models": ["concat"], "seed": 3}, "did you mean 'seeds'"),
        ({"sets": ["digits"], "models": []}, "`models` must have at least one"),
        ({"sets": ["digits"], "models": ["pnp", "pnp"]}, "'pnp' twice"),
        ({"sets": ["digits"], "models": "pnp"}, "`models` of a plan must be a list"),
        ({"sets": ["digits"], "models": [3]}, "`models` must be names"),
        ({"sets": [3], "models": ["pnp"]}, "set of a plan must be an object"),
        ({"sets": [{"folds": 3}], "models": ["pnp"]}, "must have 'data'"),
        (
            {"sets": [{"data": "htad", "folds": 0}], "models": ["pnp"]},
            "`folds` must be a whole number",
        ),
        ({"sets": ["digits"], "models": ["pnp"], "seeds": [-1]}, "`seeds` must be a whole number"),
        ({"sets": ["digits"], "models": ["pnp"], "valid": 0}, "`valid` must be a share"),
        ({"sets": ["digits"], "models": ["pnp"], "noise": [1, 1]}, "`noise` must be levels"),
        ({"sets": ["digits"], "models": ["pnp"], "tuning": [{"epoch": 1}]}, "mean 'epochs'"),
        ({"sets": ["digits"], "models": ["pnp"], "tuning": [{"seed": 1}]}, "not change the seed"),
        ({"sets": ["digits"], "models": ["pnp"], "tuning": [3]}, "must be a list of objects"),
        (
            {"sets": ["digits"], "models": ["pnp"], "tuning": [{"width": 0}]},
            "`width` must be a whole number",
        ),
        ({"sets": ["digits"], "models": ["pnp"], "reference": "deq"}, "`reference` must be among"),
    ],
)
def test_a_bad_plan_is_refused(told: object, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Plan.from_json(told)


def test_stars_stand_for_each_modality_and_others_tasks_are_left_out(tmp_path: Path) -> None:
    asked = plan(models=("constant", "logistic:*", "ridge", "only:*", "svm:b", "concat"))
    classes, numbers = (Facts.of(tiny(task)) for task in ("classes", "numbers"))
    two = ["only:a", "only:b", "svm:b", "concat"]
    assert asked.models_of(classes) == ["constant", "logistic:a", "logistic:b", *two]
    assert asked.models_of(numbers) == ["constant", "ridge", *two]
    for name, words in (
        ("pmp", "did you mean 'pnp'"),
        ("svm:c", r"not there; there are \['a', 'b'\]"),
        ("only:c", "not there"),
        ("transformer", "there are"),
    ):
        with pytest.raises(ValueError, match=words):
            plan(models=(name,)).models_of(classes)


def test_folds_judge_every_sample_once_and_validation_moves_with_the_seed() -> None:
    data = opened("digits")
    asked = plan(sets=(SetPlan("digits", 4),))
    cut = {
        (seed, fold): splits_of(asked, Cell("digits", fold, "concat", 0, seed), data).splits
        for seed in (0, 1)
        for fold in range(4)
    }
    for seed in (0, 1):
        judged = torch.cat([cut[seed, fold]["test"] for fold in range(4)])
        assert torch.equal(judged.sort().values, torch.arange(len(data)))
    for fold in range(4):
        assert torch.equal(cut[0, fold]["test"], cut[1, fold]["test"])
        assert not torch.equal(cut[0, fold]["valid"], cut[1, fold]["valid"])
        together = torch.cat([*cut[0, fold].values()])
        assert torch.equal(together.sort().values, torch.arange(len(data)))


def test_a_sets_own_test_samples_stay() -> None:
    data, asked = tiny("classes"), plan(sets=("tiny",))
    data = replace(data, splits={name: data.splits[name] for name in ("train", "test")})
    first, second = (splits_of(asked, Cell("tiny", 0, "concat", 0, seed), data) for seed in (0, 1))
    assert torch.equal(first.splits["test"], data.splits["test"])
    assert torch.equal(second.splits["test"], data.splits["test"])
    assert not torch.equal(first.splits["valid"], second.splits["valid"])


def test_noise_is_the_same_for_every_model_and_level() -> None:
    data = tiny("classes")
    scales = Scales.of(data.split("train")).deviations
    one, two = (noised(data, scales, level, ["a", "b"], seed=3) for level in (1.0, 2.0))
    alone = noised(data, scales, 1.0, ["b"], seed=3)
    assert torch.equal(alone.modalities["b"], one.modalities["b"])
    assert torch.equal(alone.modalities["a"], data.modalities["a"])
    for name, values in data.modalities.items():
        first, second = (some.modalities[name] - values for some in (one, two))
        torch.testing.assert_close(second, 2 * first, rtol=1e-3, atol=1e-5)
    assert torch.equal(
        noised(data, scales, 0.0, ["a"], seed=3).modalities["a"], data.modalities["a"]
    )


@pytest.mark.parametrize(
    ("task", "name"),
    [
        *((task, "concat") for task in TASKS),
        *(
            (task, name)
            for kind, baseline in BASELINES.items()
            for name in (kind, f"{kind}:a")
            for task in baseline.tasks
        ),
    ],
)
def test_every_baseline_tells_every_task_it_can(name: str, task: str, tmp_path: Path) -> None:
    text = saved(task, tmp_path)
    found = measure(plan(sets=(text,), models=(name,)), Cell(text, 0, name, 0, 0))
    score = found["score"]
    assert score in found["test"]
    assert [*found["without"]] == ["a", "b"]
    assert found["noise"]["all"][0] == found["test"][score]
    if name.startswith("constant"):
        assert len({*found["noise"]["all"], found["without"]["a"][score]}) == 1
    if name in ("logistic", "ridge", "svm"):  # they learn what the constant cannot
        plain = measure(plan(sets=(text,), models=("constant",)), Cell(text, 0, "constant", 0, 0))
        assert found["test"][score] > plain["test"][score] + 0.1
    if name.endswith(":a"):  # what it does not look at may be missing
        assert found["without"]["b"] == found["test"]


def test_logistic_regression_is_scikit_learns() -> None:
    from sklearn.linear_model import LogisticRegression

    cell = Cell("digits", 0, "logistic", 0, 0)
    asked = plan(sets=("digits",), models=("logistic",))
    data = splits_of(asked, cell, opened("digits"))
    train, test = data.split("train"), data.split("test")
    scales = Scales.of(train)
    x, y = (
        torch.cat([scales.apply(name, some.modalities[name]) for name in data.dims], 1).numpy()
        for some in (train, test)
    )
    found = measure(asked, cell)
    model = LogisticRegression(C=found["strength"], max_iter=2000).fit(x, train.target)
    assert found["test"]["accuracy"] == pytest.approx(model.score(y, test.target))
    assert found["test"]["accuracy"] > 0.95


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
    for text in ("| concat", "| gmf", "accuracy", "less concat", "1 variation"):
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
    assert "the most has gmf, 0.9" in left.get_title(loc="left")
    assert right.get_title(loc="left").startswith("gmf with all")
    assert left.get_xlim()[0] > 0.3  # the constant does not stretch it
    pf.visualize.plot_comparison(whole[1].sets).savefig(tmp_path / "small.png")
    assert (tmp_path / "small.png").stat().st_size > 5000
    with pytest.raises(ValueError, match="at least one with a result"):
        pf.visualize.plot_comparison(summarise(asked, facts, {}))
