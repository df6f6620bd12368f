"""Codes in plain numpy and scipy whose time is the unit. They must not be made faster.

Each does work of the kind that it is compared with: small Python around LAPACK, vector loops over a
batch, transforms, products of matrices.
"""

from __future__ import annotations

import numpy as np
import scipy.fft
import scipy.linalg

from benchmarks.peers.problems import Array


def charge_by_banded_newton(permittivity: float, voltage: float, cells: int, steps: int) -> Array:
    """A blocking cell on [-1, 1] to t = .5: central faces, backward Euler, (2, N).

    Newton's method on (c_+, c_-, phi) of each cell, one banded LU each time.
    """
    h, dt, z = 2 / cells, 0.5 / steps, np.array([[1.0], [-1.0]])
    c = np.ones((2, cells))
    phi = np.linspace(-voltage, voltage, 2 * cells + 1)[1::2]
    for _ in range(steps):
        old = c
        for _ in range(8):
            step, mean = np.diff(phi), (c[:, 1:] + c[:, :-1]) / 2
            flux = np.zeros((2, cells + 1))
            flux[:, 1:-1] = -(np.diff(c) + z * mean * step) / h
            slope = np.diff(phi, prepend=-voltage, append=voltage) / h
            slope[[0, -1]] *= 2
            off = np.concatenate(
                [
                    (c - old) / dt + np.diff(flux) / h,
                    [permittivity * np.diff(slope) / h + c[0] - c[1]],
                ]
            )
            band = _jacobian(permittivity, h, dt, z, step, mean)
            change = scipy.linalg.solve_banded((5, 5), band, -off.T.ravel()).reshape(cells, 3).T
            c, phi = c + change[:2], phi + change[2]
            if np.abs(change).max() < 1e-8:
                break
    return c


def _jacobian(
    permittivity: float, h: float, dt: float, z: Array, step: Array, mean: Array
) -> Array:
    """In LAPACK's band storage, unknowns (c_+, c_-, phi) cell by cell."""
    n = len(step) + 1
    band = np.zeros((11, 3 * n))

    def put(row: int, column: int, shift: int, values: Array) -> None:
        """Add slopes of equation `row` of cell i by unknown `column` of cell i + shift."""
        i = np.arange(max(0, -shift), n - max(0, shift))
        j = 3 * (i + shift) + column
        band[5 + 3 * i + row - j, j] += values[i]

    one = np.ones(n)
    for k in (0, 1):
        by_left = (1 - z[k] * step / 2) / h**2  # of minus the flux, over h
        by_right = (1 + z[k] * step / 2) / h**2
        by_step = z[k] * mean[k] / h**2
        left, right = (np.concatenate([[0.0], v]) for v in (by_left, by_right))
        drift = np.concatenate([[0.0], by_step, [0.0]])
        put(k, k, -1, -left)
        put(k, k, 0, one / dt + np.append(by_left, 0.0) + right)
        put(k, k, 1, -np.append(by_right, 0.0))
        put(k, 2, -1, -drift[:-1])
        put(k, 2, 0, drift[:-1] + drift[1:])
        put(k, 2, 1, -drift[1:])
        put(2, k, 0, z[k] * one)
    face = np.concatenate([[2.0], np.ones(n - 1), [2.0]]) * permittivity / h**2
    put(2, 2, -1, face[:-1])
    put(2, 2, 0, -face[:-1] - face[1:])
    put(2, 2, 1, face[1:])
    return band


def thomas(lower: Array, diagonal: Array, upper: Array, rhs: Array) -> Array:
    """Tridiagonal systems side by side, (N, B)."""
    n = len(rhs)
    above, x = np.empty_like(rhs), np.empty_like(rhs)
    above[0], x[0] = upper[0] / diagonal[0], rhs[0] / diagonal[0]
    for i in range(1, n):
        pivot = diagonal[i] - lower[i] * above[i - 1]
        above[i] = upper[i] / pivot
        x[i] = (rhs[i] - lower[i] * x[i - 1]) / pivot
    for i in range(n - 2, -1, -1):
        x[i] -= above[i] * x[i + 1]
    return x


def chained(lower: Array, diagonal: Array, upper: Array, rhs: Array) -> Array:
    """Tridiagonal systems (B, N) as one long one for LAPACK."""
    low, up = lower.copy(), upper.copy()
    low[:, 0] = up[:, -1] = 0
    _, _, _, x, info = scipy.linalg.lapack.dgtsv(
        low.ravel()[1:], diagonal.ravel(), up.ravel()[:-1], rhs.ravel()[:, None]
    )
    if info:
        raise ValueError(f"dgtsv met a singular system, info = {info}.")
    return np.asarray(x).reshape(rhs.shape)


def poisson(rho: Array) -> Array:
    """-lap phi = rho in an insulated unit square, by cosine transforms."""
    n = rho.shape[-1]
    one = (2 - 2 * np.cos(np.pi * np.arange(n) / n)) * n**2
    symbol = one[:, None] + one
    symbol[0, 0] = np.inf
    found: Array = scipy.fft.idctn(scipy.fft.dctn(rho, axes=(-2, -1)) / symbol, axes=(-2, -1))
    return found


def layers(x: Array, weights: Array) -> Array:
    """Dense layers one after another."""
    for weight in weights:
        x = np.tanh(x @ weight)
    return x
