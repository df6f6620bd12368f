"""Which discretisation a PNP cell has, and that one spread over a batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, get_args

from torch import Tensor

from pnpfusion.dynamics.species import Species
from pnpfusion.solvers.boundary import Wall, Walls
from pnpfusion.solvers.cell import Cell
from pnpfusion.solvers.chebyshev import ChebyshevGrid
from pnpfusion.solvers.chebyshev_electrolyte import ChebyshevElectrolyte
from pnpfusion.solvers.field import Field, Parameter
from pnpfusion.solvers.fluxes import FACE_SCHEMES
from pnpfusion.solvers.grid import Grid
from pnpfusion.solvers.nernst_planck import Electrolyte
from pnpfusion.solvers.reactions import Reaction
from pnpfusion.solvers.spectral import SpectralElectrolyte

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
    if scheme not in get_args(Scheme):
        raise ValueError(f"`scheme` must be one of {list(get_args(Scheme))}, got {scheme!r}.")


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


def build_cell(
    grid: Grid,
    species: Sequence[Species],
    scheme: Scheme,
    *,
    permittivity: Parameter,
    walls: Walls,
    fixed_charge: Parameter,
    steric: Parameter | None,
    reactions: Sequence[Reaction],
    batch: tuple[int, ...],
    like: Tensor,
    t: Tensor | None,
) -> Cell:
    """The parameters of a cell checked and spread over a batch, at the time ``t`` ``(*batch,)``."""
    names = [one.name for one in species]
    valences = [one.valence for one in species]
    diffusivities = [one.diffusivity for one in species]
    if isinstance(grid, ChebyshevGrid):
        return ChebyshevElectrolyte.build(
            grid,
            names,
            valences,
            diffusivities,
            permittivity=permittivity,
            walls=walls,
            fixed_charge=fixed_charge,
            batch=batch,
            like=like,
            t=t,
        )
    if scheme == "spectral":
        return SpectralElectrolyte.build(
            grid,
            names,
            valences,
            diffusivities,
            permittivity=permittivity,
            walls=walls,
            fixed_charge=fixed_charge,
            batch=batch,
            like=like,
        )
    return Electrolyte.build(
        grid,
        names,
        valences,
        diffusivities,
        permittivity=permittivity,
        walls=walls,
        fixed_charge=fixed_charge,
        scheme=FACE_SCHEMES[scheme],
        steric=steric,
        reactions=reactions,
        batch=batch,
        like=like,
        t=t,
    )
