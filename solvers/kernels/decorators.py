"""How the kernels are compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numba import njit
from numpy.typing import NDArray

from pnpfusion.solvers.kernels.cache import keep_compiled

Array = NDArray[np.floating]
Whole = NDArray[np.int64]
Truth = NDArray[np.bool_]
F = TypeVar("F", bound=Callable[..., Any])
_njit: Any = njit  # whose type does not know all of its options


def kernel(function: F) -> F:
    """For functions that Python calls. Division by zero gives inf or NaN, as in tensors."""
    compiled: F = _njit(error_model="numpy")(function)
    keep_compiled(compiled)
    return compiled


def free_kernel(function: F) -> F:
    """For kernels that several threads may run at once."""
    compiled: F = _njit(error_model="numpy", nogil=True)(function)
    keep_compiled(compiled)
    return compiled


def inner(function: F) -> F:
    """For functions that only kernels call: no entry from Python, which takes long to compile."""
    compiled: F = _njit(error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)(
        function
    )
    keep_compiled(compiled)
    return compiled


def inner_sums(function: F) -> F:
    """Like :func:`inner`, with sums in any order, as wide registers want them."""
    compiled: F = _njit(
        error_model="numpy",
        no_cpython_wrapper=True,
        no_cfunc_wrapper=True,
        fastmath={"reassoc", "contract", "nsz"},
    )(function)
    keep_compiled(compiled)
    return compiled


def inlined(function: F) -> F:
    """For those with one or two callers: each level of calls is compiled once more."""
    compiled: F = _njit(inline="always", error_model="numpy")(function)
    return compiled
