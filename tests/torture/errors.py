"""Whether an error is one of ours: raised on purpose, in words, and not by what we call."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path
from types import TracebackType

from tests.source_tree import ROOT

ROOMS = [ROOT / room for room in ("pnpfusion", "solvers", "visualize")]
#: What may be raised at bad input; ``SystemExit`` is the command line's.
NAMED = (ValueError, TypeError, AttributeError, ImportError, OSError, SystemExit)


def why_not_ours(error: BaseException) -> str:
    """What is wrong with an error as the answer to bad input; empty if nothing is."""
    from pnpfusion.cli.messages import CommandError

    kind = f"{type(error).__name__}: {str(error)[:200]}"
    if not isinstance(error, (*NAMED, CommandError, RuntimeError)):
        return f"{kind} is no error for a user"
    where, line = _raised_at(error.__traceback__)
    if not any(where.is_relative_to(room) for room in ROOMS) or not _raises(where, line):
        return f"{kind} comes out of {where}, line {line}"
    if not isinstance(error, SystemExit) and len(str(error)) < 15:
        return f"{kind} says too little"
    if any(isinstance(one, MemoryError) for one in _behind(error)):
        return f"{kind} was a MemoryError: a size was believed before it was checked"
    return ""


def _behind(error: BaseException) -> list[BaseException]:
    """What an error was raised in the place of."""
    found: list[BaseException] = []
    before = error.__cause__ or error.__context__
    while before is not None and before not in found:
        found.append(before)
        before = before.__cause__ or before.__context__
    return found


def _raised_at(trace: TracebackType | None) -> tuple[Path, int]:
    if trace is None:
        return Path(), 0
    while trace.tb_next is not None:
        trace = trace.tb_next
    return Path(trace.tb_frame.f_code.co_filename).resolve(), trace.tb_lineno


@cache
def _statements(path: Path) -> list[tuple[int, int]]:
    """First and last line of each ``raise`` in a file."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.Raise)]
    return [(node.lineno, node.end_lineno or node.lineno) for node in nodes]


def _raises(path: Path, line: int) -> bool:
    return any(first <= line <= last for first, last in _statements(path))
