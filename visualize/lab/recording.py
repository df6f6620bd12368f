"""A run as the page plays it: its numbers in base64, thinned until they fit."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pnpfusion.dynamics.pnp import PNP
from pnpfusion.solution import Solution
from pnpfusion.solvers.boundary import Wall
from pnpfusion.visualize.clock import Clock
from pnpfusion.visualize.samples import name_of
from pnpfusion.visualize.trace import (
    advice,
    believable,
    fields_of,
    is_reservoir,
    moments_of,
    pnp_law,
    wall_potentials,
)

#: What a run may take in the page, in bytes; base64 adds a third.
ROOM = 270_000
#: Below these, times and cells are thinned last.
FEW_TIMES, FEW_CELLS = 31, 64


@dataclass(frozen=True)
class Thinning:
    """Which part of a run is kept: every so-many-th time and cell, and the first samples."""

    times: int
    cells: int
    samples: int

    @classmethod
    def of(cls, times: int, samples: int, species: int, cells: int) -> Thinning:
        """The finest that fits."""
        every, wide, kept = 1, 1, samples
        while True:
            t, n = -(-(times - 1) // every) + 1, -(-cells // wide)
            # concentrations and potential in single precision, the ledger in double
            if t * kept * (4 * (species + 1) * n + 8 * (species + 3)) <= ROOM:
                return cls(every, wide, kept)
            if t > FEW_TIMES:
                every *= 2
            elif n > FEW_CELLS:
                wide *= 2
            elif kept > 1:
                kept = (kept + 1) // 2
            elif t > 2:
                every *= 2
            else:
                wide *= 2

    def rows(self, times: int) -> NDArray[np.int_]:
        """The times that are kept: the first, the last and what is evenly between."""
        return np.unique(np.append(np.arange(0, times, self.times), times - 1))

    def columns(self, cells: int) -> NDArray[np.int_]:
        """The cells that are kept: the middle one of each group."""
        first = np.arange(0, cells, self.cells)
        return np.minimum(first + self.cells // 2, cells - 1)

    def told(self, times: int, samples: int, cells: int) -> str:
        """What is left out, a sentence, or nothing."""
        parts = []
        if self.times > 1:
            parts.append(f"{len(self.rows(times))} of {times} times")
        if self.samples < samples:
            parts.append(f"{self.samples} of {samples} samples")
        if self.cells > 1:
            parts.append(f"{len(self.columns(cells))} of {cells} cells")
        return f"Shown are {', '.join(parts)}." if parts else ""


def recording(run: Solution, title: str | None, samples: Sequence[str] | None) -> dict[str, Any]:
    """What the page plays of a run of a PNP cell of one axis, as JSON.

    Raises:
        ValueError: it is no such run, or not as many names as samples.
    """
    law = pnp_law(run, "`run`")
    if not run.succeeded.numel() or not len(run.times):
        raise ValueError("`run` holds no sample, so there is nothing to play.")
    c, phi, _ = fields_of(run)  # (T, B, S, N), (T, B, N)
    times, batch, species, cells = c.shape
    names = _names(tuple(run.succeeded.shape)) if samples is None else [*samples]
    if len(names) != batch:
        raise ValueError(f"`samples` must name the {batch} samples of the run, got {len(names)}.")
    thin = Thinning.of(times, batch, species, cells)
    rows, columns, kept = thin.rows(times), thin.columns(cells), slice(thin.samples)
    faces = law.grid.faces(0).numpy()
    fixed = _fixed_charge(law, run)
    book, told = run.ledger, [thin.told(times, batch, cells)]
    if not bool(run.succeeded.all()) or not bool(believable(c).all()):
        told.append(f"Not every sample has an answer: {advice(run, failed=True)}.")
    flat = {
        "mass": book.mass.reshape(times, batch, species),
        "charge": book.charge.reshape(times, batch),
        "energy": book.free_energy.reshape(times, batch),
        "smallest": book.smallest.reshape(times, batch),
    }
    return {
        "title": title or "A saved run.",
        "species": [{"name": one.name, "kind": "species"} for one in law.species],
        "valences": _valences(law, run)[kept],
        "clock": Clock.of(run).kind,
        "answered": run.succeeded.reshape(-1).tolist()[kept],
        "closed": [*book.closed],
        "samples": names[kept],
        "times": _packed(run.times.detach().double().cpu().numpy()[rows], "<f8"),
        "edges": _packed(np.append(faces[: -1 : thin.cells], faces[-1]), "<f8"),
        "x": _packed(law.grid.coordinates(0).numpy()[columns], "<f8"),
        "walls": [
            [_wall(law, run, side, b, rows) for side in ("x-", "x+")] for b in range(thin.samples)
        ],
        "reservoirs": [is_reservoir(law, side) for side in ("x-", "x+")],
        "concentrations": _packed(c[rows][:, kept][..., columns], "<f4"),
        "fixed": _packed(fixed[kept][:, columns], "<f4") if fixed.any() else None,
        "potentials": _packed(phi[rows][:, kept][..., columns], "<f4"),
        "ledger": {
            name: _packed(value.cpu().numpy()[rows][:, kept], "<f8") for name, value in flat.items()
        },
        "note": " ".join(one for one in told if one),
    }


def _names(batch: tuple[int, ...]) -> list[str]:
    """Samples of a batch, counted as people do; one sample alone is the run."""
    if not batch:
        return ["the run"]
    size = int(np.prod(batch))
    return [f"{k + 1} of {size} (index {name_of(batch, k)})" for k in range(size)]


def _fixed_charge(law: PNP, run: Solution) -> NDArray[np.float64]:
    """The charge that is there without ions, ``(B, N)``."""
    with torch.no_grad():
        none = torch.zeros_like(run.states[0], dtype=torch.float64)
        charge: NDArray[np.float64] = law.charge(none, run.x, t=moments_of(run)[0]).cpu().numpy()
    return charge.reshape(-1, charge.shape[-1])


def _valences(law: PNP, run: Solution) -> list[list[float]]:
    """Of each sample, those of its species."""
    each = [
        torch.as_tensor(one.valence).detach().double().cpu().expand(run.succeeded.shape)
        for one in law.species
    ]
    found: list[list[float]] = torch.stack(each, -1).reshape(-1, len(each)).tolist()
    return found


def _wall(
    law: PNP, run: Solution, side: str, sample: int, rows: NDArray[np.int_]
) -> float | list[float] | None:
    """The potential of an electrode; where it is a function of time, at each time; or None."""
    own = law.walls.get(side)
    potential = own.potential if isinstance(own, Wall) else None
    if not callable(potential) or (isinstance(run.x, Mapping) and f"potential:{side}" in run.x):
        return wall_potentials(law, run, np.array([sample])).get(side)
    return [_at(potential(t), run, sample) for t in moments_of(run)[rows]]


def _at(value: Any, run: Solution, sample: int) -> float:
    tensor = torch.as_tensor(value).detach().double().cpu()
    return float(tensor.expand(run.succeeded.shape).reshape(-1)[sample])


def _packed(values: NDArray[Any], kind: str) -> str:
    return base64.b64encode(np.ascontiguousarray(values, dtype=kind).tobytes()).decode("ascii")
