"""The examples in docs/examples: each runs as a user would run it, and what it claims holds."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.source_tree import ROOT

EXAMPLES = sorted((ROOT / "docs" / "examples").glob("*.py"))
COMPILES = re.compile(r"compiling \w+ for this machine, once")  # of a kernel's first use
LONGEST = 60  # lines that are neither blank nor in the docstring


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
