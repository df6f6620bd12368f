"""What every torture of files and commands can be told."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Options:
    """Which cases."""

    seed: int
    cases: Sequence[int]


def options(name: str, about: str | None, typed: Sequence[str] | None, *, count: int) -> Options:
    """Read ``--count``, ``--seed`` and ``--case``.

    Args:
        name: of the module.
        about: what it says of itself.
        typed: the arguments; None reads those of the process.
        count: cases, if nothing is said.
    """
    parser = argparse.ArgumentParser(
        prog=f"python -m tests.torture.{name}",
        description=about,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--count", type=int, default=count, help=f"cases (default: {count})")
    parser.add_argument("--seed", type=int, default=0, help="of what is random (default: 0)")
    parser.add_argument("--case", type=int, nargs="+", help="these alone")
    told = parser.parse_args(typed)
    return Options(told.seed, range(told.count) if told.case is None else told.case)
