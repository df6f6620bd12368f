"""The sections of docs/performance.md on how cost grows."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.suite import figures
from benchmarks.suite.compare import Row
from benchmarks.suite.curves import CURVES, Curve, exponent
from pnpfusion.text_table import markdown

PARTS = ("cells", "batch", "species")
ACROSS = {"cells": "cells, all axes together", "batch": "samples", "species": "species"}
GOAL = 3.0  #: of a run and its gradient, over the run alone
FROM = {"line": 1024, "batch": 16, "species": 2}  #: from where on exponents are fitted
FROM_BOXES = 16384  #: cells, of boxes

TEXTS = {
    "cells": """\
## Cells

One axis: a blocking cell of P3, Scharfetter–Gummel faces, to its end at rtol 1e-3, steps chosen
by the error. Two and three axes: P2 and P4 through five equal steps, by cosine series (ETDRK4)
and by finite volumes (semi-implicit). The exponent is the slope of log time over log cells, from
1024 cells on one axis, from 16384 on in boxes; N log N has a slope of 1.1 there. The goal on one
axis is 1 within .1.
""",
    "batch": """\
## Batch

Cells of 128 with the parameters of P3, one call; each sample takes the steps that it needs. The
goal is an exponent of 1 within .1.
""",
    "species": """\
## Species

16 cells of 128 with up to six ions, of charges of both signs, one call. Blocks of S + 1 unknowns
per cell are eliminated, so the cost lies between S and S³.
""",
}


def sections(parts: dict[str, dict[str, Any]], images: Path) -> str:
    """All of them, of the parts that are there."""
    text = ""
    for part in PARTS:
        if part in parts:
            text += TEXTS[part] + "\n" + time_section(part, parts[part]["rows"], images)
    rows = [row for part in PARTS if part in parts for row in parts[part]["rows"]]
    return text + gradient_section(rows, images) + memory_section(rows, images)


def series(rows: Sequence[Row], curve: Curve, mode: str) -> list[tuple[int, float, Row]]:
    """(size, median seconds, row) of a curve, by size."""
    found = [
        (int(row["size"]), statistics.median(row["seconds"]), row)
        for row in rows
        if row["curve"] == curve.key and row["mode"] == mode and row.get("seconds")
    ]
    return sorted(found, key=lambda one: one[0])


def slope(curve: Curve, points: Sequence[tuple[int, float, Row]]) -> str:
    """The exponent in the number of cells, or of samples or species."""
    totals = [(n ** max(curve.axes, 1), s) for n, s, _ in points]
    found = exponent([one for one in totals if one[0] >= FROM.get(curve.key, FROM_BOXES)])
    return "" if found is None else f"{found:.2f}"


def time_section(part: str, rows: Sequence[Row], images: Path) -> str:
    """Picture and table of forward runs."""
    lines, table, powers = [], [], []
    for curve in CURVES:
        points = series(rows, curve, "forward")
        if curve.part != part or not points:
            continue
        x = [float(n ** max(curve.axes, 1)) for n, _, _ in points]
        power = slope(curve, points)
        powers += [float(power)] if power else []
        name = curve.title + (f", exponent {power}" if power else "")
        lines.append((name, x, [s for _, s, _ in points]))
        sizes = ", ".join(f"{size(curve, n)}: {s:.2g}" for n, s, _ in points)
        table.append((curve.title, sizes, power))
    if not lines:
        return ""
    xlabel = ACROSS[part]
    picture = f"performance_{part}.png"
    figures.growth(grown(part, powers), xlabel, "seconds", lines, images / picture)
    head = ("run", f"{xlabel.split(',')[0]}: seconds", "exponent")
    return f"![Seconds over {xlabel}](images/{picture})\n\n{markdown(head, table)}\n\n"


def grown(part: str, powers: Sequence[float]) -> str:
    """What a figure of times shows: the exponents, where enough sizes were measured."""
    if not powers:
        return f"Seconds of a run over {part}"
    low, high = min(powers), max(powers)
    said = f"{low:.2f}" if low == high else f"{low:.2f} to {high:.2f}"
    what = {"batch": "the number of samples", "species": "the number of species"}
    return f"Time grows as {what.get(part, 'the number of cells')} to the power {said}"


def size(curve: Curve, n: int) -> str:
    """128², or 128."""
    return f"{n}{'²' if curve.axes == 2 else '³' if curve.axes == 3 else ''}"


def gradient_section(rows: Sequence[Row], images: Path) -> str:
    """Run and gradient over the run alone."""
    panels: dict[str, list[tuple[str, list[float], list[float]]]] = {}
    table = []
    for curve in CURVES:
        forward = {n: s for n, s, _ in series(rows, curve, "forward")}
        alone = {n: s for n, s, _ in series(rows, curve, "anew")}
        both = {n: s for n, s, _ in series(rows, curve, "gradient") if n in alone}
        if not both:
            continue
        unknowns = [float(n ** max(curve.axes, 1)) for n in both]
        line = (curve.title, unknowns, [s / alone[n] for n, s in both.items()])
        panels.setdefault(ACROSS[curve.part], []).append(line)
        said = (
            ", ".join(f"{size(curve, n)}: {s / over[n]:.2g}" for n, s in both.items() if n in over)
            for over in (alone, forward)
        )
        table.append((curve.title, *said))
    if not panels:
        return ""
    picture = "performance_gradient.png"
    ratios = [y for lines in panels.values() for _, _, ys in lines for y in ys]
    heading = (
        f"A run and its gradient take {min(ratios):.2g} to {max(ratios):.2g} times as long as the "
        f"run alone; {sum(y <= GOAL for y in ratios)} of {len(ratios)} reach the goal of {GOAL:g}"
    )
    figures.shares(heading, list(panels.items()), GOAL, images / picture)
    return (
        "## Gradients\n\nThe runs above with the gradient in the start, the permittivity and the "
        f"walls' potentials together, over the same run alone. The goal is {GOAL:g}. Every run "
        "here has a law made for it, as where an optimiser has moved its parameters; beside it "
        "the same over a run of one law again and again, whose cell is remembered.\n\n"
        f"![{heading}](images/{picture})\n\n"
        f"{markdown(('run', 'size: ratio', 'over a remembered cell'), table)}\n\n"
    )


def memory_section(rows: Sequence[Row], images: Path) -> str:
    """Peaks beyond what is saved."""
    table = []
    for row in rows:
        if row["mode"] != "memory" or "copies_beyond_saved" not in row:
            continue
        curve = next(curve for curve in CURVES if curve.key == row["curve"])
        megabytes = f"{row['state_bytes'] / 1e6:.3g}"
        copies = f"{row['copies_beyond_saved']:.3g}"
        table.append((curve.title, size(curve, row["size"]), megabytes, copies))
    if not table:
        return ""
    return (
        "## Memory\n\nHow far the resident memory of a process rises during a run, less what is "
        "saved (the start and the end), in copies of the state. The goal for 4096 cells is 8.\n\n"
        f"{markdown(('run', 'size', 'state, MB', 'copies'), table)}\n\n"
    )
