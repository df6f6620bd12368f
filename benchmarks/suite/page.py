"""docs/performance.md, from what was measured."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.suite import compare, figures, growth_page, scripts
from benchmarks.suite.compare import Row
from benchmarks.suite.contestants import DEFAULTS, PNPFUSION
from benchmarks.suite.results import read
from benchmarks.suite.texts import HEAD, OTHERS, TAIL, TEXTS, TITLES
from pnpfusion.text_table import markdown

SMALL = 1e-3  #: the error that steppers of ours race for
#: Heads of tables.
SUMMARY = ("problem", "beside", "its error", "pnpfusion", "error", "times faster", "goal")
THEIRS = (
    *("program", "error", "seconds", "pnpfusion at that error", "error", "seconds"),
    "times faster",
)
OURS = (
    *("pnpfusion", "rtol", "error", "seconds", "steps", "mass error"),
    "smallest concentration",
)


def stored(results: Path) -> dict[str, dict[str, Any]]:
    """The parts that were measured, by name."""
    parts = {name: read(results, name) for name in (*TITLES, *growth_page.PARTS, *scripts.SCRIPTS)}
    return {name: found for name, found in parts.items() if found is not None}


def write(results: Path, docs: Path) -> Path:
    """Write the page and its pictures from the results that are there; return its path."""
    there = stored(results)
    text = HEAD + machines(there) + summary(there)
    for name in TITLES:
        if name in there:
            text += precision(name, there[name], docs / "images")
    text += growth_page.sections(there, docs / "images") + OTHERS
    for name in scripts.SCRIPTS:
        if name in there:
            text += scripts.section(name, there[name])
    text += TAIL
    path = docs / "performance.md"
    path.write_text(text, encoding="utf-8")
    return path


def machines(parts: dict[str, dict[str, Any]]) -> str:
    """On what each part was measured; parts of one machine and day share a line."""
    lines: dict[str, list[str]] = {}
    loads: dict[str, list[float]] = {}
    for name, found in parts.items():
        on = found["machine"]
        packages = ", ".join(f"{p} {v}" for p, v in on["packages"].items() if v)
        quick = "; quick rounds only" if found["quick"] else ""
        line = (
            f"{on['cpu']}; {on['cores']} cores; {on['system']}; Python {on['python']}, {packages}; "
            f"{on['date']}{quick}"
        )
        lines.setdefault(line, []).append(name)
        loads.setdefault(line, []).append(on["load"])
    said = [
        f"- {', '.join(names)}: {line}; load {min(loads[line]):g} to {max(loads[line]):g}"
        for line, names in lines.items()
    ]
    absent = {
        f"{program} ({why.removeprefix('absent: ')})"
        for found in parts.values()
        for program, why in found.get("absent", {}).items()
    }
    versions = sorted(
        {
            row["version"] + (f" ({row['measured']})" if "measured" in row else "")
            for found in parts.values()
            for row in found["rows"]
            if row.get("version") and row["program"] != PNPFUSION
        }
    )
    if versions:
        said.append(f"- other programs: {', '.join(versions)}")
    missing = f"\n*Absent:* {'; '.join(sorted(absent))}.\n" if absent else ""
    return "*Where.*\n\n" + "\n".join(said) + "\n" + missing + "\n"


#: What was to be reached: problem, peer, its label, whether on its cells, ratio, share of error.
GOALS: tuple[tuple[str, str, str, bool, float, float], ...] = (
    ("p1", "PyBaMM", f"{DEFAULTS}, 256", True, 4, 1),
    ("p1", "PyBaMM", f"{DEFAULTS}, 256", False, 20, 1),
    ("p1", "PyBaMM", "equal cells, 256", True, 4, 1),
    ("p1", "PyBaMM", "equal cells, 256", False, 20, 1),
    ("p3", "PyBaMM", f"{DEFAULTS}, 128", True, 6, 1),
    ("p3", "PyBaMM", f"{DEFAULTS}, 128", False, 15, 1),
    ("p3", "PyBaMM", "equal cells, 128", True, 6, 1),
    ("p3", "PyBaMM", "equal cells, 128", False, 15, 1),
    ("p2", "scipy", "RK23, equal cells, 128", True, 25, 0.1),
    ("p2", "scipy", "RK23, equal cells, 128", False, 25, 0.1),
    ("p1", "FiPy", "equal cells, 256, 100 steps", False, 100, 1),
    ("p1", "devsim", "vertices, 256, 100 steps", False, 100, 1),
    ("p1", "py-pde", "equal cells, 256", False, 100, 1),
    ("p2", "FiPy", "equal cells, 128, 20 steps", False, 100, 1),
    ("p2", "devsim", "vertices, 128, 20 steps", False, 100, 1),
    ("p2", "py-pde", "equal cells, 128", False, 100, 1),
    ("p3", "FiPy", "equal cells, 128, 50 steps", False, 100, 1),
)


def summary(parts: dict[str, dict[str, Any]]) -> str:
    """How much faster than the anchors, beside what was to be reached."""
    lines = []
    for name, program, label, same, goal, share in GOALS:
        if name not in parts:
            continue
        rows = parts[name]["rows"]
        peer = compare.find(rows, program, label)
        if peer is None:
            continue
        own = compare.quickest(rows, share * peer["error"], peer["cells"] if same else None)
        begin = (name.upper(), titled(peer), f"{peer['error']:.1e}")
        if own is None:
            lines.append((*begin, "none", "–", "–", f"{goal}"))
            continue
        found = compare.speed(peer, own)
        fast = ratio(found)
        if found is not None and found["median"] >= goal:
            fast = f"**{fast}**"
        lines.append((*begin, own["label"], f"{own['error']:.1e}", fast, f"{goal}"))
    if not lines:
        return ""
    return (
        "## How much faster\n\nThe other program's time over that of pnpfusion's quickest run that "
        "errs at most 5 % more (in the square at most a tenth as much as scipy), first on the same "
        "number of equal cells, then on cells of our choice; in bold what reaches the goal. PyBaMM "
        "is there twice: as it comes, at its own tolerance of 1e-4, and at its best, compiled and "
        "at the loosest tolerance that costs it no accuracy.\n\n"
        f"{markdown(SUMMARY, lines)}\n\n"
    )


def shown(name: str, rows: Sequence[Row]) -> str:
    """What the figure of a problem shows: how it stands at equal error."""
    pairs = [(peer, compare.quickest(rows, peer["error"])) for peer in compare.others(rows)]
    speeds = [compare.speed(peer, own) for peer, own in pairs if own is not None]
    found = [one["median"] for one in speeds if one is not None]
    if found:
        faster = sum(one > 1 for one in found)
        return (
            f"{TITLES[name]}: at equal error pnpfusion is quicker than {faster} of {len(found)} "
            f"runs of others, {short(min(found))} to {short(max(found))} times as fast"
        )
    able = [row for row in compare.ours(rows) if row["error"] <= SMALL]
    if not able:
        return f"{TITLES[name]}: time against error"
    best = min(able, key=compare.seconds)
    return (
        f"{TITLES[name]}: an error below {SMALL:g} is reached first by {best['label']}, "
        f"in {1e3 * compare.seconds(best):.2g} ms"
    )


def titled(peer: Row) -> str:
    """Program and discretisation, and the day, if it is not that of the other rows."""
    best = peer["program"] == "PyBaMM" and peer["options"].get("compile")
    words = f"{peer['program']}: {peer['label']}{', at its best' if best else ''}"
    return words + (f" (of {peer['measured']})" if "measured" in peer else "")


def ratio(found: dict[str, float] | None) -> str:
    """A ratio with its range."""
    if found is None:
        return "–"
    low, middle, high = (short(found[key]) for key in ("min", "median", "max"))
    return f"{middle} ({low}–{high})"


def short(value: float) -> str:
    """Two digits."""
    return f"{value:.2g}" if value < 100 else f"{float(f'{value:.2g}'):.0f}"


def figures_of(row: Row) -> tuple[str, str]:
    """Error and seconds."""
    return f"{row['error']:.1e}", f"{compare.seconds(row):.2g}"


def precision(name: str, found: dict[str, Any], images: Path) -> str:
    """The section of one problem."""
    rows: Sequence[Row] = found["rows"]
    picture = f"performance_{name}.png"
    figures.precision(name, shown(name, rows), rows, images / picture)
    theirs = []
    for peer in compare.others(rows):
        own = compare.quickest(rows, peer["error"])
        at_that_error = ("none", "", "", "")
        if own is not None:
            at_that_error = (own["label"], *figures_of(own), ratio(compare.speed(peer, own)))
        theirs.append((titled(peer), *figures_of(peer), *at_that_error))
    ours = [
        (
            *(row["label"], f"{row['options'].get('rtol', '')}", *figures_of(row)),
            *(f"{row['steps']}", f"{row['mass_error']:.0e}", f"{row['lowest']:.3g}"),
        )
        for row in compare.ours(rows)
    ]
    failed = [
        f"{row['program']}: {row['label']} ({row['failed']})"
        for row in rows
        if "failed" in row and row["program"] not in found["absent"]
    ]
    lost = f"Did not come to an end: {'; '.join(failed)}.\n\n" if failed else ""
    said = f"{TITLES[name]}: seconds against error, a line per program and discretisation"
    beside = f"{markdown(THEIRS, theirs)}\n\n" if name != "steppers" else ""
    text = beside + markdown(OURS, ours)
    fipy = compare.find(rows, "FiPy", "equal cells, 128, 50 steps") if name == "p3" else None
    about = TEXTS[name] + (" FiPy's time is that of two cells, times 32." if fipy else "")
    return f"## {TITLES[name]}\n\n{about}\n\n![{said}](images/{picture})\n\n{text}\n\n{lost}"
