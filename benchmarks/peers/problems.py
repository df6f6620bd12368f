r"""The problems that every program solves, and how far from the truth an answer is.

Two ions with z = +1 and -1 and D = 1, dimensionless:

.. math:: \dot c_i = \nabla \cdot (\nabla c_i + z_i c_i \nabla \phi), \qquad
          -\varepsilon \nabla^2 \phi = c_+ - c_-

- P1: a cell on [-1, 1], c = 1 at the start, potentials of -2 and +2 at its blocking walls, a Debye
  length of .05 (:math:`\varepsilon = 2 \lambda_D^2`), to t = .5.
- P2: a unit square whose walls insulate and block, :math:`\varepsilon` = .005, c = .2 and a
  Gaussian charge of height 5 and width .08 for each ion, to t = .02.
- P3: 64 cells like P1, Debye lengths from .05 to .1 and potentials from .5 to 3, shuffled.
- P4: P2 in a cube.

An error is the largest difference from the reference over ions and a program's own nodes, divided
by the largest concentration there; for P3 that of the worst cell. References are polynomials
(values at Chebyshev points) or cosine series (coefficients), so they are known at every node;
``python -m benchmarks.references`` computes them. Needs numpy alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[np.float64]]
REFERENCES = Path(__file__).parents[1] / "references"


@dataclass(frozen=True)
class Cells:
    """Blocking cells on [-1, 1], one or many."""

    debye: Array  #: Debye lengths, (B,)
    voltage: Array  #: the right wall's potential, minus the left one's, (B,)
    end: float = 0.5

    @property
    def permittivity(self) -> Array:
        """Of each cell, (B,)."""
        return 2 * self.debye**2


@dataclass(frozen=True)
class Box:
    """A unit square or cube whose walls insulate and block, with two Gaussian charges."""

    plus: tuple[float, ...]  #: the centre of the cations
    minus: tuple[float, ...]  #: and of the anions
    permittivity: float = 0.005
    end: float = 0.02
    base: float = 0.2
    height: float = 5.0
    width: float = 0.08

    def start(self, *axes: Array) -> Array:
        """Concentrations at t = 0, (2, ...), at coordinates that broadcast together."""
        return np.stack([self._density(centre, axes) for centre in (self.plus, self.minus)])

    def _density(self, centre: tuple[float, ...], axes: Sequence[Array]) -> Array:
        blob = np.array(self.height)
        for x, at in zip(axes, centre, strict=True):
            images = [sign * at + 2 * turn for turn in range(-3, 4) for sign in (1, -1)]
            blob = blob * sum(np.exp(-((x - image) ** 2) / (2 * self.width**2)) for image in images)
        return self.base + blob

    def start_on(self, cells: int) -> Array:
        """Concentrations at t = 0 at the centres of equal cells, (2, N, ..., N)."""
        return self.start(*np.meshgrid(*[unit_centres(cells)] * len(self.plus), indexing="ij"))


P1 = Cells(np.array([0.05]), np.array([2.0]))
P2 = Box((0.35, 0.40), (0.65, 0.60))
P3 = Cells(
    np.linspace(0.05, 0.1, 64),
    np.linspace(0.5, 3.0, 64)[np.random.default_rng(0).permutation(64)],
)
P4 = Box((0.35, 0.40, 0.45), (0.65, 0.60, 0.55))
PROBLEMS: dict[str, Cells | Box] = {"P1": P1, "P2": P2, "P3": P3, "P4": P4}


def centres(cells: int) -> Array:
    """Of equal cells on [-1, 1]."""
    return (2 * np.arange(cells) + 1) / cells - 1


def edges(cells: int, grading: float) -> Array:
    """Of cells on [-1, 1] at tanh(g s) / tanh(g) of equal steps s; equal cells for g = 0."""
    s = np.linspace(-1, 1, cells + 1)
    return np.tanh(grading * s) / np.tanh(grading) if grading else s


def unit_centres(cells: int) -> Array:
    """Of equal cells on [0, 1]."""
    return (np.arange(cells) + 0.5) / cells


@cache
def reference(problem: str) -> dict[str, Array]:
    """The stored arrays: ``x`` and ``c`` (B, 2, n) of cells, ``modes`` (2, n, ..., n) of boxes."""
    with np.load(REFERENCES / f"{problem.lower()}.npz") as stored:
        return {name: stored[name].astype(np.float64) for name in stored.files}


def error(problem: str, c: Array, x: Array | None = None) -> float:
    """How far ``c`` is from the reference at the end.

    Args:
        problem: its name.
        c: of the first B cells (B, 2, n); of a box (2, N, ..., N) at centres, or (2, n) at points.
        x: of cells the nodes (n,), of a box points (n, axes); None for centres of equal cells.
    """
    if isinstance(PROBLEMS[problem], Cells):
        exact = exact_cells(problem, centres(c.shape[-1]) if x is None else x)[: len(c)]
        one: tuple[int, ...] = (-2, -1)
    else:
        exact = exact_box(problem, c.shape[-1], x)
        one = tuple(range(c.ndim))
    return float(np.max(np.abs(c - exact).max(one) / np.abs(exact).max(one)))


def exact_cells(problem: str, x: Array) -> Array:
    """The reference of blocking cells at ``x`` (n,), shape (B, 2, n)."""
    stored = reference(problem)
    return stored["c"] @ barycentric(stored["x"], x).T


def exact_box(problem: str, cells: int, points: Array | None = None) -> Array:
    """The reference of a box at cell centres, (2, N, ..., N), or at points (n, axes), (2, n)."""
    modes = reference(problem)["modes"]
    axes = modes.ndim - 1
    if points is None:
        waves = cosines(modes.shape[-1], unit_centres(cells))
        for _ in range(axes):  # each turn sums over the first wave number and appends its axis
            modes = np.tensordot(modes, waves, (1, 0))
        return modes
    values = modes[..., None]
    for axis in range(axes):
        wave = cosines(modes.shape[-1], points[:, axis])
        values = (values * wave.reshape(-1, *[1] * (axes - axis - 1), len(points))).sum(1)
    return values


def cosines(modes: int, x: Array) -> Array:
    """cos(pi k x), (modes, n)."""
    return np.cos(np.pi * np.outer(np.arange(modes), x))


def barycentric(nodes: Array, x: Array) -> Array:
    """The matrix (N, n) that takes values at Chebyshev points to ``x`` (N,)."""
    weights = (-1.0) ** np.arange(len(nodes))
    weights[[0, -1]] *= 0.5
    distance = x[:, None] - nodes
    hit = np.abs(distance) < 1e-14
    share = weights / np.where(hit, 1.0, distance)
    share = np.where(hit.any(1, keepdims=True), hit, share)
    return share / share.sum(1, keepdims=True)
