"""What ``pnpfusion simulate`` can be told."""

from __future__ import annotations

import argparse

from pnpfusion.cli.argument_types import (
    columns,
    number,
    one_or_by_name,
    positive,
    samples,
    seed,
    shard,
    whole,
)

# Written out so that --help needs no torch; tests/cli/test_cli.py compares them with the library.
SCHEMES = ("scharfetter-gummel", "harmonic", "central")
STEPPERS = ("kencarp4", "tr-bdf2", "backward-euler", "dopri5", "dopri8", "bosh3")
BOUNDARIES = ("electrodes", "insulating", "periodic")
STACK = 8  #: cases in one call, if nothing is said
VOLTAGE = 40.0  #: between electrodes, if none is given


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options to a parser."""
    data = parser.add_argument_group("what moves")
    data.add_argument(
        "--data",
        default="htad",
        metavar="WHAT",
        help="htad, digits, digits:parts=quadrants, index, interaction, volatility, "
        "mini-av-mnist:folder=FSDD, or a file or folder that docs/data.md lists: .csv with a "
        "header, .npz with one array per modality, ... (default: htad)",
    )
    data.add_argument(
        "--modality",
        type=columns,
        action="append",
        metavar="NAME=COL,COL",
        help="columns of a .csv that make a modality; once for each (default: by the prefix of "
        "the columns' names, up to _ or .)",
    )
    data.add_argument(
        "--label",
        metavar="COLUMN",
        help="column of a .csv that holds the class (default: label, class, target or y)",
    )
    data.add_argument(
        "--sample",
        type=samples,
        default="0",
        metavar="WHICH",
        help="an index (5), a range (0:64), random:8, or all; several run as one batch "
        "(default: 0)",
    )
    data.add_argument(
        "--raw",
        action="store_true",
        help="take the features as they are, instead of standardising each over the whole set",
    )
    data.add_argument(
        "--seed", type=seed, default=0, metavar="N", help="draws --sample random:K (default: 0)"
    )

    cell = parser.add_argument_group("the cell")
    cell.add_argument(
        "--valence",
        type=one_or_by_name,
        default=1.0,
        metavar="Z",
        help="charge number of cations, its negative that of anions: one, or audio=1,motion=2 "
        "(default: 1)",
    )
    cell.add_argument(
        "--diffusivity",
        type=one_or_by_name,
        default=1.0,
        metavar="D",
        help="one, by modality (audio=1,motion=0.5) or by species ('audio anion=0.2'); 1 for what "
        "is not named (default: 1)",
    )
    cell.add_argument(
        "--background",
        type=positive,
        default=1.0,
        metavar="C",
        help="concentration of every species where a feature is 0 (default: 1)",
    )
    cell.add_argument(
        "--debye",
        type=positive,
        default=0.05,
        metavar="LENGTH",
        help="Debye length of the background, in L; it sets the permittivity (default: 0.05)",
    )
    cell.add_argument(
        "--boundary",
        choices=BOUNDARIES,
        default="electrodes",
        help="electrodes hold the potential at both ends; an insulating or periodic cell floats "
        "and is neutralised by a uniform fixed charge (default: electrodes)",
    )
    cell.add_argument(
        "--voltage",
        type=number,
        metavar="V",
        help=f"potential of the left electrode less that of the right, in kT/e; they stand at V/2 "
        f"and -V/2 (default: {VOLTAGE:g}, about one volt)",
    )

    run = parser.add_argument_group("the run")
    run.add_argument(
        "--duration", type=positive, default=0.005, metavar="T", help="in L²/D (default: 0.005)"
    )
    run.add_argument(
        "--cells",
        type=whole,
        metavar="N",
        help="equal cells of the grid (default: eight to the Debye length, four to a feature)",
    )
    run.add_argument(
        "--times",
        type=whole,
        default=61,
        metavar="N",
        help="saved times, from 0 to T, closer at the start: T (k/(N-1))² (default: 61)",
    )
    run.add_argument(
        "--scheme",
        choices=SCHEMES,
        default=SCHEMES[0],
        help=f"how faces weigh their cells (default: {SCHEMES[0]})",
    )
    run.add_argument(
        "--stepper",
        choices=STEPPERS,
        default=STEPPERS[0],
        help=f"the last three are explicit, slow on fine grids (default: {STEPPERS[0]})",
    )
    run.add_argument(
        "--rtol", type=positive, default=1e-4, help="relative error of a step (default: 1e-4)"
    )
    run.add_argument(
        "--max-steps",
        type=whole,
        default=100_000,
        metavar="N",
        help="of one sample, then the run ends as failed (default: 100000)",
    )
    run.add_argument(
        "--threads",
        type=whole,
        default=1,
        metavar="N",
        help="processor threads; more of them help batches of hundreds on an idle machine, and "
        "slow everything down on a busy one (default: 1)",
    )

    many = parser.add_argument_group("many runs")
    many.add_argument(
        "--sweep",
        metavar="FILE",
        help='run every case of a .json file with options of this command: {"grid": {name: '
        '[values], ...}}, all combinations, or {"cases": [{name: value, ...}, ...]}, or both; what '
        "stands beside these, or is typed, holds for all. Makes one sweep.safetensors, table.csv "
        "and summary.json in --out (default: runs/sweep-FILE), no pictures. Again, it goes on with "
        "what is missing. `torchrun --nproc-per-node N -m pnpfusion simulate --sweep FILE` shares "
        "the cases among N processes",
    )
    many.add_argument(
        "--shard",
        type=shard,
        metavar="K/N",
        help="run only every N-th block of cases from the K-th, 0 <= K < N, and join nothing; once "
        "all are done, the command without --shard joins them",
    )
    many.add_argument(
        "--stack",
        type=whole,
        metavar="N",
        help=f"cases that are solved in one call, at most (default: {STACK})",
    )
    many.add_argument(
        "--strict",
        action="store_true",
        help="end with exit code 1 if any case of the sweep has no answer",
    )

    out = parser.add_argument_group("what is made")
    out.add_argument(
        "--out",
        metavar="FOLDER",
        help="where to (default: a new folder runs/simulate-001, -002, ...)",
    )
    out.add_argument(
        "--overwrite", action="store_true", help="replace the files of a former run in --out"
    )
    out.add_argument("--no-gif", action="store_true", help="leave the animation out")
    out.add_argument("--quiet", action="store_true", help="print nothing but warnings and errors")
