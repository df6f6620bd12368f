"""Any data set by one line of text: a name that is known here, or a path."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from pnpfusion.data.arrays import from_npz
from pnpfusion.data.feature_set import Features
from pnpfusion.data.interaction import interaction
from pnpfusion.data.known_sets import digits, htad
from pnpfusion.data.tables import from_csv

SETS: dict[str, Callable[[], Features]] = {
    "htad": htad,
    "digits": digits,
    "interaction": lambda: interaction(generator=torch.Generator().manual_seed(0)),
}


def open_set(text: str) -> Features:
    """The set of that name or path.

    Raises:
        FileNotFoundError: neither a name nor a path that is there.
        ValueError: a file of another kind, or a broken one.
    """
    if text in SETS:
        return SETS[text]()
    if not Path(text).is_file():
        raise FileNotFoundError(f"{text!r} is no known set and no file; known are {[*SETS]}.")
    return from_npz(text) if text.endswith(".npz") else from_csv(text)
