"""``pnpfusion simulate``: one run or a sweep; :mod:`pnpfusion.cli.simulate_run` does it."""

from __future__ import annotations

import argparse
import os

from pnpfusion.cli.messages import CommandError
from pnpfusion.cli.simulate_options import STACK
from pnpfusion.cli.simulate_options import add_options as add_options

HELP = "features of samples as moving charges: run, pictures, animation, ledger"
DESCRIPTION = """\
Let the features of real samples move as charged particles, and draw what happens.

Each modality's features become a cation (their positive part) and an anion (their negative part)
over a background, along a cell of length L. All ions share one electric field. A new folder gets
the run, its pictures, an animation and summary.json; a table on the screen says what was lost:
nothing.
"""

EPILOG = """\
examples:
  pnpfusion simulate                                    one sample of HTAD: audio and wrist motion
  pnpfusion simulate --sample random:64                 64 samples in one run: mean, spread, classes
  pnpfusion simulate --data digits --sample 7           left and right half of a digit
  pnpfusion simulate --data volatility --sample 0:32    any set that train takes, with its options
  pnpfusion simulate --data my.csv --label diagnosis    columns audio_1, audio_2, ..., motion_1, ...
  pnpfusion simulate --data my.csv --modality ear=loudness,pitch --modality hand=speed,grip
  pnpfusion simulate --boundary periodic --duration 0.1 no electrodes: the features mix and screen
  pnpfusion simulate --sweep grid.json --sample 3       one run for each case of {"grid": {...}}
  pnpfusion simulate --voltage 100 --diffusivity "audio=1,motion=0.3" --out strong

units: length L (the cell), time L²/D, potential kT/e (25.7 mV at 25 °C), concentration c_ref
(that of a standardised feature of size 1).
exit codes: 0 done, 1 the run failed, 2 bad input, 130 Ctrl-C.
"""


def start(arguments: argparse.Namespace) -> int:
    """Do what was typed; the exit code."""
    if arguments.sweep is None:
        _check_alone(arguments)
    elif arguments.strict and arguments.shard is not None:
        raise CommandError("--strict judges the whole sweep; leave it out beside --shard.")
    arguments.stack = arguments.stack or STACK
    from pnpfusion.cli.output_folder import alone, claim
    from pnpfusion.cli.simulate_run import run
    from pnpfusion.cli.threads import threads

    if arguments.sweep is not None:
        from pnpfusion.cli.simulate_sweep import run_all

        with threads(arguments.threads):
            return run_all(arguments)
    with (
        claim(arguments.out, "simulate", overwrite=arguments.overwrite) as folder,
        alone(folder),
        threads(arguments.threads),
    ):
        return run(arguments, folder)


def _check_alone(arguments: argparse.Namespace) -> None:
    """Refuse what is for sweeps only, before anything is loaded."""
    for name, what in (
        ("shard", "is a share of a sweep"),
        ("stack", "is how many cases of a sweep are solved in one call"),
        ("strict", "judges the cases of a sweep"),
    ):
        if getattr(arguments, name):
            raise CommandError(f"--{name} {what}; add --sweep FILE, or leave it out.")
    processes = os.environ.get("WORLD_SIZE", "1")
    if "RANK" in os.environ and processes != "1":
        raise CommandError(
            f"{processes} processes were started (WORLD_SIZE), and each would make the same run; "
            f"start one without torchrun, or add --sweep FILE, whose cases they share."
        )
