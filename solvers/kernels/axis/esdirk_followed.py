"""The runs of `esdirk` with a trail of their steps, for the gradient."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pnpfusion.solvers.kernels.axis.cell import Cell, one_sample
from pnpfusion.solvers.kernels.axis.esdirk import combine, copy_values, make_stages, try_step
from pnpfusion.solvers.kernels.axis.fluxes import ground
from pnpfusion.solvers.kernels.axis.room import make_room
from pnpfusion.solvers.kernels.decorators import Array, Truth, Whole, inner, kernel
from pnpfusion.solvers.kernels.run import Run, aim
from pnpfusion.solvers.kernels.trail import Trail

if TYPE_CHECKING:
    from pnpfusion.solvers.plain_steps import Method


@kernel
def esdirk_1d_followed(
    cells: Cell,
    method: Method,
    iterations: int,
    run: Run,
    going: Truth,
    most: Whole,
    waits: Truth,
    trail: Trail,
) -> None:
    """The steps of :func:`esdirk_1d`, bit for bit, and a trail of them.

    Args:
        cells: the cells.
        method: how to step.
        iterations: of Newton's method at most, for each stage.
        run: where they stand; changed.
        going: which samples to move, ``(B,)``.
        most: how many steps each may try, at most K, ``(B,)``.
        waits: which of them need another step than a plain one; set here, ``(B,)``.
        trail: filled; its ``apart`` is given.
    """
    batch, species, n = run.u.shape
    room = make_room(species, n, run.u)
    work, whole = make_stages(method, run.u), trail.stages.shape[1]
    for sample in range(batch):
        waits[sample], trail.taken[sample] = False, 0
        trail.next[sample, 0] = run.next[sample]
        if not going[sample]:
            continue
        cell = one_sample(cells, sample)
        ground(cell, room)
        u, slope = run.u[sample], run.slope[sample]
        for _ in range(most[sample]):
            if run.next[sample] >= len(run.times):
                break
            k, before = trail.taken[sample], run.steps[sample]
            if k < whole:
                copy_values(u, trail.stages[sample, k, -1])
            elif (k - whole) % trail.apart == 0:
                copy_values(u, trail.states[sample, (k - whole) // trail.apart, 0])
                copy_values(slope, trail.states[sample, (k - whole) // trail.apart, 1])
            t = run.t[sample]
            dt, _ = aim(run, sample)
            if not try_step(cell, method, iterations, run, sample, room, work):
                waits[sample] = True
                break
            if run.steps[sample] > before:
                if k < whole:
                    into = trail.stages[sample, k]
                    put_stages(method, into[-1], dt, work.slopes, u, into)
                trail.t[sample, k], trail.end[sample, k] = t, run.t[sample]
                trail.dt[sample, k] = dt
                trail.next[sample, k + 1] = run.next[sample]
                trail.taken[sample] = k + 1


@inner
def put_stages(
    method: Method, u: Array, dt: float, slopes: Array, after: Array, into: Array
) -> None:
    """The values at the stages of a step from ``u``, which may lie in the last of ``into``."""
    last = len(into) - 1
    for row in range(last):
        combine(method.rows[row], row + 2, slopes, into[row])
        for s in range(u.shape[0]):
            for i in range(u.shape[1]):
                into[row, s, i] = u[s, i] + dt * into[row, s, i]
    copy_values(after, into[last])
