"""Whose line a warning names."""

from __future__ import annotations

import sys
from types import FrameType


def users_level() -> int:
    """The ``stacklevel`` by which `warnings.warn` names the line of the user's own code.

    That is the first caller outside of this package and of torch, whose modules stand between.
    """
    level = 1
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and _room(frame) in ("pnpfusion", "torch"):
        level, frame = level + 1, frame.f_back
    return level


def _room(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]
