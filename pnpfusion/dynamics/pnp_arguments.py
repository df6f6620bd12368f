"""The arguments of a PNP cell: of which kinds they are, and the scheme that fits them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, get_args

from pnpfusion.dynamics.species import Species
from pnpfusion.solvers.arguments import check_choice
from pnpfusion.solvers.boundary import Wall
from pnpfusion.solvers.chebyshev import ChebyshevGrid
from pnpfusion.solvers.field import Field, Parameter
from pnpfusion.solvers.grid import Grid
from pnpfusion.solvers.reactions import Reaction

Scheme = Literal["scharfetter-gummel", "central", "harmonic", "spectral", "auto"]


def check_kinds(
    grid: Grid, species: Sequence[Species], reactions: Sequence[Reaction], scheme: Scheme
) -> None:
    """Raise ValueError where an argument of a cell is not of its kind."""
    if not isinstance(grid, Grid):
        raise ValueError(f"`grid` must be a Grid, got {type(grid).__name__}.")
    for name, value in (("species", species), ("reactions", reactions)):
        if isinstance(value, str) or not isinstance(value, Sequence):
            raise ValueError(
                f"`{name}` must be a list, got {type(value).__name__}; for one write [it]."
            )
    if not species or not all(isinstance(one, Species) for one in species):
        raise ValueError(
            f"`species` must be one or more Species, e.g. Species('ion', 1), got {(*species,)!r}."
        )
    names = tuple(one.name for one in species)
    if len(set(names)) < len(names):
        raise ValueError(f"`species` must have different names, got {names}.")
    check_choice("scheme", scheme, get_args(Scheme))


def series_or_faces(
    grid: Grid, walls: Mapping[str, Wall | tuple[Wall, ...]], uniform: Sequence[Parameter]
) -> Scheme:
    """Series where nothing of ``uniform`` varies in space and every wall insulates and blocks."""
    plain = (
        all(repr(wall) == repr(Wall()) for wall in walls.values())
        and not any(isinstance(value, Field) for value in uniform)
        and (grid.edges is None or all(edges is None for edges in grid.edges))
    )
    return "spectral" if plain or isinstance(grid, ChebyshevGrid) else "scharfetter-gummel"


def check_scheme(
    grid: Grid, scheme: Scheme, steric: Parameter | None, reactions: Sequence[Reaction]
) -> None:
    """Raise ValueError where a scheme does not fit the grid or the physics."""
    if isinstance(grid, ChebyshevGrid) and scheme != "spectral":
        raise ValueError(
            f'a ChebyshevGrid has no faces, so `scheme` must be "spectral", got {scheme!r}; or use '
            f"a Grid."
        )
    if scheme == "spectral" and (steric is not None or reactions):
        raise ValueError(
            "spectral cells have neither `steric` nor `reactions`; use a finite-volume scheme."
        )
