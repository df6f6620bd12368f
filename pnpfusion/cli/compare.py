"""``pnpfusion compare``: what it is told. :mod:`pnpfusion.cli.compare_run` does it."""

from __future__ import annotations

import argparse

from pnpfusion.cli.argument_types import names, positive, whole
from pnpfusion.cli.messages import CommandError
from pnpfusion.cli.train import MODELS, add_sizes

# Written out so that --help needs no torch; a test compares them with the library's.
BASELINES = ("constant", "logistic", "ridge", "svm")

HELP = "several models on several data sets: seeds, intervals, a table and a figure"
DESCRIPTION = """\
Compare models on data sets: the same splits, the same recipe, the same budget of tuning, several
seeds, and what may be concluded from them.

The folder gets plan.json, a file for each finished cell (one training), comparison.json, table.md,
table.csv and comparison.png. Killed at any moment, a comparison goes on by --resume FOLDER and does
no cell twice. With --out, a plan may also grow: more seeds or models keep what is there.
"""

EPILOG = f"""\
examples:
  pnpfusion compare --data htad --models concat,pnp,deq --seeds 5 --workers 2
  pnpfusion compare --data digits index:bits=8 --models concat,progressive --epochs 30
  pnpfusion compare --models constant,logistic:*,svm,only:*,concat,pnp   each modality alone, too
  pnpfusion compare --tune learning_rate=0.001,0.003 --tune weight_decay=0.01,0.1
  pnpfusion compare --plan plan.json --out runs/mine    all of it in a file
  pnpfusion compare --resume runs/compare-001           go on after Ctrl-C or a crash

models: {", ".join(MODELS[:6])},
  {", ".join(MODELS[6:])}, or only:NAME of one modality
without training: {", ".join(BASELINES)}, also as svm:NAME
  * in the place of NAME is each modality of a set
exit codes: 0 done, 1 some cells failed (they are tried again next time), 2 bad input, 130 Ctrl-C.
"""
#: What a plan holds; the rest is where and how it is shown.
PLANNED = (
    *("data", "models", "seeds", "folds", "reference", "hidden", "width"),
    *("recipe", "epochs", "tune"),
)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options to a parser."""
    what = parser.add_argument_group("what is compared", argument_default=argparse.SUPPRESS)
    what.add_argument(
        "--data",
        nargs="+",
        metavar="WHAT",
        help="known sets or files with a target (default: htad)",
    )
    what.add_argument(
        "--models", type=names, metavar="LIST", help="by commas (default: concat,pnp,deq)"
    )
    what.add_argument("--seeds", type=whole, metavar="N", help="how many (default: 5)")
    what.add_argument(
        "--folds",
        type=whole,
        metavar="K",
        help="contiguous blocks of each class, or 1 for the set's own test split or one drawn for "
        "each seed (default: 5 for htad, else 1)",
    )
    what.add_argument(
        "--reference",
        metavar="NAME",
        help="whom others are compared with (default: concat, or the first)",
    )
    add_sizes(what)
    what.add_argument(
        "--recipe", metavar="FILE", help="a .json file with entries as in `pnpfusion train --help`"
    )
    what.add_argument("--epochs", type=whole, metavar="N", help="at most (default: 60)")
    what.add_argument(
        "--tune",
        action="append",
        metavar="NAME=V,V,...",
        help="values of an entry of the recipe, hidden or width, all tried by every trained model "
        "and chosen by validation; several are combined",
    )
    what.add_argument("--plan", metavar="FILE", help="a .json file with all of this and more")
    where = parser.add_argument_group("where")
    where.add_argument(
        "--workers", type=whole, default=1, metavar="N", help="processes at once (default: 1)"
    )
    where.add_argument(
        "--max-seconds", type=positive, metavar="S", help="that one cell may take (default: any)"
    )
    out = parser.add_argument_group("what is made")
    out.add_argument(
        "--out",
        metavar="FOLDER",
        help="where to; finished cells that are there are kept (default: a new folder "
        "runs/compare-001, -002, ...)",
    )
    out.add_argument("--resume", metavar="FOLDER", help="go on with the plan of that folder")
    out.add_argument("--quiet", action="store_true", help="print nothing but warnings and errors")


def start(arguments: argparse.Namespace) -> int:
    """Do what was typed; the exit code."""
    typed = [name for name in (*PLANNED, "plan") if hasattr(arguments, name)]
    for option, clash in (
        ("--resume", typed + (["out"] if arguments.out else []) if arguments.resume else []),
        ("--plan", [name for name in typed if name != "plan"] if "plan" in typed else []),
    ):
        if clash:
            raise CommandError(
                f"{option} says all of what is compared; leave out "
                f"{', '.join(f'--{name}' for name in clash)}."
            )
    from pnpfusion.cli.compare_run import run

    return run(arguments)
