"""What users give, checked for its kind: numbers, tensors and names."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from numbers import Real

import torch
from torch import Tensor

from pnpfusion.solvers.faq import Faq


def check_whole(name: str, value: object, least: int = 1, *, or_none: bool = False) -> None:
    """Raise ValueError, in which ``value`` is ``name``, unless it is a whole number >= ``least``.

    ``or_none`` says whether None will do too.
    """
    if or_none and value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        wanted = f"a whole number >= {least}{' or None' if or_none else ''}"
        raise ValueError(f"`{name}` must be {wanted}, got {value!r}.")


def check_positive(name: str, value: object) -> None:
    """Raise ValueError, in which ``value`` is ``name``, unless it is a finite number above 0."""
    if isinstance(value, bool) or not isinstance(value, Real) or not 0 < float(value) < math.inf:
        raise ValueError(f"`{name}` must be a finite number > 0, got {value!r}.")


def check_floats(name: str, values: object) -> None:
    """Raise ValueError, in which ``values`` are ``name``, unless a tensor of float32 or float64."""
    if not isinstance(values, Tensor):
        raise ValueError(
            f"`{name}` must be a torch.Tensor, got {type(values).__name__} {Faq.WRONG_SHAPE}."
        )
    if values.dtype not in (torch.float32, torch.float64):
        raise ValueError(
            f"`{name}` must be float32 or float64, got {values.dtype}; convert it, e.g. with "
            f".double() {Faq.WRONG_SHAPE}."
        )


def check_choice(name: str, value: object, choices: Collection[object]) -> None:
    """Raise ValueError, in which ``value`` is ``name``, unless it is one of ``choices``."""
    if value not in choices:
        raise ValueError(f"`{name}` must be one of {[*choices]}, got {value!r}.")


def check_known(
    name: str, given: Iterable[str], known: Collection[str], kind: str, faq: Faq | None = None
) -> None:
    """Raise ValueError, in which ``given`` are of ``name``, unless all of them are ``known``.

    ``kind`` says what they are, in the plural; ``faq`` is where the documents say more.
    """
    if unknown := [one for one in given if one not in known]:
        more = "" if faq is None else f" {faq}"
        raise ValueError(f"`{name}` has unknown {kind} {unknown}; known are {[*known]}{more}.")
