"""What measures speed: the logic with made numbers, the rest by short runs."""

import json
import runpy
import subprocess
import sys
from argparse import ArgumentTypeError
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from warnings import catch_warnings

import pytest

from benchmarks import count
from benchmarks.suite import __main__ as suite
from benchmarks.suite import compare, page, rounds
from benchmarks.suite.contestants import PROGRAMS, Contestant, contestants
from benchmarks.suite.curves import exponent
from benchmarks.suite.results import RESULTS, read, write
from tests.source_tree import ROOT

Asked = Callable[[str], str]
MODULES = (
    "benchmarks.suite",
    "benchmarks.regression",
    "benchmarks.references",
    "benchmarks.suite.ours",
    "benchmarks.peers.cosine_box",
    "benchmarks.peers.scipy_cell",
)
FOLDER = ROOT / "benchmarks"
#: No scripts, but what scripts and tests take from there.
SHARED = {"__init__", "chromium", "clock", "faithful_deq", "memory", "picture", "script"}
SCRIPTS = sorted(path.stem for path in FOLDER.glob("*.py") if path.stem not in SHARED)


class Answers:
    """A field of made answers: the error at each tolerance, and one time for all."""

    def __init__(self, errors: dict[float, float], seconds: float) -> None:
        self.errors, self.asked, self.absent, self.seconds = errors, [], {}, seconds

    def ask(self, program: str, request: dict, limit: float) -> dict:
        rtol = request["options"]["rtol"]
        self.asked.append(rtol)
        if rtol not in self.errors:
            return {"failed": "diverged"}
        kept = {"mass_error": 0.0, "lowest": 0.1, "steps": 5, "setup_seconds": 0.0, "wall": 2.0}
        return kept | {"error": self.errors[rtol], "seconds": [self.seconds, 0.5]}


def entry(errors: dict[float, float], seconds: float = 0.6) -> tuple[rounds.Entry, Answers]:
    player = Contestant("P1", "PyBaMM", "equal cells", 64, {}, (1e-1, 1e-2, 1e-3, 1e-4, 1e-5))
    answers = Answers(errors, seconds)
    return rounds.tuned(player, answers, rounds.Effort()), answers


def test_the_loosest_tolerance_that_costs_no_accuracy_is_taken():
    chosen, answers = entry({1e-2: 0.5, 1e-3: 0.102, 1e-4: 0.1, 1e-5: 0.0999})
    assert chosen.options["rtol"] == 1e-3
    assert answers.asked == [1e-1, 1e-2, 1e-3, 1e-4, 1e-5]
    rounds.take_turn(chosen, answers, rounds.Effort())
    assert chosen.seconds == [0.5]


def test_a_long_sweep_of_tolerances_ends_where_nothing_is_gained():
    chosen, answers = entry({1e-1: 0.1, 1e-2: 0.0999, 1e-3: 0.09}, seconds=20.0)
    assert answers.asked == [1e-1, 1e-2]
    assert chosen.options["rtol"] == 1e-1


def test_what_takes_very_long_is_not_run_again_for_the_first_round():
    chosen, answers = entry({1e-1: 0.1}, seconds=20.0)
    asked = len(answers.asked)
    rounds.take_turn(chosen, answers, rounds.Effort(allowance=10.0))
    rounds.take_turn(chosen, answers, rounds.Effort(allowance=10.0))
    assert chosen.seconds == [20.0, None]
    assert len(answers.asked) == asked


def test_what_fails_at_every_tolerance_is_kept_as_failed():
    chosen, answers = entry({})
    rounds.take_turn(chosen, answers, rounds.Effort())
    assert rounds.row(chosen, {})["failed"] == "diverged"


def test_ratios_are_of_common_rounds():
    found = rounds.ratios([2.0, None, 9.0, 4.0], [1.0, 1.0, 3.0, None])
    assert found == {"median": 2.5, "min": 2.0, "max": 3.0}
    assert rounds.ratios([None], [1.0]) is None


def test_time_counts_at_equal_error_only():
    def own(error: float, seconds: float, **options: float) -> dict:
        row = {"program": "pnpfusion", "label": str(seconds), "cells": 64, "options": options}
        return row | {"error": error, "seconds": [seconds]}

    rows = [own(0.2, 1.0), own(0.104, 2.0, grading=3.0), own(0.05, 3.0), own(0.01, 4.0)]
    assert compare.quickest(rows, 0.1)["label"] == "2.0"
    assert compare.quickest(rows, 0.1, same_cells=64)["label"] == "3.0"
    assert compare.quickest(rows, 0.001) is None


def test_exponents_are_slopes_of_logarithms():
    assert exponent([(n, 3 * n**1.5) for n in (2, 8, 64)]) == pytest.approx(1.5)
    assert exponent([(1, 1), (2, 2)]) is None


def test_results_come_back_as_they_were_written(tmp_path: Path):
    write(tmp_path, "p1", {"quick": True, "absent": {"FiPy": "absent: ü"}, "rows": [{"a": 1}, {}]})
    found = read(tmp_path, "p1")
    assert found["rows"] == [{"a": 1}, {}]
    assert found["absent"] == {"FiPy": "absent: ü"}
    assert found["machine"]["cores"] >= 1
    assert read(tmp_path, "p2") is None


def test_rows_of_absent_programs_stay_with_their_day(tmp_path: Path):
    def row(program: str, seconds: float) -> dict:
        return {"program": program, "label": "a", "seconds": [seconds, seconds], "options": {}}

    write(tmp_path, "p1", {"quick": False, "rows": [row("pnpfusion", 2.0), row("FiPy", 8.0)]})
    day = read(tmp_path, "p1")["machine"]["date"]
    failed = {"program": "FiPy", "label": "a", "failed": "absent"}
    absent = {"FiPy": "absent: no environment"}
    for _ in range(2):
        rows = [row("pnpfusion", 4.0) | {"seconds": [4.0]}, failed]
        write(tmp_path, "p1", {"quick": False, "absent": absent, "rows": rows})
        own, kept = read(tmp_path, "p1")["rows"]
        assert kept == row("FiPy", 8.0) | {"measured": day}
        assert compare.speed(kept, own)["median"] == 2.0
        assert day in page.titled(kept)


def test_quick_runs_do_not_replace_fuller_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    before = write(tmp_path, "p1", {"quick": False, "rows": []}).read_text(encoding="utf-8")
    asked = ["suite", "--quick", "--only", "p1", "--results", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", asked)
    with pytest.raises(SystemExit):
        suite.main()
    assert "fuller" in capsys.readouterr().err
    assert (tmp_path / "p1.json").read_text(encoding="utf-8") == before


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "many"])
def test_what_is_counted_is_at_least_one(text: str):
    assert count("3") == 3
    with pytest.raises(ArgumentTypeError, match="1 or more"):
        count(text)


def test_slow_programs_take_one_turn():
    player = Contestant("P1", "FiPy", "equal cells", 64, {}, (1e-1,), once=True)
    answers = Answers({1e-1: 0.1}, 0.6)
    chosen = rounds.tuned(player, answers, rounds.Effort())
    for _ in range(3):
        rounds.take_turn(chosen, answers, rounds.Effort())
    assert chosen.seconds == [0.5, None, None]


def test_contestants_are_of_known_programs_and_have_names_of_their_own():
    for part in ("p1", "p2", "p3", "p4", "steppers"):
        players = contestants(part)
        assert {one.program for one in players} <= set(PROGRAMS)
        names = [(one.program, one.label) for one in players]
        assert len(set(names)) == len(names)


def test_the_page_is_what_the_results_say(tmp_path: Path):
    made = page.write(RESULTS, tmp_path).read_text(encoding="utf-8")
    assert made == (ROOT / "docs" / "performance.md").read_text(encoding="utf-8"), (
        "docs/performance.md is not of benchmarks/results; run: make bench ARGS=--page"
    )
    for picture in (tmp_path / "images").glob("*.png"):
        assert (ROOT / "docs" / "images" / picture.name).exists()


@pytest.mark.parametrize("module", MODULES)
def test_modules_say_what_they_do(module: str, asked: Asked):
    assert "usage" in asked(module)


@pytest.mark.parametrize("script", SCRIPTS)
def test_scripts_can_be_asked_what_they_do(script: str, asked: Asked):
    assert f"-m benchmarks.{script}" in asked(f"benchmarks.{script}")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Asked:
    """What a module prints if it is run with --help, here, where torch is imported already."""

    def ask(module: str) -> str:
        monkeypatch.setattr(sys, "argv", [module, "--help"])
        # It warns of a module that was imported before.
        with suppress(SystemExit), catch_warnings(action="ignore"):
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        return capsys.readouterr().out

    return ask


@pytest.mark.long
def test_a_quick_run_measures_and_writes_its_page(tmp_path: Path):
    out = run(
        "-m", "benchmarks.suite", "--quick", "--rounds", "1", "--only", "species,steppers",
        "--results", str(tmp_path / "results"), "--docs", str(tmp_path),
    )  # fmt: skip
    rows = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
    assert any(row.get("curve") == "species" and row["seconds"][0] > 0 for row in rows)
    text = (tmp_path / "performance.md").read_text(encoding="utf-8")
    assert "## Species" in text
    assert (tmp_path / "images" / "performance_steppers.png").stat().st_size > 1000


def run(*words: str) -> str:
    """What Python prints, from the top of the checkout."""
    done = subprocess.run(
        [sys.executable, *words], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout
