"""Ctrl-C and SIGTERM as a wish that is granted between two steps, when all is consistent."""

from __future__ import annotations

import signal
import threading
from types import FrameType

#: Ctrl-C; and what `torchrun` or a scheduler says before it kills.
SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopWish:
    """Whether someone asked to stop; who asks a second time is heard at once."""

    def __init__(self) -> None:
        self.asked: signal.Signals | None = None

    def __enter__(self) -> StopWish:
        self._before = {}
        if threading.current_thread() is threading.main_thread():
            self._before = {one: signal.signal(one, self._hear) for one in SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for one, handler in self._before.items():
            signal.signal(one, handler)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        if self.asked is not None:
            raise KeyboardInterrupt
        self.asked = signal.Signals(number)
