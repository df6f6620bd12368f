"""The finished site loads nothing from the net and links to no page or anchor that is missing."""

import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

from sphinx.application import Sphinx
from sphinx.errors import ExtensionError

LOADS = {
    "src",
    "srcset",
    "poster",
    "data",
    "action",
}  #: what a browser follows by itself
CSS = re.compile(r"(?:@import\s*|url\()[\"']?\s*((?:https?:)?//[^\"')\s]+)")


class Page(HTMLParser):
    """What a page loads by itself, where its links lead, and the anchors that it has."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loads: list[str] = CSS.findall(text)
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Called for every tag."""
        for name, value in attrs:
            if name in ("id", "name") and value:
                self.anchors.add(value)
            elif name == "href" and value and tag == "a":
                self.links.append(value)
            elif value and (name in LOADS or (name == "href" and tag in ("link", "image", "use"))):
                self.loads += [part.split()[0] for part in value.split(", ")]


def complaints(site: Path) -> list[str]:
    """What is wrong with a site, a line for each fault."""
    pages = {p: Page(p.read_text(encoding="utf-8")) for p in sorted(site.rglob("*.html"))}
    found = []
    for style in sorted(site.rglob("*.css")):
        remote = CSS.findall(style.read_text(encoding="utf-8"))
        found += [f"{style.relative_to(site)} loads {link}" for link in remote]
    for path, page in pages.items():
        name = path.relative_to(site)
        for link in page.loads + page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                if link in page.loads and parts.scheme != "data":
                    found.append(f"{name} loads {link}")
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not target.exists():
                found.append(f"{name} points to {link}, which is not there")
            elif parts.fragment and unquote(parts.fragment) not in pages[target].anchors:
                found.append(f"{name} points to {link}, an anchor that is not there")
    return found


def check(app: Sphinx, error: Exception | None) -> None:
    """Fail the build with all that is wrong."""
    if error is None and app.builder.name == "html" and (found := complaints(Path(app.outdir))):
        raise ExtensionError("\n".join([f"{len(found)} faults in the finished site:", *found]))


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.connect("build-finished", check, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
