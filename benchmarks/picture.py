"""Pictures of the documents as files."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def save(figure: Figure, path: Path, *, colors: int = 256, **how: Any) -> None:
    """Write a picture; few colours make it small. What else is told goes to ``savefig``."""
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    drawn = BytesIO()
    figure.savefig(drawn, dpi=130, **how)
    Image.open(drawn).convert("RGB").quantize(colors).save(path, optimize=True)
