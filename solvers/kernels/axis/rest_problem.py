"""What a cell at rest is found from: B samples, and W of them side by side."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pnpfusion.solvers.kernels.decorators import Array, inner


class Problem(NamedTuple):
    """B samples of N cells, S species and K conserved totals; one row may stand for all samples."""

    volumes: Array  #: of the cells, (1, N)
    invariants: Array  #: (K, S)
    load: Array  #: (B|1, N)
    conductance: Array  #: (B|1, N+1)
    valence: Array  #: (B|1, S)
    constants: Array  #: (B|1, S)
    totals: Array  #: (B, K)


class Room(NamedTuple):
    """W samples side by side; what lies beyond the walls has a row of zeros."""

    load: Array  #: (N+2, W), like all that follow with N+2
    conductance: Array  #: of the face after each cell, (N+1, W)
    valence: Array  #: (S, W)
    constants: Array  #: (S, W)
    totals: Array  #: (K, W)
    c: Array  #: (S, N+2, W)
    charge: Array  #: of the ions in each cell, (N+2, W)
    screening: Array  #: and its derivative by -phi, (N+2, W)
    inverse: Array  #: pivots of the Hessian in phi, (N+2, W)
    border: Array  #: mixed second derivatives, (K, N+2, W)
    columns: Array  #: the inverse of the Hessian in phi times them, (K, N+2, W)
    schur: Array  #: factors of what is left of the Hessian for eta, (K, K, W)
    slope: Array  #: derivatives by phi, a right side, (N+2, W)
    slope_eta: Array  #: by eta, (K, W)
    step: Array  #: the inverse of the Hessian times them, (N+2, W)
    step_eta: Array  #: (K, W)


@inner
def make_room(problem: Problem, width: int) -> Room:
    """Room for ``width`` samples."""
    n, dtype = problem.volumes.shape[1], problem.volumes.dtype
    most, species = problem.invariants.shape
    return Room(
        np.zeros((n + 2, width), dtype),
        np.empty((n + 1, width), dtype),
        np.empty((species, width), dtype),
        np.empty((species, width), dtype),
        np.empty((most, width), dtype),
        np.zeros((species, n + 2, width), dtype),
        np.zeros((n + 2, width), dtype),
        np.zeros((n + 2, width), dtype),
        np.zeros((n + 2, width), dtype),
        np.zeros((most, n + 2, width), dtype),
        np.zeros((most, n + 2, width), dtype),
        np.empty((most, most, width), dtype),
        np.zeros((n + 2, width), dtype),
        np.empty((most, width), dtype),
        np.zeros((n + 2, width), dtype),
        np.empty((most, width), dtype),
    )


@inner
def gather_problem(problem: Problem, first: int, room: Room) -> None:
    """The parameters of the samples from ``first`` on."""
    gather(problem.load, first, 1, room.load)
    gather(problem.conductance, first, 0, room.conductance)
    gather(problem.valence, first, 0, room.valence)
    gather(problem.constants, first, 0, room.constants)
    gather(problem.totals, first, 0, room.totals)


@inner
def gather(rows: Array, first: int, ghosts: int, into: Array) -> None:
    """Samples from ``first`` on side by side, below ``ghosts`` rows; one row stands for all."""
    for w in range(into.shape[1]):
        sample = first + w if len(rows) > 1 else 0
        for i in range(rows.shape[1]):
            into[ghosts + i, w] = rows[sample, i]


@inner
def scatter(rows: Array, first: int, ghosts: int, into: Array) -> None:
    """The inverse of :func:`gather`."""
    for w in range(rows.shape[1]):
        for i in range(into.shape[1]):
            into[first + w, i] = rows[ghosts + i, w]


@inner
def copy(rows: Array, into: Array) -> None:
    """Put ``rows`` into ``into``; `into[:] = rows` takes long to compile."""
    for i in range(len(rows)):
        for w in range(rows.shape[1]):
            into[i, w] = rows[i, w]


@inner
def clear(rows: Array) -> None:
    """Make ``rows`` zero."""
    for i in range(len(rows)):
        for w in range(rows.shape[1]):
            rows[i, w] = 0
