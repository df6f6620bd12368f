"""The cases of a sweep: from a short description to a list, each with a name of its own."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Mapping, Sequence
from typing import Any

import pnpfusion

#: The parameters of one run, as JSON knows values: numbers, text, true, false, null, lists, dicts.
Case = dict[str, Any]

GRID, CASES = "grid", "cases"


def expand(plan: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> list[Case]:
    """All cases of a plan, in a fixed order.

    Args:
        plan: a list of cases; or a dict with ``"grid"``, which maps names to lists of values and
            stands for all their combinations (the last name varies fastest), or ``"cases"``, a list
            of cases, or both, the grid first. What stands beside the two holds for every case that
            does not say otherwise.

    Raises:
        ValueError: what is wrong, where, and what was wanted.
    """
    if not isinstance(plan, Mapping):
        return _listed(plan, {})
    base = {name: value for name, value in plan.items() if name not in (GRID, CASES)}
    if GRID not in plan and CASES not in plan:
        raise ValueError(
            f'got neither "grid" nor "cases", but {sorted(base)}; wanted e.g. '
            f'{{"grid": {{"voltage": [10, 20], "debye": [0.05, 0.1]}}}}.'
        )
    found: list[Case] = []
    if GRID in plan:
        axes = _axes(plan[GRID])
        if twice := sorted(axes.keys() & base.keys()):
            raise ValueError(f'{twice} stand both in "grid" and beside it; say each once.')
        found += [
            _plain({**base, **dict(zip(axes, values, strict=True))}, 'a case of "grid"')
            for values in itertools.product(*axes.values())
        ]
    if CASES in plan:
        found += _listed(plan[CASES], base)
    return found


def name_of(case: Case) -> str:
    """What a case is known by: a hash of its parameters and of this package's version."""
    content = _canonical({"case": case, "version": pnpfusion.__version__})
    return hashlib.sha256(content.encode()).hexdigest()[:32]


def in_blocks(cases: Sequence[Case], alike: Sequence[str], most: int) -> list[list[int]]:
    """Which cases run together: their places, in blocks of at most ``most``.

    Cases of a block have equal values of what must be ``alike``. The blocks depend on the list
    alone, so that results cannot depend on who computes them. A case that comes twice is run once.
    """
    blocks: list[list[int]] = []
    latest: dict[str, list[int]] = {}
    seen: set[str] = set()
    for place, case in enumerate(cases):
        name = name_of(case)
        if name in seen:
            continue
        seen.add(name)
        kind = _canonical({key: case.get(key) for key in alike})
        if kind not in latest or len(latest[kind]) == most:
            latest[kind] = []
            blocks.append(latest[kind])
        latest[kind].append(place)
    return blocks


def varying(cases: Sequence[Case]) -> list[str]:
    """The names of what differs between cases, in order of appearance."""
    names = dict.fromkeys(name for case in cases for name in case)
    return [
        name
        for name in names
        if len({_canonical(case[name]) if name in case else None for case in cases}) > 1
    ]


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _axes(grid: Any) -> dict[str, list[Any]]:
    if not isinstance(grid, Mapping) or not grid:
        raise ValueError(
            f'"grid" must map names to lists of values, e.g. {{"voltage": [10, 20]}}, got {grid!r}.'
        )
    for name, values in grid.items():
        if not isinstance(values, list | tuple | range) or not values:
            raise ValueError(
                f'"grid" must give {name!r} a list of at least one value, e.g. [10, 20], got '
                f"{values!r}."
            )
    return {name: list(values) for name, values in grid.items()}


def _listed(cases: Any, base: Case) -> list[Case]:
    if not isinstance(cases, list | tuple) or not cases:
        raise ValueError(
            f'"cases" must be a list of at least one case, e.g. [{{"voltage": 10}}], got {cases!r}.'
        )
    found = []
    for place, case in enumerate(cases):
        if not isinstance(case, Mapping):
            raise ValueError(
                f'"cases" must hold dicts such as {{"voltage": 10}}, got {case!r} at {place}.'
            )
        found.append(_plain({**base, **case}, f'"cases" at {place}'))
    return found


def _plain(case: Case, where: str) -> Case:
    """A copy that holds nothing but what JSON knows."""
    if wrong := [name for name in case if not isinstance(name, str)]:
        raise ValueError(f"{where} must have names that are text, got {wrong[0]!r}.")
    for name, value in case.items():
        try:
            _canonical(value)
        except (TypeError, ValueError):
            raise ValueError(
                f"{where} must give {name!r} a finite number, text, true, false, null, or a list "
                f"or dict of these, got {value!r} ({type(value).__name__}); of tensors and arrays "
                f"take .tolist() or .item()."
            ) from None
    copy: Case = json.loads(json.dumps(case))
    return copy
