"""What `--help` prints, command by command, from the parsers themselves."""

import os
from contextlib import redirect_stdout, suppress
from io import StringIO

from docutils import nodes
from docutils.parsers.rst import Directive
from sphinx.application import Sphinx

from pnpfusion.cli.command_line import COMMANDS, main


def help_of(*words: str) -> str:
    """What ``pnpfusion WORDS --help`` prints on a terminal of 88 columns."""
    os.environ["COLUMNS"] = "88"
    with redirect_stdout(StringIO()) as printed, suppress(SystemExit):
        main([*words, "--help"])
    return printed.getvalue()


class CommandLine(Directive):
    """``.. command-line::``, the help of `pnpfusion` and of each of its commands."""

    def run(self) -> list[nodes.Node]:
        """One section a command."""
        parts: list[nodes.Node] = [nodes.literal_block("", help_of(), language="none")]
        for name in (command.__name__.rpartition(".")[2] for command in COMMANDS):
            section = nodes.section("", nodes.title("", f"pnpfusion {name}"), ids=[name])
            section += nodes.literal_block("", help_of(name), language="none")
            parts.append(section)
        return parts


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.add_directive("command-line", CommandLine)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
