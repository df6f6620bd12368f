"""How a command speaks when something is wrong: in one line, with an exit code."""

from __future__ import annotations

import logging
import re
import sys
import textwrap
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

#: Exit codes beside 0: a run that failed, bad input, Ctrl-C, SIGTERM.
FAILED, BAD_INPUT, INTERRUPTED, TERMINATED = 1, 2, 130, 143

#: What torch says of tensors that are too large for memory, or for any number.
NO_MEMORY = re.compile("allocate memory|out of memory|calculation overflow|multiplication overflow")


class CommandError(Exception):
    """Ends a command with one line and an exit code."""

    def __init__(self, message: str, code: int = BAD_INPUT) -> None:
        super().__init__(message)
        self.code = code


@contextmanager
def errors_end_the_command(code: int = BAD_INPUT) -> Iterator[None]:
    """What the library raises at bad input, as a :class:`CommandError`.

    Only around code that reads what the user gave: elsewhere a ValueError is a bug, and its
    traceback is wanted.
    """
    try:
        yield
    except (ValueError, OSError, ImportError) as error:
        raise CommandError(str(error), code) from error
    except (MemoryError, RuntimeError) as error:
        if not (isinstance(error, MemoryError) or NO_MEMORY.search(str(error))):
            raise
        from pnpfusion.solvers.faq import Faq

        told = f" ({error})" if str(error) else ""
        raise CommandError(
            f"this machine's memory is too small for what was asked{told}; ask for less "
            f"{Faq.OUT_OF_MEMORY}.",
            code,
        ) from error


@contextmanager
def warnings_in_one_line() -> Iterator[None]:
    """Show each warning as ``warning: ...`` on standard error, without file and line."""

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        say(f"warning: {message}")

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield


def say(message: str) -> None:
    """One line on standard error, whatever line breaks the message has."""
    print(" ".join(message.split()), file=sys.stderr)


def paragraph(text: str) -> str:
    """The text in lines that a screen holds."""
    return textwrap.fill(text, 96, subsequent_indent="  ")


def quieten() -> None:
    """Print nothing of what the library says of itself, such as that it compiles."""
    logging.getLogger("pnpfusion").setLevel(logging.ERROR)
