"""Where the code stands on disk, for tests that read it, or run it in a Python of its own."""

import ast
import os
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

#: Each room's name as it is imported, and its folder. ``pnpfusion/solvers`` and
#: ``pnpfusion/visualize`` are links to the other two, and are not followed.
FOLDERS = {
    "pnpfusion": ROOT / "pnpfusion",
    "pnpfusion.solvers": ROOT / "solvers",
    "pnpfusion.visualize": ROOT / "visualize",
}


def environment(**more: str) -> dict[str, str]:
    """That of a Python which imports this checkout, and computes in one thread."""
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **more}


def source_files() -> dict[str, Path]:
    """Every Python file of the library, by the path it has in the wheel."""
    return {
        f"{name.replace('.', '/')}/{path.relative_to(folder).as_posix()}": path
        for name, folder in FOLDERS.items()
        for path in sorted(folder.rglob("*.py"))
        if not any(parent.is_symlink() for parent in path.parents if parent != ROOT)
    }


def parse(path: Path) -> ast.Module:
    """The syntax tree of one file."""
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
