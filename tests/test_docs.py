"""The documents: what they link to is there, and the commands they name exist."""

import re
from pathlib import Path
from typing import Any

import pytest

from tests.source_tree import ROOT

DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCED = re.compile(r"^( *)(```|~~~).*?\n(.*?)^\1\2 *$", re.MULTILINE | re.DOTALL)
LINKS = re.compile(r"\]\(\s*<?([^\s)>]+)|(?:src|href)=[\"']([^\"']+)|^\[[^\]]+\]: *(\S+)", re.M)


def links(document: Path) -> set[str]:
    """Where a document's links and pictures point, but for code and for other sites."""
    prose = re.sub(r"`[^`\n]*`", "", FENCED.sub("", document.read_text(encoding="utf-8")))
    found = {next(filter(None, groups)) for groups in LINKS.findall(prose)}
    return {link for link in found if not re.match(r"[a-z]+:", link)}


def headings(document: Path) -> set[str]:
    """The anchors of a document's headings."""
    prose = FENCED.sub("", document.read_text(encoding="utf-8"))
    titles = re.findall(r"^#+ +(.*?) *$", prose, re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_links_and_pictures_are_there(document: Path) -> None:
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    made = [ROOT / line for line in ignored if line.endswith("/")]  # absent from a fresh clone
    broken = []
    for link in links(document):
        path, _, anchor = link.partition("#")
        target = (document.parent / path).resolve() if path else document
        there = target.exists() and not any(target.is_relative_to(folder) for folder in made)
        if not there or (anchor and target.suffix == ".md" and anchor not in headings(target)):
            broken.append(link)
    assert not broken, f"{document.name} points to what is not there: {broken}"


def test_the_commands_of_the_readme_are_in_the_makefile() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):(?!=)", makefile, re.M))
    code = "\n".join(block for _, _, block in FENCED.findall(readme))
    lines = re.findall(r"^ *(?:\$ )?make((?: +[^\s#]+)+)", code, re.M)
    named = {word for line in lines for word in line.split() if re.fullmatch(r"[a-z-]+", word)}
    assert named, "README.md names no make command in a fenced block; wanted `make demo` at least"
    assert named <= targets, f"README.md names {sorted(named - targets)}, Makefile has {targets}"


def test_the_snippets_of_the_readme_run_as_they_stand(capsys: pytest.CaptureFixture[str]) -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 5
    names: dict[str, Any] = {}
    for block in blocks:
        exec(block, names)
    at_rest = names["rest"].final, names["path"].final, names["rounds"].final
    for one in at_rest[1:]:
        assert (one - at_rest[0]).abs().max() < 1e-6
    assert "the end time was reached" in capsys.readouterr().out


def test_the_snippets_on_data_run_as_they_stand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for block in re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        exec(block, names)
    assert names["clips"].task == "labels"
    assert names["clips"].dims == {"audio": 2, "motion": 1}
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "clips.csv",
        "clips.npz",
        "clips.safetensors",
    ]
