"""Shapes in docstrings, such as (T, *batch, species): a star there starts no emphasis."""

import re
from typing import Any

from sphinx.application import Sphinx

CODE = re.compile(r"(``.*?``|`[^`]*`)")
STAR = re.compile(r"(?<=[(, ])\*(?=[a-z])")


def plain_stars(
    app: Sphinx, kind: str, name: str, what: Any, options: Any, lines: list[str]
) -> None:
    """Escape the stars of a docstring that stand in no code."""
    for number, line in enumerate(lines):
        parts = CODE.split(line)
        parts[::2] = [STAR.sub(r"\\*", part) for part in parts[::2]]
        lines[number] = "".join(parts)


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.connect("autodoc-process-docstring", plain_stars)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
