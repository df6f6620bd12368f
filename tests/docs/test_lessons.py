"""The lessons in docs/lessons: each runs, its exercises check answers, and it is a notebook too."""

import ast
import json
import runpy
import shutil
from pathlib import Path
from unittest import mock

import matplotlib.pyplot
import pytest
import torch

from tests.docs.scripts import ran
from tests.source_tree import ROOT

FOLDER = ROOT / "docs" / "lessons"
LESSONS = sorted(FOLDER.glob("lesson_*.py"))
#: Wrong answers to each lesson's exercises, near enough to be made: none may pass its check.
WRONG = {
    1: ("0.02", "lambda n, d: math.log(2) / (n * math.pi**2 * d)"),
    2: (
        "10.0",
        "lambda z, volts, distance: distance / abs(volts)",
        "lambda z, volts, distance: distance / (z * volts)",
    ),
    3: ("10 * 3.042 / 3", "lambda volts, length: 2 * length * volts"),
    4: ("1 / math.pi**2", "lambda density, a, b: density(a + b) - density(0.0)"),
    5: ("0.5", "lambda u, w: (1 - u**2) * u"),
    6: ("0.5 / sensitivity", "lambda sigma: 0.5 * (1 + math.erf(1 / sigma))"),
    7: ("2.0", "lambda charge, wanted: torch.tensor(1.0, dtype=f64)"),
    8: ("SIGMA / 9", "lambda error_at: 0.1"),
}
DRIVER = """
import runpy, sys
lesson = runpy.run_path(sys.argv[1], run_name="__main__")
names = {**lesson, "math": __import__("math")}
for check, wrong in [("check_1", sys.argv[2]), *(("check_2", one) for one in sys.argv[3:])]:
    assert not lesson[check](eval(wrong, names)), check
assert not lesson["check_1"]("59 mV"), "a text is no answer"
"""


@pytest.fixture(scope="module")
def inverse_problem():
    """What lesson 8 defines."""
    with matplotlib.rc_context(), mock.patch("matplotlib.pyplot.show"):
        found = runpy.run_path(str(FOLDER / "lesson_8_inverse_problem.py"))
    matplotlib.pyplot.close("all")
    return found


def test_there_are_eight_lessons_in_order():
    assert [int(path.stem.split("_")[1]) for path in LESSONS] == [*range(1, 9)]


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda path: path.stem)
def test_a_lesson_has_two_exercises_and_their_checked_answers(lesson: Path):
    text = lesson.read_text(encoding="utf-8")
    assert f"Lesson {lesson.stem.split('_')[1]}: " in ast.get_docstring(ast.parse(text)), "title"
    exercises, answers = text.split("# Your turn\n")[1].split("# Answers\n")
    for number in (1, 2):
        assert f"**Exercise {number} (" in exercises
        assert f"def check_{number}(" in exercises
        assert f"\nassert check_{number}(answer_{number})\n" in answers
        assert f"answer_{number}" not in exercises, "an answer stands before the answers"
    assert text.count("plt.show()") in (3, 4), "three or four pictures"


@pytest.mark.long
@pytest.mark.parametrize("lesson", LESSONS, ids=lambda path: path.stem)
def test_a_lesson_runs_and_its_checks_refuse_wrong_answers(lesson: Path, tmp_path: Path):
    """Run from elsewhere, without a display; nothing is left behind."""
    ran("-c", DRIVER, lesson, *WRONG[int(lesson.stem.split("_")[1])], cwd=tmp_path)
    assert not [*tmp_path.iterdir()], f"{lesson.name} must leave nothing behind"


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda path: path.stem)
def test_a_lesson_is_a_notebook_of_the_same_code(lesson: Path, tmp_path: Path):
    """By the converter of the documentation, where that is installed."""
    notebook = pytest.importorskip("sphinx_gallery.notebook")
    copy = Path(shutil.copy(lesson, tmp_path))
    notebook.python_to_jupyter_cli([str(copy)])
    cells = json.loads(copy.with_suffix(".ipynb").read_text(encoding="utf-8"))["cells"]
    code = "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "code")
    script = ast.parse(lesson.read_text(encoding="utf-8"))
    script.body = script.body[1:]  # the docstring is the first cell of text
    assert ast.dump(ast.parse(code)) == ast.dump(script)
    assert sum(c["cell_type"] == "markdown" for c in cells) >= 6


@pytest.mark.slow
def test_standard_errors_foretell_the_scatter_under_other_noises(inverse_problem):
    """Answers in standard errors from the truth have mean 0 and standard deviation 1.

    Of 16 independent normal numbers these two scatter by 1/4 and by sqrt(1/30); allowed is thrice,
    and for the mean over the three parameters less, so that a factor of two would be seen.
    """
    true, profiles = inverse_problem["TRUE"], inverse_problem["profiles"]
    exact = profiles(true.expand(16, 3), cells=128, rtol=1e-6).unflatten(-1, (64, 2)).mean(-1)
    generator = torch.Generator().manual_seed(1)
    data = torch.normal(exact, inverse_problem["SIGMA"], generator=generator)
    found = inverse_problem["recover"](data)
    pull = (found - true) / inverse_problem["standard_errors"](found)
    assert (pull.mean(0).abs() < 3 / 16**0.5).all()
    assert ((pull.std(0) - 1).abs() < 3 / 30**0.5).all()
    assert abs(pull.std(0).mean() - 1) < 3 / 90**0.5


@pytest.mark.slow
def test_standard_errors_agree_with_autograd(inverse_problem):
    """A batch of six cells against one backward per datum, to the error of adaptive steps."""
    profiles, p = inverse_problem["profiles"], inverse_problem["TRUE"][None].clone()
    step = 1e-3 * torch.eye(3, dtype=p.dtype)
    ahead, behind = profiles(torch.cat([p + step, p - step])).chunk(2, dim=1)
    p.requires_grad_()
    c = profiles(p)
    for t, species, place in ((0, 0, 0), (1, 1, 20), (2, 0, 5)):
        (slope,) = torch.autograd.grad(c[t, 0, species, place], p, retain_graph=True)
        difference = (ahead - behind)[t, :, species, place] / 2e-3
        torch.testing.assert_close(slope[0], difference, rtol=1e-2, atol=3e-3)
