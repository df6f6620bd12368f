"""``pnpfusion train``: what it is told. :mod:`pnpfusion.cli.train_run` does it."""

from __future__ import annotations

import argparse

from pnpfusion.cli.argument_types import (
    not_negative,
    or_none,
    positive,
    seed,
    share,
    weight,
    whole,
    whole_or_none,
)
from pnpfusion.cli.messages import CommandError

# Written out so that --help needs no torch; tests/cli/test_train.py compares with the library.
MODELS = (
    "concat",
    "concat-mlp",
    "attention",
    "gmf",
    "deq",
    "deq-paper",
    "progressive",
    "pnp",
    "pnp-transient",
    "gmf+deq",
    "pnp+deq",
    "pnp+progressive",
    "completion+concat",
    "completion+pnp",
)
SCHEDULES = ("cosine", "constant")
PRECISIONS = ("float32", "float64", "bfloat16-mixed")
CLASS_WEIGHTS = ("none", "balanced")

HELP = "one fusion model on one data set: checkpoints, metrics, curves"
DESCRIPTION = """\
Train one fusion model on one data set: encoders, a fusion layer, a linear head.

The folder gets the model (config.json, model.safetensors), metrics.jsonl with a line for each
epoch, curves.png, summary.json, and a checkpoint. Killed at any moment, a training goes on from
there by --resume FOLDER, and ends with the same weights.
"""

EPILOG = f"""\
examples:
  pnpfusion train                                       the PNP layer on HTAD
  pnpfusion train --data digits --model concat          the baseline on both halves of a digit
  pnpfusion train --data digits --model only:left       what one modality tells
  pnpfusion train --data my.csv --model pnp+deq --epochs 200 --out mine
  pnpfusion train --resume runs/train-001               go on after Ctrl-C or a crash
  pnpfusion train --modality-dropout 0.3                be ready for a missing modality
  torchrun --nproc-per-node 2 -m pnpfusion train        the same, shared by two processes

models: {", ".join(MODELS[:6])},
  {", ".join(MODELS[6:])}, or only:NAME
exit codes: 0 done, 1 training failed, 2 bad input, 130 Ctrl-C.
"""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add all that the command can be told."""
    add_what(parser)
    add_recipe(parser)
    add_where(parser)


def add_what(parser: argparse.ArgumentParser) -> None:
    """Data and model. What was not typed is not there."""
    data = parser.add_argument_group("what is learned", argument_default=argparse.SUPPRESS)
    data.add_argument(
        "--data", metavar="WHAT", help="a known set or a file with a target (default: htad)"
    )
    data.add_argument(
        "--valid",
        type=share,
        metavar="SHARE",
        help="of the samples, to select the epoch by, if the set has no such split (default: 0.2)",
    )
    data.add_argument(
        "--test", type=share, metavar="SHARE", help="likewise, to judge by (default: 0.2)"
    )
    model = parser.add_argument_group("the model", argument_default=argparse.SUPPRESS)
    model.add_argument(
        "--model",
        metavar="NAME",
        help="one of the models listed below, with options of its layer after a colon where it is "
        "to have such: pnp:coupled=false (default: pnp)",
    )
    add_sizes(model)


def add_sizes(group: argparse._ArgumentGroup) -> None:
    """The widths of a model."""
    for name, what in (("--hidden", "each encoding"), ("--width", "the fused feature")):
        group.add_argument(name, type=whole, metavar="N", help=f"width of {what} (default: 64)")


def add_recipe(parser: argparse.ArgumentParser) -> None:
    """What :class:`pnpfusion.training.Recipe` has, under the same names; likewise."""
    recipe = parser.add_argument_group("the recipe", argument_default=argparse.SUPPRESS)
    recipe.add_argument(
        "--recipe", metavar="FILE", help="a .json file with entries named as the options below"
    )
    recipe.add_argument("--epochs", type=whole, metavar="N", help="at most (default: 60)")
    recipe.add_argument("--batch", type=whole, metavar="N", help="samples a step (default: 64)")
    recipe.add_argument(
        "--learning-rate", type=positive, metavar="RATE", help="of AdamW (default: 0.01)"
    )
    recipe.add_argument(
        "--weight-decay", type=not_negative, metavar="RATE", help="of weights (default: 0.1)"
    )
    recipe.add_argument(
        "--schedule", choices=SCHEDULES, help="of the learning rate (default: cosine)"
    )
    recipe.add_argument(
        "--warmup", type=share, metavar="SHARE", help="of all steps, rising (default: 0.05)"
    )
    recipe.add_argument(
        "--clip", type=or_none, metavar="NORM", help="of the gradient, or none (default: 1)"
    )
    recipe.add_argument(
        "--patience",
        type=whole_or_none,
        metavar="N",
        help="epochs without a better validation that end it, or none (default: 20)",
    )
    recipe.add_argument(
        "--input-dropout", type=share, metavar="SHARE", help="of features (default: 0.2)"
    )
    recipe.add_argument(
        "--modality-dropout", type=share, metavar="SHARE", help="of modalities (default: 0)"
    )
    recipe.add_argument(
        "--label-smoothing", type=share, metavar="SHARE", help="of targets (default: 0.05)"
    )
    recipe.add_argument(
        "--class-weights", choices=CLASS_WEIGHTS, help="of classes or labels (default: none)"
    )
    recipe.add_argument(
        "--loss-weight",
        type=weight,
        action="append",
        metavar="NAME=W",
        help="of a loss of the layer's own; once for each (default: reconstruction=0.1, "
        "jacobian=0.1)",
    )
    recipe.add_argument(
        "--seed", type=seed, metavar="N", help="weights, splits, order, dropout (default: 0)"
    )
    recipe.add_argument(
        "--precision", choices=PRECISIONS, help="solves stay in float32 (default: float32)"
    )


def add_where(parser: argparse.ArgumentParser) -> None:
    """Where it is computed and what is made."""
    where = parser.add_argument_group("where")
    where.add_argument("--device", metavar="NAME", help="such as cuda (default: cpu)")
    where.add_argument(
        "--threads", type=whole, default=1, metavar="N", help="of the processor (default: 1)"
    )
    out = parser.add_argument_group("what is made")
    out.add_argument(
        "--out",
        metavar="FOLDER",
        help="where to; one of the same training is gone on from (default: a new folder "
        "runs/train-001, -002, ...)",
    )
    out.add_argument(
        "--resume", metavar="FOLDER", help="go on with what a former command began there"
    )
    out.add_argument(
        "--overwrite", action="store_true", help="begin anew in --out, and replace what is there"
    )
    out.add_argument(
        "--checkpoint-every",
        type=not_negative,
        default=15.0,
        metavar="SECONDS",
        help="0 is after every step (default: 15)",
    )
    out.add_argument("--tensorboard", action="store_true", help="write events for TensorBoard too")
    out.add_argument("--quiet", action="store_true", help="print nothing but warnings and errors")


#: What settles a training; the rest is where and how it is shown.
SETTLED = (
    *("data", "valid", "test", "model", "hidden", "width", "recipe", "epochs", "batch"),
    *("learning_rate", "weight_decay", "schedule", "warmup", "clip", "patience"),
    *("input_dropout", "modality_dropout", "label_smoothing", "class_weights", "loss_weight"),
    *("seed", "precision"),
)


def start(arguments: argparse.Namespace) -> int:
    """Do what was typed; the exit code."""
    if arguments.resume is not None:
        typed = [name for name in SETTLED if hasattr(arguments, name)]
        typed += [name for name in ("out", "overwrite") if getattr(arguments, name)]
        if typed:
            raise CommandError(
                f"--resume goes on with what was settled when the training began; leave out "
                f"{', '.join('--' + name.replace('_', '-') for name in typed)}."
            )
    from pnpfusion.cli.threads import threads
    from pnpfusion.cli.train_run import run

    with threads(arguments.threads):
        return run(arguments)
