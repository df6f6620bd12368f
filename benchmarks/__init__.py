"""The scripts behind every figure in the documents; none of them is installed.

Everything is measured on one thread, which must be said before numpy and torch are imported.
"""

import argparse
import os
from pathlib import Path

ROOT = Path(__file__).parents[1]
ONE_THREAD = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL", "NUMBA")}

for _name, _value in ONE_THREAD.items():
    os.environ.setdefault(_name, _value)


def count(text: str) -> int:
    """The argument of an option that counts something, which is at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"got {text!r}, wanted a whole number, 1 or more")
    return int(text)
