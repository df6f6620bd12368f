"""Compute the references of the problems, by ways that no program measured against them goes.

usage: python -m benchmarks.references [--write] [P1 ...]

Blocking cells: Chebyshev collocation in space, Radau IIA of order 5 in time. Boxes: cosine
series, Runge-Kutta of order 4 with an exact diffusion factor, steps far below those of any
program measured. A minute or two. One JSON line per problem: its difference from the stored
reference, and from itself with fewer points and longer steps. --write stores what was computed.
"""

from __future__ import annotations

import time

import numpy as np

from benchmarks.peers.cosine_box import Series
from benchmarks.peers.problems import (
    PROBLEMS,
    REFERENCES,
    Array,
    Box,
    Cells,
    barycentric,
    reference,
)
from benchmarks.script import options, say


def differentiation(points: int) -> tuple[Array, Array]:
    """Chebyshev points on [-1, 1], descending, (n,), and the matrix that differentiates there."""
    x = np.cos(np.pi * np.arange(points) / (points - 1))
    weights = (-1.0) ** np.arange(points)
    weights[[0, -1]] *= 2
    d = np.outer(weights, 1 / weights) / (x[:, None] - x + np.eye(points))
    return x, d - np.diag(d.sum(1))


def charged(debye: float, voltage: float, end: float, points: int, rtol: float) -> Array:
    """One blocking cell at its end, (2, n).

    The state is (c_+, c_-); the field is linear in it, and the flux at both walls is set to 0.
    """
    from scipy.integrate import solve_ivp

    _, d = differentiation(points)
    green = np.zeros((points, points))  # the potential of a charge between grounded walls
    green[1:-1, 1:-1] = np.linalg.inv(-2 * debye**2 * (d @ d)[1:-1, 1:-1])
    field = d @ green
    closed = d.copy()  # div of a flux whose two end values do not count
    closed[:, [0, -1]] = 0

    def slope(c: Array) -> Array:
        return voltage + field @ (c[0] - c[1])

    def rate(_: float, state: Array) -> Array:
        c = state.reshape(2, points)
        drift = c * slope(c) * np.array([[1.0], [-1.0]])
        return np.concatenate(list((c @ d.T + drift) @ closed.T))

    def jacobian(_: float, state: Array) -> Array:
        c = state.reshape(2, points)
        own, other = np.diag(slope(c)), field
        rows = [
            [closed @ (d + own + c[0][:, None] * other), -closed @ (c[0][:, None] * other)],
            [-closed @ (c[1][:, None] * other), closed @ (d - own + c[1][:, None] * other)],
        ]
        return np.block(rows)

    run = solve_ivp(
        rate,
        (0, end),
        np.ones(2 * points),
        "Radau",
        [end],
        jac=jacobian,
        rtol=rtol,
        atol=rtol / 100,
    )
    if not run.success:
        raise RuntimeError(run.message)
    return run.y[:, -1].reshape(2, points)


def cells_reference(cells: Cells, points: int, rtol: float) -> dict[str, Array]:
    """All cells of a problem."""
    pairs = zip(cells.debye, cells.voltage, strict=True)
    runs = [charged(debye, voltage, cells.end, points, rtol) for debye, voltage in pairs]
    return {"x": differentiation(points)[0], "c": np.stack(runs)}


def box_reference(box: Box, modes: int, steps: int, kept: int = 24) -> dict[str, Array]:
    """A box, by its first cosine coefficients: the others are below round-off by then."""
    series = Series(box, modes)
    end = series.run(series.coefficients(box.start_on(modes)), steps)
    first = (slice(None), *[slice(kept)] * len(box.plus))
    left = end.copy()
    left[first] = 0
    if np.abs(left).max() > 1e-13:
        raise RuntimeError(f"`kept` = {kept} modes leave {np.abs(left).max():.1e}; keep more.")
    return {"modes": end[first]}


def compute(name: str, fine: bool) -> dict[str, Array]:
    """The reference of a problem; a coarser one to compare it with where not ``fine``."""
    problem = PROBLEMS[name]
    if isinstance(problem, Box):
        grids = ((64, 400), (48, 200)) if len(problem.plus) == 2 else ((36, 160), (32, 80))
        return box_reference(problem, *grids[0 if fine else 1])
    if name == "P1":
        return cells_reference(problem, *((129, 1e-11) if fine else (97, 1e-9)))
    return cells_reference(problem, *((97, 1e-10) if fine else (81, 1e-9)))


def difference(one: dict[str, Array], other: dict[str, Array]) -> float:
    """The largest difference of two references of one problem, where the first has its points."""
    if "modes" in one:
        return float(np.abs(one["modes"] - other["modes"]).max())
    return float(np.abs(other["c"] @ barycentric(other["x"], one["x"]).T - one["c"]).max())


def main() -> None:
    """Compute, compare, maybe store."""
    parser = options(__doc__)
    parser.add_argument("names", nargs="*", metavar="PROBLEM", help=" ".join(PROBLEMS))
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    for name in given.names or PROBLEMS:
        begin = time.perf_counter()
        made = compute(name, fine=True)
        line = {"problem": name, "from_coarser": difference(made, compute(name, fine=False))}
        path = REFERENCES / f"{name.lower()}.npz"
        if path.exists():
            line["from_stored"] = difference(made, reference(name))
        if given.write:
            np.savez_compressed(path, **made)  # type: ignore[arg-type]
            line["bytes"] = path.stat().st_size
        say(line | {"seconds": round(time.perf_counter() - begin)})


if __name__ == "__main__":
    main()
