"""One command in several processes: a step goes well in all of them, or one says why not."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from pnpfusion.cli.messages import CommandError
from pnpfusion.sweeps.crew import Crew

T = TypeVar("T")


def in_all(crew: Crew, step: Callable[[], T]) -> T:
    """What a step returns once it went well in all processes; if not, the first one says why.

    Raises:
        CommandError: in the first process in which it failed.
        SystemExit: in the others.
    """
    try:
        found = step()
    except CommandError as error:
        if any(crew.meet(error.code)[: crew.rank]):
            raise SystemExit(error.code) from error
        raise
    if failed := max(crew.meet()):
        raise SystemExit(failed)
    return found
