"""The compiled way to rest of small cells of a symmetric salt, many side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pnpfusion.solvers.arrays import as_array
from pnpfusion.solvers.backend import backend
from pnpfusion.solvers.implicit_solve import is_followed, is_transformed, without_derivative

if TYPE_CHECKING:
    from pnpfusion.solvers.kernels.axis.salt_room import Salt

LARGEST_STEP = 4.0  #: of the potential in one iteration, in kT/e
MOST = 200  #: iterations
#: The last step, in kT/e. After one of size s all others together are below s² (see
#: `docs/design.md`), so what is left is round-off.
LAST_STEP = {torch.float32: 1e-3, torch.float64: 1e-7}


def knows_salt(like: Tensor) -> bool:
    """Whether :func:`salt_at_rest` takes tensors like this one: of the CPU, Numba installed."""
    return backend(like) == "numba" and not is_transformed()


def salt_at_rest(
    charge: Tensor, permittivity: Tensor, concentration: Tensor, potential: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    r"""Potential and excess of ions in cells of a 1:1 salt between a reservoir and an electrode.

    .. math:: -\varepsilon\phi'' + 2 c_0 \sinh\phi = q, \qquad \phi(0) = 0, \; \phi(1) = V,

    by finite volumes on N equal cells, to round-off: the minimum that
    :func:`solve_poisson_boltzmann` finds, by the same method, for the potential alone. Linear in
    the number of cells. First derivatives only.

    Args:
        charge: q, ``(B, C, N)``, in F c_ref; B samples of C channels.
        permittivity: :math:`\varepsilon > 0`, ``(K,)``; channel c has entry c mod K of these three.
        concentration: :math:`c_0 > 0` in the reservoir, ``(K,)``, in c_ref.
        potential: V of the electrode, ``(K,)``, in kT/e.

    Returns:
        The potential and :math:`\ln(1 + c_+ + c_- - 2 c_0)`, ``(B, 2, C, N)``, with derivatives by
        all arguments; which samples have an answer, bool ``(B, C)``, and after how many iterations.
    """
    given = charge, permittivity, concentration, potential
    followed = torch.is_grad_enabled() and is_followed(*given)
    solve: Any = _Salt.apply if followed else _Salt.forward
    read, converged, iterations = solve(*given)
    return read, converged, iterations


class _Salt(torch.autograd.Function):
    @staticmethod
    def forward(charge: Tensor, *parameters: Tensor) -> tuple[Tensor, ...]:
        from pnpfusion.solvers.kernels.axis.salt import salt_1d

        batch, channels, n = charge.shape
        read = charge.new_empty(batch, 2, channels, n)
        converged = torch.empty(batch, channels, dtype=torch.bool)
        iterations = torch.empty(batch, channels, dtype=torch.long)
        if read.numel():
            salt_1d(
                _salt(parameters),
                as_array(charge),
                LAST_STEP[charge.dtype],
                LARGEST_STEP,
                MOST,
                *map(as_array, (read, converged, iterations)),
            )
        return read, converged, iterations

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, ...]) -> None:
        read, converged, iterations = output
        ctx.mark_non_differentiable(converged, iterations)
        ctx.save_for_backward(read, converged, *inputs[1:])

    @staticmethod
    def backward(ctx: Any, by_read: Tensor, *_: None) -> tuple[Tensor | None, ...]:
        from pnpfusion.solvers.kernels.axis.salt_gradient import salt_1d_backward

        read, converged, *parameters = ctx.saved_tensors
        found = [read.new_empty(read[:, 0].shape), *map(torch.zeros_like, parameters)]
        if read.numel():
            state = map(as_array, (read, converged, by_read))
            salt_1d_backward(_salt(parameters), *state, *map(as_array, found))
        return tuple(
            without_derivative(one, by_read, read) if need else None
            for one, need in zip(found, ctx.needs_input_grad, strict=True)
        )


def _salt(parameters: tuple[Tensor, ...] | list[Tensor]) -> Salt:
    from pnpfusion.solvers.kernels.axis.salt_room import Salt

    return Salt(*map(as_array, parameters))
