"""How a model learned: losses, the validation it was selected by, and its solves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from pnpfusion.visualize.palette import colors
from pnpfusion.visualize.style import new_figure, number, say, styled

Rows = Sequence[Mapping[str, Any]]


def plot_training(history: Rows, *, best_epoch: int) -> Figure:
    """Losses, the validation score, and, where the model solves equations, how that went.

    Args:
        history: a row for each epoch, as :class:`pnpfusion.training.Trained` has them.
        best_epoch: the one that was kept, counted from 1.

    Raises:
        ValueError: no epoch.
    """
    if not history:
        raise ValueError("`history` must have a row for each epoch, got none.")
    epochs = [row["epoch"] for row in history]
    validated, solved = bool(history[0]["valid"]), "iterations" in history[0]["health"]
    with styled():
        figure = new_figure(3.4 * (1 + validated + solved), 3.0, _heading(history, best_epoch))
        panels = iter(figure.subplots(1, 1 + validated + solved, squeeze=False)[0])
        _losses(next(panels), epochs, history, best_epoch)
        if validated:
            _score(next(panels), epochs, history, best_epoch)
        if solved:
            _solves(next(panels), epochs, history)
    return figure


def _heading(history: Rows, best_epoch: int) -> str:
    best = next(row for row in history if row["epoch"] == best_epoch)
    if not best["valid"]:
        return f"{len(history)} epochs, nothing to select by"
    value = best["valid"][best["score"]]
    return f"Best in epoch {best_epoch} of {len(history)}: {best['score']} {number(value)}"


def _losses(axes: Axes, epochs: Sequence[int], history: Rows, best_epoch: int) -> None:
    axes.plot(
        epochs, [row["train"]["task"] for row in history], color=colors().cool[0], label="training"
    )
    if history[0]["valid"]:
        losses = [row["valid"]["loss"] for row in history]
        axes.plot(epochs, losses, color=colors().warm[0], label="validation")
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter("{x:g}")
    _axis(axes, "loss of the task")
    _mark(axes, best_epoch)
    axes.legend()
    say(axes, "Training is with dropout and smoothing, validation without", 3.2)


def _score(axes: Axes, epochs: Sequence[int], history: Rows, best_epoch: int) -> None:
    score = history[0]["score"]
    values = [row["valid"][score] for row in history]
    axes.plot(epochs, values, color=colors().warm[0])
    best = values[epochs.index(best_epoch)]
    axes.plot([best_epoch], [best], "o", color=colors().ink, ms=4)
    _axis(axes, f"{score} on validation")
    _mark(axes, best_epoch)
    say(axes, f"The epoch of the largest {score} is kept", 3.2)


def _solves(axes: Axes, epochs: Sequence[int], history: Rows) -> None:
    iterations = [row["health"]["iterations"] for row in history]
    shares = [row["health"]["unconverged"] for row in history]
    axes.plot(epochs, iterations, color=colors().cool[0])
    axes.set_ylim(0, 1.15 * max(iterations))
    _axis(axes, "iterations of a solve, mean")
    axes.yaxis.label.set_color(colors().cool[0])
    right = axes.twinx()
    right.spines["right"].set_visible(True)
    right.plot(epochs, shares, color=colors().alarm, linestyle=(0, (4, 1.2)))
    right.set_ylim(0, max(0.05, 1.15 * max(shares)))
    right.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    right.set_ylabel("unconverged samples", color=colors().alarm)
    worst = max(shares)
    say(
        axes,
        "Every solve converged" if worst == 0 else f"Up to {worst:.1%} of samples unconverged",
        3.2,
    )


def _axis(axes: Axes, what: str) -> None:
    axes.set(xlabel="epoch", ylabel=what)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _mark(axes: Axes, best_epoch: int) -> None:
    axes.axvline(best_epoch, color=colors().faint, linewidth=0.8, linestyle=(0, (2, 2)))
