"""Measure pnpfusion beside other programs and as problems grow; write docs/performance.md.

usage: python -m benchmarks.suite [--quick] [--only p1,cells] [--page]

Parts: p1, p2, p3, p4 (time against error, beside the programs that `make peers` installs),
steppers (the same for steppers of ours), cells, batch, species (what growth costs, in time, with
gradients, and in memory). Each is stored in a file of its own in --results, and the page, which
holds the tables, is made anew from all that are there. One thread; programs take turns in every
round. Prints one JSON line per row, then how much faster, and where the page is.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict, replace
from pathlib import Path

from benchmarks.suite import curves, page, rounds
from benchmarks.suite.contestants import contestants
from benchmarks.suite.process import ROOT
from benchmarks.suite.results import RESULTS, write

PROBLEMS = ("p1", "p2", "p3", "p4", "steppers")
PARTS = (*PROBLEMS, "cells", "batch", "species")


def say(text: str) -> None:
    """Progress, not a result."""
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    """Measure what is asked for, then write the page."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.suite",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="two rounds, nothing that takes long")
    parser.add_argument("--only", default=",".join(PARTS), help="parts, with commas between")
    parser.add_argument("--page", action="store_true", help="measure nothing; write the page")
    parser.add_argument("--rounds", type=int, help="how often all take their turn (5)")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the JSON files")
    parser.add_argument("--docs", type=Path, default=ROOT / "docs", help="folder of the page")
    given = parser.parse_args()
    wanted = [part.strip().lower() for part in given.only.split(",") if part.strip()]
    unknown = sorted(set(wanted) - set(PARTS))
    if unknown:
        parser.error(f"`--only` names {', '.join(unknown)}; wanted some of {', '.join(PARTS)}")
    effort = rounds.QUICK if given.quick else rounds.Effort()
    effort = replace(effort, rounds=given.rounds or effort.rounds)
    for part in [] if given.page else wanted:
        found: dict[str, object] = {"quick": given.quick, "effort": asdict(effort)}
        if part in PROBLEMS:
            rows, absent = rounds.measure(contestants(part), effort, say)
            found |= {"absent": absent, "rows": rows}
        else:
            rows = curves.measure(part, effort, given.quick, say)
            found |= {"rows": rows}
        write(given.results, part, found)
        for row in rows:
            print(json.dumps(row, ensure_ascii=False), flush=True)
    written = page.write(given.results, given.docs)
    print(f"\n{page.summary(page.stored(given.results))}{written}")


if __name__ == "__main__":
    main()
