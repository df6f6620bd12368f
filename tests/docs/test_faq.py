"""Errors lead to docs/faq.md, and every entry there quotes what the program really says.

That the answers on the page are those of the program, tests/docs/test_docs.py sees to.
"""

import re

import pytest

import pnpfusion as pf
from pnpfusion.data import known_sets
from pnpfusion.solvers.faq import Faq
from tests.docs import documents
from tests.source_tree import ROOT, source_files

PAGE = ROOT / "docs" / "faq.md"
TEXT = PAGE.read_text(encoding="utf-8")


def slug(title: str) -> str:
    """The anchor that Git hosts and Sphinx both make of a heading of plain words."""
    assert re.fullmatch(r"[A-Za-z ]+", title), f"{title!r}: its anchor would depend on the host"
    return title.lower().replace(" ", "-")


def entries() -> dict[str, str]:
    """The text of each entry, by its anchor."""
    parts = re.split(r"^## +(.*?) *$", TEXT, flags=re.MULTILINE)
    return {slug(title): text for title, text in zip(parts[1::2], parts[2::2], strict=True)}


def told_in(anchor: str) -> set[str]:
    """The addresses in what an entry shows as said by the program."""
    shown = re.findall(r"^```(?:pycon|console|text)\n(.*?)^```", entries()[anchor], re.M | re.S)
    return set(re.findall(r"\(docs/faq\.md#([\w-]+)\)", "\n".join(shown)))


def test_headings_are_anchors_and_no_two_are_the_same():
    titles = re.findall(r"^## +(.*?) *$", TEXT, re.MULTILINE)
    assert len({slug(title) for title in titles}) == len(titles)


@pytest.mark.parametrize("entry", Faq, ids=lambda entry: entry.value)
def test_every_address_has_an_entry_that_quotes_an_error_with_it(entry: Faq):
    assert str(entry) == f"(docs/faq.md#{entry.value})"
    assert entry.value in entries(), f"docs/faq.md has no heading for {entry}"
    assert entry.value in told_in(entry.value)


@pytest.mark.parametrize("entry", Faq, ids=lambda entry: entry.name)
def test_every_address_is_used(entry: Faq):
    sources = [
        path.read_text(encoding="utf-8")
        for name, path in source_files().items()
        if name != "pnpfusion/solvers/faq.py"  # where they are made
    ]
    assert len(sources) == len(source_files()) - 1
    assert any(f"Faq.{entry.name}" in source for source in sources)


@pytest.mark.parametrize("outcome", pf.Outcome)
def test_every_outcome_that_is_no_success_leads_to_its_entry(outcome: pf.Outcome):
    addresses = re.findall(r"\(docs/faq\.md#([\w-]+)\)$", outcome.value)
    assert len(addresses) == (0 if outcome.is_success else 1)
    if addresses:
        assert addresses == [outcome.name.lower().replace("_", "-")]
        assert addresses[0] in entries()


def shown(word: str) -> str:
    """What the page shows as text, not as a session, in its one block with ``word``, in a line."""
    (block,) = (one for one in documents.blocks(PAGE) if one.kind == "text" and word in one.text)
    return " ".join(block.text.split())


def test_what_is_said_of_a_missing_package(monkeypatch: pytest.MonkeyPatch):
    def absent(name: str) -> None:
        raise known_sets.PackageNotFoundError(name)

    monkeypatch.setattr(known_sets, "distribution", absent)
    with pytest.raises(ImportError) as caught:
        pf.data.htad()
    assert str(caught.value) == shown("multiviewstacking")


def test_what_is_said_of_a_file_larger_than_the_memory(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("pnpfusion.data.reading._memory", lambda: 16 * 2**30)
    with pytest.raises(ValueError, match="more than this machine's memory") as caught:
        pf.data.reading.fits("clips.npz", 64 * 2**30, 64 * 2**30)
    assert str(caught.value) == shown("clips.npz")


def test_what_is_said_while_a_kernel_is_compiled():
    source = (ROOT / "solvers" / "kernels" / "cache.py").read_text(encoding="utf-8")
    assert shown("compiling").replace("esdirk_lanes", "%s") in source
    assert "def esdirk_lanes(" in (ROOT / "solvers/kernels/lanes/esdirk.py").read_text()
