"""Safetensors files that say themselves when they are damaged: tensors, JSON and a digest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pnpfusion.files import whole_file


class DamagedFile(ValueError):
    """A file that is not what was written."""


def pack(path: Path, tensors: Mapping[str, Tensor], header: Mapping[str, Any], key: str) -> None:
    """Write a safetensors file with a JSON header under ``key``, and a digest over both.

    Raises:
        OSError: the disk is full, or the folder may not be written to.
    """
    plain = {name: value.detach().cpu() for name, value in tensors.items()}
    text = json.dumps(header, allow_nan=False)
    write_tensors(path, plain, key, json.dumps({"digest": digest(plain, text), "header": text}))


def unpack(path: Path, key: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What :func:`pack` put into a file.

    Raises:
        FileNotFoundError: there is no such file.
        DamagedFile: it is none of these, or not as it was written.
    """
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}.")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        told = parsed(metadata[key])
        text, wanted = told["header"], told["digest"]
    except (SafetensorError, KeyError, DamagedFile, OSError) as error:
        raise DamagedFile(
            f"{path} is damaged, or none of these files: {type(error).__name__} {error}"
        ) from None
    if not isinstance(text, str) or digest(tensors, text) != wanted:
        raise DamagedFile(f"{path} is damaged: its content is not what was written")
    try:
        return tensors, parsed(text)
    except DamagedFile as error:
        raise DamagedFile(f"{path} is damaged: {error}") from None


def write_tensors(path: Path, tensors: Mapping[str, Tensor], key: str, header: str) -> None:
    """Write tensors and a text under ``key`` as a safetensors file, as a whole or not at all.

    It is what safetensors itself would write, which either makes all of the file in memory or
    leaves a file of any name when it is killed: its header for empty tensors of these names and
    kinds, with their shapes and places put in, then one tensor after the other.

    Raises:
        OSError: the disk is full, or the folder may not be written to.
    """
    from safetensors.torch import save

    empty = {name: torch.empty(0, dtype=value.dtype) for name, value in tensors.items()}
    told = json.loads(save(empty, metadata={key: header})[8:])
    end, names = 0, [name for name in told if name != "__metadata__"]
    for name in names:
        begin, end = end, end + tensors[name].numel() * tensors[name].element_size()
        told[name] |= {"shape": [*tensors[name].shape], "data_offsets": [begin, end]}
    text = json.dumps(told, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    with whole_file(path) as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name in names:
            file.write(bytes_of(tensors[name]))


def parsed(text: str) -> dict[str, Any]:
    """A header.

    Raises:
        DamagedFile: it is no JSON object.
    """
    try:
        header = json.loads(text)
    except (TypeError, ValueError, RecursionError) as error:
        raise DamagedFile(f"its header is no JSON: {error}") from None
    if not isinstance(header, dict):
        raise DamagedFile("its header is no JSON object")
    return header


def seal(header: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
    """A digest over tensors and a header, but for the header's own entry ``digest``."""
    told = {name: value for name, value in header.items() if name != "digest"}
    return digest(tensors, json.dumps(told))


def digest(tensors: Mapping[str, Tensor], text: str) -> str:
    """SHA-256 of names, kinds, shapes and bytes of tensors, and of a text."""
    total = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        value = tensors[name]
        total.update(f"\n{name} {value.dtype} {tuple(value.shape)}\n".encode())
        total.update(bytes_of(value))
    return total.hexdigest()


def bytes_of(values: Tensor) -> memoryview:
    """The bytes of a tensor, in its order; no copy of one that has that order on the CPU."""
    return values.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data
