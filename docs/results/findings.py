"""What was measured, and what may be said of it: every sentence follows from the numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from docs.results.ablations import Ablation, Answer, difference
from docs.results.index import AROUND, IndexRow
from docs.results.plans import FUSED, Size, Study
from pnpfusion.comparison import Comparison, Row, SetSummary

REFERENCE = "concat"
PNP_FAMILY = ("pnp", "pnp-transient", "pnp+deq", "pnp+progressive")
LESS_LOST = 0.4  #: how much less is to be lost to a missing modality
ABOVE = 3  #: on how many sets PNP is to be above concatenation
REAL = 2  #: on how many real sets less is to be lost
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


def by_model(findings: Findings) -> list[str]:
    """For each layer, where it is above and below concatenation."""
    lines = []
    for model in FUSED:
        where: dict[str, list[str]] = {"above": [], "below": [], "open": []}
        for one in findings.measured:
            kind = verdict(one.rows.get(model))
            if kind in where:
                where[kind].append(one.study.title)
        if model == REFERENCE or not any(where.values()):
            continue
        parts = [f"{kind} on {', '.join(sets)}" for kind, sets in where.items() if sets]
        lines.append(f"- `{model}`: {'; '.join(parts)}.")
    return lines


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


def pnp_target(findings: Findings) -> list[str]:
    """Whether PNP, or PNP in front of another, keeps up with concatenation everywhere."""
    lines, reached = [], []
    for model in PNP_FAMILY:
        kinds = {one.study.key: verdict(one.rows.get(model)) for one in findings.measured}
        kinds = {key: kind for key, kind in kinds.items() if kind != "none"}
        if not kinds:
            continue
        above = [key for key, kind in kinds.items() if kind == "above"]
        below = [key for key, kind in kinds.items() if kind == "below"]
        if not below and len(above) >= ABOVE and "htad" in above:
            reached.append(model)
        lines.append(
            f"- `{model}`: above on {len(above)} of {len(kinds)} sets "
            f"({', '.join(above) or 'none'}), below on {len(below)} ({', '.join(below) or 'none'})."
        )
    verb = f"**reached** by {listed(reached)}" if reached else "**not reached**"
    return [
        f"PNP, or PNP before another layer, below `{REFERENCE}` on no set and above it on {ABOVE} "
        f"or more, HTAD among them, by paired intervals: {verb}.",
        "",
        *lines,
    ]


@dataclass(frozen=True)
class Loss:
    """What a model loses to a missing modality, beside concatenation."""

    model: str
    lost: float
    reference: float
    score: float  #: with all modalities
    left: float  #: the mean score with one missing
    reference_left: float

    @property
    def less(self) -> float:
        """Which share of concatenation's loss it does not have."""
        return 1 - self.lost / self.reference if self.reference > 0 else 0.0

    @property
    def counts(self) -> bool:
        """It loses so much less, and not since there was less to lose."""
        return self.less >= LESS_LOST and self.left >= self.reference_left


def losses(one: Measured) -> list[Loss]:
    """Those of all trained fusion layers on a set."""
    base = one.rows.get(REFERENCE)
    if base is None or "lost without one" not in base.measures:
        return []
    found = []
    for model, row in one.rows.items():
        if is_fused(model) and model != REFERENCE:
            lost, left = (row.measures[name].mean for name in ("lost without one", "without one"))
            found.append(
                Loss(
                    model,
                    lost,
                    base.measures["lost without one"].mean,
                    one.score(model),
                    left,
                    base.measures["without one"].mean,
                )
            )
    return found


def missing_target(findings: Findings) -> list[str]:
    """Whether some layer loses much less than concatenation where a modality is missing."""
    lines = [
        f"| set | lost by `{REFERENCE}` | least lost by | lost | less by | score, all there | "
        f"score, one missing | that of `{REFERENCE}` | counts |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    counted: dict[str, list[str]] = {}
    for one in findings.measured:
        found = losses(one)
        for loss in found:
            if one.study.is_real and loss.counts:
                counted.setdefault(loss.model, []).append(one.study.key)
        if not found:
            continue
        able = [loss for loss in found if loss.left >= loss.reference_left]
        best = min(able or found, key=lambda loss: loss.lost)
        counts = ("yes" if one.study.is_real else "made-up") if best.counts else "no"
        lines.append(
            f"| {one.study.title} | {best.reference:.3f} | `{best.model}` | {best.lost:.3f} | "
            f"{100 * best.less:.0f} % | {best.score:.3f} | {best.left:.3f} | "
            f"{best.reference_left:.3f} | {counts} |"
        )
    reached = {model: sets for model, sets in counted.items() if len(sets) >= REAL}
    told = "; ".join(f"`{model}` ({', '.join(sets)})" for model, sets in reached.items())
    any_one = {key for sets in counted.values() for key in sets}
    verb = f"**reached** by {told}" if told else "**not reached** by one layer on two sets"
    return [
        f"A layer that loses at least {100 * LESS_LOST:.0f} % less of the score than "
        f"`{REFERENCE}` where one modality is missing, on {REAL} real sets or more, trained by the "
        f"same recipe and with no lower score left: {verb}. Real sets with any such layer: "
        f"{', '.join(sorted(any_one)) or 'none'}.",
        "",
        *lines,
    ]


def index_target(findings: Findings) -> list[str]:
    """What INDEX says of layers after the encoders, and of feedback into them."""
    late = [row for row in findings.index if row.bound < 1]
    around = [row for row in findings.index if row.model in AROUND and row.bound == 1]
    lines = []
    if late:
        worst = max(late, key=lambda row: row.highest)
        kept = all(row.highest <= row.bound + 0.01 for row in late)
        lines.append(
            f"No late fusion can exceed {late[0].bound:.4f} here, whatever is trained; of "
            f"{len(late)} such models the highest accuracy of any seed is {worst.highest:.4f} "
            f"(`{worst.model}`): {'all keep' if kept else 'NOT all keep'} the bound."
        )
    for row in around:
        beats = bool(late) and row.accuracy.mean > late[0].bound
        says = "what the encoder sends depends on what was asked" if beats else "no gain is shown"
        lines.append(
            f"`{row.model}` has {row.accuracy.mean:.4f}, {'' if beats else 'not '}above the bound: "
            f"{says}."
        )
    return lines


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
