"""The pictures of the page; what a heading claims is computed from what is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from docs.results.ablations import Ablation, Answer
from docs.results.findings import Measured, is_fused
from docs.results.index import IndexRow
from docs.results.interpretation import DELETED
from pnpfusion.comparison import SetSummary
from pnpfusion.comparison.statistics import verdict
from pnpfusion.visualize.comparison import draw_interval, plot_comparison
from pnpfusion.visualize.style import COOL, FAINT, INK, WARM, line_look, new_figure, say, styled

SHOWN = ("concat", "attention", "gmf", "deq", "progressive", "pnp", "pnp-transient", "pnp+deq")


def scores(one: SetSummary) -> Figure:
    """Every model on a set."""
    return plot_comparison([one])


def robustness(measured: Sequence[Measured]) -> Figure:
    """Scores as noise rises, on all features of a set."""
    columns = min(3, len(measured))
    rows = -(-len(measured) // columns)
    leaders = [_leader(one) for one in measured]
    named = ", ".join(dict.fromkeys(leaders))
    with styled():
        figure = new_figure(
            9.2, 0.9 + 2.5 * rows, f"Under the strongest noise the most is left to {named}"
        )
        panels = figure.subplots(rows, columns, squeeze=False)
        for axes, one, leader in zip(panels.flat, measured, leaders, strict=False):
            for place, model in enumerate(SHOWN):
                if model in one.rows:
                    look = line_look(place)
                    curve = one.rows[model].noise["all"]
                    axes.plot(
                        one.summary.levels, curve, color=look.color, ls=look.dashes, label=model
                    )
            say(axes, f"{one.study.title}: {leader}", 9.0 / columns)
            axes.set(xlabel="noise / deviation", ylabel=one.summary.score)
        for axes in panels.flat[len(measured) :]:
            axes.set_axis_off()
        labels: dict[str, Any] = {}
        for axes in panels.flat:
            labels.update({t: h for h, t in zip(*axes.get_legend_handles_labels(), strict=True)})
        figure.legend(labels.values(), labels.keys(), loc="outside lower left", ncols=8)
    return figure


def _leader(one: Measured) -> str:
    """Who has most under the strongest noise."""
    return max(_shown(one), key=lambda model: one.rows[model].noise["all"][-1])


def _shown(one: Measured) -> list[str]:
    return [model for model in SHOWN if model in one.rows] or [m for m in one.rows if is_fused(m)]


def index(rows: Sequence[IndexRow]) -> Figure:
    """Accuracies on INDEX beside their bounds."""
    beyond = [row.model for row in rows if row.accuracy.mean > min(one.bound for one in rows)]
    named = ", ".join(beyond) if beyond else "no model"
    with styled():
        figure = new_figure(7.0, 1.2 + 0.26 * len(rows), f"Above the bound of late fusion: {named}")
        axes = figure.subplots()
        for place, row in enumerate(rows):
            draw_interval(axes, place, row.accuracy, COOL[0])
            if row.bound < 1:
                axes.plot([row.bound] * 2, [place - 0.4, place + 0.4], color=WARM[0], lw=1.5)
        axes.set_yticks(range(len(rows)), [row.model for row in rows])
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.set_xlabel("accuracy; upright lines: what no training can exceed")
    return figure


def ablations(found: Sequence[tuple[Ablation, Sequence[Answer]]]) -> Figure:
    """Differences from the base of each ablation."""
    shown = sum(verdict(one.difference) != "open" for _, answers in found for one in answers)
    total = sum(one.difference is not None for _, answers in found for one in answers)
    heights = [0.8 + 0.24 * len(answers) for _, answers in found]
    with styled():
        figure = new_figure(
            7.4, 0.8 + sum(heights), f"Of {total} changes, {shown} are shown to matter"
        )
        panels = figure.subplots(len(found), 1, squeeze=False, height_ratios=heights)
        for axes, (ablation, answers) in zip(panels.flat, found, strict=True):
            axes.axvline(0, color=INK, lw=0.8, zorder=0)
            for place, one in enumerate(answers):
                if one.difference is None:
                    axes.plot([0], [place], "o", color=INK, ms=4.5)
                else:
                    color = FAINT if verdict(one.difference) == "open" else COOL[0]
                    draw_interval(axes, place, one.difference.interval, color)
            axes.set_yticks(range(len(answers)), [one.label for one in answers])
            axes.set_ylim(len(answers) - 0.4, -0.6)
            say(axes, ablation.title, 5.5)
        panels[-1, 0].set_xlabel("score less that of the first, same seeds and folds")
    return figure


def interpretation(found: Sequence[dict[str, Any]]) -> Figure:
    """What a trained layer does on HTAD."""
    deletion = {
        order: np.mean([one["deletion"][order] for one in found], 0)
        for order in ("most", "random", "least")
    }
    gap = float(np.mean(deletion["random"] - deletion["most"]))
    first = found[0]
    with styled():
        figure = new_figure(
            9.2,
            6.4,
            f"Without what makes most of the potential, accuracy is {gap:.3f} lower than without "
            f"random features, on average",
        )
        (a, b), (c, d) = figure.subplots(2, 2)
        for place, (order, curve) in enumerate(deletion.items()):
            look = line_look(place)
            a.plot(DELETED, curve, color=look.color, ls=look.dashes, label=f"{order} first")
        a.set(xlabel="features at their mean", ylabel="accuracy")
        a.legend()
        say(a, "Deletion", 4)
        for place, (modality, values) in enumerate(invariance(found).items()):
            shares = sorted(values.values())
            color = (COOL[0], WARM[0], COOL[3], WARM[1])[place % 4]
            b.plot(np.linspace(0, 1, len(shares)), shares, "o-", ms=3, color=color, label=modality)
        b.axhline(0.5, color=FAINT, lw=0.8)
        b.set(xlabel="features of a modality, sorted", ylabel="share of cations (invariant)")
        b.legend()
        say(b, "Which ions a feature moves", 4)
        cells = len(first["class_potential"][0])
        x = (np.arange(cells) + 0.5) / cells
        named = zip(first["class_names"], first["class_potential"], strict=True)
        for place, (name, curve) in enumerate(named):
            look = line_look(place)
            c.plot(x, curve, color=look.color, ls=look.dashes, label=name.replace("_", " "))
        c.set(xlabel="$x / L$", ylabel="mean potential, $kT/e$")
        low, high = c.get_ylim()
        c.set_ylim(low - 0.4 * (high - low), high)  # room for seven names
        c.legend(fontsize=6.5, ncols=3, loc="lower center")
        say(c, f"First fold: classes make {first['class_share']:.0%} of a channel's variance", 4)
        low, middle, high = np.mean([one["energy"] for one in found], 0)
        d.fill_between(first["times"], low, high, color=COOL[1], alpha=0.3, lw=0)
        d.plot(first["times"], middle, color=COOL[0])
        d.set(xlabel="time, $L^2/D$", ylabel="free energy left to lose")
        falls = float(np.mean([one["energy_falls"] for one in found]))
        say(d, f"In {falls:.1%} of runs energy rises by below 1/1000 of its fall", 4)
    return figure


def invariance(found: Sequence[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """The share of cations that each feature moves, the mean over folds."""
    first = found[0]["invariant"]
    return {
        modality: {
            name: float(np.mean([one["invariant"][modality][name] for one in found]))
            for name in values
        }
        for modality, values in first.items()
    }
