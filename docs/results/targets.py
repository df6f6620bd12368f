"""What was aimed at, and whether it was reached."""

from __future__ import annotations

from dataclasses import dataclass

from docs.results.findings import (
    REFERENCE,
    Findings,
    Measured,
    against_reference,
    is_fused,
    listed,
)
from docs.results.index import AROUND
from pnpfusion.text_table import markdown

PNP_FAMILY = ("pnp", "pnp-transient", "pnp+deq", "pnp+progressive", "completion+pnp")
LESS_LOST = 0.4  #: how much less is to be lost to a missing modality
ABOVE = 3  #: on how many sets PNP is to be above concatenation
REAL = 2  #: on how many real sets less is to be lost


def pnp_target(findings: Findings) -> list[str]:
    """Whether PNP, or PNP with another layer, keeps up with concatenation everywhere."""
    lines, reached = [], []
    for model in PNP_FAMILY:
        kinds = {one.study.key: against_reference(one.rows.get(model)) for one in findings.measured}
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
        f"PNP, or PNP with another layer, below `{REFERENCE}` on no set and above it on {ABOVE} "
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
    head = [
        *("set", f"lost by `{REFERENCE}`", "least lost by", "lost", "less by"),
        *("score, all there", "score, one missing", f"that of `{REFERENCE}`", "counts"),
    ]
    lines = []
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
        numbers = (best.score, best.left, best.reference_left)
        lines.append(
            [
                *(one.study.title, f"{best.reference:.3f}", f"`{best.model}`", f"{best.lost:.3f}"),
                *(f"{100 * best.less:.0f} %", *(f"{value:.3f}" for value in numbers), counts),
            ]
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
        markdown(head, lines),
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
