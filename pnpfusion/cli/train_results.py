"""What ``pnpfusion train`` says before and after: a table, curves, the facts of summary.json."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from pnpfusion.cli.messages import paragraph
from pnpfusion.cli.output_folder import save_picture
from pnpfusion.cli.summary import SUMMARY
from pnpfusion.cli.train_setup import SETTINGS, Setup
from pnpfusion.data.feature_set import Features
from pnpfusion.text_table import aligned
from pnpfusion.training import checkpoint
from pnpfusion.training.evaluate import evaluate, objective_for, without_each
from pnpfusion.training.loop import Trained
from pnpfusion.training.model import FusionModel
from pnpfusion.training.pretrained import CONFIG, WEIGHTS
from pnpfusion.training.report import METRICS

CURVES = "curves.png"
#: What may be in the folder, and `--overwrite` may take away.
MADE = (
    SUMMARY,
    SETTINGS,
    CONFIG,
    WEIGHTS,
    METRICS,
    CURVES,
    checkpoint.NAME,
    checkpoint.BEFORE,
    "tensorboard/events.*",
)
#: What the table calls the metrics of a task, in its order.
SHOWN = {
    "classes": ("accuracy", "balanced_accuracy", "f1_macro", "calibration_error", "loss"),
    "labels": ("f1_micro", "f1_macro", "accuracy", "loss"),
    "numbers": ("r2", "mse", "mae"),
}
Judged = dict[str, Any]  #: metrics by split, and what the largest class would have made of it


def introduction(setup: Setup) -> str:
    """What is learned, and by what, in a few lines."""
    data, recipe, model = setup.data, setup.recipe, setup.model
    kinds = {
        "classes": f"{len(data.class_names)} classes",
        "labels": f"{model.config.outputs} labels",
        "numbers": "a number" if model.config.outputs == 1 else f"{model.config.outputs} numbers",
    }[model.config.task]
    parts = ", ".join(f"{name} {len(rows)}" for name, rows in data.splits.items())
    dims = ", ".join(f"{name} {width}" for name, width in data.dims.items())
    lines = [f"{data.name}, {len(data)} samples of {kinds} ({parts}); features: {dims}."]
    lines += [f"From {data.source}."] if data.source else []
    lines += [f"Terms of use: {data.terms}"] if data.terms else []
    count = sum(one.numel() for one in model.parameters())
    steps = math.ceil(len(data.splits["train"]) / recipe.batch)
    lines.append(
        f"{model.config.model}, {count} parameters; {recipe.epochs} epochs of {steps} steps, "
        f"seed {recipe.seed}."
    )
    return "\n".join(map(paragraph, lines))


def judge(model: FusionModel, data: Features) -> Judged:
    """The metrics on each split that was not learned from, and without each modality.

    "beside" are those with it of the same samples, where these are not all.
    """
    found: Judged = {}
    for split in ("valid", "test"):
        if split not in data.splits:
            continue
        part = data.split(split)
        found[split] = {"metrics": evaluate(model, part)}
        found[split]["largest_class"] = _share_of_largest_class(part, data.split("train"))
        if len(data.dims) > 1:
            found[split]["without"] = without_each(model, part)
            found[split]["beside"] = {
                name: evaluate(model, part.samples(rows))
                for name in found[split]["without"]
                if len(rows := part.rows_without([name])) < len(part)
            }
    return found


def table(trained: Trained, setup: Setup, found: Judged) -> str:
    """The numbers for the screen."""
    task = setup.model.config.task
    score = objective_for(setup.model).score
    rows: list[tuple[str, list[float | None]]] = []
    for name in SHOWN[task]:
        rows.append((name, [one["metrics"][name] for one in found.values()]))
        if name == score == "accuracy":
            largest = [one["largest_class"] for one in found.values()]
            rows.append(("  of the most frequent class", largest))
        if name == score:
            for missing in setup.data.dims if len(setup.data.dims) > 1 else ():
                for title, what in (
                    ("without {}", "without"),
                    ("  of the same, with it", "beside"),
                ):
                    scores = [one[what].get(missing, {}).get(score) for one in found.values()]
                    if what == "without" or any(one is not None for one in scores):
                        rows.append((f"  {title.format(missing)}", scores))
    cells = [[name, *map(_number, values)] for name, values in rows]
    lines = [aligned([["", *found], *cells])] if found else []
    health = trained.history[-1]["health"]
    if "unconverged" in health:
        lines.append(
            f"solver: {health['iterations']:.1f} iterations on average, "
            f"{health['unconverged']:.1%} of samples unconverged in the last epoch"
        )
    ended = ", ended by patience" if trained.stopped_early else ""
    lines.append(
        f"best epoch {trained.best_epoch} of {len(trained.history)}{ended}; "
        f"{trained.seconds:.1f} seconds"
    )
    return "\n".join(lines)


def draw(trained: Trained, folder: Path) -> None:
    """Write the curves.

    Raises:
        OSError: they cannot be written.
    """
    from pnpfusion import visualize

    figure = visualize.plot_training(trained.history, best_epoch=trained.best_epoch)
    save_picture(figure, folder / CURVES)


def summary_of(trained: Trained, setup: Setup, found: Judged) -> dict[str, Any]:
    """What summary.json says of the training."""
    return {
        "model": setup.model.config.model,
        "data": setup.data.name,
        "source": setup.data.source,
        "samples": {name: len(rows) for name, rows in setup.data.splits.items()},
        "parameters": sum(one.numel() for one in setup.model.parameters()),
        "epochs": len(trained.history),
        "best_epoch": trained.best_epoch,
        "stopped_early": trained.stopped_early,
        "seconds": round(trained.seconds, 3),
        "results": found,
        "health": trained.history[-1]["health"],
        "settings": setup.settings,
    }


def _share_of_largest_class(data: Features, learned: Features) -> float | None:
    """What is right if the class most frequent in ``learned`` is always told; None without such."""
    if data.target is None or learned.target is None or data.task != "classes":
        return None
    return float((data.target == learned.target.bincount().argmax()).double().mean())


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"
