"""What is kept of finished cases, in files of one format: parts of a sweep, and its result.

A safetensors file whose metadata have one key, ``pnpfusion_sweep``, with a JSON object: ``format``
(1), ``version`` (of the package), ``names`` (of the cases, in order), ``cases`` (their parameters),
``rows`` (how each ended, in numbers and words), ``digests`` (of each tensor) and ``digest`` (of the
object itself). The tensors of a case are called ``<name of the case>.<what>``. Nothing in the file
is executed, and it depends on nothing but the cases: no time of day, no number of processes.
"""

from __future__ import annotations

import json
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

import pnpfusion
from pnpfusion.sealed_file import DamagedFile, digest, parsed, seal, write_tensors
from pnpfusion.solvers.faq import Faq
from pnpfusion.sweeps.cases import Case, name_of

KEY, FORMAT = "pnpfusion_sweep", 1
Row = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Record:
    """One finished case."""

    case: Case
    row: Row  #: how it ended: numbers, words, None
    tensors: Mapping[str, Tensor]


@dataclass(frozen=True, eq=False)
class Header:
    """What a file says about itself."""

    names: tuple[str, ...]
    cases: tuple[Case, ...]
    rows: tuple[Row, ...]
    digests: Mapping[str, str]  #: of tensors, by their names in the file


def write(path: Path, records: Sequence[Record]) -> None:
    """Write records in this order, as a whole or not at all. A case that comes twice is kept once.

    Raises:
        OSError: the disk is full, or the folder may not be written to.
    """
    names = [name_of(record.case) for record in records]
    header = {
        "format": FORMAT,
        "version": pnpfusion.__version__,
        "names": names,
        "cases": [record.case for record in records],
        "rows": [record.row for record in records],
    }
    tensors = {
        f"{name}.{what}": values
        for name, record in zip(names, records, strict=True)
        for what, values in record.tensors.items()
    }
    header["digests"] = {name: _digest(values) for name, values in tensors.items()}
    header["digest"] = seal(header, {})
    write_tensors(path, tensors, KEY, json.dumps(header, allow_nan=False))


def read_header(path: Path) -> Header:
    """What a file holds, without its tensors.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no file of a sweep, is damaged, or is of a newer format.
    """
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}.")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
        if KEY not in metadata:
            raise DamagedFile(f"its metadata have no entry `{KEY}`")
        header = parsed(metadata[KEY])
        if header["format"] != FORMAT:
            raise ValueError(
                f"{path} has format {header['format']!r}, this version of pnpfusion reads format "
                f"{FORMAT}; it was written by pnpfusion {header.get('version')}"
                f" {Faq.OTHER_VERSION}."
            )
        if "digest" in header and header["digest"] != seal(header, {}):
            raise DamagedFile("its header is not what was written")
        names, cases, rows = (tuple(header[what]) for what in ("names", "cases", "rows"))
        return Header(names, cases, rows, header.get("digests", {}))
    except (SafetensorError, DamagedFile, KeyError, TypeError, OSError) as error:
        raise ValueError(
            f"{path} is not a file of a sweep, or is damaged: {error} {Faq.DAMAGED_FILE}."
        ) from None


def tensor_of(file: Any, key: str, path: Path, digests: Mapping[str, str]) -> Tensor:
    """A tensor of an open file.

    Raises:
        ValueError: it is not what was written.
    """
    values: Tensor = file.get_tensor(key)
    if key in digests and digests[key] != _digest(values):
        raise ValueError(f"{path} is damaged: {key} is not what was written {Faq.DAMAGED_FILE}.")
    return values


def columns_of(path: Path, names: Container[str]) -> set[str]:
    """What the records of these names have, of those that the file holds: numbers and tensors."""
    from safetensors import safe_open

    header = read_header(path)
    held = zip(header.names, header.rows, strict=True)
    found = {what for name, row in held if name in names for what in row}
    with safe_open(path, framework="pt") as file:
        keys = [key.partition(".") for key in file.keys()]  # noqa: SIM118
    return found | {what for name, _, what in keys if name in names}


def read(path: Path, names: Sequence[str]) -> dict[str, Record]:
    """The records of these names, of those that the file holds."""
    from safetensors import safe_open

    header = read_header(path)
    wanted, tensors = set(names), dict[str, dict[str, Tensor]]()
    with safe_open(path, framework="pt") as file:
        for key in file.keys():  # noqa: SIM118
            name, _, what = key.partition(".")
            if name in wanted:
                tensors.setdefault(name, {})[what] = tensor_of(file, key, path, header.digests)
    return {
        name: Record(case, row, tensors.get(name, {}))
        for name, case, row in zip(header.names, header.cases, header.rows, strict=True)
        if name in wanted
    }


def _digest(values: Tensor) -> str:
    """Long enough to see damage by."""
    return digest({"": values}, "")[:16]
