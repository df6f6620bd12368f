"""The lab, a page that stands by itself, beside the pages of Sphinx."""

from sphinx.application import Sphinx

import pnpfusion as pf


def write(app: Sphinx, error: Exception | None) -> None:
    """Write ``lab.html`` into the site."""
    if error is None:
        (app.outdir / "lab.html").write_text(pf.visualize.lab_page(), encoding="utf-8")


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.connect("build-finished", write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
