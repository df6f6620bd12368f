"""The door of the command line: what was typed goes to a command, what goes wrong is one line.

A command is a module with the words of its help (``HELP``, ``DESCRIPTION``, ``EPILOG``),
``add_options(parser)``, and ``start(arguments)``, which does it and returns the exit code. To stay
quick, it imports torch and the like inside that function only.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import NoReturn

from pnpfusion import __version__
from pnpfusion.cli import compare, lab, simulate, train
from pnpfusion.cli.messages import (
    BAD_INPUT,
    INTERRUPTED,
    CommandError,
    say,
    warnings_in_one_line,
)

#: Every command; a new one is one more entry here.
COMMANDS = (simulate, train, compare, lab)


class OneLineParser(argparse.ArgumentParser):
    """A parser whose errors are one line, without the usage before them."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong with the arguments and end with exit code 2."""
        say(f"{self.prog}: error: {message}; `{self.prog} --help` lists what there is.")
        self.exit(BAD_INPUT)


def command_parsers() -> tuple[OneLineParser, Mapping[str, argparse.ArgumentParser]]:
    """What reads all that is typed, and by its name what reads the options of each command."""
    parser = OneLineParser(
        prog="pnpfusion",
        description="Features of several modalities as charged particles that move, attract and "
        "screen each other (Poisson-Nernst-Planck dynamics).",
        epilog="`pnpfusion COMMAND --help` tells of one command, with examples.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(
        title="commands", metavar="COMMAND", dest="command", required=True
    )
    for command in COMMANDS:
        own = commands.add_parser(
            command.__name__.rpartition(".")[2],
            help=command.HELP,
            description=command.DESCRIPTION,
            epilog=command.EPILOG,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        command.add_options(own)
        own.set_defaults(start=command.start)
    return parser, commands.choices


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that ``argv`` names; None reads what was typed.

    Returns:
        The exit code: 0 if all went well, 1 if a run failed or its files could not be written, 2
        for bad input, 130 after Ctrl-C.

    Raises:
        SystemExit: after ``--help``, ``--version`` or arguments that cannot be read.
    """
    parser, commands = command_parsers()
    arguments, unknown = parser.parse_known_args(argv)
    if unknown:  # said by the command, whose --help lists its options
        commands[arguments.command].error(f"unrecognized arguments: {' '.join(unknown)}")
    name = f"pnpfusion {arguments.command}"
    try:
        with warnings_in_one_line():
            return int(arguments.start(arguments))
    except CommandError as error:
        say(f"{name}: error: {error}")
        return error.code
    except KeyboardInterrupt:
        say(f"{name}: interrupted before anything was computed; nothing is kept.")
        return INTERRUPTED
