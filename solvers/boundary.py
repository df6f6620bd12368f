"""What holds at a wall of the box."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

from torch import Tensor

from pnpfusion.solvers.grid import Grid


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
    species. Numbers, or tensors of shape ``(*batch,)``; all may require grad.

    Raises:
        ValueError: conditions that exclude each other, or a negative Stern thickness.
    """

    potential: float | Tensor | None = None  #: U, in kT/e
    surface_charge: float | Tensor | None = None  #: q, in F c_ref L
    stern: float | Tensor | None = None  #: thickness s = eps2 / C_S of the Stern layer, in L
    concentration: Mapping[str, float | Tensor] | None = None  #: by species name, in c_ref
    flux: Mapping[str, float | Tensor] | None = None  #: by species name, in D_ref c_ref / L
    mask: Tensor | None = None  #: the part of the wall that this holds on (2-D and 3-D)

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

    def __repr__(self) -> str:
        given = [f"{f.name}={v}" for f in fields(self) if (v := getattr(self, f.name)) is not None]
        return f"Wall({', '.join(given)})"


def check_walls(grid: Grid, walls: Mapping[str, Wall] | None) -> dict[str, Wall]:
    """One :class:`Wall` for each side of ``grid``; sides that are not named insulate.

    Raises:
        ValueError: a name that is no wall of the grid, or a value that is no ``Wall``.
    """
    given = dict(walls or {})
    for side, wall in given.items():
        if side not in grid.sides:
            valid = ", ".join(map(repr, grid.sides)) or "none: every axis is periodic"
            raise ValueError(f"`walls` names {side!r}, but the walls of this grid are {valid}.")
        if not isinstance(wall, Wall):
            raise ValueError(
                f"`walls[{side!r}]` must be a Wall, got {type(wall).__name__}; "
                f"e.g. Wall(potential={wall!r})."
            )
        if wall.mask is not None and grid.ndim == 1:
            raise ValueError(f"`walls[{side!r}].mask` needs a grid of 2 or 3 axes.")
    return {side: given.get(side, Wall()) for side in grid.sides}
