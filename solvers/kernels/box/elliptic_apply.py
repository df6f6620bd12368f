"""What a field loses through the faces of a box, compiled by Numba."""

from __future__ import annotations

from pnpfusion.solvers.kernels.decorators import Array, kernel


@kernel
def elliptic_apply(
    conductances: tuple[Array, ...], periodic: tuple[bool, ...], mass: Array, x: Array, y: Array
) -> None:
    """Put mass times ``x`` and what leaves each cell through its faces into ``y``.

    Args:
        conductances: of the faces of each axis, ``(B or 1, before, N + 1, after)``, with the cells
            of the axes before and after it flattened.
        periodic: whether the first face of each axis is also its last; else x is 0 behind it.
        mass: ``(B or 1, cells)``.
        x: ``(B, cells)``.
        y: like ``x``.
    """
    batch, cells = x.shape
    for sample in range(batch):
        own = sample if len(mass) > 1 else 0
        for cell in range(cells):
            y[sample, cell] = mass[own, cell] * x[sample, cell]
        for axis in range(len(conductances)):
            g, ring = conductances[axis], periodic[axis]
            own = sample if len(g) > 1 else 0
            _, outer, faces, stride = g.shape
            n = faces - 1
            for before in range(outer):
                start = before * n * stride
                for face in range(1, n):
                    at = start + face * stride
                    for after in range(stride):
                        here = at + after
                        flow = g[own, before, face, after] * (
                            x[sample, here] - x[sample, here - stride]
                        )
                        y[sample, here] += flow
                        y[sample, here - stride] -= flow
                last = start + (n - 1) * stride
                for after in range(stride):
                    first, end = x[sample, start + after], x[sample, last + after]
                    behind = (end, first) if ring else (0.0, 0.0)
                    y[sample, start + after] += g[own, before, 0, after] * (first - behind[0])
                    y[sample, last + after] += g[own, before, n, after] * (end - behind[1])
