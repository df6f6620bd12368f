"""The scripts whose rows docs/performance.md shows as they print them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from benchmarks import ONE_THREAD, ROOT
from benchmarks.script import rows_in, shown
from benchmarks.suite.rounds import peers_python
from pnpfusion.text_table import markdown


@dataclass(frozen=True)
class Script:
    """A script and how it is called; its rows are JSON objects, one a line."""

    title: str
    arguments: tuple[str, ...]
    quick: tuple[str, ...]  #: the arguments of quick runs
    text: str
    peers: str = ""  #: the option that takes the interpreter of other programs


SCRIPTS = {
    "gradient_cost": Script(
        "Gradients beside forward sensitivities",
        ("--rounds", "9"),
        ("--rounds", "2"),
        "pnpfusion's gradients are in everything at once, PyBaMM's forward sensitivities in two "
        "numbers; each over its own run alone, in brackets over the rounds. The last rows are "
        "what a run and its gradient need in memory as the steps become more.",
        "--pybamm-python",
    ),
    "junction_gradient": Script(
        "The steady p–n junction and its gradient",
        ("--rounds", "9"),
        ("--rounds", "2"),
        "At rest the field in V/cm, under .5 V the current in A/cm², and the gradient by doping "
        "and permittivity; deltapv (∂PV, JAX) compiled beforehand. Errors are relative, at rest "
        "from the exact field, under bias from pnpfusion on 2048 cells, to which deltapv tends "
        "too, at order 1; `ratio` is a run with its gradient over the run.",
        "--deltapv-python",
    ),
    "deq_training": Script(
        "Training steps of deep equilibria",
        ("--batch", "32", "--turns", "3", "--tol", "1e-4", "3e-6/1e-4"),
        ("--batch", "8", "--turns", "1", "--width", "64"),
        "`faster` is over the paper's algorithm run faithfully, `error` that of the gradient, "
        "where the cell contracts and so has one.",
    ),
    "deq_warm_start": Script(
        "Warm starts between epochs",
        ("--seeds", "1", "--epochs", "15"),
        ("--seeds", "1", "--epochs", "2"),
        "Solves that begin at zero, where the sample was at rest an epoch before, and the paper's "
        "algorithm: evaluations of the cell per sample, and the accuracy at the end.",
    ),
    "pnp_layer": Script(
        "The PNP layer against itself without its solve",
        (),
        ("--batch", "16"),
        "Milliseconds of a step forward and backward; `share` is the layer's over that of the "
        "same layer with the solve replaced by the identity. The goals are 2 at rest and 5 for "
        "runs.",
    ),
    "startup": Script(
        "Starting up",
        ("--rounds", "5"),
        ("--rounds", "1"),
        "Seconds by the clock. The goal of the first row is .3, that of `--help` .5.",
    ),
}


def command(name: str, quick: bool) -> list[str]:
    """What is run, without the interpreter."""
    script = SCRIPTS[name]
    return ["-m", f"benchmarks.{name}", *(script.quick if quick else script.arguments)]


def measure(name: str, quick: bool, say: Callable[[str], None]) -> list[dict[str, Any]]:
    """The rows that a script prints; one that says how it failed, if it did."""
    words, peers = command(name, quick), peers_python()
    say(" ".join(["python", *words]))
    if SCRIPTS[name].peers and peers:
        words += [SCRIPTS[name].peers, peers]
    done = subprocess.run(
        [sys.executable, *words],
        cwd=ROOT,
        env={**os.environ, **ONE_THREAD},
        capture_output=True,
        text=True,
        check=False,
    )
    rows = rows_in(done.stdout)
    if done.returncode:
        rows.append({"failed": (done.stderr.strip().splitlines() or ["no reason given"])[-1]})
    return rows


def section(name: str, found: dict[str, Any]) -> str:
    """Its tables: one for each kind of row."""
    script = SCRIPTS[name]
    text = f"### {script.title}\n\n`python {' '.join(command(name, found['quick']))}`: "
    text += script.text + "\n\n"
    kinds: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for row in found["rows"]:
        optional = {"error", "evaluations"} if name == "deq_training" else {"version"}
        kinds.setdefault(tuple(key for key in row if key not in optional), []).append(row)
    for rows in kinds.values():
        columns = list(dict.fromkeys(key for row in rows for key in row if key != "version"))
        lines = [[plain(shown(row.get(column))) for column in columns] for row in rows]
        text += f"{markdown([column.replace('_', ' ') for column in columns], lines)}\n\n"
    return text


def plain(text: str) -> str:
    """What does not end a cell of a table in Markdown."""
    return text.replace("|", "\\|").replace("\n", " ")
