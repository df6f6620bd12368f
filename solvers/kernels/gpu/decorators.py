"""How the kernels are compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import triton

#: Lanes of a program, one warp; more would make a lane read what another one wrote.
LANES = 32


def jit(function: Callable[..., Any]) -> Any:
    """Compile when first called; functions that only kernels call are inlined."""
    return triton.jit(function)


def programs(batch: int) -> tuple[int]:
    """The grid of programs in which each of ``batch`` samples has a lane."""
    return (triton.cdiv(batch, LANES),)
