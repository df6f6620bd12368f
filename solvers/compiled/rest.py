"""The compiled way to the minimum of `convex_equilibrium`, and how derivatives go through it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pnpfusion.solvers.arrays import as_array
from pnpfusion.solvers.compiled.cell import is_compiled
from pnpfusion.solvers.implicit_solve import is_followed, without_derivative
from pnpfusion.solvers.nernst_planck import Electrolyte

if TYPE_CHECKING:
    from pnpfusion.solvers.kernels.axis.rest_problem import Problem

#: Volumes and invariants; tolerance, largest step of the potential and most iterations.
Setting = tuple[Tensor, Tensor, tuple[float, float, int]]


def knows_rest(cell: Electrolyte, like: Tensor) -> bool:
    """Whether the kernel knows how this cell rests: point ions without reactions, not afloat."""
    plain = cell.crowding is None and cell.reactions is None and not cell.dielectric.floating
    return plain and is_compiled(cell, like)


def compiled_rest(
    cell: Electrolyte,
    load: Tensor,
    totals: Tensor,
    invariants: Tensor,
    constants: Tensor,
    limits: tuple[float, float, int],
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The minimum, found as `convex_equilibrium` does; ``limits`` as in :data:`Setting`.

    Returns:
        Concentrations ``(B, S, N)`` and potential ``(B, N)``, with derivatives by ``load``, by the
        cell's conductances and valences, by ``totals`` and ``constants``; which samples came to an
        end and after how many iterations, ``(B,)``.
    """
    conductance, valence = cell.dielectric.lines[0].conductance, cell.valence.flatten(1)
    given = load, conductance, valence, constants, totals
    followed = torch.is_grad_enabled() and is_followed(*given)
    solve: Any = _Rest.apply if followed else _Rest.forward
    c, phi, converged, iterations = solve((cell.dielectric.volumes, invariants, limits), *given)
    return c, phi, converged, iterations


class _Rest(torch.autograd.Function):
    @staticmethod
    def forward(setting: Setting, *given: Tensor) -> tuple[Tensor, ...]:
        from pnpfusion.solvers.kernels.axis.rest import rest_1d

        volumes, invariants, (tolerance, largest_step, most) = setting
        batch, (species, n) = len(given[-1]), (invariants.shape[1], len(volumes))
        c, phi = volumes.new_empty(batch, species, n), volumes.new_empty(batch, n)
        converged = torch.empty(batch, dtype=torch.bool)
        iterations = torch.empty(batch, dtype=torch.long)
        if batch:
            rest_1d(
                _problem(setting, given),
                tolerance,
                largest_step,
                most,
                *map(as_array, (c, phi, converged, iterations)),
            )
        return c, phi, converged, iterations

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        ctx.setting, *given = inputs
        c, phi, converged, iterations = output
        ctx.mark_non_differentiable(converged, iterations)
        ctx.save_for_backward(c, phi, converged, *given)

    @staticmethod
    def backward(ctx: Any, by_c: Tensor, by_phi: Tensor, *_: None) -> tuple[Tensor | None, ...]:
        from pnpfusion.solvers.kernels.axis.rest_gradient import rest_1d_backward

        c, phi, converged, *given = ctx.saved_tensors
        found = [phi.new_empty(len(phi), one.shape[1]) for one in given]
        if len(phi):
            state = map(as_array, (c, phi, by_c, by_phi))
            rest_1d_backward(_problem(ctx.setting, given), *state, *map(as_array, found))
        # What was not solved may not be finite, and is no answer to pass a gradient on:
        sound = converged & c.isfinite().flatten(1).all(1)
        found = [torch.where(sound[:, None], one, 0) for one in found]
        wanted = zip(found, given, ctx.needs_input_grad[1:], strict=True)
        return None, *(
            without_derivative(one.sum_to_size(to.shape), by_c, by_phi, c) if need else None
            for one, to, need in wanted
        )


def _problem(setting: Setting, given: tuple[Tensor, ...] | list[Tensor]) -> Problem:
    from pnpfusion.solvers.kernels.axis.rest_problem import Problem

    volumes, invariants, _ = setting
    return Problem(*map(as_array, (volumes.unsqueeze(0), invariants, *given)))
