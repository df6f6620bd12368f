"""Bad input of every kind, to the library, in files and typed: each ends in an error in words.

The error is raised on purpose by this package, of a kind that says that input was wrong, and names
what was got; a command ends with exit code 2 and one line.
"""

from __future__ import annotations

import contextlib
import io
import re
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from tests.torture import bad_calls, bad_commands, bad_files
from tests.torture.errors import why_not_ours
from tests.torture.options import options
from tests.torture.report import Report

Try = Callable[[Path], str]  #: in a folder of its own; what is wrong with the answer, if anything


def main(arguments: Sequence[str] | None = None) -> int:
    """Try all; the exit code."""
    given = options("bad_input", __doc__, arguments, count=len(tries()))
    report = Report("bad_input", given.seed)
    for case in given.cases:
        title, one = tries()[case]
        if why := attempt(one):
            report.failed(case, f"{title}: {why}")
        else:
            report.passed(title.partition(":")[0])
    return report.close()


def tries() -> list[tuple[str, Try]]:
    """All bad input, by what it is."""
    calls = [
        (f"calls: {name}", lambda _, call=call, words=words: _called(call, words))
        for name, (call, words) in bad_calls.ALL.items()
    ]
    files = [
        (f"files: {name}", lambda folder, read=read, words=words: _called(read, words, folder))
        for name, (read, words) in bad_files.FILES.items()
    ]
    typed = [
        (f"commands: {name}", lambda folder, one=one, words=words: _typed(one, words, folder))
        for name, (one, words) in bad_commands.COMMANDS.items()
    ]
    return [*calls, *files, *typed]


def attempt(one: Try) -> str:
    """What is wrong with the answer to one, if anything."""
    with tempfile.TemporaryDirectory() as place, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return one(Path(place))


def _called(call: Callable[..., object], words: str, *given: Path) -> str:
    try:
        found = call(*given)
    except Exception as error:
        return why_not_ours(error) or _lacks(words, str(error))
    return f"it went well: {found!r:.100}"


def _typed(line: str, words: str, folder: Path) -> str:
    from pnpfusion.cli import main as command

    bad_commands.furnish(folder)
    told = io.StringIO()
    try:
        with contextlib.chdir(folder), contextlib.redirect_stderr(told), _silence():
            code = command(line.split())
    except SystemExit as stop:
        code = stop.code  # type: ignore[assignment]
    except Exception as error:
        return f"a traceback of {type(error).__name__}: {str(error)[:200]}"
    said = [one for one in told.getvalue().splitlines() if not one.startswith("warning:")]
    if code != 2 or len(said) != 1:
        return f"exit code {code} and {len(said)} lines: {' | '.join(said)[:300]}"
    left = [path.name for path in folder.rglob("*") if path.name.startswith((".", "runs"))]
    return _lacks(words, said[0]) or (f"it left {left}" if left else "")


def _lacks(words: str, told: str) -> str:
    if re.search(words, told):
        return ""
    return f"wanted {words!r} in {told[:300]!r}"


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    with contextlib.redirect_stdout(io.StringIO()):
        yield


if __name__ == "__main__":
    sys.exit(main())
