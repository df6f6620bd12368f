"""docs/results.md and its pictures, from what was measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.picture import save
from docs.results import figures, inside, papers
from docs.results.ablations import Ablation, Answer
from docs.results.findings import (
    Findings,
    Measured,
    answer_of,
    fusing,
    is_fused,
    matrix,
)
from docs.results.index import BATCH, RATE, TASK, IndexRow
from docs.results.plans import Size
from docs.results.targets import index_target, missing_target, pnp_target
from docs.results.texts import HEAD, HOW
from pnpfusion.comparison import Interval
from pnpfusion.comparison.table import span, table_of
from pnpfusion.data import VolatilityLaw, open_set
from pnpfusion.text_table import markdown

ABLATED = ("", "score", "difference", "one modality missing", "iterations", "training, s")


def write(findings: Findings, docs: Path) -> Path:
    """Write the page and its pictures; return its path."""
    images = docs / "images"
    images.mkdir(parents=True, exist_ok=True)
    parts = [HEAD, _summary(findings), _targets(findings), _how(findings)]
    parts += [_set(one, images) for one in findings.measured]
    if findings.absent:
        lines = [f"- {one.title}: {one.absent}." for one in findings.absent]
        parts.append("## Sets that were absent\n\n" + "\n".join(lines) + "\n\n")
    parts.append(_robustness(findings, images))
    parts.append(_index(findings.index, images))
    parts.append(_ablations(findings.ablations, images))
    if findings.explained:
        parts.append(inside.section(findings.explained, images))
    parts.append(papers.section(findings))
    path = docs / "results.md"
    path.write_text("".join(parts).rstrip() + "\n", encoding="utf-8")
    return path


def _summary(findings: Findings) -> str:
    lines = [f"- {fusing(one)}" for one in findings.measured]
    return (
        "## The answer\n\n"
        + "\n".join(lines)
        + "\n\nLayer by layer, beside concatenation with a linear head: the difference of the "
        "score from that of `concat` (in brackets, its score); ▲ above, ▼ below, · open:\n\n"
        + matrix(findings, None)
        + "\n\n"
    )


def _targets(findings: Findings) -> str:
    said = (pnp_target(findings), missing_target(findings), index_target(findings))
    titles = ("PNP beside concatenation", "A missing modality", "Where iteration is needed")
    return "## What was aimed at\n\n" + "".join(
        f"### {title}\n\n" + "\n".join(lines) + "\n\n"
        for title, lines in zip(titles, said, strict=True)
    )


def _how(findings: Findings) -> str:
    size = findings.size
    recipe = size.recipe
    told = (
        f"The recipe is the default one with at most {recipe.epochs} epochs, "
        + (f"patience {recipe.patience}" if recipe.patience else "no early stopping")
        + f" and batches of {recipe.batch}; encodings and the fused feature have width "
        f"{size.hidden}."
    )
    text = HOW.format(
        recipe=told,
        tuning=_tuning(size),
        seeds=len(size.seeds),
        least=2.0 ** (1 - len(size.seeds)),
        noise=size.noise[-1],
    )
    on = findings.machine
    packages = ", ".join(f"{name} {number}" for name, number in on["packages"].items() if number)
    return text + (
        f"*Where.* {on['cpu']}; {on['cores']} cores; {on['system']}; Python {on['python']}, "
        f"{packages}; {on['date']}.\n\n"
    )


def _tuning(size: Size) -> str:
    if len(size.tuning) == 1:
        return (
            "The budget of tuning is the same for all, none: one training for each seed and fold, "
            "of which the epoch with the best score on validation counts."
        )
    tried = " or ".join(
        ", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in one.items())
        for one in size.tuning
    )
    return (
        f"Each is tuned by the same budget: {len(size.tuning)} trainings for each seed and fold, "
        f"{tried}, of which the one with the best score on validation counts."
    )


def _set(one: Measured, images: Path) -> str:
    picture = f"results_{one.study.key.replace('-', '_')}.png"
    save(figures.scores(one.summary), images / picture)
    samples = ", ".join(f"{name} {count}" for name, count in one.summary.samples.items())
    folds = f", {one.summary.folds} folds" if one.summary.folds > 1 else ""
    failed = ""
    if one.comparison.failures:
        failed = f"{len(one.comparison.failures)} cells failed and are not in the table.\n\n"
    said = f"{one.study.title}: {one.summary.score} of all models, and differences from one"
    return (
        f"## {one.study.title}\n\n{one.study.about} ({one.summary.seeds} seeds{folds}; samples: "
        f"{samples}.)\n\n{fusing(one)}\n\n{_sure(one)}{_floor(one)}![{said}](images/{picture})\n\n"
        f"{table_of(one.summary)}\n\n{failed}"
    )


def _sure(one: Measured) -> str:
    """Who is calibrated best, where models say how sure they are."""
    rated = {
        model: row.measures["calibration_error"].mean
        for model, row in one.rows.items()
        if is_fused(model) and "calibration_error" in row.measures
    }
    if not rated:
        return ""
    best, worst = min(rated, key=rated.__getitem__), max(rated, key=rated.__getitem__)
    return (
        f"Of the fusion layers `{best}` is calibrated best (error {rated[best]:.3f}), `{worst}` "
        f"worst ({rated[worst]:.3f}).\n\n"
    )


def _floor(one: Measured) -> str:
    """How far from the best predictor models of the volatility panel stay."""
    if one.study.key != "volatility" or one.study.data is None:
        return ""
    law, test = VolatilityLaw(), open_set(one.study.data).split("test")
    if test.target is None:
        return ""
    known = float((law.best(test.modalities) - test.target).square().mean())
    rated = {m: row.measures["mse"].mean for m, row in one.rows.items() if "mse" in row.measures}
    best = min(rated, key=rated.__getitem__)
    without = law.best_loss(["sentiment"])
    return (
        f"The best predictor has a mean square error of {law.best_loss():.3f} in expectation, and "
        f"{known:.3f} on these test samples; one that does not use sentiment, {without:.3f} in "
        f"expectation. The lowest here is that of `{best}`, {rated[best]:.3f}.\n\n"
    )


def _robustness(findings: Findings, images: Path) -> str:
    if not findings.measured:
        return ""
    save(figures.robustness(findings.measured), images / "results_robustness.png")
    return (
        "## Noise\n\nThe two measures of MultiBench [LLD21], without its normalisation: the mean "
        "score over the range of noise is in the tables above; here is the effective robustness, "
        "the sum over levels of how much more is kept than `concat` keeps of the same start. "
        "Above 0 less is lost than by concatenation.\n\n"
        "![Scores as noise rises, by set](images/results_robustness.png)\n\n"
        + matrix(findings, "effective all")
        + "\n\n"
    )


def _index(rows: Sequence[IndexRow], images: Path) -> str:
    if not rows:
        return ""
    save(figures.index(rows), images / "results_index.png")
    head = ("model", "accuracy", "highest", "bound", "parameters", "training, s")
    lines = [
        (
            *(f"`{row.model}`", span(row.accuracy, 4), f"{row.highest:.4f}", f"{row.bound:.4f}"),
            *(f"{row.parameters:,}", f"{row.seconds:.1f}"),
        )
        for row in rows
    ]
    return (
        "## INDEX\n\n"
        f"One modality holds {TASK.bits} fair bits, the other says which of them is asked for. The "
        "bits pass a noisy channel before they are fused, so a late fusion cannot exceed the bound "
        f"of `pnpfusion.data.IndexTask.bound`: {TASK.bound():.4f}. "
        "Feedback tells the encoder what is asked. Here models have the encoders of the task, "
        f"fresh samples at every step, batches of {BATCH} and learning rate {RATE:g}, untuned.\n\n"
        "![Accuracies on INDEX, and what no training can exceed](images/results_index.png)\n\n"
        + markdown(head, lines)
        + "\n\n"
    )


def _ablations(found: Sequence[tuple[Ablation, Sequence[Answer]]], images: Path) -> str:
    if not found:
        return ""
    save(figures.ablations(found), images / "results_ablations.png")
    text = (
        "## One thing changed\n\n"
        "![Differences by what was changed](images/results_ablations.png)\n\n"
    )
    for ablation, answers in found:
        text += (
            f"### {ablation.title}\n\n{ablation.question}\n\n{answer_of(ablation, answers)}\n\n"
            f"{markdown(ABLATED, [_ablated(one) for one in answers])}\n\n"
        )
    return text


def _ablated(one: Answer) -> list[str]:
    """A line of the table of an ablation."""
    measures = one.row.measures
    numbers = (("without one", ".3f"), ("iterations", ".1f"), ("training_seconds", ".2g"))
    return [
        one.label,
        span(measures.get(_score_of(measures))),
        span(None if one.difference is None else one.difference.interval, sign="+"),
        *(f"{measures[name].mean:{form}}" if name in measures else "–" for name, form in numbers),
    ]


def _score_of(measures: Mapping[str, Interval]) -> str:
    return next((name for name in ("accuracy", "r2", "f1_micro") if name in measures), "")
