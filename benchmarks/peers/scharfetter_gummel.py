"""Scharfetter-Gummel finite volumes in plain numpy, as a right-hand side for any integrator.

Equal cells. The potential is eliminated: by a dense inverse between electrodes, by cosine
transforms in an insulated box.
"""

from __future__ import annotations

import numpy as np

from benchmarks.peers.problems import Array, Box


def bernoulli(u: Array) -> Array:
    """U / (exp(u) - 1)."""
    small = np.abs(u) < 1e-5
    v = np.where(small, 1.0, u)
    return np.where(small, 1 - u / 2 + u * u / 12, v / np.expm1(v))


def bernoulli_slope(u: Array) -> Array:
    """The derivative of :func:`bernoulli`."""
    small = np.abs(u) < 1e-3
    v = np.where(small, 1.0, u)
    e = np.expm1(v)
    return np.where(small, -0.5 + u / 6 - u**3 / 180, (e - v * (e + 1)) / e**2)


class BlockingCell:
    """A cell on [-1, 1] between electrodes; the state is (c_+, c_-), (2 N,)."""

    def __init__(self, permittivity: float, voltage: float, cells: int) -> None:
        self.cells, self.h = cells, 2 / cells
        matrix = 2 * np.eye(cells) - np.eye(cells, k=1) - np.eye(cells, k=-1)
        matrix[0, 0] = matrix[-1, -1] = 3  # half a cell to the wall
        inverse = np.linalg.inv(matrix)
        wall = 2 * voltage * (inverse[:, -1] - inverse[:, 0])
        self.applied = np.diff(wall)  #: steps of the potential from cell to cell, without charge
        self.steps = np.diff(inverse, axis=0) * self.h**2 / permittivity  #: and by the charge

    def rate(self, _: float, state: Array) -> Array:
        """dc/dt."""
        c = state.reshape(2, self.cells)
        step = self.applied + self.steps @ (c[0] - c[1])
        u = np.stack([step, -step])
        flux = (bernoulli(u) * c[:, :-1] - bernoulli(-u) * c[:, 1:]) / self.h**2
        return -np.diff(flux, prepend=0.0, append=0.0).ravel()

    def jacobian(self, _: float, state: Array) -> Array:
        """d(dc/dt)/dc, dense since the potential of a charge is everywhere."""
        n, c = self.cells, state.reshape(2, self.cells)
        step = self.applied + self.steps @ (c[0] - c[1])
        whole, face = np.zeros((2, n, 2, n)), np.arange(n - 1)
        for k, z in enumerate((1.0, -1.0)):
            u = z * step
            by_step = z * (bernoulli_slope(u) * c[k, :-1] + bernoulli_slope(-u) * c[k, 1:])
            flux = np.zeros((n + 1, 2, n))
            flux[1:-1, 0] = by_step[:, None] * self.steps
            flux[1:-1, 1] = -flux[1:-1, 0]
            flux[face + 1, k, face] += bernoulli(u)
            flux[face + 1, k, face + 1] -= bernoulli(-u)
            whole[k] = -np.diff(flux, axis=0) / self.h**2
        return whole.reshape(2 * n, 2 * n)


class InsulatedBox:
    """A unit square or cube; the state is c (2, N, ..., N), flat."""

    def __init__(self, box: Box, cells: int) -> None:
        self.axes, self.h = len(box.plus), 1 / cells
        self.shape = (2, *[cells] * self.axes)
        one = (2 - 2 * np.cos(np.pi * np.arange(cells) / cells)) / self.h**2
        symbol = sum(np.meshgrid(*[one] * self.axes, indexing="ij", sparse=True))
        self.green = np.zeros(self.shape[1:])
        np.divide(1 / box.permittivity, symbol, out=self.green, where=symbol > 0)

    def rate(self, _: float, state: Array) -> Array:
        """dc/dt."""
        from scipy.fft import dctn, idctn

        c = state.reshape(self.shape)
        phi = idctn(dctn(c[0] - c[1], 2) * self.green, 2)
        out = np.zeros_like(c)
        for axis in range(self.axes):
            left, right = (
                tuple(part if a == axis else slice(None) for a in range(self.axes))
                for part in (slice(None, -1), slice(1, None))
            )
            u = np.diff(phi, axis=axis)
            plus = bernoulli(u)
            minus = plus + u  # bernoulli(-u)
            for k, (ahead, back) in enumerate(((plus, minus), (minus, plus))):
                flux = (ahead * c[k][left] - back * c[k][right]) / self.h**2
                out[k][left] -= flux
                out[k][right] += flux
        return out.ravel()
