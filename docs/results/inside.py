"""The section on what a trained PNP layer does."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.picture import save
from docs.results import figures
from docs.results.interpretation import DELETED
from pnpfusion.comparison import mean_interval
from pnpfusion.comparison.table import span


def section(found: Sequence[dict[str, Any]], images: Path) -> str:
    save(figures.interpretation(found), images / "results_interpretation.png")
    gaps = [
        float(np.mean(np.subtract(one["deletion"]["random"], one["deletion"]["most"])))
        for one in found
    ]
    ends = {
        name: _mean(one["deletion"][name][6] for one in found)
        for name in ("most", "random", "least")
    }
    larger = _mean(one["modalities"]["without the larger"] for one in found)
    smaller = _mean(one["modalities"]["the smaller"] for one in found)
    shares = figures.invariance(found)
    lines = []
    for modality, values in shares.items():
        order = sorted(values, key=values.__getitem__)
        above = sum(value > 0.5 for value in values.values())
        lines.append(
            f"- {modality}: {above} of {len(values)} features move more cations than anions; most "
            f"invariant {_told(order[::-1][:3], values)}; most specific {_told(order[:3], values)}."
        )
    gap = mean_interval(gaps)
    means = (
        "it means something"
        if gap.low is not None and gap.low > 0
        else "that it means something is not shown"
    )
    return (
        "## Inside a trained PNP layer\n\n"
        f"Of {len(found)} folds of HTAD, seed 0, untuned; accuracy at rest "
        f"{_mean(one['accuracy'] for one in found):.3f}, transient "
        f"{_mean(one['accuracy_transient'] for one in found):.3f}. A feature is taken away by "
        "putting it at its mean over training.\n\n"
        "![Deletion, ions by feature, potential by class, energy]"
        "(images/results_interpretation.png)\n\n"
        "*Deletion.* What a feature means for the potential is how much the potential changes "
        f"without it. Without the {DELETED[6]} features that mean most to each sample accuracy is "
        f"{ends['most']:.3f}, without as many at random {ends['random']:.3f}, without those that "
        f"mean least {ends['least']:.3f}. Over all numbers of features the first is "
        f"{span(gap, 3)} lower than the second: {means}. Without the modality that makes more of "
        f"a sample's potential accuracy is {larger:.3f}, without the other {smaller:.3f}.\n\n"
        "*Invariant or specific.* In the transient cell cations stand for what modalities share, "
        "anions for what is of one. The share of cations in what a feature moves; 1/2 is no "
        "preference:\n\n" + "\n".join(lines) + "\n\n"
        f"*Potential and energy.* In the channel that tells classes apart best, classes make "
        f"{_mean(one['class_share'] for one in found):.0%} of the variance of the potential. The "
        f"free energy never rises by more than a thousandth of its fall in "
        f"{_mean(one['energy_falls'] for one in found):.1%} of runs.\n\n"
    )


def _told(names: Sequence[str], values: dict[str, float]) -> str:
    return ", ".join(f"{name} ({values[name]:.2f})" for name in names)


def _mean(values: Iterable[float]) -> float:
    return float(np.mean([*values]))
