"""Tables as text: for a screen, and in Markdown."""

from __future__ import annotations

from collections.abc import Sequence


def aligned(lines: Sequence[Sequence[str]]) -> str:
    """Cells in columns as wide as they must be, the first flush left, the others flush right."""
    first, *others = zip(*lines, strict=True)
    sides = [[cell.ljust(_width(first)) for cell in first]]
    sides += [[cell.rjust(_width(column) + 2) for cell in column] for column in others]
    return "\n".join("".join(line).rstrip() for line in zip(*sides, strict=True))


def markdown(head: Sequence[str], lines: Sequence[Sequence[str]], *, padded: bool = False) -> str:
    """The same under a head in Markdown; ``padded`` where people read it as it stands."""
    table = [head, *lines]
    rule = ["---"] * len(head)
    if padded:
        widths = [_width(column) for column in zip(*table, strict=True)]
        rule = ["-" * (width + 2) for width in widths]
        table = [[c.ljust(w) for c, w in zip(line, widths, strict=True)] for line in table]
    text = [f"| {' | '.join(line)} |" for line in table]
    return "\n".join([text[0], f"|{'|'.join(rule)}|", *text[1:]])


def _width(column: Sequence[str]) -> int:
    return max(map(len, column))
