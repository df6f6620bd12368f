"""Adaptive ESDIRK runs of cells of one axis between walls, a sample in each lane.

The steps are those of `march` under `AdaptiveSteps`, each sample at its own time with its own step,
and the loop over steps is inside the kernel. What a sample needs beyond plain steps is left to
`march`: the sample waits where it stands.
"""

from __future__ import annotations

import triton.language as tl

from pnpfusion.solvers.kernels.gpu.attempt import (
    EPSILON,
    ERROR_ORDER,
    LARGEST_GROWTH,
    SAFETY,
    SHRINK_AFTER_FAILURE,
    SMALLEST_SHRINK,
    attempt,
    judge,
    lower,
)
from pnpfusion.solvers.kernels.gpu.cell import NUMBERS, each
from pnpfusion.solvers.kernels.gpu.decorators import jit


@jit
def esdirk(
    cell,
    method,
    times,
    t,
    u,
    slope,
    following,
    step,
    failures,
    land,
    lowest,
    steps,
    rejected,
    iterations,
    states,
    lowest_saved,
    going,
    tries,
    waits,
    room,
    most_failures,
    most,
    points,
    n,
    batch,
    S: tl.constexpr,
    R: tl.constexpr,
    FLOATING: tl.constexpr,
    SCHEME: tl.constexpr,
    LANES: tl.constexpr,
):
    """Take plain steps of every sample that is going, until it ends, waits, or tried enough.

    Whole numbers and flags are int32.

    Args:
        cell: see :mod:`pnpfusion.solvers.kernels.gpu.cell`.
        method: its numbers, in the order of `attempt`, float64.
        times: those to save, float64 ``(T,)``.
        t: where the samples stand, float64 ``(B,)``; this and the next ten are changed.
        u: ``(S, N, B)``.
        slope: du/dt, like ``u``.
        following: the next saved time, ``(B,)``.
        step: the next step, float64 ``(B,)``.
        failures: in a row, ``(B,)``.
        land: whether the next step must end at a saved time, ``(B,)``.
        lowest: smallest value since the last saved time, ``(B,)``.
        steps: accepted, ``(B,)``.
        rejected: ``(B,)``.
        iterations: of Newton's method, ``(B,)``.
        states: what is saved, ``(T, S, N, B)``.
        lowest_saved: ``(T, B)``.
        going: which samples to move, ``(B,)``.
        tries: how many steps each may try, ``(B,)``.
        waits: which of them need another step than a plain one; set here, ``(B,)``.
        room: slopes ``(R+1, S, N, B)``; base, stage and scale ``(S, N, B)``; potential ``(N, B)``;
            ``(N, 1+S, 1+S, B)`` and ``(N, 1+S, B)`` for Newton's method.
        most_failures: after which no plain step is tried.
        most: iterations of Newton's method, for each stage.
        points: T.
        n: N.
        batch: B.
        S: species.
        R: implicit stages.
        FLOATING: whether no wall fixes the potential.
        SCHEME: of the faces.
        LANES: samples of a program.
    """
    lane = tl.cast(tl.program_id(0), tl.int64) * LANES + tl.arange(0, LANES)
    inside = lane < batch
    at = (n, batch, lane, inside)
    z = each(cell, NUMBERS, 1, 1, lane, inside, S)
    slopes, stage = room[0], room[2]
    size = S * n
    whole = tl.cast(size, tl.int64) * batch
    run = (times, points, u, slope, following, lowest, states, lowest_saved)
    now = tl.load(t + lane, mask=inside, other=0)
    wanted = tl.load(step + lane, mask=inside, other=1)
    failed_before = tl.load(failures + lane, mask=inside, other=0)
    landing = tl.load(land + lane, mask=inside, other=0) > 0
    aim = tl.load(following + lane, mask=inside, other=1)
    may = tl.load(tries + lane, mask=inside, other=0)
    moving = inside & (tl.load(going + lane, mask=inside, other=0) > 0)
    waiting = inside & (inside == 0)
    accepted, thrown, solves = may * 0, may * 0, may * 0
    first_time, last_time = tl.load(times), tl.load(times + points - 1)
    active = moving & (aim < points) & (may > 0)
    while tl.max(active.to(tl.int32), 0) > 0:
        target = tl.load(times + tl.where(landing, tl.minimum(aim, points - 1), points - 1))
        gap = target - now
        dt = tl.where(wanted < gap, wanted, gap)
        dt = tl.where(gap - dt < 1e-6 * dt, gap, dt)
        end = tl.where(dt == gap, target, now + dt)
        least = 1e-3 * (last_time - first_time)
        least = 4 * tl.load(method + EPSILON) * tl.where(tl.abs(now) > least, tl.abs(now), least)
        plain = (dt > least) & (failed_before < most_failures)
        waiting = waiting | (active & (plain == 0))
        trying = active & plain
        dt = tl.where(trying, dt, 1.0)
        for i in range(size):
            place = tl.cast(i, tl.int64) * batch + lane
            value = tl.load(slope + place, mask=inside, other=0)
            tl.store(slopes + place, value, mask=inside)
        solved, took, lost = attempt(
            cell, method, u, room, dt.to(z[0].dtype), most, trying, z, at, R, FLOATING, SCHEME
        )
        size_of_error, before, after = judge(method, u, room, dt.to(z[0].dtype), at, R, S)
        ratio = size_of_error.to(tl.float64)
        plain = (lost == 0) & (ratio < float("inf"))
        waiting = waiting | (trying & (plain == 0))
        trying = trying & plain
        valid = trying & solved & ((after > 0) | ((after == 0) & (before == 0)))
        accept = valid & (ratio <= 1)
        growth = tl.log(tl.where(ratio > 1e-10, ratio, 1e-10)) / tl.load(method + ERROR_ORDER)
        growth = tl.exp(-growth) * tl.load(method + SAFETY)
        growth = tl.maximum(growth, tl.load(method + SMALLEST_SHRINK))
        growth = tl.minimum(growth, tl.load(method + LARGEST_GROWTH))
        growth = tl.where(accept, growth, tl.minimum(growth, tl.load(method + SAFETY)))
        growth = tl.where(valid, growth, tl.load(method + SHRINK_AFTER_FAILURE))
        solves += tl.where(trying, took, 0)
        ends = tl.where(after < before, after, before)
        pushed, aim = _saved(run, room, accept, now, dt, end, ends, after, at, R, S)
        stands = accept & (pushed == 0)
        cut_short = accept & (dt < wanted) & (growth >= 1)  # by a saved time, not by the error
        suggested = dt * growth
        suggested = tl.where(cut_short & (suggested < wanted), wanted, suggested)
        wanted = tl.where(trying & (pushed == 0), suggested, wanted)
        landing = pushed | (landing & (stands == 0))
        failed_before = tl.where(stands, 0, failed_before)
        failed_before = tl.where(trying & (valid == 0), failed_before + 1, failed_before)
        now = tl.where(stands, end, now)
        accepted += stands.to(tl.int32)
        thrown += (trying & (stands == 0)).to(tl.int32)
        for i in range(size):
            place = tl.cast(i, tl.int64) * batch + lane
            value = tl.load(stage + place, mask=stands, other=0)
            tl.store(u + place, value, mask=stands)
            value = tl.load(slopes + R * whole + place, mask=stands, other=0)
            tl.store(slope + place, value, mask=stands)
        active = trying & (aim < points) & (accepted + thrown < may)
    tl.store(t + lane, now, mask=moving)
    tl.store(step + lane, wanted, mask=moving)
    tl.store(failures + lane, failed_before, mask=moving)
    tl.store(land + lane, landing.to(tl.int32), mask=moving)
    tl.store(steps + lane, accepted, mask=inside)
    tl.store(rejected + lane, thrown, mask=inside)
    tl.store(iterations + lane, solves, mask=inside)
    tl.store(waits + lane, waiting.to(tl.int32), mask=inside)


@jit
def _saved(run, room, accept, t, dt, end, ends, after, at, R: tl.constexpr, S: tl.constexpr):
    """Save what the step passes; whose interpolant is less positive than both ends is pushed.

    Returns:
        Which samples are pushed, and the next saved time of all.
    """
    n, batch, lane, inside = at
    times, points, u, slope, following, lowest, states, lowest_saved = run
    slopes, stage = room[0], room[2]
    size = S * n
    whole = tl.cast(size, tl.int64) * batch
    first = tl.load(following + lane, mask=inside, other=1)
    current, pushed = first, accept & (accept == 0)
    moment = tl.load(times + tl.minimum(current, points - 1))
    saving = accept & (current < points) & (moment <= end)
    while tl.max(saving.to(tl.int32), 0) > 0:
        s, h = ((moment - t) / dt).to(after.dtype), dt.to(after.dtype)
        smallest = 0 * s + float("inf")
        for i in range(size):
            place = tl.cast(i, tl.int64) * batch + lane
            u_0 = tl.load(u + place, mask=saving, other=1)
            u_1 = tl.load(stage + place, mask=saving, other=1)
            k_0 = tl.load(slope + place, mask=saving, other=0)
            k_1 = tl.load(slopes + R * whole + place, mask=saving, other=0)
            bend = (1 - 2 * s) * (u_1 - u_0) + (s - 1) * h * k_0 + s * h * k_1
            value = (1 - s) * u_0 + s * u_1 + s * (s - 1) * bend
            value = tl.where(moment == end, u_1, value)
            tl.store(states + tl.cast(current, tl.int64) * whole + place, value, mask=saving)
            smallest = lower(smallest, value)
        worse = ((smallest < 0) & (ends >= 0)) | ((smallest == 0) & (ends > 0))
        pushed = pushed | (saving & worse)
        saving = saving & (worse == 0)
        place = tl.cast(current, tl.int64) * batch + lane
        tl.store(lowest_saved + place, smallest, mask=saving)
        current = tl.where(saving, current + 1, current)
        moment = tl.load(times + tl.minimum(current, points - 1))
        saving = saving & (current < points) & (moment <= end)
    stands = accept & (pushed == 0)
    since = tl.load(lowest + lane, mask=inside, other=0)
    passed = stands & (current > first)
    place = tl.cast(first, tl.int64) * batch + lane
    kept = tl.load(lowest_saved + place, mask=passed, other=0)
    tl.store(lowest_saved + place, tl.where(since < kept, since, kept), mask=passed)
    since = tl.where(passed, float("inf"), since)
    # What a step ends with counts for the saved time after it.
    between = tl.load(times + tl.maximum(current - 1, 0)) != end
    since = tl.where(between & ~(since <= after), after, since)
    tl.store(lowest + lane, since, mask=stands)
    current = tl.where(stands, current, first)
    tl.store(following + lane, current, mask=inside)
    return pushed, current
