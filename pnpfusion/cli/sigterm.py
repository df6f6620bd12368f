"""SIGTERM, answered in words as Ctrl-C is."""

from __future__ import annotations

import signal
from contextlib import suppress
from types import FrameType


class Sigterm:
    """Lets SIGTERM be heard as Ctrl-C is, so that it can be answered in words.

    It comes from `torchrun` if another process died, or from a scheduler.
    """

    def __init__(self) -> None:
        self.heard = False
        self.deaf = False  #: whether we are leaving anyway

    def __enter__(self) -> Sigterm:
        with suppress(ValueError):  # not in the main thread
            self._before = signal.signal(signal.SIGTERM, self._hear)
        return self

    def __exit__(self, *_: object) -> None:
        if hasattr(self, "_before"):
            signal.signal(signal.SIGTERM, self._before)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        self.heard = True
        if not self.deaf:
            raise KeyboardInterrupt
