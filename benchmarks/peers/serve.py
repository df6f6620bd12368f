"""How a program is asked for runs: one JSON object a line, by standard input or as an argument.

A request names the problem and the program's own options:

    {"problem": "P1", "options": {"rtol": 1e-4}, "repeat": 5, "budget": 0.2}

The answer, one line: ``seconds`` of processor time of up to ``repeat`` runs, as many as fit into
``budget`` seconds but at least one, ``setup_seconds`` (what is done once: building a model,
compiling, and for quick programs a run to warm up), ``error``, ``mass_error``, ``lowest`` (the
smallest concentration seen) and ``steps``; or ``failed``, in words. What was set up is kept for
the next request. The first line of all says ``ready`` and the program's version.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.peers.problems import PROBLEMS, Array, Box, error
from benchmarks.script import significant


@dataclass(frozen=True)
class Run:
    """What a program ends with."""

    c: Array  #: concentrations at the end: (B, 2, n) of cells, (2, N, ..., N) or (2, n) of boxes
    steps: int  #: taken, over all cells
    lowest: float  #: the smallest concentration that the program lets us see
    x: Array | None = None  #: where its nodes are, if not at the centres of equal cells
    mass_error: float | None = None  #: relative; None: by sums over equal cells
    share: float = 1.0  #: how much of the problem was run; its time is scaled up by the inverse


Reader = Callable[[], Run]  #: reads what a run ended with; this is not timed
Prepare = Callable[..., Callable[[], Reader]]
Answer = Callable[[dict[str, Any]], dict[str, Any]]


def serve(version: str, prepare: Prepare, *, warm: bool = True) -> None:
    """Answer requests for runs of the problems until the input ends.

    Args:
        version: the program's name and version.
        prepare: ``prepare(problem, **options)`` sets a run up and returns what runs it.
        warm: run once before the first timed run.
    """
    answer_lines(version, _Answerer(prepare, warm))


def answer_lines(version: str, answer: Answer) -> None:
    """Answer requests of any kind until the input ends, or the one on the command line."""
    if len(sys.argv) > 1:
        if sys.argv[1] in ("-h", "--help"):
            print(sys.modules["__main__"].__doc__, __doc__, sep="\n")
            return
        print(json.dumps({"program": version} | answer(json.loads(sys.argv[1]))))
        return
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what the program itself prints is no answer
    print(json.dumps({"ready": version}), file=replies, flush=True)
    for line in sys.stdin:
        try:
            reply = answer(json.loads(line))
        except Exception as problem:  # a program may fail in any way; the others go on
            reply = {"failed": f"{type(problem).__name__}: {problem}"[:300]}
        print(json.dumps(reply), file=replies, flush=True)


class _Answerer:
    def __init__(self, prepare: Prepare, warm: bool) -> None:
        self.prepare, self.warm = prepare, warm
        self.ready: dict[str, tuple[Callable[[], Reader], float]] = {}

    def __call__(self, request: dict[str, Any]) -> dict[str, Any]:
        name, options = request["problem"], request.get("options", {})
        key = json.dumps([name, options], sort_keys=True)
        if key not in self.ready:
            begin = time.perf_counter()
            run = self.prepare(PROBLEMS[name], **options)
            if self.warm:
                run()()
            self.ready[key] = run, time.perf_counter() - begin
        run, setup = self.ready[key]
        seconds: list[float] = []
        walls: list[float] = []
        while not seconds or (
            len(seconds) < request.get("repeat", 1) and sum(walls) < request.get("budget", 0.0)
        ):
            begin, on_the_wall = time.process_time(), time.perf_counter()
            read = run()
            seconds.append(time.process_time() - begin)
            walls.append(time.perf_counter() - on_the_wall)
        found = read()
        return {
            "seconds": [significant(taken / found.share) for taken in seconds],
            "wall": significant(min(walls) / found.share),
            "setup_seconds": significant(setup),
            **facts(name, found),
        }


def facts(name: str, run: Run) -> dict[str, Any]:
    """What is true of a run, whatever it took."""
    problem = PROBLEMS[name]
    space = tuple(range(1 if isinstance(problem, Box) else 2, run.c.ndim))
    lost = run.mass_error
    if lost is None:
        start = problem.start_on(run.c.shape[-1]).mean(space) if isinstance(problem, Box) else 1.0
        lost = float(np.abs(run.c.mean(space) / start - 1).max())
    return {
        "error": significant(error(name, run.c, run.x)),
        "mass_error": significant(lost),
        "lowest": significant(run.lowest),
        "steps": run.steps,
    }
