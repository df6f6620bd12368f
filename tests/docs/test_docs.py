"""The documents: what they link to is there, their code runs, and their commands are understood."""

import re
import shlex
from doctest import DocTestFinder
from importlib import import_module
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
import pytest
import torch

from pnpfusion.cli.command_line import command_parsers
from tests.docs import documents
from tests.source_tree import ROOT, source_files

DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCED = re.compile(r"^( *)(```|~~~).*?\n(.*?)^\1\2 *$", re.MULTILINE | re.DOTALL)
LINKS = re.compile(r"\]\(\s*<?([^\s)>]+)|(?:src|href)=[\"']([^\"']+)|^\[[^\]]+\]: *(\S+)", re.M)


def name_of(page: Path) -> str:
    """A page's path from the root."""
    return page.relative_to(ROOT).as_posix()


def code_of(page: Path) -> list[documents.Block]:
    """The blocks of a page that can be run."""
    kinds = ("python", "pycon", "console")
    return [block for block in documents.blocks(page) if block.kind in kinds]


def links(document: Path) -> set[str]:
    """Where a document's links and pictures point, but for code and for other sites."""
    prose = re.sub(r"`[^`\n]*`", "", FENCED.sub("", document.read_text(encoding="utf-8")))
    found = {next(filter(None, groups)) for groups in LINKS.findall(prose)}
    return {link for link in found if not re.match(r"[a-z]+:", link)}


MADE_WITH_THE_SITE = {"lab.html"}  # by docs/_ext/lab.py


def headings(document: Path) -> set[str]:
    """The anchors of a document's headings."""
    prose = FENCED.sub("", document.read_text(encoding="utf-8"))
    titles = re.findall(r"^#+ +(.*?) *$", prose, re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_links_and_pictures_are_there(document: Path) -> None:
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    made = [ROOT / line for line in ignored if line.endswith("/")]  # absent from a fresh clone
    broken = []
    for link in links(document):
        path, _, anchor = link.partition("#")
        target = (document.parent / path).resolve() if path else document
        there = target.exists() and not any(target.is_relative_to(folder) for folder in made)
        there |= link in MADE_WITH_THE_SITE
        if not there or (anchor and target.suffix == ".md" and anchor not in headings(target)):
            broken.append(link)
    assert not broken, f"{document.name} points to what is not there: {broken}"


#: A word that stands where a figure is to be filled in.
PLACEHOLDER = re.compile(r"\b(?:TODO|TBD|FIXME|XXX)\b|^\|.*\| *[A-Z]{4,}\d* *\|$", re.M)


def test_the_page_of_tortures_has_all_its_figures_and_names_tests_by_their_paths() -> None:
    text = (ROOT / "docs" / "torture.md").read_text(encoding="utf-8")
    assert not PLACEHOLDER.findall(text)
    named = re.findall(r"`([\w/]*test_\w+\.py)`", text)
    assert named
    assert not [name for name in named if not (ROOT / name).is_file()]


@pytest.mark.parametrize("row", ["| a | `b` | CELLS7 |", "| a | `b` | SOAK |", "TODO: fill in"])
def test_a_placeholder_is_found(row: str) -> None:
    assert PLACEHOLDER.findall(f"| what | how |\n{row}\n")


def test_the_commands_of_the_readme_are_in_the_makefile() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):(?!=)", makefile, re.M))
    code = "\n".join(block for _, _, block in FENCED.findall(readme))
    lines = re.findall(r"^ *(?:\$ )?make((?: +[^\s#]+)+)", code, re.M)
    named = {word for line in lines for word in line.split() if re.fullmatch(r"[a-z-]+", word)}
    assert named, "README.md names no make command in a fenced block; wanted `make demo` at least"
    assert named <= targets, f"README.md names {sorted(named - targets)}, Makefile has {targets}"


def claims_of_the_readme(names: dict[str, Any], printed: str, folder: Path) -> None:
    at_rest = names["rest"].final, names["path"].final, names["rounds"].final
    for one in at_rest[1:]:
        assert (one - at_rest[0]).abs().max() < 1e-6
    assert "the end time was reached" in printed


def claims_of_the_page_on_data(names: dict[str, Any], printed: str, folder: Path) -> None:
    assert names["clips"].task == "labels"
    assert names["clips"].dims == {"audio": 2, "motion": 1}
    wanted = ["clips.csv", "clips.npz", "clips.safetensors"]
    assert sorted(path.name for path in folder.iterdir()) == wanted


#: What must hold after a page's code has run, beyond that it does.
CLAIMS = {"README.md": claims_of_the_readme, "docs/data.md": claims_of_the_page_on_data}


@pytest.mark.parametrize("page", [page for page in documents.PAGES if code_of(page)], ids=name_of)
def test_the_code_of_a_page_runs_as_it_stands(
    page: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    matplotlib.use("Agg")
    torch.manual_seed(0)
    threads = torch.get_num_threads()
    try:
        names = documents.run(page)
    finally:
        plt.close("all")
        torch.set_num_threads(threads)
    if claims := CLAIMS.get(name_of(page)):
        claims(names, capsys.readouterr().out, tmp_path)


@pytest.mark.parametrize(
    "page", [page for page in documents.PAGES if documents.commands(page)], ids=name_of
)
def test_the_command_understands_what_a_page_tells_it(page: Path) -> None:
    parser, _ = command_parsers()
    for words in documents.commands(page):
        told = f"{name_of(page)} has `pnpfusion {shlex.join(words)}`"
        try:
            _, unknown = parser.parse_known_args(words)
        except SystemExit as stop:
            if stop.code:
                pytest.fail(told)
            continue  # --help
        assert not unknown, told


@pytest.mark.parametrize(
    "module",
    [
        file.removesuffix("/__init__.py").removesuffix(".py").replace("/", ".")
        for file, path in source_files().items()
        if ">>> " in path.read_text(encoding="utf-8")
    ],
)
def test_sessions_in_docstrings_answer_as_they_say(module: str) -> None:
    found = [one for one in DocTestFinder().find(import_module(module)) if one.examples]
    assert found
    for one in found:
        documents.check_session(one.docstring or "", dict(one.globs), one.name)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("python", "assert 1 + 1 == 3\n"),
        ("python", "# not run:\nassert 1 + 1 == 3\n"),  # without a reason
        ("python", "# not run: it is no Python\n1 +\n"),
        ("pycon", ">>> 1 + 1\n3\n"),
        ("pycon", ">>> import warnings; warnings.warn('told of', stacklevel=1)\n"),
        ("pycon", ">>> int('a')\nTraceback (most recent call last):\nValueError: other words\n"),
        ("pycon", ">>> 1 + 1\nTraceback (most recent call last):\nValueError: none\n"),
        ("console", "$ pnpfusion simulate --data none.csv\npnpfusion simulate: all is well.\n"),
    ],
)
def test_a_page_that_is_wrong_is_found(kind: str, text: str, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"# Page\n\n```{kind}\n{text}```\n")
    with pytest.raises((AssertionError, SyntaxError)):
        documents.run(page)


@pytest.mark.parametrize("page", documents.PAGES, ids=name_of)
def test_no_code_hides_behind_another_name(page: Path) -> None:
    kinds = {block.kind for block in documents.blocks(page)}
    assert not kinds & {"py", "python3", "Python", "ipython", "doctest"}, "write python or pycon"


def test_every_script_stands_on_the_page_of_numbers() -> None:
    pages = [ROOT / "docs" / name for name in ("numbers.md", "performance.md")]
    told = "\n".join(page.read_text(encoding="utf-8") for page in pages)
    named = set(re.findall(r"-m ((?:benchmarks|docs)\.\w+)", told))
    rooms = [ROOT / "benchmarks", ROOT / "docs"]
    files = [*rooms[0].glob("*.py"), *(f for room in rooms for f in room.glob("*/__main__.py"))]
    scripts = {
        name_of(path).removesuffix(".py").removesuffix("/__main__").replace("/", ".")
        for path in files
        if "\nif __name__ ==" in path.read_text(encoding="utf-8")
    }
    assert named == scripts
