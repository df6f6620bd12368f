"""Compare what pnpfusion takes with what it took, in units of fixed codes; 1 if it is slower.

usage: python -m benchmarks.regression [--update] [--only WORDS] [--ratios FILE]

Every case is timed in turns with a fixed code in plain numpy and scipy (regression/fixed.py), in
this process, on one thread, by processor time. One JSON line per case, then a table that names
the culprit and what each case may be. A case is slower if its ratio is 25 % above the stored one,
or twice the stored spread if that is more, at most 50 %, and stays so in three repetitions. Where
it is less than half of the stored one, the baseline is out of date. --update stores
the ratios of now: commit the file with the change that explains it. Ratios are of one kind of
machine; on another one, update first.
"""

from __future__ import annotations

import json
import sys
import warnings
from dataclasses import asdict
from functools import partial
from pathlib import Path

import torch

from benchmarks.regression.cases import CASES, Case
from benchmarks.regression.judge import Ratio, Verdict, allowed, block, judge, of_blocks
from benchmarks.script import options, say, significant
from benchmarks.suite.machine import machine
from pnpfusion.dynamics.resolution import ResolutionWarning
from pnpfusion.text_table import aligned

RATIOS = Path(__file__).parent / "ratios.json"


def table(verdicts: list[Verdict]) -> str:
    """One line a case."""
    lines = [("case", "stored", "now", "now/stored", "fails above", "verdict")]
    for one in verdicts:
        stored = f"{one.stored.value:.3g}" if one.stored else "-"
        change = f"{one.now / one.stored.value:.2f}" if one.stored else "-"
        most = f"{allowed(one.stored):.3g}" if one.stored else "-"
        lines.append((one.name, stored, f"{one.now:.3g}", change, most, one.words))
    return aligned(lines)


def update(cases: list[Case], path: Path, blocks: int = 5) -> None:
    """Store ratios and spreads of these cases beside those of the others."""
    stored = json.loads(path.read_text(encoding="utf-8"))["ratios"] if path.exists() else {}
    stored = {case.name: stored[case.name] for case in CASES if case.name in stored}
    for case in cases:
        work = case.make()
        for one in work:
            one()
        found = of_blocks([block(*work) for _ in range(blocks)])
        stored[case.name] = {key: significant(value) for key, value in asdict(found).items()}
        say({"case": case.name} | stored[case.name])
    text = json.dumps({"machine": machine(), "ratios": stored}, indent=1, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")


def check(cases: list[Case], path: Path) -> list[Verdict]:
    """Judge these cases."""
    known = json.loads(path.read_text(encoding="utf-8"))
    here = machine()["cpu"]
    if known["machine"]["cpu"] != here:
        print(f"ratios are of {known['machine']['cpu']}, this is {here}", file=sys.stderr)
    verdicts = []
    for case in cases:
        work = case.make()
        for one in work:
            one()
        stored = known["ratios"].get(case.name)
        verdict = judge(case.name, Ratio(**stored) if stored else None, partial(block, *work))
        say(asdict(verdict))
        verdicts.append(verdict)
    return verdicts


def main() -> int:
    """Check or update."""
    parser = options(__doc__, "python -m benchmarks.regression")
    parser.add_argument("--update", action="store_true", help="store the ratios of now")
    parser.add_argument("--only", default="", metavar="WORDS", help="cases so named")
    parser.add_argument("--ratios", type=Path, default=RATIOS, metavar="FILE")
    given = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", ResolutionWarning)
    cases = [case for case in CASES if given.only in case.name]
    if not cases:
        parser.error(f"`--only` {given.only!r} is in no name such as {CASES[0].name!r}")
    if given.update:
        update(cases, given.ratios)
        return 0
    if not given.ratios.exists():
        parser.error(f"`--ratios` {given.ratios} is not there; `--update` makes it")
    verdicts = check(cases, given.ratios)
    print(f"\n{table(verdicts)}")
    if any(verdict.words == "baseline out of date" for verdict in verdicts):
        print("baseline out of date: make bench-check ARGS=--update, and commit the file")
    return int(any(verdict.slower for verdict in verdicts))


if __name__ == "__main__":
    sys.exit(main())
