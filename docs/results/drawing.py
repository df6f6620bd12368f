"""Numbers as the page writes them, and pictures as files."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

from matplotlib.figure import Figure

from pnpfusion.comparison import Interval


def span(one: Interval, digits: int, sign: str = "") -> str:
    """A mean and its interval."""
    text = f"{one.mean:{sign}.{digits}f}"
    if one.low is None or one.high is None:
        return text
    return f"{text} [{one.low:{sign}.{digits}f}, {one.high:{sign}.{digits}f}]"


def draw(figure: Figure, path: Path) -> None:
    """Write a picture; few colours make it small."""
    from PIL import Image

    drawn = BytesIO()
    figure.savefig(drawn, dpi=130)
    Image.open(drawn).convert("RGB").quantize(256).save(path, optimize=True)
