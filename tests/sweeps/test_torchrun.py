"""Sweeps in several processes: the same file for any number of them, and what one's death does."""

from __future__ import annotations

import json
import os
import re
import runpy
import signal
import subprocess
import sys
from pathlib import Path

import matplotlib.pyplot
import pytest

from pnpfusion.cli import main
from tests.processes import by_hand, together, torchrun
from tests.source_tree import ROOT, environment

pytestmark = together
FILES = ["sweep.safetensors", "summary.json", "table.csv"]
PLAN = {
    **{"data": "mine.npz", "debye": 0.2, "duration": 0.001, "times": 3},
    "grid": {"voltage": [0, 5, 10, 15], "sample": [0, 1, 2]},
}
#: The command, in which what ``HOW`` says happens to rank 1 at its second call.
FAILING = """
import os, signal, sys
from pnpfusion.cli import main
from pnpfusion.cli.simulate_block import Blocks

plain, calls = Blocks.solve, []

def solve(self, cases):
    calls.append(len(cases))
    if os.environ["RANK"] == "1" and len(calls) == 2:
        if os.environ["HOW"] == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        raise MemoryError("nothing left") if os.environ["HOW"] == "memory" else KeyboardInterrupt
    return plain(self, cases)

Blocks.solve = solve
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture
def here(tmp_path: Path) -> Path:
    import numpy as np

    random = np.random.default_rng(0)
    np.savez(
        tmp_path / "mine.npz", audio=random.normal(size=(4, 3)), hand=random.normal(size=(4, 2))
    )
    (tmp_path / "grid.json").write_text(json.dumps(PLAN), encoding="utf-8")
    (tmp_path / "failing.py").write_text(FAILING, encoding="utf-8")
    return tmp_path


def command(out: str) -> list[str]:
    return ["simulate", "--sweep", "grid.json", "--stack", "2", "--quiet", "--out", out]


def same(first: Path, second: Path) -> bool:
    return all((first / name).read_bytes() == (second / name).read_bytes() for name in FILES)


def test_results_do_not_depend_on_the_number_of_processes(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(here)
    assert main(command("one")) == 0
    assert {path.name for path in (here / "one").iterdir()} == set(FILES)
    for processes in (2, 3):
        code, said = torchrun(processes, "-m", "pnpfusion", *command(f"n{processes}"), here=here)
        assert code == 0, said
        assert same(here / "one", here / f"n{processes}")
        assert {path.name for path in (here / f"n{processes}").iterdir()} == set(FILES)


def test_a_killed_process_ends_the_run_and_the_same_command_completes_it(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, said = torchrun(2, "failing.py", *command("halves"), here=here, HOW="kill")
    assert code != 0
    assert "rank      : 1" in said  # the table of torchrun
    assert "SIGKILL" in said
    assert re.search("rank 0 of 2 (was told to end|lost another process)", said), said
    assert re.search("The same (call|command) again goes on from there", said), said
    kept = len(list((here / "halves" / "parts").glob("*.safetensors")))
    assert 1 <= kept <= 4  # rank 0 makes three, and rank 1 one of three
    assert not (here / "halves" / "sweep.safetensors").exists()
    monkeypatch.chdir(here)
    assert main(command("halves")) == 0
    assert main(command("whole")) == 0
    assert same(here / "halves", here / "whole")


@pytest.mark.parametrize(
    ("how", "exit_code", "words"),
    [
        ("kill", -signal.SIGKILL, ""),
        ("memory", 1, "error: rank 1 of 2 failed at cases [6, 7] of 12, which begin with {'sam"),
    ],
)
def test_the_other_ranks_say_who_is_missing(
    here: Path, how: str, exit_code: int, words: str
) -> None:
    """Nothing tells them but a connection that breaks."""
    codes, said = by_hand(here, "failing.py", *command("out"), HOW=how)
    assert codes == [1, exit_code], said
    assert words in said[1]
    assert (
        "error: rank 0 of 2 lost another process, which died: not finished: rank 1 (4 " in said[0]
    )
    assert "kept: 8 of 12 cases, in out. The same call again goes on from there." in said[0]


def test_bad_input_is_said_by_one(here: Path) -> None:
    (here / "grid.json").write_text(json.dumps({**PLAN, "grid": {"sample": [0, 0, 9]}}))
    codes, said = by_hand(here, "-m", "pnpfusion", *command("out"))
    assert codes == [2, 2]
    (line,) = "".join(said).splitlines()
    assert line.startswith("pnpfusion simulate: error: case 2 of 3: --sample 9 is not there")
    assert not (here / "out").exists()


def run_alone(example: str) -> None:
    with matplotlib.rc_context():  # which the example's style sheet would outlast
        runpy.run_path(example, run_name="__main__")
    matplotlib.pyplot.close("all")


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("data_parallel", "loss of the first batch 2.3"),
        ("training_in_processes", "loss of the last epoch 0."),
    ],
)
def test_an_example_learns_the_same_in_two_processes(
    name: str, words: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    example = str(ROOT / "docs" / "examples" / "in_your_code" / f"{name}.py")
    run_alone(example)
    alone = capsys.readouterr().out.strip()
    assert alone.startswith(words)
    code, said = torchrun(2, example, here=here)
    assert code == 0, said
    assert said.count(words) == 1
    assert alone in said


def test_the_job_array_of_the_documents_runs(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (ROOT / "docs" / "scale.md").read_text(encoding="utf-8")
    (script,) = re.findall(
        r"^```bash\n(#!/bin/bash\n#SBATCH --array=0-1\n.*?)^```", text, re.M | re.S
    )
    (here / "array.sh").write_text(script, encoding="utf-8")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    for task in ("0", "1"):
        done = subprocess.run(
            ["bash", "array.sh"],
            cwd=here,
            env=environment(
                PATH=path, SLURM_ARRAY_TASK_ID=task, SLURM_ARRAY_TASK_COUNT="2", OUT="array"
            ),
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    monkeypatch.chdir(here)
    assert main(["simulate", "--sweep", "grid.json", "--out", "array", "--quiet"]) == 0
    assert main(["simulate", "--sweep", "grid.json", "--out", "one", "--quiet"]) == 0
    assert same(here / "array", here / "one")


def test_processes_that_were_announced_and_cannot_meet(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(here)
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    assert main(command("out")) == 1
    assert "2 processes were announced (WORLD_SIZE), and did not meet" in capsys.readouterr().err
