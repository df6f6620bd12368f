"""Measure what is not yet known, and make docs/results.md and its pictures."""

import argparse
import os
import sys
import time
import warnings
from functools import partial
from pathlib import Path

import torch

from benchmarks.suite.machine import machine
from docs.results import ablations, estimate, index, interpretation
from docs.results.findings import Findings, Measured
from docs.results.page import write
from docs.results.plans import FULL, QUICK, ROOT, Size, Study, htad_is_there, studies
from pnpfusion.comparison import compare

KEYS = ("htad", "digits", "av-mnist-25-0", "av-mnist-25-10", "av-mnist-40-10", "mfeat", "brca769")
MADE = ("interaction", "volatility", "index", "ablations", "interpretation")


def main(arguments: list[str] | None = None) -> int:
    """Run it; 1 if a cell failed."""
    parser = argparse.ArgumentParser(
        prog="python -m docs.results", description="Measure when which fusion helps."
    )
    parser.add_argument("--quick", action="store_true", help="tiny, for tests; into build/")
    parser.add_argument(
        "--only", choices=(*KEYS, *MADE), help="one part: print it, leave the page alone"
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="say what there is to do, and time it"
    )
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument("--work", type=Path, help="folder of finished cells (build/results)")
    parser.add_argument("--out", type=Path, help="folder of the page (docs)")
    given = parser.parse_args(arguments)
    if given.workers < 1:
        parser.error(f"--workers must be >= 1, got {given.workers}")
    size = QUICK if given.quick else FULL
    work = given.work or ROOT / "build" / ("results-quick" if given.quick else "results")
    out = given.out or (work if given.quick else ROOT / "docs")
    torch.set_num_threads(1)  # on a busy machine more threads can be much slower
    known = studies(size, work)
    if given.dry_run:
        _foresee(size, known, given.only)
        return 0
    if given.only:
        return _one(given.only, size, known, work, given.workers)
    begun = time.perf_counter()
    findings = carry_out(size, known, work, given.workers)
    path = write(findings, out)
    failed = sum(len(one.comparison.failures) for one in findings.measured)
    print(f"{path}; {failed} cells failed; {time.perf_counter() - begun:.0f} s", flush=True)
    return int(failed > 0)


def carry_out(size: Size, known: list[Study], work: Path, workers: int) -> Findings:
    """Everything that the folder does not have, and all that it has then."""
    measured = [measured_of(one, size, work, workers) for one in known if one.data is not None]
    rows = index.compare(size, work / "index", workers)
    _say("index", len(rows))
    found = ablations.answers(size, work / "ablations", workers)
    _say("ablations", sum(len(told) for _, told in found))
    explained = []
    if htad_is_there():
        explained = interpretation.explain(size, work / "interpretation")
    absent = [one for one in known if one.data is None]
    return Findings(size, measured, absent, rows, found, explained, machine())


def measured_of(study: Study, size: Size, work: Path, workers: int) -> Measured:
    """A set, with all of its models."""
    folder = work / study.key
    plan = study.plan(size)
    done = compare(plan, folder, workers=workers, progress=not size.quick)
    for cell, reason in done.failures.items():
        print(f"failed: {cell}: {reason}", flush=True)
    _say(study.key, len(done.sets[0].rows))
    return Measured(study, done)


def _say(part: str, models: int) -> None:
    print(f"{part}: {models} models", flush=True)


def _one(part: str, size: Size, known: list[Study], work: Path, workers: int) -> int:
    if part == "index":
        print(*index.compare(size, work / "index", workers), sep="\n")
        return 0
    if part == "ablations":
        for ablation, told in ablations.answers(size, work / "ablations", workers):
            print(ablation.title)
            for one in told:
                print(" ", one.label, one.row.measures.get("accuracy"), one.difference)
        return 0
    if part == "interpretation":
        print(*interpretation.explain(size, work / "interpretation"), sep="\n")
        return 0
    study = next((one for one in known if one.key == part), None)
    if study is None or study.data is None:
        why = "it is not part of this size" if study is None else study.absent
        print(f"{part} is absent: {why}.", file=sys.stderr)
        return 1
    done = measured_of(study, size, work, workers)
    print(done.comparison.table)
    return int(bool(done.comparison.failures))


def _foresee(size: Size, known: list[Study], only: str | None) -> None:
    """A line for every model on every set; classical models are fitted once for it."""
    total = 0.0
    parts = {one.key: partial(estimate.costs, one.plan(size)) for one in known if one.data}
    parts |= {
        "ablations": partial(estimate.of_ablations, size),
        "index": partial(estimate.of_index, size),
    }
    print(f"{'set':<22}{'model':<44}{'cells':>6}{'seconds':>9}")
    for key, costs in parts.items():
        for cost in costs() if only in (None, key) else ():
            print(f"{key:<22}{cost.model:<44}{cost.cells:>6}{cost.seconds:>9.0f}", flush=True)
            total += cost.seconds
    print(f"{'in all, at most':<72}{total:>9.0f}")
    for study in known:
        if study.data is None and only in (None, study.key):
            print(f"{study.key} is absent: {study.absent}.")


if __name__ == "__main__":
    with warnings.catch_warnings():
        sys.exit(main())
