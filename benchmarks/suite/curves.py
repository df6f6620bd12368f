"""How pnpfusion's cost grows: with cells, batch and species, in time and in memory."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.suite.process import Worker
from benchmarks.suite.rounds import Effort

COST = "benchmarks.suite.cost"


@dataclass(frozen=True)
class Curve:
    """One line of a figure."""

    key: str
    part: str  #: the file that it is stored in
    title: str
    axes: int  #: how many axes have `size` cells; 0 where the size is no number of cells
    sizes: tuple[int, ...]
    gradient: tuple[int, ...]  #: sizes with gradient
    memory: tuple[int, ...]  #: sizes whose memory is measured


CURVES = (
    Curve(
        "line", "cells", "one axis, adaptive implicit run", 1,
        (64, 256, 1024, 4096, 16384, 100_000), (64, 256, 1024, 4096), (16384, 100_000),
    ),
    Curve(
        "square, series", "cells", "two axes, cosine series", 2,
        (32, 64, 128, 256, 512, 1024), (32, 64, 128), (256, 512),
    ),
    Curve(
        "square, volumes", "cells", "two axes, finite volumes", 2,
        (32, 64, 128, 256, 512, 1024), (32, 64, 128), (256, 512),
    ),
    Curve(
        "cube, series", "cells", "three axes, cosine series", 3,
        (16, 32, 64, 128), (16, 32), (64, 128),
    ),
    Curve(
        "cube, volumes", "cells", "three axes, finite volumes", 3,
        (16, 32, 64), (16,), (64,),
    ),
    Curve(
        "batch", "batch", "cells of 128, adaptive implicit runs", 0,
        (1, 4, 16, 64, 256, 1024, 4096), (1, 4, 16, 64), (256, 4096),
    ),
    Curve("species", "species", "16 cells of 128", 0, (2, 3, 4, 6), (2, 4), (2, 6)),
)  # fmt: skip


def measure(
    part: str, effort: Effort, quick: bool, say: Callable[[str], None] = print
) -> list[dict[str, Any]]:
    """The rows of a part: every size in turns, without gradient and with, then memory."""
    curves = [curve for curve in CURVES if curve.part == part]
    jobs = [
        (curve, mode, size)
        for curve in curves
        for mode, sizes in (
            ("forward", curve.sizes),
            ("anew", curve.gradient),
            ("gradient", curve.gradient),
        )
        for size in (sizes[: len(sizes) // 2] if quick else sizes)
    ]
    rows = timed(jobs, effort, say)
    for curve in curves:
        for size in () if quick else curve.memory:
            worker = Worker(COST)  # of its own: a process keeps memory that it once had
            asked = {"curve": curve.key, "size": size, "mode": "memory"}
            answer = worker.ask(asked, effort.limit)
            worker.close()
            rows.append(asked | answer)
            say(f"{curve.key} {size} memory: {answer}")
    return rows


def timed(
    jobs: Sequence[tuple[Curve, str, int]], effort: Effort, say: Callable[[str], None]
) -> list[dict[str, Any]]:
    """Seconds of each job, least of each round; a line is given up where a run takes too long."""
    found: dict[tuple[str, str, int], dict[str, Any]] = {}
    given_up: set[tuple[str, str]] = set()
    worker = Worker(COST)
    for turn in range(effort.rounds):
        for curve, mode, size in jobs:
            row = found.setdefault(
                (curve.key, mode, size),
                {"curve": curve.key, "size": size, "mode": mode, "seconds": []},
            )
            if (curve.key, mode) in given_up or "failed" in row:
                row.setdefault("failed", f"a smaller one takes more than {effort.limit:g} s")
                continue
            if sum(row["seconds"]) > effort.allowance / 4:
                continue
            if not worker.alive:
                worker = Worker(COST)
            asked = {"curve": curve.key, "size": size, "mode": mode}
            asked |= {"repeat": effort.repeat, "budget": effort.budget}
            answer = worker.ask(asked, effort.limit)
            if "failed" in answer:
                row["failed"] = answer["failed"]
                if answer.get("stopped"):
                    given_up.add((curve.key, mode))
                say(f"{curve.key} {size} {mode}: {answer['failed']}")
                continue
            row["seconds"].append(min(answer.pop("seconds")))
            row |= answer
            if turn == 0:
                say(f"{curve.key} {size} {mode}: {row['seconds'][0]:.3g} s")
    worker.close()
    return list(found.values())


def exponent(points: Sequence[tuple[float, float]]) -> float | None:
    """The slope of log y over log x by least squares; None with fewer than three points."""
    if len(points) < 3:
        return None
    logs = [(math.log(x), math.log(y)) for x, y in points]
    x0, y0 = (statistics.fmean(values) for values in zip(*logs, strict=True))
    return sum((x - x0) * (y - y0) for x, y in logs) / sum((x - x0) ** 2 for x, _ in logs)
