"""A file for each finished cell, whole or not there, that says itself when it is damaged."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pnpfusion.comparison.plan import Cell
from pnpfusion.files import json_bytes, read_json, write_whole

CELLS = "cells"  #: their folder
FORMAT = 1


@dataclass(frozen=True, eq=False)
class Task:
    """A cell, and what its result depends on."""

    cell: Cell
    identity: Mapping[str, Any]

    @property
    def file(self) -> str:
        """The name of its file: for people, and a digest that tells it from all others."""
        cell = self.cell
        words = f"{cell.data}.{cell.model}.seed{cell.seed}.fold{cell.fold}"
        slug = re.sub(r"[^A-Za-z0-9.+=-]+", "_", words)[:80].lstrip(".")
        text = json.dumps([FORMAT, self.identity], sort_keys=True)
        return f"{slug}.{hashlib.sha256(text.encode()).hexdigest()[:16]}.json"


def write_record(folder: Path, task: Task, found: Mapping[str, Any]) -> None:
    """Keep what a cell found.

    Raises:
        OSError: the disk is full, or the folder may not be written to.
    """
    told = {"identity": dict(task.identity), "found": dict(found)}
    content = {"format": FORMAT, "digest": _digest(told), **told}
    write_whole(folder / CELLS / task.file, json_bytes(content))


def read_record(folder: Path, task: Task) -> dict[str, Any] | None:
    """What a cell found; None if there is no file of it, or a damaged one."""
    try:
        told = read_json(folder / CELLS / task.file)
        content = {"identity": told["identity"], "found": told["found"]}
        whole = told["format"] == FORMAT and told["digest"] == _digest(content)
        found = content["found"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if not whole or content["identity"] != task.identity or not isinstance(found, dict):
        return None
    return found


def _digest(told: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()
