"""Cosine series and an integrating-factor Runge-Kutta method of order 4, by hand: P2, P4.

usage: python -m benchmarks.peers.cosine_box REQUEST

REQUEST: {"problem": "P2", "options": {"cells": 128, "steps": 20}}

numpy and scipy.fft alone. The state is the cosine coefficients; diffusion is exact; the drift is
evaluated at cell centres, its flux by sine series, so that the walls block and mass is exact.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import scipy
from scipy.fft import dctn, dst, idct, idctn, idst

from benchmarks.peers.problems import Array, Box
from benchmarks.peers.serve import Reader, Run, serve


class Series:
    """A box by N cosines an axis. Coefficients a (2, N, ..., N) mean sums of a cos(pi k x)."""

    def __init__(self, box: Box, cells: int) -> None:
        self.box, self.cells, self.axes = box, cells, len(box.plus)
        wave = np.pi * np.arange(cells)
        self.waves = [
            wave.reshape([-1 if a == axis else 1 for a in range(self.axes)])
            for axis in range(self.axes)
        ]
        self.squares = sum(w**2 for w in self.waves)
        self.green = np.zeros_like(self.squares)
        np.divide(1 / box.permittivity, self.squares, out=self.green, where=self.squares > 0)
        self.space = tuple(range(1, self.axes + 1))
        # Between sums of cosines and scipy's unscaled transforms: 2 N per axis, half that at k = 0.
        scale = np.where(np.arange(cells) == 0, 2.0 * cells, 1.0 * cells)
        self.scale = np.ones_like(self.squares)
        for axis in range(self.axes):
            self.scale = self.scale * scale.reshape(self.waves[axis].shape)

    def coefficients(self, c: Array) -> Array:
        """Of values at cell centres."""
        return dctn(c, 2, axes=self.space) / self.scale

    def values(self, a: Array) -> Array:
        """At cell centres."""
        return idctn(a * self.scale, 2, axes=self.space)

    def rate(self, a: Array) -> Array:
        """Coefficients of the drift's share of dc/dt, z div(c grad phi)."""
        c = self.values(a)
        phi = (a[0] - a[1]) * self.green * self.scale
        total = np.zeros_like(a)
        for axis, wave in enumerate(self.waves):
            slope = np.roll(-phi * wave, -1, axis)  # sines are counted from 1; the first was 0
            slope = idst(slope, 2, axis=axis)
            for other in range(self.axes):
                if other != axis:
                    slope = idct(slope, 2, axis=other)
            flux = dst(c * slope, 2, axis=axis + 1)
            others = tuple(a for a in self.space if a != axis + 1)
            if others:
                flux = dctn(flux, 2, axes=others)
            flux = np.roll(flux, 1, axis + 1)  # the last sine goes where the wave number is 0
            total += flux * wave
        total[1] *= -1
        return total / self.scale

    def run(self, a: Array, steps: int) -> Array:
        """Coefficients at the end."""
        h = self.box.end / steps
        whole, half = np.exp(-h * self.squares), np.exp(-h / 2 * self.squares)
        for _ in range(steps):
            k1 = self.rate(a)
            k2 = self.rate(half * (a + h / 2 * k1))
            k3 = self.rate(half * a + h / 2 * k2)
            k4 = self.rate(whole * a + h * half * k3)
            a = whole * (a + h / 6 * k1) + h / 3 * half * (k2 + k3) + h / 6 * k4
        return a


def prepare(box: Box, cells: int, steps: int) -> Callable[[], Reader]:
    """A run of so many equal steps."""
    series, start = Series(box, cells), box.start_on(cells)

    def run() -> Reader:
        end = series.values(series.run(series.coefficients(start), steps))
        return lambda: Run(end, steps, float(end.min()))

    return run


if __name__ == "__main__":
    serve(f"cosine IF-RK4 (numpy {np.__version__}, scipy {scipy.__version__})", prepare)
