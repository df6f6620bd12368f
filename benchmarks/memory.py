"""What a process holds in memory, and work in a process of its own, whose peak is its own too."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from pathlib import Path
from typing import Any


def resident(what: str = "VmHWM") -> int:
    """Bytes by the kernel's account of this process (Linux); the most it has held so far."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(what))


def alone(function: Callable[..., Any], *arguments: Any) -> Any:
    """The result of ``function`` in a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(function, arguments)
