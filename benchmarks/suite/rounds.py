"""Programs take turns: tolerances are chosen, then everyone runs once a round."""

from __future__ import annotations

import os
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import ROOT
from benchmarks.suite.contestants import PROGRAMS, Contestant
from benchmarks.suite.process import Absent, Worker

EQUAL = 1.05  #: errors within this factor count as equal
SETTLED = 1.01  #: a tighter tolerance that gains less than this factor gains nothing
LONG = 1.0  #: seconds of a run from which on the sweep of tolerances ends there
VERY_LONG = 1.5  #: and from which on the run that chose the tolerance counts as the first round


@dataclass(frozen=True)
class Effort:
    """How much is measured."""

    rounds: int = 5
    budget: float = 0.1  #: seconds that a quick program may repeat its run within a turn
    repeat: int = 15  #: and how often at most
    limit: float = 60.0  #: seconds by the wall's clock after which a run is given up
    allowance: float = 5.0  #: seconds of runs after which a program sits out further rounds
    slow: bool = True  #: whether what takes long takes part


QUICK = Effort(rounds=2, budget=0.03, repeat=3, limit=30.0, allowance=4.0, slow=False)


@dataclass
class Entry:
    """What is known of a contestant while it is measured."""

    contestant: Contestant
    options: dict[str, Any]
    facts: dict[str, Any] = field(default_factory=dict)
    seconds: list[float | None] = field(default_factory=list)  #: least of each round
    walls: list[float] = field(default_factory=list)  #: the same by the clock on the wall


def peers_python() -> str | None:
    """The interpreter of the environment of other programs, if there is one."""
    named = os.environ.get("PNPFUSION_PEERS_PYTHON")
    made = ROOT / ".venv-peers" / "bin" / "python"
    return named or (str(made) if made.exists() else None)


class Field:
    """The processes of all programs; started when first asked, ended together."""

    def __init__(self) -> None:
        self.workers: dict[str, Worker] = {}
        self.absent: dict[str, str] = {}
        self.versions: dict[str, str] = {}

    def ask(self, program: str, request: dict[str, Any], limit: float) -> dict[str, Any]:
        """The program's answer, or ``failed``."""
        if program in self.absent:
            return {"failed": self.absent[program]}
        if program not in self.workers or not self.workers[program].alive:
            try:
                self.workers[program] = self._start(program)
            except Absent as why:
                self.absent[program] = f"absent: {why}"
                return {"failed": self.absent[program]}
            self.versions[program] = self.workers[program].version
        return self.workers[program].ask(request, limit)

    def close(self) -> None:
        """End them."""
        for worker in self.workers.values():
            worker.close()

    def _start(self, name: str) -> Worker:
        program, python = PROGRAMS[name], sys.executable
        if program.apart:
            other = peers_python()
            if other is None or not Path(other).exists():
                raise Absent("no environment of other programs; `make peers` makes it")
            python = other
        return Worker(program.module, python)


def measure(
    players: Sequence[Contestant], effort: Effort, say: Callable[[str], None] = print
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """One row per contestant, and why programs are absent, by name."""
    field_ = Field()
    try:
        entries = [tuned(one, field_, effort) for one in players if effort.slow or not one.slow]
        for entry in entries:
            say(f"{entry.contestant.problem} {entry.contestant.program}, {entry.contestant.label}: "
                f"{entry.facts.get('failed') or entry.facts['error']}")  # fmt: skip
        for turn in range(effort.rounds):
            for entry in entries if turn % 2 == 0 else entries[::-1]:
                take_turn(entry, field_, effort)
        return [row(entry, field_.versions) for entry in entries], dict(field_.absent)
    finally:
        field_.close()


def tuned(one: Contestant, field_: Field, effort: Effort) -> Entry:
    """The contestant with the loosest tolerance that costs it no accuracy, set up and warm."""
    tried: list[tuple[dict[str, Any], dict[str, Any]]] = []
    failed: dict[str, Any] = {"failed": "no tolerance was tried"}
    base = {"cells": one.cells, **one.options}
    for rtol in one.tolerances or (None,):
        options = base if rtol is None else base | {"rtol": rtol}
        answer = field_.ask(one.program, request(one, options), effort.limit)
        if "failed" in answer:
            failed = answer
            continue
        tried.append((options, answer))
        settled = len(tried) > 1 and answer["error"] >= tried[-2][1]["error"] / SETTLED
        if settled and answer["seconds"][0] > LONG:
            break  # what is left is the error in space
    if not tried:
        return Entry(one, base, failed)
    best = min(answer["error"] for _, answer in tried)
    return Entry(one, *next(pair for pair in tried if pair[1]["error"] <= EQUAL * best))


def request(
    one: Contestant, options: dict[str, Any], repeat: int = 1, budget: float = 0.0
) -> dict[str, Any]:
    """As :mod:`benchmarks.peers.serve` wants it."""
    return {"problem": one.problem, "options": options, "repeat": repeat, "budget": budget}


def take_turn(entry: Entry, field_: Field, effort: Effort) -> None:
    """Run, unless it failed before or has had its share of time."""
    spent = sum(filter(None, entry.seconds))
    enough = spent > effort.allowance or (entry.contestant.once and entry.seconds)
    if "failed" in entry.facts or enough:
        entry.seconds.append(None)
        return
    if not entry.seconds and entry.facts["seconds"][0] > VERY_LONG:
        entry.seconds.append(entry.facts["seconds"][0])  # it has just run
        entry.walls.append(entry.facts["wall"])
        return
    asked = request(entry.contestant, entry.options, effort.repeat, effort.budget)
    answer = field_.ask(entry.contestant.program, asked, effort.limit)
    if "failed" in answer:
        entry.seconds.append(None)
        entry.facts.setdefault("later", answer["failed"])
    else:
        entry.seconds.append(min(answer["seconds"]))
        entry.walls.append(answer["wall"])


def row(entry: Entry, versions: dict[str, str]) -> dict[str, Any]:
    """What is stored of an entry."""
    one = entry.contestant
    found: dict[str, Any] = {"problem": one.problem, "program": one.program, "label": one.label}
    found |= {"family": one.family, "cells": one.cells, "options": entry.options}
    found |= {"version": versions.get(one.program, "")}
    if "failed" in entry.facts:
        return found | {"failed": entry.facts["failed"]}
    kept = ("error", "mass_error", "lowest", "steps", "setup_seconds")
    found |= {key: entry.facts[key] for key in kept}
    return found | {"seconds": entry.seconds, "wall": min(entry.walls, default=None)}


Times = Sequence[float | None]


def ratios(over: Times, under: Times) -> dict[str, float] | None:
    """Median, least and largest of ``over / under`` by rounds; None without a common round."""
    both = [a / b for a, b in zip(over, under, strict=True) if a is not None and b is not None]
    if not both:
        return None
    return {"median": statistics.median(both), "min": min(both), "max": max(both)}
