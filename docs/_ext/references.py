"""The bibliography as a page, and keys such as [HNW93, II.1] as links to it, anywhere."""

import re
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.parsers.rst import Directive
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform

FILE = Path(__file__).resolve().parent.parent / "references.bib"
ENTRY = re.compile(r"^@\w+\{(\w+), (.*)\}$", re.MULTILINE)
FIELD = re.compile(r"(\w+) = \{((?:[^{}]|\{[^{}]*\})*)\}")
LETTERS = {r"{\o}": "ø", r"\'e": "é", "---": "—", "--": "–", "{": "", "}": ""}


def entries() -> dict[str, dict[str, str]]:
    """The fields of every entry, by its key."""
    found = {}
    for key, body in ENTRY.findall(FILE.read_text(encoding="utf-8")):
        found[key] = dict(FIELD.findall(body))
        for field, text in found[key].items():
            for latex, letter in LETTERS.items():
                text = text.replace(latex, letter)
            found[key][field] = text.replace(" and ", ", ") if field == "author" else text
    return found


def address(entry: dict[str, str]) -> str | None:
    """Where an entry can be read."""
    if "doi" in entry:
        return f"https://doi.org/{entry['doi']}"
    return f"https://arxiv.org/abs/{entry['eprint']}" if "eprint" in entry else entry.get("url")


class Bibliography(Directive):
    """``.. bibliography::``, all entries by their keys."""

    def run(self) -> list[nodes.Node]:
        """A definition list; each key is the target of its links."""
        env = self.state.document.settings.env
        env.note_dependency(str(FILE))
        domain, page, rows = env.domains["std"], env.docname, nodes.definition_list()
        for key, entry in sorted(entries().items()):
            label = f"source-{key.lower()}"
            domain.anonlabels[label] = page, label
            text = nodes.paragraph("", f"{entry['author']}, ", nodes.emphasis("", entry["title"]))
            where = ("journal", "booktitle", "series", "volume", "pages", "edition", "publisher")
            about = [entry[field] for field in (*where, "year", "note") if field in entry]
            text += nodes.Text(f", {', '.join(about)}. ")
            if link := address(entry):
                text += nodes.reference("", link.partition("//")[2], refuri=link)
            term = nodes.term("", key, ids=[label])
            rows += nodes.definition_list_item("", term, nodes.definition("", text))
        return [rows]


class LinkKeys(SphinxTransform):
    """Make every ``[KEY]`` and ``[KEY, where]`` of running text a link to its entry."""

    default_priority = 400
    KEYS = re.compile(rf"\[((?:{'|'.join(sorted(entries(), reverse=True))})(?:, [^\]\n]+)?)\]")

    def apply(self, **_: Any) -> None:
        """Called by Sphinx for every page."""
        for text in list(self.document.findall(nodes.Text)):
            inside = (nodes.literal, nodes.literal_block, nodes.reference, pending_xref, nodes.raw)
            parts = self.KEYS.split(text.astext())
            if len(parts) == 1 or isinstance(text.parent, inside):
                continue
            made: list[nodes.Node] = []
            for place, part in enumerate(parts):
                if place % 2 == 0:
                    made.append(nodes.Text(part))
                    continue
                label = f"source-{re.split(r'[, ]', part)[0].lower()}"
                link = pending_xref("", nodes.inline("", f"[{part}]"), refdomain="std")
                link.attributes.update(reftype="ref", reftarget=label, refexplicit=True)
                link.attributes.update(refwarn=True, refdoc=self.env.docname)
                made.append(link)
            text.parent.replace(text, made)


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.add_directive("bibliography", Bibliography)
    app.add_transform(LinkKeys)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
