"""On what a measurement was made."""

from __future__ import annotations

import datetime
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = ("torch", "numpy", "scipy", "numba", "llvmlite")


def machine() -> dict[str, Any]:
    """CPU, cores, versions, the day and the load."""
    return {
        "cpu": cpu(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "packages": {name: installed(name) for name in PACKAGES},
        "date": datetime.date.today().isoformat(),
        "load": round(os.getloadavg()[0], 1),
    }


def cpu() -> str:
    """The model, as Linux names it, with the widest vectors."""
    path = Path("/proc/cpuinfo")
    if not path.exists():
        return platform.processor() or "unknown"
    lines = dict(
        line.split(":", 1) for line in path.read_text(encoding="utf-8").splitlines() if ":" in line
    )
    facts = {key.strip(): value.strip() for key, value in lines.items()}
    wide = next((w for w in ("avx512f", "avx2") if w in facts.get("flags", "").split()), "")
    family = f"family {facts.get('cpu family', '?')} model {facts.get('model', '?')}"
    return ", ".join(filter(None, [facts.get("model name", "unknown"), family, wide]))


def installed(name: str) -> str | None:
    """A package's version, None where it is not there."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None
