r"""Orthonormal real transforms of fields on equal cells, and the solves that they make diagonal.

On an axis with cells of width h, the modes of :mod:`pnpfusion.solvers.bases` are eigenvectors of
the second difference, with eigenvalues :math:`-(2 - 2\cos\theta_k)/h^2`, and of the second
derivative of their series, with :math:`-(\theta_k/h)^2` [Str99].
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Any, get_args

import torch
from torch import Tensor

from pnpfusion.solvers.bases import Basis, frequencies, lowest, transform_matrix
from pnpfusion.solvers.device.transforms import LARGEST_MATRIX, transform_by_fft
from pnpfusion.solvers.grid import Grid
from pnpfusion.solvers.implicit_solve import runs_forward
from pnpfusion.solvers.lines import times_along

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

MATRICES_UP_TO = 64  # cells of the longest axis; a product with a matrix is then quicker

#: scipy.fft's name and type of the transform to each basis but Fourier's.
_KINDS = {
    "cosine": ("dct", 2),
    "sine": ("dst", 2),
    "cosine-sine": ("dct", 4),
    "sine-cosine": ("dst", 4),
}


def to_modes(
    values: Tensor, bases: tuple[Basis | None, ...], shape: tuple[int, ...] | None = None
) -> Tensor:
    """Coefficients of ``values`` in the orthonormal bases of the last axes.

    The transform keeps the sum of squares; its transpose is :func:`from_modes`. By ``scipy.fft`` on
    the CPU, O(N log N), elsewhere by torch's FFT, on short axes by a product with their matrix.
    Differentiable to any order.

    Args:
        values: shape ``(..., N_1, ..., N_D)``, at cell centres; float32 or float64.
        bases: one per axis, for the last D = ``len(bases)`` axes; None leaves an axis as it is.
        shape: how many modes of each axis to return, the lowest; None for all. On a Fourier axis
            all or an odd number.

    Returns:
        The modes, of the shape of ``values``, or ending in ``shape``.
    """
    return _transform(values, bases, shape, False)


def from_modes(
    modes: Tensor, bases: tuple[Basis | None, ...], shape: tuple[int, ...] | None = None
) -> Tensor:
    """Values at the cell centres, the inverse of :func:`to_modes`.

    Args:
        modes: shape ``(..., K_1, ..., K_D)``, the lowest of each axis.
        bases: one per axis.
        shape: how many cells each axis has; None for as many as modes.

    Returns:
        The values, of the shape of ``modes``, or ending in ``shape``.
    """
    return _transform(modes, bases, shape, True)


def _transform(
    x: Tensor, bases: tuple[Basis | None, ...], shape: tuple[int, ...] | None, inverse: bool
) -> Tensor:
    wanted = tuple(x.shape[-len(bases) :]) if shape is None else tuple(shape)
    if not (x.requires_grad or runs_forward()):  # which spares the bookkeeping
        return _Transform.forward(x, tuple(bases), wanted, inverse)
    y: Tensor = _Transform.apply(x, tuple(bases), wanted, inverse)  # type: ignore[no-untyped-call]
    return y


class _Transform(torch.autograd.Function):
    """A map with orthonormal rows or columns: its transpose is the way back."""

    @staticmethod
    def forward(
        x: Tensor, bases: tuple[Basis | None, ...], shape: tuple[int, ...], inverse: bool
    ) -> Tensor:
        if x.device.type == "cpu" and max(*shape, *x.shape[-len(bases) :]) > MATRICES_UP_TO:
            return torch.from_numpy(_by_scipy(x.detach().numpy(), bases, shape, inverse))
        return _by_torch(x, bases, shape, inverse)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, ctx.bases, ctx.wanted, ctx.inverse = inputs
        ctx.shape = tuple(x.shape[-len(ctx.bases) :])

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, *_: None) -> Tensor:
        return _transform(tangent, ctx.bases, ctx.wanted, ctx.inverse)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        return _transform(grad, ctx.bases, ctx.shape, not ctx.inverse), None, None, None


def _by_scipy(
    x: Array, bases: tuple[Basis | None, ...], shape: tuple[int, ...], inverse: bool
) -> Array:
    import numpy as np
    from scipy import fft

    axes = range(-len(bases), 0)
    given = x
    for axis in axes if inverse else reversed(axes):
        n, basis = shape[axis], bases[axis]
        if basis is None:
            continue
        if basis == "fourier":
            x = _from_fourier(x, axis, n) if inverse else _to_fourier(x, axis, n)
            continue
        name, kind = _KINDS[basis]
        own = x is not given  # then it may be written over
        if inverse:
            apply = getattr(fft, f"i{name}")
            x = apply(x, kind, n, axis, norm="ortho", overwrite_x=own)
        else:
            x = getattr(fft, name)(x, kind, axis=axis, norm="ortho", overwrite_x=own)
            if n < x.shape[axis]:
                x = np.moveaxis(np.moveaxis(x, axis, -1)[..., :n], -1, axis)
    return x


def _to_fourier(x: Array, axis: int, count: int) -> Array:
    """Real modes along ``axis``: the cosines, then the sines of their frequencies."""
    import numpy as np
    from scipy import fft

    cosines = count // 2 + 1
    z = np.moveaxis(np.asarray(fft.rfft(x, axis=axis, norm="ortho")), axis, -1)[..., :cosines]
    out = np.empty((*z.shape[:-1], count), dtype=x.dtype)
    pairs = slice(1, 1 + count - cosines)
    out[..., :cosines] = z.real
    out[..., cosines:] = z.imag[..., pairs]
    out[..., pairs] *= math.sqrt(2)
    out[..., cosines:] *= -math.sqrt(2)
    return np.moveaxis(out, -1, axis)


def _from_fourier(x: Array, axis: int, n: int) -> Array:
    import numpy as np
    from scipy import fft

    count = x.shape[axis]
    cosines = count // 2 + 1
    x = np.moveaxis(x, axis, -1)
    z = np.zeros((*x.shape[:-1], cosines), dtype=np.result_type(x.dtype, np.complex64))
    pairs = slice(1, 1 + count - cosines)
    z.real = x[..., :cosines]
    z.imag[..., pairs] = x[..., cosines:]
    z.real[..., pairs] *= math.sqrt(0.5)
    z.imag[..., pairs] *= -math.sqrt(0.5)
    return np.moveaxis(np.asarray(fft.irfft(z, n, norm="ortho")), -1, axis)


def _by_torch(
    x: Tensor,
    bases: tuple[Basis | None, ...],
    shape: tuple[int, ...],
    inverse: bool,
    largest_matrix: int = LARGEST_MATRIX,
) -> Tensor:
    for axis, basis in enumerate(bases, start=-len(bases)):
        if basis is None:
            continue
        cells, count = x.shape[axis], shape[axis]
        if inverse:
            cells, count = count, cells
        if cells > largest_matrix:
            values = x.movedim(axis, -1)
            x = transform_by_fft(values, basis, cells, count, inverse=inverse).movedim(-1, axis)
            continue
        matrix = transform_matrix(basis, cells, x.dtype, x.device)
        if count < cells:
            matrix = matrix[lowest(basis, count, cells)]
        x = times_along(matrix.mT if inverse else matrix, x, axis)
    return x


def laplacian_symbols(
    grid: Grid, bases: tuple[Basis, ...], *, spectral: bool = False
) -> tuple[Tensor, ...]:
    r"""Eigenvalues of minus the second difference along each axis, all >= 0.

    Args:
        grid: the box; its cells must be equal along each axis.
        bases: one per axis: Fourier where it is periodic, another between walls.
        spectral: :math:`(\theta_k/h)^2`, of the derivative itself, instead of
            :math:`(2 - 2\cos\theta_k)/h^2`, of the three-point difference.

    Returns:
        One tensor ``(N_d,)`` per axis, float64, in 1 / L².

    Raises:
        ValueError: a graded axis, or a basis that is unknown or does not fit the axis.
    """
    if len(bases) != grid.ndim:
        raise ValueError(f"`bases` must have one entry per axis, {grid.ndim}, got {bases!r}.")
    symbols = []
    for axis, basis in enumerate(bases):
        if basis not in get_args(Basis):
            raise ValueError(f"`bases` must be among {get_args(Basis)}, got {basis!r}.")
        if (basis == "fourier") != (grid.boundaries[axis] == "periodic"):
            raise ValueError(
                f'axis {axis} is "{grid.boundaries[axis]}", which the basis {basis!r} does not '
                f'fit; "fourier" is for periodic axes, the others are for walls.'
            )
        if grid.edges is not None and grid.edges[axis] is not None:
            raise ValueError(
                f"transforms need equal cells, but `edges[{axis}]` grades them; leave it None."
            )
        angle, width = frequencies(basis, grid.shape[axis]), grid.lengths[axis] / grid.shape[axis]
        symbols.append(((angle if spectral else 2 * (angle / 2).sin()) / width).square())
    return tuple(symbols)


def sum_over_axes(terms: tuple[Tensor, ...]) -> Tensor:
    """The sum of one vector per axis as a tensor over all axes, ``(N_1, ..., N_D)``."""
    total = terms[0]
    for term in terms[1:]:
        total = total.unsqueeze(-1) + term
    return total


def solve_by_transform(
    load: Tensor,
    grid: Grid,
    bases: tuple[Basis, ...],
    permittivity: float | Tensor,
    screening: float | Tensor = 0.0,
) -> Tensor:
    r"""Solves :math:`-\varepsilon\nabla^2\phi + s\,\phi = f`, exactly and in O(N log N).

    This inverts the cell-centred operator of order 2 to round-off, walls at half a cell's distance.
    Where the operator takes a constant to zero (no sine axis, s = 0), the mean of ``load`` is left
    out and the mean of the answer is zero: whoever calls must check that it is small.

    Args:
        load: f, shape ``(B, *grid.shape)``.
        grid: the box, with equal cells along each axis.
        bases: one per axis; what :math:`\phi` does at the walls.
        permittivity: :math:`\varepsilon > 0`, a number or shape ``(B or 1,)``.
        screening: :math:`s \ge 0`, a number or shape ``(B or 1,)``.

    Returns:
        :math:`\phi`, of the shape of ``load``; differentiable to any order in it, in
        ``permittivity`` and in ``screening`` (there, to the operator that is not singular).

    Raises:
        ValueError: see :func:`laplacian_symbols`.
    """
    symbol = _symbol(grid, tuple(bases), load.dtype, load.device)

    def per_sample(value: float | Tensor) -> Tensor:
        values = value if isinstance(value, Tensor) else load.new_tensor(value)
        return values.reshape(-1, *(1,) * grid.ndim)

    divisor = per_sample(permittivity) * symbol + per_sample(screening)
    singular = divisor == 0
    modes = to_modes(load, bases) / torch.where(singular, 1, divisor)
    return from_modes(torch.where(singular, 0, modes), bases)


@lru_cache(maxsize=64)
def _symbol(
    grid: Grid, bases: tuple[Basis, ...], dtype: torch.dtype, device: torch.device
) -> Tensor:
    """The eigenvalues of minus the Laplacian, ``grid.shape``."""
    with torch.inference_mode(False):
        return sum_over_axes(laplacian_symbols(grid, bases)).to(dtype=dtype, device=device)
