"""Measure pnpfusion beside other programs and as problems grow; write docs/performance.md.

usage: python -m benchmarks.suite [--quick] [--only p1,cells] [--rounds 5] [--page]

Parts: p1, p2, p3, p4 (time against error, beside the programs that `make peers` installs),
steppers (the same for steppers of ours), cells, batch, species (what growth costs, in time, with
gradients, and in memory), and what scripts print: gradient_cost, junction_gradient, deq_training,
deq_warm_start, pnp_layer, startup. Each is stored in a file of its own in --results, and the page,
which holds the tables, is made anew from all that are there. Rows of programs that are absent stay,
marked by their day. --quick writes to build/bench unless told otherwise, and never replaces fuller
results. One thread; programs take turns in every round. Prints one JSON line per row, then how much
faster, and where the page is.
"""

from __future__ import annotations

import sys
from dataclasses import asdict, replace
from pathlib import Path

from benchmarks import ROOT, count
from benchmarks.script import options, say
from benchmarks.suite import curves, page, rounds, scripts
from benchmarks.suite.contestants import contestants
from benchmarks.suite.results import RESULTS, fuller, write

PROBLEMS = ("p1", "p2", "p3", "p4", "steppers")
PARTS = (*PROBLEMS, "cells", "batch", "species", *scripts.SCRIPTS)
QUICK = ROOT / "build" / "bench"  #: where quick runs write


def tell(text: str) -> None:
    """Progress, not a result."""
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    """Measure what is asked for, then write the page."""
    parser = options(__doc__, "python -m benchmarks.suite")
    parser.add_argument("--quick", action="store_true", help="two rounds, nothing that takes long")
    parser.add_argument("--only", default=",".join(PARTS), help="parts, with commas between")
    parser.add_argument("--page", action="store_true", help="measure nothing; write the page")
    parser.add_argument("--rounds", type=count, help="how often all take their turn (5)")
    parser.add_argument("--results", type=Path, help="folder of the JSON files")
    parser.add_argument("--docs", type=Path, help="folder of the page")
    given = parser.parse_args()
    wanted = [part.strip().lower() for part in given.only.split(",") if part.strip()]
    unknown = sorted(set(wanted) - set(PARTS))
    if unknown:
        parser.error(f"`--only` names {', '.join(unknown)}; wanted some of {', '.join(PARTS)}")
    results = given.results or (QUICK / "results" if given.quick else RESULTS)
    docs = given.docs or (QUICK if given.quick else ROOT / "docs")
    full = [part for part in wanted if given.quick and fuller(results, part)]
    if full and not given.page:
        parser.error(f"`--results` {results} holds fuller results of {', '.join(full)}; "
                     "leave `--quick` out, or name another folder")  # fmt: skip
    effort = rounds.QUICK if given.quick else rounds.Effort()
    effort = replace(effort, rounds=given.rounds or effort.rounds)
    for part in [] if given.page else wanted:
        found: dict[str, object] = {"quick": given.quick, "effort": asdict(effort)}
        if part in PROBLEMS:
            rows, absent = rounds.measure(contestants(part), effort, tell)
            found |= {"absent": absent, "rows": rows}
        elif part in scripts.SCRIPTS:
            rows = scripts.measure(part, given.quick, tell)
            absent = {row["program"]: row["absent"] for row in rows if "absent" in row}
            found |= {"absent": absent, "rows": rows}
        else:
            rows = curves.measure(part, effort, given.quick, tell)
            found |= {"rows": rows}
        write(results, part, found)
        for row in rows:
            say(row)
    written = page.write(results, docs)
    print(f"\n{page.summary(page.stored(results))}{written}")


if __name__ == "__main__":
    main()
