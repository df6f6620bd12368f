"""Links of the Markdown pages to files of the checkout, as links to pages that show the files."""

import html
import posixpath
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.addnodes import download_reference, pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.transforms import SphinxTransform

ROOT = Path(__file__).resolve().parent.parent.parent
LEXERS = {".py": "python", ".json": "json", ".toml": "toml"}
DOCUMENTS = {
    **{"README.md": "index", "CHANGELOG.md": "changelog"},
    **{"docs/references.bib": "references", "docs/how_to": "index"},
}
GALLERIES = {"docs/examples": "gallery", "docs/lessons": "lesson"}  #: scripts with pages


def document_of(path: str, documents: set[str]) -> str | None:
    """The page that is made of a file or folder of the checkout; None if there is none."""
    for folder, pages in GALLERIES.items():
        if path == folder or path.startswith(f"{folder}/"):
            name = pages + path.removeprefix(folder).removesuffix(".py")
            return next((page for page in (name, f"{name}/index") if page in documents), None)
    return DOCUMENTS.get(path)


class LinkSources(SphinxTransform):
    """Turn links to what is no page of its own into links to pages that show it."""

    default_priority = 400

    def apply(self, **_: Any) -> None:
        """Called by Sphinx for every page."""
        here = ROOT / "docs" / Path(self.env.docname).parent
        for kind in (download_reference, pending_xref):
            for link in list(self.document.findall(kind)):
                if link.get("reftype") != "myst" or link["reftarget"] in self.env.found_docs:
                    continue
                target = (here / link["reftarget"]).resolve()
                if link.get("refdomain") == "doc":  # a Markdown file outside of docs
                    target = (ROOT / "docs" / f"{link['reftarget']}.md").resolve()
                if not target.exists() or not target.is_relative_to(ROOT):
                    continue
                path = target.relative_to(ROOT).as_posix()
                page = document_of(path, self.env.found_docs)
                if page is None:
                    page = f"source/{path}"
                    self.env.linked_sources.setdefault(self.env.docname, set()).add(path)
                up = "../" * self.env.docname.count("/")
                reference = nodes.reference("", "", *link.children, refuri=f"{up}{page}.html")
                link.parent.replace(link, reference)


def pages(app: Sphinx) -> Iterator[tuple[str, dict[str, Any], str]]:
    """A page for each linked file, and for each linked folder and the files in it."""
    for path in sorted(set().union(*app.env.linked_sources.values())):
        files = [path]
        if (ROOT / path).is_dir():
            files = [p.relative_to(ROOT).as_posix() for p in sorted((ROOT / path).glob("*.py"))]
            items = (
                f'<li><a href="{posixpath.basename(path)}/{posixpath.basename(one)}.html">'
                f"{posixpath.basename(one)}</a></li>"
                for one in files
            )
            body = f"<h1>{path}/</h1><ul>{''.join(items)}</ul>"
            yield f"source/{path}", {"title": path, "body": body}, "page.html"
        for one in files:
            text = (ROOT / one).read_text(encoding="utf-8")
            lexer = LEXERS.get(Path(one).suffix, "none")
            code = app.builder.highlighter.highlight_block(text, lexer)
            body = f"<h1>{html.escape(one)}</h1>{code}"
            yield f"source/{one}", {"title": one, "body": body}, "page.html"


def start(app: Sphinx, env: BuildEnvironment, docnames: list[str]) -> None:
    """Keep what pages link to in the environment, also between builds."""
    if not hasattr(env, "linked_sources"):
        env.linked_sources = {}
    for name in docnames:
        env.linked_sources.pop(name, None)


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.add_transform(LinkSources)
    app.connect("env-before-read-docs", start)
    app.connect("html-collect-pages", pages)
    return {"parallel_read_safe": False, "parallel_write_safe": True}
