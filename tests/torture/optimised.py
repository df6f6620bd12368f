"""The same answers without asserts and docstrings: ``python``, ``python -O`` and ``python -OO``.

``python -m tests.torture.optimised --count 200 --seed 7`` makes cells and bad inputs in a process
each, and compares every bit of every state and every letter of every error and of the help.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

import pnpfusion as pf
from pnpfusion.cli import main as command_line
from tests.registry import blocking_cell, f64
from tests.torture.cells import carry_out, strict_warnings
from tests.torture.guarantees import kept
from tests.torture.made_cells import Maker
from tests.torture.report import Report

ROOT = Path(__file__).resolve().parents[2]
FLAGS = ("-O", "-OO")
ANSWER = "answer "  #: before each line that is compared


def bad_inputs() -> dict[str, Callable[[], object]]:
    """Calls that must fail, by name."""
    cell, c0 = blocking_cell(8), torch.ones(2, 8, dtype=f64)
    times = torch.tensor([0.0, 1.0], dtype=f64)
    ring = pf.Grid((8,), (1.0,), ("periodic",))
    return {
        "negative state": lambda: pf.simulate(cell, -c0, times),
        "state of integers": lambda: pf.simulate(cell, c0.long(), times),
        "state that is not finite": lambda: pf.simulate(cell, c0 / 0, times),
        "wrong shape": lambda: pf.simulate(cell, c0[:, :3], times),
        "times that fall": lambda: pf.simulate(cell, c0, times.flip(0)),
        "tolerance of zero": lambda: pf.simulate(cell, c0, times, rtol=0.0),
        "no law": lambda: pf.simulate("cell", c0, times),  # type: ignore[arg-type]
        "no such stepper": lambda: pf.simulate(cell, c0, times, stepper="euler"),  # type: ignore[arg-type]
        "unknown boundary": lambda: pf.Grid((8,), (1.0,), ("open",)),  # type: ignore[arg-type]
        "two conditions": lambda: pf.Wall(potential=1.0, surface_charge=1.0),
        "no permittivity": lambda: pf.PNP(ring, [pf.Species("a", 1)], permittivity=0.0),
        "net charge": lambda: pf.simulate(
            pf.PNP(ring, [pf.Species("a", 1)], permittivity=1.0), c0[:1], times
        ),
        "rounds": lambda: pf.unroll(cell, c0, -1),
        "no convergence": lambda: pf.simulate(
            cell, c0, times, stepper=pf.solvers.KenCarp4(max_steps=1)
        ).require_success(),
        "unknown model": lambda: pf.fusion.GMF({}, 3),
        "no file": lambda: pf.load("absent.safetensors"),
        "an epoch of nothing": lambda: pf.training.Recipe(epochs=0),
        "no such name": lambda: pf.simulat,  # type: ignore[attr-defined]
    }


COMMANDS = ("--help", "simulate --help", "train --help", "simulate --cells none", "compare --wrong")


def answers(seed: int, count: int) -> Iterator[tuple[str, str]]:
    """Every case and what came of it."""
    for number in range(count):
        yield str(number), of_cell(seed, number)
    for name, call in bad_inputs().items():
        try:
            call()
        except Exception as error:
            yield name, f"{type(error).__name__}: {error}"
        else:
            yield name, "no error"
    for command in COMMANDS:
        said = io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            try:
                code: object = command_line(command.split())
            except SystemExit as end:
                code = end.code
        yield command, f"{code} {said.getvalue()!r}"


def of_cell(seed: int, number: int) -> str:
    """A made cell's outcome, every bit of its states, and what it broke."""
    try:
        with strict_warnings():
            case = Maker(seed, number).make()
            run = carry_out(case)
            broken = [*kept(case, run)]
    except ValueError as error:
        return f"ValueError: {error}"
    states = run.states.detach().contiguous().numpy().tobytes()
    digest = hashlib.sha256(states).hexdigest()[:16]
    return f"{run.outcome.name} {run.succeeded.tolist()} {digest} {broken}"


def told_by(flags: list[str], seed: int, count: int) -> dict[str, str]:
    """The answers of a Python with these flags."""
    command = [sys.executable, *flags, "-m", "tests.torture.optimised", "--answers"]
    command += ["--seed", str(seed), "--count", str(count)]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, encoding="utf-8", timeout=3000, check=False
    )
    lines = [
        line.removeprefix(ANSWER) for line in done.stdout.splitlines() if line.startswith(ANSWER)
    ]
    found = dict(line.split("\t", 1) for line in lines)
    if done.returncode:
        found["the process"] = done.stderr
    return found


def main(arguments: list[str] | None = None) -> int:
    """Compare; 1 where an answer is another."""
    parser = argparse.ArgumentParser(prog="python -m tests.torture.optimised", description=__doc__)
    parser.add_argument("--count", type=int, default=200, help="how many cells")
    parser.add_argument("--seed", type=int, default=0, help="which cells")
    parser.add_argument("--case", help="this one alone")
    parser.add_argument("--answers", action="store_true", help="print the answers of this process")
    told = parser.parse_args(arguments)
    if told.answers:
        for name, answer in answers(told.seed, told.count):
            print(f"{ANSWER}{name}\t{answer!r}")
        return 0
    report, plain = Report("optimised", told.seed), told_by([], told.seed, told.count)
    for flag in FLAGS:
        other = told_by([flag], told.seed, told.count)
        for name in {**plain, **other}:
            if told.case not in (None, name):
                continue
            if plain.get(name) == other.get(name):
                report.passed()
            else:
                report.failed(name, f"{flag}: {other.get(name)}\n    without: {plain.get(name)}")
    return report.close()


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.exit(main())
