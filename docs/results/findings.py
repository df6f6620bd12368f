"""What was measured, and what may be said of it: every sentence follows from the numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from docs.results.ablations import Ablation, Answer, difference
from docs.results.index import IndexRow
from docs.results.plans import FUSED, Size, Study
from pnpfusion.comparison import Comparison, Row, SetSummary
from pnpfusion.comparison.statistics import verdict
from pnpfusion.text_table import markdown

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


def against_reference(row: Row | None) -> str:
    """Whether a model is above or below the reference with all of its interval, or neither."""
    return "none" if row is None or row.difference is None else verdict(row.difference)


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
    beside_it = [verdict(difference(one.rows[model], one.rows[alone])) for model in fused]
    above, below = beside_it.count("above"), beside_it.count("below")
    best = max(fused, key=one.score)
    if above > len(fused) / 2:
        says = "fusing helps"
    elif above:
        says = "fusing helps by some layers"
    elif below:
        says = "fusing does not help"
    else:
        says = "no gain of fusing is shown"
    return (
        f"**{one.study.title}**: {says}. Above the best single modality (`{alone}`, "
        f"{one.score(alone):.3f}): {above} of {len(fused)} fusion layers; below it: "
        f"{below}. The most has `{best}`, {one.score(best):.3f}. {beside(one)}"
    )


def beside(one: Measured) -> str:
    """Who is above and below concatenation."""
    said = []
    for kind in ("above", "below"):
        fused = {model: row for model, row in one.rows.items() if is_fused(model)}
        models = [model for model, row in fused.items() if against_reference(row) == kind]
        if models:
            said.append(f"{kind} `{one.summary.reference}`: {listed(models)}")
    if not said:
        return f"No layer is shown to differ from `{one.summary.reference}`."
    text = "; ".join(said)
    return f"{text[0].upper()}{text[1:]}."


def matrix(findings: Findings, measure: str | None) -> str:
    """A table of layers by sets: the paired difference from concatenation, or a measure."""
    titles = [one.study.title for one in findings.measured]
    lines = []
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
                cells.append(f"{row.difference.interval.mean:+.3f} {SEEN[against_reference(row)]}")
        if any(cell != SEEN["none"] for cell in cells):
            lines.append([f"`{model}`", *cells])
    return markdown(["layer", *titles], lines)


def answer_of(ablation: Ablation, found: Sequence[Answer]) -> str:
    """What an ablation says."""
    base = found[0]
    said = {"above": "higher", "below": "lower", "open": "not shown to differ"}
    kinds = {
        words: [one.label for one in found[1:] if verdict(one.difference) == kind]
        for kind, words in said.items()
    }
    parts = [f"{words}: {', '.join(labels)}" for words, labels in kinds.items() if labels]
    return f"Against *{base.label}*, {'; '.join(parts)}."


def listed(models: Sequence[str]) -> str:
    """Names in code."""
    return ", ".join(f"`{one}`" for one in models)
