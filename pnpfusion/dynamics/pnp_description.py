"""A PNP cell as nested dicts and lists of numbers, strings, tensors and Fields, for files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from pnpfusion.dynamics.pnp_observables import CellObservables
from pnpfusion.dynamics.species import Species
from pnpfusion.solvers.boundary import Wall
from pnpfusion.solvers.chebyshev import ChebyshevGrid
from pnpfusion.solvers.field import Field
from pnpfusion.solvers.grid import Grid
from pnpfusion.solvers.reactions import Reaction

SAMPLES = 1025  # of a function of time, over the times of a run


@dataclass(frozen=True, eq=False)
class Tabulated:
    """A function of time given by a table, linear in between and constant beyond its ends."""

    times: Tensor  #: (K,), increasing
    values: Tensor  #: (K, *batch) or (K,), or (K, *batch, *wall) if ``is_field``
    is_field: bool = False  #: whether the values vary over the wall

    def __call__(self, t: Tensor) -> Tensor | Field:
        times, values = self.times.to(t), self.values.to(t)
        after = torch.searchsorted(times, t.contiguous()).clamp(1, len(times) - 1)
        share = (t - times[after - 1]) / (times[after] - times[after - 1])
        share = share.clamp(0, 1)
        if t.ndim and values.ndim > 1:  # one table for each sample
            pick = tuple(
                torch.arange(n, device=t.device).reshape(-1, *(1,) * (t.ndim - 1 - i))
                for i, n in enumerate(t.shape)
            )
            low, high = values[(after - 1, *pick)], values[(after, *pick)]
        else:
            low, high = values[after - 1], values[after]
        share = share.reshape(tuple(share.shape) + (1,) * (low.ndim - share.ndim))
        found = low + share * (high - low)
        return Field(found) if self.is_field else found


def describe_cell(
    cell: CellObservables, times: Tensor | None, batch: tuple[int, ...]
) -> dict[str, Any]:
    """All arguments that ``cell`` was made with; functions of time as tables over ``times``."""
    return {
        "grid": _describe_grid(cell.grid),
        "species": [_described(one) for one in cell.species],
        "walls": _describe_walls(cell.walls, times, batch),
        "permittivity": cell.permittivity,
        "fixed_charge": cell.fixed_charge,
        "scheme": cell.scheme,
        "steric": cell.steric,
        "reactions": [_described(one) for one in cell.reactions],
    }


def arguments_of(description: Mapping[str, Any]) -> dict[str, Any]:
    """The inverse of :func:`describe_cell`: what to make the cell with."""
    return {
        **description,
        "grid": _grid_from(description["grid"]),
        "species": [Species(**one) for one in description["species"]],
        "walls": _walls_from(description["walls"]),
        "reactions": [Reaction(**one) for one in description.get("reactions", ())],
    }


def _describe_walls(
    walls: Mapping[str, Wall | tuple[Wall, ...]], times: Tensor | None, batch: tuple[int, ...]
) -> dict[str, Any]:
    """The conditions of every side, a list where they hold on parts of it."""
    return {
        side: _describe_wall(parts, times, batch)
        if isinstance(parts, Wall)
        else [_describe_wall(wall, times, batch) for wall in parts]
        for side, parts in walls.items()
    }


def _walls_from(given: Mapping[str, Any]) -> dict[str, Wall | list[Wall]]:
    """The inverse of :func:`_describe_walls`."""
    return {
        side: [_wall_from(one) for one in parts] if isinstance(parts, list) else _wall_from(parts)
        for side, parts in given.items()
    }


def _describe_wall(wall: Wall, times: Tensor | None, batch: tuple[int, ...]) -> dict[str, Any]:
    """The conditions that a wall holds; functions of time as tables over ``times``."""

    def written(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {name: written(one) for name, one in value.items()}
        return _table(value, times, batch) if callable(value) else value

    return {
        f.name: written(value) for f in fields(Wall) if (value := getattr(wall, f.name)) is not None
    }


def _wall_from(given: Mapping[str, Any]) -> Wall:

    def read(value: Any) -> Any:
        if isinstance(value, Mapping):
            if set(value) == {"table"}:
                return Tabulated(**value["table"])
            return {name: read(one) for name, one in value.items()}
        return value

    return Wall(**{name: read(value) for name, value in given.items()})


def _describe_grid(grid: Grid) -> dict[str, Any]:
    """A grid as a dict, with its kind."""
    described = {f.name: getattr(grid, f.name) for f in fields(Grid) if f.name != "_"}
    return described | {"kind": type(grid).__name__}


def _grid_from(given: Mapping[str, Any]) -> Grid:
    """The inverse of :func:`_describe_grid`; files without a kind hold a :class:`Grid`."""
    rest = dict(given)
    kinds = {kind.__name__: kind for kind in (Grid, ChebyshevGrid)}
    return kinds[rest.pop("kind", "Grid")](**rest)


def _described(one: Species | Reaction) -> dict[str, Any]:
    return {f.name: getattr(one, f.name) for f in fields(one)}


def _table(
    function: Callable[[Tensor], Any], times: Tensor | None, batch: tuple[int, ...]
) -> dict[str, Any]:
    if isinstance(function, Tabulated):
        return {"table": {f.name: getattr(function, f.name) for f in fields(Tabulated)}}
    if times is None or not len(times):
        raise ValueError(
            "a condition at a wall is a function of time, which only a run with its times can "
            "write into a file, as a table."
        )
    times = times.detach()
    start, end = float(times[0]), float(times[-1])
    fine = torch.linspace(start, end, SAMPLES, dtype=times.dtype, device=times.device)
    all_times = torch.cat([fine, times]).unique()  # sorted
    rows, is_field = [], False
    for t in all_times:
        value = function(t.expand(batch))
        is_field = isinstance(value, Field)
        rows.append(torch.as_tensor(value.values if isinstance(value, Field) else value).detach())
    return {"table": {"times": all_times, "values": torch.stack(rows), "is_field": is_field}}
