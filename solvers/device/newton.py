"""The iterations of `coupled_newton` on a graphics card, without the host."""

from __future__ import annotations

import torch
from torch import Tensor

from pnpfusion.solvers.device.cell import DeviceCell
from pnpfusion.solvers.nernst_planck import Electrolyte


def iterate_on_device(
    cell: Electrolyte, base: Tensor, step: Tensor, guess: Tensor, scale: Tensor, most: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Newton's method: the last iterate, its potential, what converged, and the iterations.

    A sample whose matrix is singular between blocks has not converged; its guess is returned.
    Nothing is asked of the device before the answer is there, so a graph may hold the call.
    """
    from pnpfusion.solvers.kernels.gpu.decorators import LANES, programs
    from pnpfusion.solvers.kernels.gpu.newton import newton

    packed = DeviceCell.of(cell)
    batch, species, n = base.shape
    m = 1 + species
    last = [one.detach().movedim(0, -1).contiguous() for one in (base, scale)]
    c = guess.detach().movedim(0, -1).clone(memory_format=torch.contiguous_format)
    phi, right, x = (base.new_empty(*shape, batch) for shape in ((n,), (n, m, m), (n, m)))
    flags = torch.empty(3, batch, dtype=torch.int32, device=base.device)
    newton[programs(batch)](
        packed.given,
        last[0],
        step.detach().to(base.dtype).contiguous(),
        c,
        phi,
        last[1],
        right,
        x,
        *flags,
        most,
        n,
        batch,
        species,
        packed.floating,
        packed.scheme,
        LANES,
        num_warps=1,
    )
    converged, iterations, failed = flags[0] > 0, flags[1].long(), flags[2] > 0
    c, phi = c.movedim(-1, 0).contiguous(), phi.movedim(-1, 0).contiguous()
    lost = failed[:, None]
    return (
        torch.where(lost[..., None], guess, c),
        torch.where(lost, cell.potential(guess), phi),
        converged,
        iterations,
    )
