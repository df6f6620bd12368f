"""docs/results.md and its pictures, from what was measured."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from docs.results import figures, papers
from docs.results.ablations import Ablation, Answer
from docs.results.findings import (
    Findings,
    Measured,
    answer_of,
    by_model,
    fusing,
    index_target,
    is_fused,
    matrix,
    missing_target,
    pnp_target,
)
from docs.results.index import BATCH, RATE, TASK, IndexRow
from docs.results.interpretation import DELETED
from pnpfusion.comparison import Interval, mean_interval
from pnpfusion.comparison.table import markdown
from pnpfusion.data import VolatilityLaw, open_set

HEAD = """\
# When does which fusion help?

Everything on this page, numbers, sentences and pictures, is made by

```
make results                        # writes this page; what is known already is not done again
make results ARGS="--only htad"     # one set: prints its table
make results ARGS=--dry-run         # what there is to do, and how long it takes
```

"""
HOW = """\
## How it was measured

All trained models have the same encoders (linear, ReLU), head (linear), recipe and splits; only
the layer between differs. {recipe} Each is tuned by the same budget: {number} training{s} for each
seed and fold, {tuning}, of which the one with the best score on validation counts. Classical
models choose the strength of their regularisation from four or five by the same validation
samples. `only:NAME` is the network with one modality alone. Nothing is selected on test samples.

Intervals are Student's, at 95 %, over the means of {seeds} seeds; differences are paired by seed
and fold. A model is *above* another where all of the interval of their difference is, *below*
likewise, else the question is open. The p is by flipping signs, corrected for all models on a set
(Holm); n differences can give none below 2 / 2^n, which without folds is {least:g}. With so few
seeds small effects stay open, and intervals tell what other seeds would give on these samples, not
what other samples would.

In the tables, *one modality missing* is the mean score where each in turn is absent, *under noise*
the mean score over noise of all features from 0 to {noise:g} deviations; iterations and the
unconverged share are of the solves on validation samples. FLOPs are not told: compiled solves are
not seen by counters. Times are the processor's, of one thread.

"""


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
        parts.append(_interpretation(findings, images))
    parts.append(papers.section(findings))
    path = docs / "results.md"
    path.write_text("".join(parts).rstrip() + "\n", encoding="utf-8")
    return path


def _summary(findings: Findings) -> str:
    lines = [f"- {fusing(one)}" for one in findings.measured]
    return (
        "## The answer\n\n"
        + "\n".join(lines)
        + "\n\nLayer by layer, beside concatenation with a linear head:\n\n"
        + "\n".join(by_model(findings))
        + "\n\nThe difference of the score from that of `concat` (in brackets, its score); "
        "▲ above, ▼ below, · open:\n\n" + matrix(findings, None) + "\n\n"
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
    tuning = " or ".join(
        ", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in one.items())
        for one in size.tuning
    )
    text = HOW.format(
        recipe=told,
        number=len(size.tuning),
        s="s" if len(size.tuning) > 1 else "",
        tuning=tuning,
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


def _table(one: Measured) -> str:
    """That of the comparison, without its heading and its notes."""
    return markdown(one.comparison.plan, [one.summary]).split("\n\n")[1]


def _set(one: Measured, images: Path) -> str:
    picture = f"results_{one.study.key.replace('-', '_')}.png"
    draw(figures.scores(one.summary), images / picture)
    samples = ", ".join(f"{name} {count}" for name, count in one.summary.samples.items())
    folds = f", {one.summary.folds} folds" if one.summary.folds > 1 else ""
    failed = ""
    if one.comparison.failures:
        failed = f"{len(one.comparison.failures)} cells failed and are not in the table.\n\n"
    said = f"{one.study.title}: {one.summary.score} of all models, and differences from one"
    return (
        f"## {one.study.title}\n\n{one.study.about} ({one.summary.seeds} seeds{folds}; samples: "
        f"{samples}.)\n\n{fusing(one)}\n\n{_sure(one)}{_floor(one)}![{said}](images/{picture})\n\n"
        f"{_table(one)}\n\n{failed}"
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
    draw(figures.robustness(findings.measured), images / "results_robustness.png")
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
    draw(figures.index(rows), images / "results_index.png")
    lines = ["| model | accuracy | highest | bound | parameters | training, s |", "|---" * 6 + "|"]
    for row in rows:
        lines.append(
            f"| `{row.model}` | {span(row.accuracy, 4)} | {row.highest:.4f} | {row.bound:.4f} | "
            f"{row.parameters:,} | {row.seconds:.1f} |"
        )
    return (
        "## INDEX\n\n"
        f"One modality holds {TASK.bits} fair bits, the other says which of them is asked for. The "
        "bits pass a noisy channel before they are fused, so a late fusion cannot exceed the bound "
        f"of `pnpfusion.data.IndexTask.bound`: {TASK.bound():.4f}. "
        "Feedback tells the encoder what is asked. Here models have the encoders of the task, "
        f"fresh samples at every step, batches of {BATCH} and learning rate {RATE:g}, untuned.\n\n"
        "![Accuracies on INDEX, and what no training can exceed](images/results_index.png)\n\n"
        + "\n".join(lines)
        + "\n\n"
    )


def _ablations(found: Sequence[tuple[Ablation, Sequence[Answer]]], images: Path) -> str:
    if not found:
        return ""
    draw(figures.ablations(found), images / "results_ablations.png")
    text = (
        "## One thing changed\n\n"
        "![Differences by what was changed](images/results_ablations.png)\n\n"
    )
    for ablation, answers in found:
        lines = [
            "| | score | difference | one modality missing | iterations | training, s |",
            "|---" * 6 + "|",
        ]
        for one in answers:
            measures = one.row.measures
            score = measures.get(_score_of(measures))
            difference = "–" if one.difference is None else span(one.difference.interval, 3, "+")
            cells = [
                "–" if value is None else f"{value.mean:{form}}"
                for value, form in (
                    (measures.get("without one"), ".3f"),
                    (measures.get("iterations"), ".1f"),
                    (measures.get("training_seconds"), ".2g"),
                )
            ]
            first = "–" if score is None else span(score, 3)
            lines.append(f"| {one.label} | {first} | {difference} | " + " | ".join(cells) + " |")
        text += (
            f"### {ablation.title}\n\n{ablation.question}\n\n{answer_of(ablation, answers)}\n\n"
            + "\n".join(lines)
            + "\n\n"
        )
    return text


def _score_of(measures: object) -> str:
    return next(name for name in ("accuracy", "r2", "f1_micro", "") if name in measures or not name)  # type: ignore[operator]


def _interpretation(findings: Findings, images: Path) -> str:
    found = findings.explained
    draw(figures.interpretation(found), images / "results_interpretation.png")
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


def _mean(values: object) -> float:
    return float(np.mean([*values]))  # type: ignore[misc]


def span(one: Interval, digits: int, sign: str = "") -> str:
    """A mean and its interval."""
    text = f"{one.mean:{sign}.{digits}f}"
    if one.low is None or one.high is None:
        return text
    return f"{text} [{one.low:{sign}.{digits}f}, {one.high:{sign}.{digits}f}]"


def draw(figure: Figure, path: Path) -> None:
    """Write a picture; few colours make it small."""
    from PIL import Image

    drawn = BytesIO()
    figure.savefig(drawn, dpi=130)
    Image.open(drawn).convert("RGB").quantize(256).save(path, optimize=True)
