r"""The law of ions in series, in as many modes as a state needs.

Diffusion empties the high modes of a smooth state, and products of the others do not reach far
beyond them. So modes above those that stand out of round-off are left out, and taken in again when
the ones below them fill up: a step costs what the state asks for, not the grid.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pnpfusion.solvers.axis_modes import AxisModes, at_points, axis_modes, drift, values_at_points
from pnpfusion.solvers.bases import Basis, cut, extended
from pnpfusion.solvers.drift_gradient import DriftGradient
from pnpfusion.solvers.grid import Grid
from pnpfusion.solvers.steppers.base import Semilinear
from pnpfusion.solvers.transforms import from_modes, laplacian_symbols, sum_over_axes, to_modes

if TYPE_CHECKING:
    from pnpfusion.solvers.spectral import SpectralElectrolyte

FEWEST = 12  # frequencies of an axis; fewer would save nothing
LEAST = 16.0  # times the precision: what holds less of the largest mode is never needed
FULL = 32.0  # times what is negligible: what is left out may reach that before more are taken in
GROWTH = 1.2  # of the frequencies that are then needed
SPARE = 0.75  # the share of the modes below which fewer are worth new coefficients


@dataclass(frozen=True, eq=False)
class LowModes:
    r"""A cell's law in its lowest modes, about mean concentrations; see :class:`Resolution`.

    .. math:: \partial_t v = M v + N(v), \quad M = -D k^2 - p z^T, \quad
              N = D z\, \nabla\cdot\big( (c - \bar c) \nabla\phi \big) - p\, \rho_f, \quad
              p = D z \bar c / \varepsilon.
    """

    cell: SpectralElectrolyte
    mean: Tensor  #: mean concentrations, (B, S, 1, ...)
    quickest: Tensor  #: the shortest relaxation time of charge that M does not hold, (B,)
    kept: tuple[int, ...]  #: how many modes of each axis there are
    resolved: tuple[int, ...]  #: and how many take part in products
    axes: tuple[AxisModes, ...]  #: of these
    green: Tensor  #: 1 / (eps k²) of these, for values at the points, (B|1, *resolved)
    fixed: Tensor | None  #: fixed charge in these, (B|1, *resolved); None if there is none
    source: Tensor | None  #: by which fixed charge moves ions, (B, S, *kept); None likewise
    constant: Tensor  #: modes of the mean concentrations, (B, S, *resolved)
    mobility: Tensor  #: D z, (B|1, S, 1, ...)
    stretch: float  #: values at the points over those of the same modes at the cells
    unit: float  #: the first mode of the constant 1
    negligible: float  #: what a mode may hold of the largest one and still be left out

    @classmethod
    def of(
        cls,
        cell: SpectralElectrolyte,
        mean: Tensor,
        quickest: Tensor,
        kept: tuple[int, ...],
        negligible: float = 0.0,
    ) -> LowModes:
        """The law in the lowest ``kept`` modes of each axis."""
        resolved = tuple(min(k, r) for k, r in zip(kept, cell.resolved, strict=True))
        axes = axis_modes(cell.grid, cell.bases, resolved, mean)
        points = math.prod(axis.points for axis in axes)
        stretch = math.sqrt(points / cell.symbol.numel())
        inverse, fixed, one = (
            cut(modes, cell.bases, resolved)
            for modes in (cell.inverse_symbol, cell.fixed_modes, cell.mean_mode)
        )
        mobility = cell.diffusivity * cell.valence
        source = None
        if cell.charged:
            pull = mobility * mean / cell.permittivity.unsqueeze(1)
            moving = cut(cell.moving, cell.bases, kept)
            source = pull * cut(cell.fixed_modes, cell.bases, kept).unsqueeze(1) * moving
        return cls(
            cell=cell,
            mean=mean,
            quickest=quickest,
            kept=kept,
            resolved=resolved,
            axes=axes,
            green=inverse * stretch / cell.permittivity,
            fixed=fixed if cell.charged else None,
            constant=mean * one,
            source=source,
            mobility=mobility,
            stretch=stretch,
            unit=math.sqrt(cell.symbol.numel()),
            negligible=negligible,
        )

    def remainder(self, modes: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """N of modes ``(B, S, *kept)``, with what its transpose asks for.

        That is the charge in modes, then c - mean and the slopes of the potential at the points.
        """
        low = self.low(modes)
        charge = (self.cell.valence * low).sum(1)
        charge = charge if self.fixed is None else charge + self.fixed
        values, slopes = at_points(self.axes, low - self.constant, charge * self.green)
        total = self.whole(drift(self.axes, values, slopes) * self.mobility)
        total = total if self.source is None else total - self.source
        return total, (charge, values, *slopes)

    def low(self, modes: Tensor) -> Tensor:
        """Those that take part in products."""
        return modes if self.kept == self.resolved else cut(modes, self.cell.bases, self.resolved)

    def whole(self, low: Tensor) -> Tensor:
        """All modes from those that take part in products; undoes :meth:`low`."""
        return low if self.kept == self.resolved else extended(low, self.cell.bases, self.kept)

    def semilinear(self) -> Semilinear:
        """The law as steppers see it."""
        cell, kept = self.cell, self.kept
        symbol, moving = (cut(modes, cell.bases, kept) for modes in (cell.symbol, cell.moving))
        pull = self.mobility * self.mean / cell.permittivity.unsqueeze(1)
        size = cell.valence.shape[1]
        eye = torch.eye(size).to(symbol).reshape(1, size, size, *(1 for _ in kept))

        return Semilinear(
            to_modes=lambda u: to_modes(u, cell.bases, kept),
            from_modes=lambda modes: from_modes(modes, cell.bases, cell.grid.shape),
            linear=-cell.diffusivity.unsqueeze(2) * symbol * eye
            - pull.unsqueeze(2) * cell.valence.unsqueeze(1) * moving,
            remainder=lambda t, modes: self.remainder(modes)[0],
            resolution=self,
            alike=_alike(cell.grid, cell.bases, kept, symbol.device),
        )

    @property
    def parameters(self) -> tuple[Tensor, ...]:
        """See :class:`Separable`."""
        cell = self.cell
        return self.mean, cell.permittivity, cell.valence, cell.diffusivity, cell.fixed_modes

    def about(self, parameters: Sequence[Tensor]) -> Semilinear:
        """See :class:`Separable`."""
        mean, epsilon, valence, diffusivity, fixed = parameters
        cell = replace(
            self.cell,
            permittivity=epsilon,
            valence=valence,
            diffusivity=diffusivity,
            fixed_modes=fixed,
        )
        return LowModes.of(cell, mean, self.quickest, self.kept, self.negligible).semilinear()

    def transposable(self) -> DriftGradient:
        """See :class:`Separable`."""
        return DriftGradient(self)

    def lowest(self, modes: Tensor) -> Tensor:
        """See :class:`Resolution`."""
        low = cut(modes, self.cell.bases, self.resolved)
        values = values_at_points(self.axes, low).flatten(1).amin(1)
        return values * (1 / self.stretch)

    def fitted(self, modes: Tensor) -> Tensor:
        """See :class:`Resolution`."""
        return extended(cut(modes, self.cell.bases, self.kept), self.cell.bases, self.kept)

    def finer(self, modes: Tensor) -> Semilinear | None:
        """See :class:`Resolution`."""
        if self.kept == self.cell.grid.shape:
            return None
        wanted = list(self.kept)
        for axis, needed in enumerate(self._reach(modes, FULL * self.negligible)):
            if self._count(axis, needed) > self.kept[axis]:
                wanted[axis] = self._count(axis, math.ceil(GROWTH * needed))
        return self._with(tuple(wanted))

    def surviving(self, span: float) -> Semilinear | None:
        """See :class:`Resolution`."""
        cell = self.cell
        least = float(cell.diffusivity.detach().min())
        decay = -math.log(torch.finfo(self.mean.dtype).eps)
        wave = math.sqrt(decay / (least * max(span, 1e-300)))
        wanted = []
        for axis, (basis, length) in enumerate(zip(cell.bases, cell.grid.lengths, strict=True)):
            numbers = wave * length / math.pi / (2 if basis == "fourier" else 1)
            count = self._count(axis, math.ceil(min(numbers, 1e9)))
            wanted.append(max(self.kept[axis], count))
        return self._with(tuple(wanted))

    def fitting(self, u: Tensor, negligible: float) -> Semilinear:
        """See :class:`Resolution`."""
        cell = self.cell
        negligible = max(negligible, LEAST * torch.finfo(u.dtype).eps)
        if cell.resolved == cell.grid.shape:
            return self.semilinear()
        with torch.no_grad():
            reach = self._reach(to_modes(u.detach(), cell.bases), negligible)
        wanted = tuple(self._count(axis, needed) for axis, needed in enumerate(reach))
        return LowModes.of(cell, self.mean, self.quickest, wanted, negligible).semilinear()

    def reduced(self, modes: Tensor, since: float | None = None) -> Semilinear | None:
        """See :class:`Resolution`."""
        if not self.negligible:
            return None
        wanted = list(self.kept)
        for axis, needed in enumerate(self._reach(modes, self.negligible, since)):
            count = self._count(axis, needed)
            wanted[axis] = count if count < SPARE * self.kept[axis] else self.kept[axis]
        return self._with(tuple(wanted))

    def _reach(self, modes: Tensor, negligible: float, since: float | None = None) -> list[int]:
        """Along each axis, how many frequencies products of two modes reach that count.

        Modes ``(B, S, *modes)`` count by their share of the largest of their species and sample,
        products of two by that of both; each counts by itself too, beside the mean. Samples that
        are not finite do not count. With ``since`` what diffusion has left of 1 in that time counts
        too, alone and in products, down to round-off.
        """
        cell, modes = self.cell, modes.detach()
        space = tuple(range(2, modes.ndim))
        if cell.charged:
            fixed = cut(cell.fixed_modes.detach(), cell.bases, tuple(modes.shape[2:]))
            modes = torch.cat([modes, fixed.expand(len(modes), *fixed.shape[1:]).unsqueeze(1)], 1)
        if not len(modes):
            return [1] * len(space)
        size = modes.abs()
        largest = size.amax(space, keepdim=True)
        finite = largest.isfinite().all(1, keepdim=True)
        size = size / largest.clamp_min(torch.finfo(size.dtype).tiny)
        if not finite.all():
            size = torch.where(finite, size, 0)
        reach = []
        for axis, basis in enumerate(cell.bases):
            share = size.amax([0, 1, *(other for other in space if other != axis + 2)])
            share[0] = 1.0  # the mean: a mode counts by itself as well
            sums = _frequency_sums(basis, len(share), modes.device)
            counts = share[:, None] * share > negligible
            if since is not None:
                left = self._left(axis, since)
                least = LEAST * torch.finfo(share.dtype).eps
                counts |= left[:, None] * torch.maximum(left, share) > least
            reach.append(1 + int((sums * counts).max()))
        return reach

    def _left(self, axis: int, since: float) -> Tensor:
        """What diffusion has left of each mode of an axis after some time."""
        symbol = cut(self.cell.symbol, self.cell.bases, self.kept)
        along = symbol[tuple(slice(None) if i == axis else 0 for i in range(symbol.ndim))]
        return (-float(self.cell.diffusivity.detach().min()) * since * along).exp()

    def _with(self, kept: tuple[int, ...]) -> Semilinear | None:
        if kept == self.kept:
            return None
        return LowModes.of(self.cell, self.mean, self.quickest, kept, self.negligible).semilinear()

    def _count(self, axis: int, frequencies: int) -> int:
        """How many modes hold so many frequencies; all where products leave none of them out."""
        count = max(frequencies, FEWEST)
        if self.cell.bases[axis] == "fourier":
            count = 2 * count + 1
        return count if count <= self.cell.resolved[axis] else self.cell.grid.shape[axis]


@lru_cache(maxsize=64)
def _alike(
    grid: Grid, bases: tuple[Basis, ...], kept: tuple[int, ...], device: torch.device
) -> Tensor | None:
    """Of each of the lowest modes, flattened, one of the same k²; None where they are too few.

    A box of equal sides has many modes of each wave length, whose matrices are the same.
    """
    if grid.ndim == 1 or math.prod(kept) < 256:
        return None
    with torch.inference_mode(False):
        symbol = sum_over_axes(laplacian_symbols(grid, bases, spectral=True))
        values, order = cut(symbol, bases, kept).flatten().sort()
        begins = torch.cat([torch.ones(1), values.diff() > 1e-14 * values[1:]]).bool()
        if 2 * int(begins.sum()) > len(values):
            return None
        first = order[begins][begins.cumsum(0) - 1]
        return torch.empty_like(order).scatter(0, order, first).to(device)


@lru_cache(maxsize=64)
def _frequency_sums(basis: Basis, count: int, device: torch.device) -> Tensor:
    """The sum of the frequencies of two modes, in whole numbers, of the lowest ``count``."""
    with torch.inference_mode(False):
        numbers = torch.arange(count, device=device)
        if basis == "fourier":
            numbers = torch.cat([numbers[: count // 2 + 1], numbers[1 : (count + 1) // 2]])
        return numbers[:, None] + numbers
