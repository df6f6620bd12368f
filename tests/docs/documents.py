"""The project's pages: their code, run as it stands, in order, one namespace for a page.

Of a fenced block, the word behind the fence says what happens to it: ``python`` is run, ``pycon``
is a session that is run and must answer as it says, ``console`` with output is a command that is
run and must say so. Every line of any block that begins with ``pnpfusion`` is read by the command's
own parser. A block of Python whose first line is ``# not run: REASON`` is only compiled.
"""

from __future__ import annotations

import doctest
import io
import re
import shlex
import traceback
import warnings
from contextlib import redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pnpfusion.cli import main
from tests.source_tree import ROOT

PAGES = [
    ROOT / "README.md",
    *sorted(
        page
        for page in (ROOT / "docs").rglob("*.md")
        if not any(part.startswith("_") for part in page.relative_to(ROOT).parts)
    ),
]
FENCE = re.compile(r"^( *)(`{3,}|~{3,})([^\n`]*)\n(.*?)^\1\2 *$", re.MULTILINE | re.DOTALL)
NOT_RUN = re.compile(r"# not run: \S+")
AS_SHOWN = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
#: Kinds of blocks for a shell; where output may stand in them, commands begin with a prompt.
SHELLS = {"": "", "bash": "", "sh": "", "shell": "", "console": r"\$ +"}
COMMAND = r"^{}(?:\w+=\S+ +)*(?:torchrun\b.*? -m +)?pnpfusion +(\S.*)$"


@dataclass(frozen=True)
class Block:
    """What stands between two fences."""

    kind: str  #: the word behind the fence; of ``{code-block} python`` the second
    text: str
    line: int  #: of its first line in the page


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page, in order."""
    text = page.read_text(encoding="utf-8")
    found = []
    for match in FENCE.finditer(text):
        words = match[3].split() or [""]
        kind = words[1] if words[0] == "{code-block}" and len(words) > 1 else words[0]
        found.append(Block(kind, match[4], text[: match.start(4)].count("\n") + 1))
    return found


def run(page: Path) -> dict[str, Any]:
    """Run a page's code; returns its names."""
    names: dict[str, Any] = {"__name__": "page"}
    for block in blocks(page):
        where = f"{page.name}, line {block.line}"
        if block.kind == "python":
            code = compile("\n" * (block.line - 1) + block.text, str(page), "exec")
            if not NOT_RUN.match(block.text):
                exec(code, names)
        elif block.kind == "pycon":
            check_session(block.text, names, where)
        elif block.kind == "console":
            check_commands(block.text, where)
    return names


def check_session(text: str, names: dict[str, Any], where: str) -> None:
    """Run what follows ``>>>``, and compare what is printed, warned of and raised."""
    for example in doctest.DocTestParser().get_examples(text):
        printed, raised = _answer(example.source, names)
        wanted, said = example.want, printed + raised
        if example.exc_msg is not None and raised:
            wanted, said = example.exc_msg, raised
        assert doctest.OutputChecker().check_output(wanted, said, AS_SHOWN), (
            f"{where}: after\n{example.source}the page shows\n{wanted}\nbut there is\n{said}"
        )


def _answer(source: str, names: dict[str, Any]) -> tuple[str, str]:
    """What a statement prints, with warnings as ``Category: words``, and what it raises."""
    out, raised = io.StringIO(), ""
    with warnings.catch_warnings(record=True) as heard, redirect_stdout(out):
        warnings.simplefilter("always")
        warnings.filterwarnings("ignore", ".*torch.jit", DeprecationWarning)
        try:
            exec(compile(source, "<session>", "single"), names)
        except BaseException as error:
            raised = "".join(traceback.format_exception_only(error))
    told = "".join(f"{one.category.__name__}: {one.message}\n" for one in heard)
    return out.getvalue() + told, raised


def check_commands(text: str, where: str) -> None:
    """Run each ``$ pnpfusion ...`` that has output below it, and compare."""
    for part in re.split(r"^\$ +", text, flags=re.MULTILINE)[1:]:
        command, _, shown = part.partition("\n")
        if not shown.strip() or not command.startswith("pnpfusion "):
            continue
        out = io.StringIO()
        with redirect_stdout(out), redirect_stderr(out), suppress(SystemExit):
            main(shlex.split(command, comments=True)[1:])
        assert doctest.OutputChecker().check_output(shown, out.getvalue(), AS_SHOWN), (
            f"{where}: after\n{command}\nthe page shows\n{shown}\nbut there is\n{out.getvalue()}"
        )


def commands(page: Path) -> list[list[str]]:
    """The arguments of every ``pnpfusion ...`` in a page's shell blocks; variables are numbers."""
    found = []
    for block in blocks(page):
        if block.kind not in SHELLS:
            continue
        text = re.sub(r"\\\n\s*", " ", block.text)
        text = re.sub(r"\$\{?SLURM_ARRAY_TASK_ID\}?", "0", text)
        text = re.sub(r"\$\{\w+:-(\w+)\}|\$\w+", lambda match: match[1] or "1", text)
        lines = re.findall(COMMAND.format(SHELLS[block.kind]), text, re.MULTILINE)
        found += [shlex.split(line, comments=True) for line in lines]
    return found
