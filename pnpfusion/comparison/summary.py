"""What the cells of a comparison say together: a row for each model on each set."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pnpfusion.comparison.plan import Cell, Plan
from pnpfusion.comparison.robustness import effective_robustness, relative_robustness
from pnpfusion.comparison.set_plan import Facts
from pnpfusion.comparison.statistics import (
    Difference,
    Interval,
    holm,
    mean_interval,
    paired_difference,
)

Found = Mapping[str, Any]
#: What a measure cannot leave, where there is such; without a modality it is that of the score.
RANGES: dict[str, tuple[float, float]] = {
    **dict.fromkeys(("accuracy", "balanced_accuracy", "calibration_error"), (0.0, 1.0)),
    **dict.fromkeys(("f1_macro", "f1_micro", "f1_weighted", "unconverged"), (0.0, 1.0)),
    "brier": (0.0, 2.0),
    "r2": (-math.inf, 1.0),
    **dict.fromkeys(("loss", "mse", "mae", "iterations", "ms_per_sample"), (0.0, math.inf)),
}
Grid = NDArray[np.float64]  #: (seeds, folds), NaN where there is nothing


@dataclass(frozen=True)
class Row:
    """A model on a set."""

    model: str
    measures: Mapping[str, Interval]
    """By name: metrics of the test samples; ``without NAME`` and ``without one``, the score where a
    modality is missing, the latter the mean over which, and ``lost without one``, how much lower it
    is than with all that these samples have. Samples with no other modality are left out, and
    modalities where that leaves nobody; ``noise GROUP`` (mean score over the range of noise) and
    ``effective GROUP``; "iterations", "unconverged", "parameters", ..."""
    difference: Difference | None  #: of the score from that of the reference; None for itself
    p_holm: float | None  #: its p, corrected for all models on the set
    chosen: Mapping[str, int]  #: how often each variation was, by its place in the plan
    noise: Mapping[str, tuple[float, ...]]  #: mean score at each level, from 0, by group
    scores: tuple[tuple[float | None, ...], ...]  #: of test samples, by seed and fold
    done: int  #: seeds and folds that have a result
    of: int  #: seeds and folds in all


@dataclass(frozen=True)
class SetSummary:
    """A set, and how every model did on it."""

    data: str  #: as the plan has it
    name: str  #: of the set
    score: str  #: by which epochs and variations are selected, and models compared
    folds: int  #: that took turns to test, or 1
    seeds: int  #: how many
    samples: Mapping[str, int]  #: of each split, of the first cell
    reference: str  #: the model that others are compared with
    levels: tuple[float, ...]  #: of noise, from 0
    rows: tuple[Row, ...] = field(default=())


def summarise(
    plan: Plan, facts: Mapping[str, Facts], found: Mapping[Cell, Found]
) -> tuple[SetSummary, ...]:
    """Means, intervals and differences, of what is there.

    A seed counts for a model once all its folds have a result; a seed and fold has one once all
    variations have, of which the one with the best score on validation is taken (the lower loss, if
    two are equal).

    Args:
        plan: what was to be done.
        facts: of each set, by its text.
        found: the records of finished cells.
    """
    return tuple(_of_set(plan, one.data, one.parts, facts[one.data], found) for one in plan.sets)


def _of_set(
    plan: Plan, data: str, folds: int, facts: Facts, found: Mapping[Cell, Found]
) -> SetSummary:
    models = plan.models_of(facts)
    chosen = {model: _chosen(plan, data, folds, model, found) for model in models}
    any_found = next((one for cells in chosen.values() for _, one in cells.values()), None)
    reference = plan.against if plan.against in models else models[0]
    score = str(any_found["score"]) if any_found else ""
    rows = []
    for model in models:
        rows.append(_row(plan, folds, model, reference, score, chosen))
    compared = [row for row in rows if row.difference is not None]
    corrected = holm([row.difference.p for row in compared if row.difference is not None])
    by_model = {row.model: p for row, p in zip(compared, corrected, strict=True)}
    return SetSummary(
        data,
        facts.name,
        score,
        folds,
        len(plan.seeds),
        dict(any_found["samples"]) if any_found else {},
        reference,
        (0.0, *plan.noise),
        tuple(replace(row, p_holm=by_model.get(row.model)) for row in rows),
    )


def _chosen(
    plan: Plan, data: str, folds: int, model: str, found: Mapping[Cell, Found]
) -> dict[tuple[int, int], tuple[int, Found]]:
    """For each seed and fold that has a result, by their places: the variation, and its record."""
    chosen = {}
    for (i, seed), fold in product(enumerate(plan.seeds), range(folds)):
        cells = [Cell(data, fold, model, k, seed) for k in range(plan.budget(model))]
        if all(cell in found for cell in cells):
            best = max(range(len(cells)), key=lambda k: _merit(found[cells[k]]))
            chosen[i, fold] = (best, found[cells[best]])
    return chosen


def _merit(found: Found) -> tuple[float, float]:
    valid = found["valid"]
    return valid[found["score"]], -valid.get("loss", 0.0)


def _row(
    plan: Plan,
    folds: int,
    model: str,
    reference: str,
    score: str,
    chosen: Mapping[str, Mapping[tuple[int, int], tuple[int, Found]]],
) -> Row:
    ours = {place: one for place, (_, one) in chosen[model].items()}
    theirs = {place: one for place, (_, one) in chosen[reference].items()}
    shape = (len(plan.seeds), folds)
    levels = (0.0, *plan.noise)
    measures: dict[str, Interval] = {}

    def add(name: str, read: Callable[[Found], float | None]) -> None:
        grid = _complete(_grid(shape, ours, read))
        if grid is not None:
            kind = score if name.startswith("without ") else name
            measures[name] = mean_interval(grid, within=RANGES.get(kind, (-math.inf, math.inf)))

    first = next(iter(ours.values()), {})
    for name in first.get("test", {}):
        add(name, _entry("test", name, needed=1))
    for name in dict.fromkeys(name for one in ours.values() for name in one.get("without", {})):
        add(f"without {name}", _entry("without", name, score, needed=1))
    if "without" in first:
        add("without one", lambda one: _mean(_without(one, score)))
        add("lost without one", lambda one: _mean(_lost(one, score)))
    for group in first.get("noise", {}) if plan.noise else ():
        add(f"noise {group}", partial(_under_noise, levels, group))
        both = {
            place: {"own": one["noise"][group], "other": theirs[place]["noise"][group]}
            for place, one in ours.items()
            if place in theirs
        }
        gains = _complete(
            _grid(shape, both, lambda pair: effective_robustness(pair["own"], pair["other"]))
        )
        if gains is not None:
            measures[f"effective {group}"] = mean_interval(gains)
    for name in ("iterations", "unconverged"):
        add(name, _entry("health", name))
    for name in ("parameters", "operations", "epochs", "best_epoch"):
        add(name, _entry(name))
    for name in ("training_seconds", "ms_per_sample"):
        add(name, _entry("times", name, needed=2))
    counts: dict[str, int] = {}
    for k, _ in chosen[model].values():
        counts[str(k)] = counts.get(str(k), 0) + 1
    return Row(
        model,
        measures,
        None if model == reference else _difference(shape, ours, theirs, score),
        None,
        counts,
        {
            group: tuple(np.mean([one["noise"][group] for one in ours.values()], 0).tolist())
            for group in first.get("noise", {})
        },
        tuple(
            tuple(
                ours[i, fold]["test"][score] if (i, fold) in ours else None for fold in range(folds)
            )
            for i in range(shape[0])
        ),
        len(ours),
        shape[0] * shape[1],
    )


def _entry(*names: str, needed: int = 0) -> Callable[[Found], float | None]:
    """Reads what a record has under these names, one within the other; None where it has not.

    The first ``needed`` of them are in every record: without one it is no record (KeyError).
    """

    def read(one: Found) -> float | None:
        value: Any = one
        for i, name in enumerate(names):
            value = value[name] if i < needed else (value or {}).get(name)
        return None if value is None else float(value)

    return read


def _under_noise(levels: Sequence[float], group: str, one: Found) -> float:
    return relative_robustness(levels, one["noise"][group])


def _without(one: Found, score: str) -> list[float]:
    return [each[score] for each in one["without"].values()]


def _lost(one: Found, score: str) -> list[float]:
    """Of the same samples, with each modality and without."""
    beside = one.get("beside", {})
    return [
        beside.get(name, one["test"])[score] - each[score] for name, each in one["without"].items()
    ]


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None


def _difference(
    shape: tuple[int, int],
    ours: Mapping[tuple[int, int], Found],
    theirs: Mapping[tuple[int, int], Found],
    score: str,
) -> Difference | None:
    pair = [_grid(shape, one, lambda found: found["test"][score]) for one in (ours, theirs)]
    whole = ~(np.isnan(pair[0]) | np.isnan(pair[1])).any(1)
    if not whole.any():
        return None
    low, high = RANGES.get(score, (-math.inf, math.inf))
    return paired_difference(pair[0][whole], pair[1][whole], within=(low - high, high - low))


def _grid(
    shape: tuple[int, int],
    found: Mapping[tuple[int, int], Found],
    read: Callable[[Found], float | None],
) -> Grid:
    grid = np.full(shape, np.nan)
    for place, one in found.items():
        value = read(one)
        if value is not None:
            grid[place] = value
    return grid


def _complete(grid: Grid) -> Grid | None:
    """The seeds all of whose folds are there; None if there is no such seed."""
    whole = grid[~np.isnan(grid).any(1)]
    return whole if len(whole) else None


def to_json(summaries: Sequence[SetSummary]) -> list[dict[str, Any]]:
    """As JSON has them."""
    return [asdict(one) for one in summaries]
