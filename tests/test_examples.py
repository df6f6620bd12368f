"""The examples in docs/examples: each runs as a user would run it, and what it claims holds."""

import ast
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.source_tree import ROOT

EXAMPLES = sorted((ROOT / "docs" / "examples").glob("*.py"))
COMPILES = re.compile(r"compiling \w+ for this machine, once")  # of a kernel's first use
LONGEST = 60  # lines that are neither blank nor in the docstring


@pytest.fixture(scope="module")
def inverse_problem():
    """What the example defines, as its own ``main`` sees it."""
    return runpy.run_path(str(ROOT / "docs" / "examples" / "inverse_problem.py"))


def test_there_are_examples():
    assert EXAMPLES, "docs/examples holds no script"


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_short_and_says_what_it_shows(example: Path):
    text = example.read_text(encoding="utf-8")
    module = ast.parse(text)
    assert ast.get_docstring(module), f"{example.name} needs a docstring with its mathematics"
    code = [line for line in text.splitlines()[module.body[0].end_lineno :] if line.strip()]
    assert len(code) <= LONGEST, f"{example.name} has {len(code)} lines, wanted {LONGEST}"


@pytest.mark.slow
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs_and_draws(example: Path, tmp_path: Path):
    """Run from elsewhere, without a display; ``--out`` is a folder that it has to make."""
    draws = '"--out"' in example.read_text(encoding="utf-8")  # the others can be pasted as they are
    paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    ran = subprocess.run(
        [sys.executable, str(example), *(["--out", "pictures"] if draws else [])],
        cwd=tmp_path,
        env=os.environ | {"MPLBACKEND": "Agg", "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=300,
        check=False,
    )
    said = [line for line in ran.stderr.splitlines() if not COMPILES.fullmatch(line)]
    assert (ran.returncode, said) == (0, [])
    assert ran.stdout, f"{example.name} must print what it found"
    pictures = list((tmp_path / "pictures").glob("*.png"))
    assert bool(pictures) == draws, f"{example.name} must draw into the folder it is given"
    assert draws or not [*tmp_path.iterdir()], f"{example.name} must leave nothing behind"
    for picture in pictures:
        assert picture.read_bytes().startswith(b"\x89PNG"), f"{picture.name} is no picture"


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
