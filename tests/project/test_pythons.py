"""The sources under every Python that is promised, as far as it is installed here."""

import ast
import os
import subprocess
import tomllib
from pathlib import Path

import pytest

from tests.project.bounds import bounds, interpreter
from tests.source_tree import ROOT, source_files

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
CLASSIFIER = "Programming Language :: Python :: 3."
VERSIONS = [
    line.removeprefix(CLASSIFIER) for line in PROJECT["classifiers"] if line.startswith(CLASSIFIER)
]
#: Without the packages around us, what loads none of them runs under any Python.
TRIES = "import pnpfusion; dir(pnpfusion); from pnpfusion.cli import main; main(['--help'])"


def test_the_oldest_python_is_the_one_that_pip_asks_for() -> None:
    assert PROJECT["requires-python"] == f">=3.{min(VERSIONS, key=int)}"


@pytest.mark.parametrize("minor", VERSIONS)
def test_the_grammar_is_that_of(minor: str) -> None:
    for file in source_files().values():
        ast.parse(file.read_text(encoding="utf-8"), str(file), feature_version=(3, int(minor)))


@pytest.mark.parametrize("minor", VERSIONS)
def test_it_compiles_without_a_warning_under(minor: str, tmp_path: Path) -> None:
    python = interpreter(f"3.{minor}")
    if python is None:
        pytest.skip(f"no Python 3.{minor} here")
    env = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    env["PYTHONPYCACHEPREFIX"] = str(tmp_path)
    calls = (["-m", "compileall", "-q", "-f", "pnpfusion", "solvers", "visualize"], ["-c", TRIES])
    for call in calls:
        done = subprocess.run(
            [python, "-S", "-W", "error", *call],
            cwd=ROOT,
            env=env,
            text=True,
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
    assert "simulate" in done.stdout


def test_each_package_has_a_lower_bound() -> None:
    named = [line for line in PROJECT["dependencies"] if line.split(">=")[0] not in bounds()]
    assert not named, f"say from which release on: {named}"
