"""Whether files are whole, each by the rules of its kind; a half one never bears its own name."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

from PIL import Image
from safetensors import safe_open


def half_files(folder: Path) -> list[str]:
    """Files under their own names that are not whole, and why."""
    found = []
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.name.startswith(".") and path.suffix in KINDS:
            try:
                KINDS[path.suffix](path)
            except Exception as error:  # whatever its reader says of a broken file
                found.append(f"{path.name} ({type(error).__name__}: {str(error)[:80]})")
    return found


def _safetensors(path: Path) -> None:
    with safe_open(path, framework="pt") as file:
        for name in file.keys():  # noqa: SIM118 - the file itself cannot be iterated
            file.get_tensor(name)


def _picture(path: Path) -> None:
    with Image.open(path) as picture:
        for frame in range(getattr(picture, "n_frames", 1)):
            picture.seek(frame)
            picture.load()
    if path.suffix == ".png" and b"IEND" not in path.read_bytes()[-12:]:
        raise ValueError("it has no end")


def _lines(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    if text and not text.endswith("\n"):
        raise ValueError("its last line has no end")
    if path.suffix == ".jsonl":
        for line in text.splitlines():
            json.loads(line)


def _archive(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        if broken := archive.testzip():
            raise ValueError(f"{broken} is broken")


def _page(path: Path) -> None:
    if not path.read_text(encoding="utf-8").rstrip().endswith("</html>"):
        raise ValueError("it has no end")


#: By the end of its name.
KINDS: dict[str, Callable[[Path], None]] = {
    ".safetensors": _safetensors,
    ".json": lambda path: json.loads(path.read_text(encoding="utf-8")),
    **dict.fromkeys((".png", ".gif"), _picture),
    **dict.fromkeys((".csv", ".md", ".jsonl"), _lines),
    ".npz": _archive,
    ".html": _page,
}
