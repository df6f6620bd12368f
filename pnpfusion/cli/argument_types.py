"""What options may hold: text in, checked values out."""

from __future__ import annotations

import math
import re
from argparse import ArgumentTypeError


def number(text: str) -> float:
    """Any finite number."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ArgumentTypeError(f"got {text!r}, wanted a finite number")
    return value


def positive(text: str) -> float:
    """A number above 0."""
    value = number(text)
    if not value > 0:
        raise ArgumentTypeError(f"got {text!r}, wanted a number > 0")
    return value


def whole(text: str) -> int:
    """A whole number from 1."""
    if not re.fullmatch(r"\+?[0-9]{1,18}", text) or int(text) < 1:
        raise ArgumentTypeError(f"got {text!r}, wanted a whole number >= 1")
    return int(text)


def seed(text: str) -> int:
    """A whole number from 0 that fits a generator."""
    if not re.fullmatch(r"[0-9]{1,18}", text):
        raise ArgumentTypeError(f"got {text!r}, wanted a whole number >= 0")
    return int(text)


def share(text: str) -> float:
    """A number from 0, below 1."""
    value = number(text)
    if not 0 <= value < 1:
        raise ArgumentTypeError(f"got {text!r}, wanted a number >= 0 and < 1")
    return value


def not_negative(text: str) -> float:
    """A number from 0."""
    value = number(text)
    if value < 0:
        raise ArgumentTypeError(f"got {text!r}, wanted a number >= 0")
    return value


def or_none(text: str) -> float | None:
    """A number above 0, or the word none."""
    return None if text == "none" else positive(text)


def whole_or_none(text: str) -> int | None:
    """A whole number from 1, or the word none."""
    return None if text == "none" else whole(text)


def names(text: str) -> tuple[str, ...]:
    """Names by commas; ``a=1`` is one more option of the name before: ``pnp:cells=8,steps=2``."""
    found: list[str] = []
    for part in text.split(","):
        name = part.strip()
        if not name:
            raise ArgumentTypeError(f"got {text!r}, wanted names by commas, none of them empty")
        if found and ":" in found[-1] and "=" in name and ":" not in name:
            found[-1] += f",{name}"
        else:
            found.append(name)
    return tuple(found)


def weight(text: str) -> tuple[str, float]:
    """A name and its weight: ``reconstruction=0.1``."""
    name, equals, value = text.rpartition("=")
    if not name.strip() or not equals:
        raise ArgumentTypeError(f"got {text!r}, wanted name=number")
    return name.strip(), not_negative(value)


def one_or_by_name(text: str) -> float | dict[str, float]:
    """One number above 0 for all (``2``), or one by name (``audio=1,motion=0.5``)."""
    if "=" not in text:
        return positive(text)
    values: dict[str, float] = {}
    for part in text.split(","):
        name, equals, value = (piece.strip() for piece in part.partition("="))
        if not (name and equals and value):
            raise ArgumentTypeError(
                f"got {part!r}, wanted one number for all, or name=number,name=number"
            )
        if name in values:
            raise ArgumentTypeError(f"got {name!r} twice, wanted each name once")
        values[name] = positive(value)
    return values


def columns(text: str) -> tuple[str, list[str]]:
    """A modality and its columns: ``audio=loudness,pitch``."""
    name, equals, rest = text.partition("=")
    listed = [column.strip() for column in rest.split(",")]
    if not name.strip() or not equals or not all(listed):
        raise ArgumentTypeError(f"got {text!r}, wanted name=column,column,... with no empty name")
    return name.strip(), listed


def shard(text: str) -> tuple[int, int]:
    """A share of a sweep, counted from 0: ``0/8`` to ``7/8``."""
    if not re.fullmatch(r"[0-9]{1,9}/[0-9]{1,9}", text):
        raise ArgumentTypeError(f"got {text!r}, wanted K/N, 0/8 for the first of 8 shares")
    k, n = (int(part) for part in text.split("/"))
    if not k < n:
        raise ArgumentTypeError(f"got {text!r}, wanted K/N with K < N: 0/{n or 1} is the first")
    return k, n


SAMPLES = re.compile(r"all|-?\d{1,9}|(-?\d{1,9})?:(-?\d{1,9})?|random:\d{1,9}")


def samples(text: str) -> str:
    """Which samples: ``5``, ``0:64``, ``random:8`` or ``all``; see :func:`pick`."""
    if not SAMPLES.fullmatch(text) or text == "random:0":
        raise ArgumentTypeError(
            f"got {text!r}, wanted one index (5), a range (0:64), random:8, or all"
        )
    return text
