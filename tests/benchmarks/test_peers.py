"""References and other programs that measurements stand beside."""

import math

import numpy as np
import pytest

from benchmarks.junction_gradient import Junction
from benchmarks.peers import junction, problems
from benchmarks.peers.cosine_box import prepare as hand_written
from benchmarks.peers.scipy_cell import prepare as by_scipy
from benchmarks.peers.serve import facts
from benchmarks.suite.ours import prepare as by_pnpfusion
from benchmarks.suite.process import Absent, Worker
from tests.marks import quiet


def test_references_are_known_everywhere():
    at = np.random.default_rng(0).random((7, 2))
    onto = problems.unit_centres(40)
    grid = problems.exact_box("P2", 40)
    points = np.stack(np.meshgrid(onto, onto, indexing="ij"), -1).reshape(-1, 2)
    np.testing.assert_allclose(
        problems.exact_box("P2", 0, points).reshape(grid.shape), grid, atol=1e-12
    )
    assert problems.exact_box("P2", 0, at).shape == (2, 7)
    for name in ("P2", "P4"):
        box = problems.PROBLEMS[name]
        space = tuple(range(1, len(box.plus) + 1))
        mass = problems.exact_box(name, 48).mean(space)
        np.testing.assert_allclose(mass, box.start_on(48).mean(space), rtol=1e-12)


@quiet
def test_the_junction_has_its_exact_field_and_gradient_by_one_more_solve():
    exact, slopes = junction.exact_field()
    found = [Junction("rest", cells).with_gradient() for cells in (64, 128)]
    errors = [abs(value / exact - 1) for value, _ in found]
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.1)
    assert errors[1] < 5e-4
    np.testing.assert_allclose(found[1][1], slopes, rtol=1e-3)
    assert [Junction(name, 64).extra_solves() for name in junction.BIAS] == [1, 1]


def test_references_agree_with_codes_that_did_not_make_them():
    polynomials = by_pnpfusion(problems.P1, 49, rtol=1e-6, scheme="spectral")()()
    assert facts("P1", polynomials)["error"] < 2e-5
    volumes = by_scipy(problems.P2, 32, 1e-4)()()
    assert facts("P2", volumes)["error"] < 2e-3
    few = problems.Cells(problems.P3.debye[:3], problems.P3.voltage[:3])
    first = by_pnpfusion(few, 128, rtol=1e-5, scheme="scharfetter-gummel", grading=3.0)()()
    assert facts("P3", first)["error"] < 1e-3


def test_the_hand_written_integrator_has_order_four():
    errors = [facts("P2", hand_written(problems.P2, 40, n)()())["error"] for n in (20, 40)]
    assert math.log2(errors[0] / errors[1]) == pytest.approx(4, abs=0.2)
    assert errors[1] < 1e-6


def test_a_program_answers_line_by_line_and_fails_in_words():
    worker = Worker("benchmarks.peers.cosine_box")
    try:
        asked = {"problem": "P2", "options": {"cells": 32, "steps": 10}, "repeat": 2, "budget": 9.0}
        answer = worker.ask(asked, 60.0)
        assert len(answer["seconds"]) == 2
        assert answer["error"] < 1e-3
        assert "failed" in worker.ask({"problem": "P1", "options": {}}, 60.0)
        assert worker.ask(asked, 60.0)["error"] == answer["error"]  # it is still there
        assert worker.ask(asked | {"repeat": 10**9, "budget": 1e9}, 0.2)["stopped"]
        assert not worker.alive
    finally:
        worker.close()


def test_a_program_that_is_not_there_says_so():
    with pytest.raises(Absent, match="No module named"):
        Worker("benchmarks.peers.no_such_program")
