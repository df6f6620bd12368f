"""``pnpfusion lab``: the interactive page. :mod:`pnpfusion.cli.lab_run` finds what it plays."""

from __future__ import annotations

import argparse
from pathlib import Path

from pnpfusion.cli.argument_types import whole
from pnpfusion.cli.messages import FAILED, CommandError, say
from pnpfusion.files import write_whole

SAMPLES = 4  #: that go through a trained layer, if nothing is said
OUT = "pnpfusion-lab.html"  #: where to, if nothing is said
MARK = b"<title>Charge your features</title>"  #: by which a page of this command is known

HELP = "the interactive page: charged features in the browser"
DESCRIPTION = """\
Play with charged features in the browser.

Writes one page that needs no network and opens it: a cell between two electrodes in which the
features of two modalities fall apart into ions, with everything to turn: valences, Debye length,
reactions, voltage, solver and step. It takes the same steps as the library, and its tab "Python"
has the script for what is seen.
"""

EPILOG = """\
examples:
  pnpfusion lab                                             the experiments
  pnpfusion lab --run runs/simulate-001/run.safetensors     a run of yours, with a time slider
  pnpfusion lab --run runs/simulate-001                     the same
  pnpfusion lab --run runs/train-001 --samples 6            the cells of a trained PNP layer
  pnpfusion lab --out lecture.html --no-browser             the page, to take along

exit codes: 0 done, 1 the page could not be written, 2 bad input, 130 Ctrl-C.
"""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options to a parser."""
    parser.add_argument(
        "--run",
        dest="recorded",
        metavar="FILE",
        help="a run that `Solution.save` wrote, a folder of `pnpfusion simulate`, or one of "
        "`pnpfusion train` with a PNP layer, to be played",
    )
    parser.add_argument(
        "--samples",
        type=whole,
        metavar="N",
        help=f"of a trained layer: how many samples of the test split go through it "
        f"(default: {SAMPLES})",
    )
    parser.add_argument(
        "--out", metavar="FILE.html", help=f"where to (default: {OUT}, replaced each time)"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace --out if it is there")
    parser.add_argument("--no-browser", action="store_true", help="only write the page")


def start(arguments: argparse.Namespace) -> int:
    """Do what was typed; the exit code."""
    target = _target(arguments.out, overwrite=arguments.overwrite)
    if arguments.recorded is None and arguments.samples is not None:
        raise CommandError("--samples is of a trained layer; add --run FOLDER, or leave it out.")
    if arguments.recorded is None:
        from pnpfusion.visualize.lab.page import lab_page

        page = lab_page()
    else:
        from pnpfusion.cli.lab_run import played

        page = played(Path(arguments.recorded), arguments.samples, SAMPLES)
    try:
        write_whole(target, page.encode())
    except OSError as error:
        raise CommandError(
            f"{target} cannot be written: {error.strerror}; choose another place by --out.", FAILED
        ) from None
    print(f"{target} ({len(page.encode()) / 1000:.0f} kB, one file, no network)")
    if not arguments.no_browser:
        _show(target)
    return 0


def _target(out: str | None, *, overwrite: bool) -> Path:
    """Where the page goes; only one of this command, under its own name, is replaced unasked."""
    target = Path(OUT if out is None else out)
    if target.is_dir():
        raise CommandError(f"--out {target} is a folder, wanted a file; add a name to it.")
    if not target.parent.is_dir():
        raise CommandError(f"the folder of --out {target} is not there; make it first.")
    if target.exists() and not overwrite and (out is not None or not _is_ours(target)):
        raise CommandError(f"--out {target} is there already; add --overwrite to replace it.")
    return target


def _is_ours(target: Path) -> bool:
    with target.open("rb") as file:
        return MARK in file.read(4096)


def _show(target: Path) -> None:
    import webbrowser

    if not webbrowser.open(target.resolve().as_uri()):
        say(f"no browser could be opened; open {target.resolve()} in one.")
