"""The path of any law's state: how far each part is from its end, or some of its numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from matplotlib.axes import Axes
from torch import Tensor

from pnpfusion.dynamics.coupled import Coupled
from pnpfusion.dynamics.deq_law import DEQLaw
from pnpfusion.dynamics.pnp import PNP
from pnpfusion.solution import Solution
from pnpfusion.visualize.band import draw_band
from pnpfusion.visualize.clock import Clock
from pnpfusion.visualize.ledger import over_samples
from pnpfusion.visualize.samples import Sample, chosen, who
from pnpfusion.visualize.style import Look, inches, line_look, looks, number, say, styled
from pnpfusion.visualize.trace import Array

OUT_OF_HAND = 1e6  #: a distance this many times as large as at first is no more drawn


def plot_path(
    ax: Axes,
    run: Solution,
    *,
    to: Tensor | None = None,
    components: Sequence[int] | None = None,
    sample: Sample = 0,
) -> Axes:
    """How far each part of the state is from where it ends, against times or rounds.

    Parts are the blocks z_1, ..., z_N, z_f of a deep equilibrium, the species of a cell, the laws
    of coupled ones; other states are one. Distances are root mean squares, on an axis by ratio. Of
    several samples: the median, and the range as a band. Samples that failed end in a cross.

    Args:
        ax: where to draw.
        run: of any law, by `simulate` or `unroll`.
        to: the state from which distances are measured, shape ``(*batch, *state)``; None is the
            last one of each sample, for those that have none the first.
        components: draw these numbers of the flattened state themselves instead.
        sample: which of the flattened batch; ``(2, None)`` are those of row 2 of a batch of two
            axes, None is the whole batch.

    Returns:
        ``ax``.

    Raises:
        ValueError: an equilibrium, which has no path, a run of one time, no such sample or
            component, or ``to`` of another shape.
    """
    clock, batch = Clock.of(run), tuple(run.succeeded.shape)
    if clock.kind == "rest" or len(run.times) < 2:
        raise ValueError(
            f"`run` must have a path, by `simulate` or `unroll`, got {len(run.times)} states; "
            "draw an equilibrium with `plot_residuals`."
        )
    samples = torch.as_tensor(chosen(batch, sample))
    states = run.states.detach().double().cpu()
    shape = tuple(states.shape[1 + len(batch) :])
    states = states.reshape(len(states), -1, *shape)[:, samples]
    failed = ~run.succeeded.detach().cpu().reshape(-1)[samples].numpy()
    if components is None:
        curves = _distances(run, states, _goal(run, states, to, samples))
    else:
        flat = states.flatten(2)
        if wrong := [k for k in components if not 0 <= k < flat.shape[2]]:
            raise ValueError(f"`components` must be 0 to {flat.shape[2] - 1}, got {wrong}.")
        curves = {f"component {k}": flat[:, :, k].numpy() for k in components}
    times = run.times.detach().double().cpu().numpy()
    with styled():
        for values, (name, look) in zip(curves.values(), _looks(run, curves).items(), strict=True):
            draw_band(ax, times, values, look, name, failed)
        clock.axis(ax, times, early=False)
        ax.spines[["top", "right"]].set_visible(False)
        if components is None:
            ax.set_yscale("log")
        ax.set_ylabel("distance to its end" if components is None else "state")
        if to is not None and components is None:
            ax.set_ylabel("distance")
        if len(curves) > 1:
            ax.legend()
        text = _approach(times, curves, clock) if components is None else _course(curves)
        if failed.any():
            known = int(states.flatten(2).isfinite().all(2)[:, failed].sum(0).min())
            of = f"{failed.sum()} of {len(failed)} samples fail" if len(failed) > 1 else "Fails"
            text = f"{of} {clock.by(times[min(known, len(times) - 1)])}: {run.outcome.value}"
        whose = who(batch, sample, len(samples)).replace("mean", "median")
        whose = "" if failed.any() and len(failed) > 1 else whose
        say(ax, f"{text} ({whose})" if whose else text, inches(ax))
    return ax


def _goal(run: Solution, states: Tensor, to: Tensor | None, samples: Tensor) -> Tensor:
    """The state to measure from, (B, *state)."""
    if to is None:
        known = states.flatten(2).isfinite().all(2)
        last = torch.where(known[-1], len(states) - 1, 0)
        return states[last, torch.arange(len(samples))]
    if to.shape != run.final.shape:
        raise ValueError(
            f"`to` must have the shape of a state, {tuple(run.final.shape)}, got {tuple(to.shape)}."
        )
    return to.detach().double().cpu().reshape(-1, *states.shape[2:])[samples]


def _distances(run: Solution, states: Tensor, goal: Tensor) -> dict[str, Array]:
    """The distance of each part from its goal, (T, B), by name; NaN where 0 or out of hand."""
    away, law = states - goal, run.dynamics
    parts: dict[str, Tensor] = {"the state": away}
    if isinstance(law, Coupled):
        parts = law.split(away)
    elif isinstance(law, DEQLaw):
        names = [*(f"$z_{k + 1}$" for k in range(law.modalities)), "$z_f$"]
        parts = dict(zip(names, away.unbind(2), strict=True))
    elif isinstance(law, PNP):
        parts = dict(zip(law.names, away.unbind(2), strict=True))
    found = {}
    for name, one in parts.items():
        size = one.flatten(2).square().mean(2).sqrt()
        most = OUT_OF_HAND * size[:2].nan_to_num(0, 0, 0).max()
        found[name] = torch.where((size > 0) & (size <= most), size, torch.nan).numpy()
    return found


def _looks(run: Solution, curves: dict[str, Array]) -> dict[str, Look]:
    if isinstance(run.dynamics, PNP) and [*curves] == [*run.dynamics.names]:
        return looks(run.dynamics.species)
    return {name: line_look(place) for place, name in enumerate(curves)}


def _approach(times: Array, curves: dict[str, Array], clock: Clock) -> str:
    """Which part is the last to come near, and by how much it has."""
    ends = {}
    for name, values in curves.items():
        median = over_samples(values, "median")
        known = np.flatnonzero(median > 0)
        if len(known):
            ends[name] = (float(median[known[-1]]), int(known[-1]), median)
    if not ends:
        return "Nothing moves"
    name = max(ends, key=lambda one: ends[one][0])
    last, index, median = ends[name]
    first = float(median[0])
    text = f"{name} is the last to come near" if len(ends) > 1 else "The distance falls"
    text += f", from {number(first)} to {number(last)} {clock.when(float(times[index]))}"
    there = int(np.argmax(median <= 10 * last))  # from here on it may be round-off
    if clock.kind == "rounds" and there > 1:
        text += f", by a factor of {(float(median[there]) / first) ** (1 / there):.2g} a round"
    return text


def _course(curves: dict[str, Array]) -> str:
    """Which component moves most, from where to where."""
    medians = {name: over_samples(values, "median") for name, values in curves.items()}
    name = max(medians, key=lambda one: float(np.ptp(np.nan_to_num(medians[one]))))
    path = medians[name][np.isfinite(medians[name])]
    return f"{name.capitalize()} moves most: from {number(path[0])} to {number(path[-1])}"
