"""Which code takes the hot loops: chosen here and nowhere else.

=============  ======================================  ==========================================
``"numba"``    tensors of the CPU, Numba imports       `kernels/`
``"triton"``   tensors of CUDA, Triton imports         `kernels/gpu/`
``"torch"``    everything else                         the reference that kernels are tested with
=============  ======================================  ==========================================

The choice is asked for per call, by the tensors of the call. A kernel that does not know a problem
leaves it to torch; each says in an ``is_known`` or ``is_compiled`` what it knows.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from importlib import import_module
from typing import Literal, get_args

import torch
from torch import Tensor

from pnpfusion.solvers.arguments import check_choice
from pnpfusion.solvers.faq import Faq

Backend = Literal["numba", "triton", "torch"]

_wanted: ContextVar[Backend | None] = ContextVar("wanted", default=None)


def backend(like: Tensor) -> Backend:
    """Whose code runs what is computed from ``like``, float32 or float64."""
    wanted, device = _wanted.get(), like.device.type
    if wanted == "torch" or like.dtype not in (torch.float32, torch.float64):
        return "torch"
    if device == "cpu":
        if wanted == "triton" and is_interpreted():
            return "triton"
        return "numba" if is_installed("numba") else "torch"
    if device == "cuda" and torch.version.hip is None and is_installed("triton"):
        return "triton"
    return "torch"


@contextmanager
def using(choice: Backend) -> Iterator[None]:
    """Within it the code of ``choice`` runs wherever it can; for tests and comparisons.

    ``"triton"`` reaches tensors of the CPU where ``TRITON_INTERPRET=1`` was set before the first
    of its kernels was imported.

    Raises:
        ValueError: there is no such code, or it cannot be imported.
    """
    check_choice("choice", choice, get_args(Backend))
    if choice != "torch" and not is_installed(choice):
        extra = {"numba": "fast", "triton": "gpu"}[choice]
        raise ValueError(
            f"`choice` is {choice!r}, which cannot be imported; `pip install pnpfusion[{extra}]`"
            f" {Faq.MISSING_PACKAGE}."
        )
    before = _wanted.set(choice)
    try:
        yield
    finally:
        _wanted.reset(before)


@cache
def is_installed(package: str) -> bool:
    """Whether a package is there and works beside the others; tried once, when first asked.

    Numba, for one, refuses to be imported beside a NumPy that it does not know.
    """
    try:
        import_module(package)
    except ImportError:
        return False
    return True


def is_interpreted() -> bool:
    """Whether Triton's kernels run on the CPU, one operation at a time."""
    return os.environ.get("TRITON_INTERPRET") == "1" and is_installed("triton")
