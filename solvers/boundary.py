"""What holds at a wall of the box."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from pnpfusion.solvers.field import Drive
from pnpfusion.solvers.grid import AXIS_NAMES, Grid


@dataclass(frozen=True, eq=False)
class Wall:
    r"""Conditions at one wall; with nothing given it insulates and no species crosses it.

    With :math:`n` the outward normal, :math:`\varepsilon` the permittivity (``eps2``):

    ======================================  ==================================================
    ``Wall(potential=U)``                   electrode, :math:`\phi = U`
    ``Wall(potential=U, stern=s)``          Stern layer, :math:`\phi + s\,\partial_n\phi = U`
    ``Wall(surface_charge=q)``              :math:`\varepsilon\,\partial_n\phi = q`
    ``Wall(concentration={"cation": c})``   reservoir: that species is held at c at the wall
    ``Wall(flux={"cation": j})``            inflow of that species, :math:`-J\cdot n = j`
    ======================================  ==================================================

    The first two lines exclude the third; the last two may stand beside any of them, for different
    species. Each value is a number, a tensor of shape ``(*batch,)``, a :class:`Field` over the
    wall, whose shape is the grid's without the wall's axis, or a function of time ``t`` (shape
    ``(*batch,)``, in L²/D_ref) that returns one of these. All may require grad.

    No condition says that no current flows: the voltage of an open circuit is the ``potential`` at
    which the current at rest is zero, found by Newton's method with the gradient of
    :func:`pnpfusion.equilibrium`.

    Raises:
        ValueError: conditions that exclude each other, a negative Stern thickness, or a mask that
            is no tensor of truth values.
    """

    potential: Drive | None = None  #: U, in kT/e
    surface_charge: Drive | None = None  #: q, in F c_ref L
    stern: Drive | None = None  #: thickness s = eps2 / C_S of the Stern layer, in L
    concentration: Mapping[str, Drive] | None = None  #: by species name, in c_ref
    flux: Mapping[str, Drive] | None = None  #: by species name, in D_ref c_ref / L
    mask: Tensor | None = None  #: bool, of the wall's shape: the part that this holds on

    def __post_init__(self) -> None:
        if self.potential is not None and self.surface_charge is not None:
            raise ValueError(
                "a `Wall` takes either `potential` or `surface_charge`, got both; "
                "one of them determines the other."
            )
        if self.stern is not None and self.potential is None:
            raise ValueError("`stern` needs the `potential` of the electrode behind it.")
        if isinstance(self.stern, int | float) and self.stern < 0:
            raise ValueError(f"`stern` must be >= 0, got {self.stern}.")
        for name in ("concentration", "flux"):
            given = getattr(self, name)
            if given is not None and not isinstance(given, Mapping):
                raise ValueError(
                    f"`{name}` must map species names to values, got {type(given).__name__}; "
                    f'e.g. {name}={{"cation": 1.0}}.'
                )
        both = set(self.concentration or ()) & set(self.flux or ())
        if both:
            raise ValueError(f"a wall holds either concentration or flux of {sorted(both)}.")
        if self.mask is not None and getattr(self.mask, "dtype", None) != torch.bool:
            raise ValueError(
                f"`mask` must be a bool tensor of the wall's shape, got {self.mask!r}; "
                f"e.g. grid.coordinates(1) < 0.5."
            )

    def __repr__(self) -> str:
        given = [f"{f.name}={v}" for f in fields(self) if (v := getattr(self, f.name)) is not None]
        return f"Wall({', '.join(given)})"


#: What a cell is told of its walls: one :class:`Wall` per side, or several with masks.
Walls = Mapping[str, Wall | Sequence[Wall]]


def side_name(axis: int, end: int) -> str:
    """The name of the wall before (``end`` 0) or after (1) the cells of ``axis``."""
    return f"{AXIS_NAMES[axis]}{'-+'[end]}"


def check_walls(grid: Grid, walls: Walls | None) -> dict[str, tuple[Wall, ...]]:
    """The conditions of each side of ``grid``; a side that is not named insulates.

    Raises:
        ValueError: a name that is no wall of the grid, a value that is no ``Wall``, a mask of a
            wrong shape, or masks that overlap.
    """
    if walls is not None and not isinstance(walls, Mapping):
        raise ValueError(
            f"`walls` must map sides to Walls, got {type(walls).__name__}; "
            f'e.g. {{"x-": Wall(potential=1.0)}}.'
        )
    given = dict(walls or {})
    parts: dict[str, tuple[Wall, ...]] = {side: (Wall(),) for side in grid.sides}
    for side, conditions in given.items():
        if side not in parts:
            valid = ", ".join(map(repr, parts)) or "none: every axis is periodic"
            raise ValueError(f"`walls` names {side!r}, but the walls of this grid are {valid}.")
        several = isinstance(conditions, Sequence) and not isinstance(conditions, str)
        members: tuple[Any, ...] = tuple(conditions) if several else (conditions,)  # type: ignore[arg-type]
        parts[side] = members
        for wall in members:
            if not isinstance(wall, Wall):
                raise ValueError(
                    f"`walls[{side!r}]` must be a Wall, got {type(wall).__name__}; "
                    f"e.g. Wall(potential={wall!r})."
                )
        _check_masks(grid, side, parts[side])
        # A part that covers no face says nothing, and must not count as an electrode:
        parts[side] = tuple(w for w in members if w.mask is None or w.mask.any()) or (Wall(),)
    return parts


def _check_masks(grid: Grid, side: str, parts: tuple[Wall, ...]) -> None:
    if len(parts) == 1 and parts[0].mask is None:
        return
    axis = AXIS_NAMES.index(side[0])
    shape = grid.shape[:axis] + grid.shape[axis + 1 :]
    covered = torch.zeros(shape, dtype=torch.bool)
    for wall in parts:
        if wall.mask is None:
            if len(parts) > 1:
                raise ValueError(
                    f"`walls[{side!r}]` has {len(parts)} parts, so each needs a `mask`."
                )
            continue
        if grid.ndim == 1:
            raise ValueError(f"`walls[{side!r}].mask` needs a grid of 2 or 3 axes.")
        if tuple(wall.mask.shape) != shape:
            raise ValueError(
                f"`walls[{side!r}].mask` must have the wall's shape {shape}, got "
                f"{tuple(wall.mask.shape)}."
            )
        mask = wall.mask.cpu()
        if (covered & mask).any():
            raise ValueError(f"the masks of `walls[{side!r}]` overlap; each face takes one Wall.")
        covered = covered | mask
