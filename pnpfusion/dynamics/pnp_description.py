"""A PNP cell as nested dicts and lists of numbers, strings, tensors and Fields, for files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

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


def describe_walls(
    walls: Mapping[str, Wall | tuple[Wall, ...]], times: Tensor | None, batch: tuple[int, ...]
) -> dict[str, Any]:
    """The conditions of every side, a list where they hold on parts of it."""
    return {
        side: _describe_wall(parts, times, batch)
        if isinstance(parts, Wall)
        else [_describe_wall(wall, times, batch) for wall in parts]
        for side, parts in walls.items()
    }


def walls_from_description(given: Mapping[str, Any]) -> dict[str, Wall | list[Wall]]:
    """The inverse of :func:`describe_walls`."""
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


def describe_reaction(reaction: Reaction) -> dict[str, Any]:
    """A reaction as a dict."""
    return {f.name: getattr(reaction, f.name) for f in fields(Reaction)}


def describe_grid(grid: Grid) -> dict[str, Any]:
    """A grid as a dict, with its kind."""
    described = {f.name: getattr(grid, f.name) for f in fields(Grid) if f.name != "_"}
    return described | {"kind": type(grid).__name__}


def grid_from_description(given: Mapping[str, Any]) -> Grid:
    """The inverse of :func:`describe_grid`; files without a kind hold a :class:`Grid`."""
    rest = dict(given)
    kinds = {kind.__name__: kind for kind in (Grid, ChebyshevGrid)}
    return kinds[rest.pop("kind", "Grid")](**rest)


def describe_species(species: Species) -> dict[str, Any]:
    """A species as a dict."""
    return {f.name: getattr(species, f.name) for f in fields(Species)}


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
