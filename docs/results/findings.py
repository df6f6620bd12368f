"""What was measured, and what may be said of it: every sentence follows from the numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from docs.results.ablations import Ablation, Answer, difference
from docs.results.index import IndexRow
from docs.results.plans import FUSED, Size, Study
from pnpfusion.comparison import Comparison, Row, SetSummary

REFERENCE = "concat"
SEEN = {"above": "▲", "below": "▼", "open": "·", "none": "–"}


@dataclass(frozen=True)
class Measured:
    """A set that was there."""

    study: Study
    comparison: Comparison

    @property
    def summary(self) -> SetSummary:
        """Its only set."""
        return self.comparison.sets[0]

    @property
    def rows(self) -> dict[str, Row]:
        """Those that have a result, by model."""
        return {row.model: row for row in self.summary.rows if self.summary.score in row.measures}

    def score(self, model: str) -> float:
        """The mean score of a model."""
        return self.rows[model].measures[self.summary.score].mean


@dataclass(frozen=True)
class Findings:
    """Everything."""

    size: Size
    measured: Sequence[Measured]
    absent: Sequence[Study]
    index: Sequence[IndexRow]
    ablations: Sequence[tuple[Ablation, Sequence[Answer]]]
    explained: Sequence[dict[str, Any]]
    machine: dict[str, Any]


def verdict(row: Row | None) -> str:
    """Whether a model is above or below the reference with all of its interval, or neither."""
    one = None if row is None or row.difference is None else row.difference.interval
    if one is None:
        return "none"
    if one.low is None or one.high is None:
        return "open"
    return "above" if one.low > 0 else "below" if one.high < 0 else "open"


def is_fused(model: str) -> bool:
    """Whether it is a fusion layer that was trained by the common recipe."""
    return model.partition(":")[0] in FUSED


def single(one: Measured) -> str | None:
    """The best model of one modality, by its mean score on test samples."""
    alone = [model for model in one.rows if ":" in model and not is_fused(model)]
    return max(alone, key=one.score, default=None)


def fusing(one: Measured) -> str:
    """Whether fusing helps on a set, in a sentence or two."""
    alone = single(one)
    fused = [model for model in one.rows if is_fused(model)]
    if alone is None or not fused:
        return f"**{one.study.title}**: nothing to compare."
    above, below = [], []
    for model in fused:
        found = difference(one.rows[model], one.rows[alone])
        if found is None or found.interval.low is None or found.interval.high is None:
            continue
        if found.interval.low > 0:
            above.append(model)
        elif found.interval.high < 0:
            below.append(model)
    best = max(fused, key=one.score)
    if len(above) > len(fused) / 2:
        says = "fusing helps"
    elif above:
        says = "fusing helps by some layers"
    elif below:
        says = "fusing does not help"
    else:
        says = "no gain of fusing is shown"
    return (
        f"**{one.study.title}**: {says}. Above the best single modality (`{alone}`, "
        f"{one.score(alone):.3f}): {len(above)} of {len(fused)} fusion layers; below it: "
        f"{len(below)}. The most has `{best}`, {one.score(best):.3f}. {beside(one)}"
    )


def beside(one: Measured) -> str:
    """Who is above and below concatenation."""
    said = []
    for kind in ("above", "below"):
        models = [m for m, row in one.rows.items() if is_fused(m) and verdict(row) == kind]
        if models:
            said.append(f"{kind} `{one.summary.reference}`: {listed(models)}")
    if not said:
        return f"No layer is shown to differ from `{one.summary.reference}`."
    text = "; ".join(said)
    return f"{text[0].upper()}{text[1:]}."


def matrix(findings: Findings, measure: str | None) -> str:
    """A table of layers by sets: the paired difference from concatenation, or a measure."""
    titles = [one.study.title for one in findings.measured]
    lines = ["| layer | " + " | ".join(titles) + " |", "|---" * (len(titles) + 1) + "|"]
    for model in FUSED:
        cells = []
        for one in findings.measured:
            row = one.rows.get(model)
            if row is None:
                cells.append(SEEN["none"])
            elif measure is not None:
                value = row.measures.get(measure)
                cells.append(SEEN["none"] if value is None else f"{value.mean:+.3f}")
            elif row.difference is None:
                cells.append(f"({one.score(model):.3f})")
            else:
                cells.append(f"{row.difference.interval.mean:+.3f} {SEEN[verdict(row)]}")
        if any(cell != SEEN["none"] for cell in cells):
            lines.append(f"| `{model}` | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def answer_of(ablation: Ablation, found: Sequence[Answer]) -> str:
    """What an ablation says."""
    base = found[0]
    kinds: dict[str, list[str]] = {"higher": [], "lower": [], "not shown to differ": []}
    for one in found[1:]:
        interval = None if one.difference is None else one.difference.interval
        if interval is not None and interval.low is not None and interval.low > 0:
            kinds["higher"].append(one.label)
        elif interval is not None and interval.high is not None and interval.high < 0:
            kinds["lower"].append(one.label)
        else:
            kinds["not shown to differ"].append(one.label)
    parts = [f"{kind}: {', '.join(labels)}" for kind, labels in kinds.items() if labels]
    return f"Against *{base.label}*, {'; '.join(parts)}."


def listed(models: Sequence[str]) -> str:
    """Names in code."""
    return ", ".join(f"`{one}`" for one in models)
