"""What an input of a PNP cell puts in the place of its own values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pnpfusion.dynamics.input import Input
from pnpfusion.solvers.boundary import Wall, Walls, check_walls
from pnpfusion.solvers.grid import Grid


def walls_under(grid: Grid, walls: Walls, x: Input) -> dict[str, tuple[Wall, ...]]:
    """The parts of every side, with the potentials and surface charges that ``x`` names.

    Raises:
        ValueError: ``walls`` are wrong (see :func:`check_walls`), or ``x`` is no mapping, or has a
            key that is neither ``"fixed_charge"`` nor ``"potential:x-"`` or
            ``"surface_charge:x-"`` of one of the sides.
    """
    if x is not None and not isinstance(x, Mapping):
        raise ValueError(
            f'`x` of a PNP cell must map names to values, e.g. {{"fixed_charge": ...}}, '
            f"got {type(x).__name__}."
        )
    under = check_walls(grid, walls)
    for key, value in (x or {}).items():
        what, _, side = key.partition(":")
        if key == "fixed_charge":
            continue
        if what not in ("potential", "surface_charge") or side not in under:
            valid = ["fixed_charge"] + [
                f"{what}:{side}" for side in under for what in ("potential", "surface_charge")
            ]
            raise ValueError(f"`x` has an unknown key {key!r}; a PNP cell reads {valid}.")
        if value is None or callable(value):
            raise ValueError(
                f"`x[{key!r}]` must be a number, a tensor or a Field; give a function of time to "
                f"the `Wall` itself."
            )
        parts = under[side]
        takes = [len(parts) == 1 or getattr(wall, what) is not None for wall in parts]
        if not any(takes):
            raise ValueError(f"`x[{key!r}]`: no part of that wall has a {what} of its own.")
        given: dict[str, Any] = {what: value}
        under[side] = tuple(
            replace(wall, **given) if taken else wall
            for wall, taken in zip(parts, takes, strict=True)
        )
    return under
