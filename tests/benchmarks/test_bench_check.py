"""What judges speed: the logic with made numbers, one case for real."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.peers import problems
from benchmarks.regression import __main__ as regression
from benchmarks.regression import fixed
from benchmarks.regression.cases import CASES
from benchmarks.regression.judge import MOST, Ratio, allowed, judge, of_blocks


def judged(stored: Ratio | None, *measured: float) -> tuple[str, int]:
    """The verdict, and how many measurements it took."""
    left = list(measured)
    verdict = judge("case", stored, lambda: left.pop(0))
    return verdict.words, len(measured) - len(left)


def test_noise_is_not_slower():
    assert judged(Ratio(2.0, 0.02), 2.4) == ("as stored", 1)
    assert judged(Ratio(2.0, 0.2), 2.7) == ("as stored", 1)  # it was as noisy when it was stored


def test_a_suspicion_that_goes_away_is_none():
    assert judged(Ratio(2.0, 0.02), 4.0, 3.0, 2.1, 9.0) == ("as stored", 3)


def test_what_stays_slower_is_slower():
    assert judged(Ratio(2.0, 0.02), 2.6, 2.7, 2.6, 2.55) == ("slower", 4)


def test_no_noise_excuses_more_than_half_as_much_again():
    assert allowed(Ratio(2.0, 5.0)) == 2.0 * (1 + MOST)
    assert judged(Ratio(2.0, 5.0), 3.1, 3.1, 3.1, 3.1)[0] == "slower"


def test_faster_and_new_are_told_and_are_no_failure():
    assert judged(Ratio(2.0, 0.02), 1.2) == ("faster", 1)
    assert judged(None, 1.2) == ("new", 1)


def test_a_ratio_that_has_halved_is_out_of_date():
    assert judged(Ratio(2.0, 0.02), 0.99) == ("baseline out of date", 1)
    assert judged(Ratio(2.0, 5.0), 0.99) == ("baseline out of date", 1)


def test_spread_is_relative_to_the_median_of_blocks():
    assert of_blocks([1.0, 2.0, 4.0]) == Ratio(2.0, 1.5)


def checked(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["regression", "--only", "tridiagonal", *arguments])
    return regression.main()


def test_the_check_names_the_culprit_and_update_accepts_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    path = tmp_path / "ratios.json"
    assert checked(monkeypatch, "--ratios", str(path), "--update") == 0
    kept = json.loads(path.read_text(encoding="utf-8"))
    (name,) = kept["ratios"]
    kept["ratios"][name] |= {"value": kept["ratios"][name]["value"] / 10, "spread": 0.01}
    path.write_text(json.dumps(kept), encoding="utf-8")
    capsys.readouterr()
    assert checked(monkeypatch, "--ratios", str(path)) == 1
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith(name)]
    assert line.endswith("slower")
    assert f"{1.25 * kept['ratios'][name]['value']:.3g}" in line  # what it may be
    kept["ratios"][name]["value"] *= 100
    path.write_text(json.dumps(kept), encoding="utf-8")
    assert checked(monkeypatch, "--ratios", str(path)) == 0
    assert "--update" in capsys.readouterr().out.splitlines()[-1]


def test_every_case_has_a_stored_ratio():
    stored = json.loads(regression.RATIOS.read_text(encoding="utf-8"))["ratios"]
    assert set(stored) == {case.name for case in CASES}
    assert all(ratio["value"] > 0 for ratio in stored.values())


def test_the_fixed_codes_solve_what_they_should():
    charged = fixed.charge_by_banded_newton(0.005, 2.0, 128, 100)
    assert problems.error("P1", charged[None]) < 2e-2
    assert abs(charged.mean(1) - 1).max() < 1e-12
    rng = np.random.default_rng(0)
    lower, upper, rhs = rng.standard_normal((3, 4, 9))
    system = lower, 4 + abs(lower) + abs(upper), upper, rhs
    x = fixed.chained(*system)
    rows = zip(*system[:3], strict=True)
    dense = [np.diag(d) + np.diag(a[1:], -1) + np.diag(b[:-1], 1) for a, d, b in rows]
    np.testing.assert_allclose(np.einsum("bij,bj->bi", dense, x), rhs, atol=1e-12)
    np.testing.assert_allclose(fixed.thomas(*(a.T for a in system)).T, x, atol=1e-12)
