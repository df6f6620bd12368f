"""Make docs/verification.md and its pictures; fail where something is not as stated."""

import argparse
import sys
import time
import warnings
from pathlib import Path

import torch

from benchmarks.picture import save
from docs.verification.case import SIZES, Case
from docs.verification.page import CASES, complaints, page, results, section
from pnpfusion.dynamics.resolution import ResolutionWarning


def draw(case: Case, folder: Path) -> None:
    """Write the picture of a case."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResolutionWarning)
        figure = case.figure()
    save(figure, folder / f"verification_{case.key.replace('-', '_')}.png")


def main() -> int:
    """Run the cases; 1 if any is not as stated."""
    parser = argparse.ArgumentParser(
        prog="python -m docs.verification", description="Check pnpfusion against known answers."
    )
    names = [case.key for case in CASES]
    parser.add_argument("--only", choices=names, help="one case: print it, leave the page alone")
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1], help="folder (docs)")
    given = parser.parse_args()
    torch.set_num_threads(1)  # on a busy machine more threads can be much slower
    found, wrong = [], []
    for case in CASES:
        if given.only not in (None, case.key):
            continue
        begin = time.perf_counter()
        tables = results(case, SIZES)
        found.append((case, tables))
        own = complaints(tables)
        draw(case, given.out / "images")
        seconds = time.perf_counter() - begin
        print(f"{case.key}: {'not as stated' if own else 'as stated'}, {seconds:.0f} s", flush=True)
        wrong += [f"{case.key}: {text}" for text in own]
    if given.only:
        print("", section(*found[0]), sep="\n")
    else:
        (given.out / "verification.md").write_text(page(found), encoding="utf-8")
    print(*wrong, sep="\n", file=sys.stderr, end="\n" if wrong else "")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
