"""Cells of tables that hold a number: such a cell stays on one line."""

import re
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform

NUMBER = re.compile(r"[<>≤≥~]?\s*[-−+]?[\d.,]+(e[-−+]?\d+)?[^A-Za-z]{0,16}[a-zµ%×]{0,3}")


class MarkNumbers(SphinxTransform):
    """Give them the class "number", which the style sheet knows."""

    default_priority = 500

    def apply(self, **_: Any) -> None:
        """Called by Sphinx for every page."""
        for cell in self.document.findall(nodes.entry):
            if NUMBER.fullmatch(cell.astext().strip()):
                cell["classes"].append("number")


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.add_transform(MarkNumbers)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
