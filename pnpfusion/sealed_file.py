"""Safetensors files that say themselves when they are damaged: tensors, JSON and a digest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor


class DamagedFile(ValueError):
    """A file that is not what was written."""


def pack(tensors: Mapping[str, Tensor], header: Mapping[str, Any], key: str) -> bytes:
    """A safetensors file with a JSON header under ``key``, and a digest over both."""
    from safetensors.torch import save

    plain = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    text = json.dumps(header, allow_nan=False)
    told = json.dumps({"digest": digest(plain, text), "header": text})
    return save(plain, metadata={key: told})  # one entry: safetensors shuffles several


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
        told = json.loads(metadata[key])
        text, wanted = told["header"], told["digest"]
    except (SafetensorError, KeyError, TypeError, ValueError, OSError, RecursionError) as error:
        raise DamagedFile(
            f"{path} is damaged, or none of these files: {type(error).__name__} {error}"
        ) from None
    if not isinstance(text, str) or digest(tensors, text) != wanted:
        raise DamagedFile(f"{path} is damaged: its content is not what was written")
    header = json.loads(text)
    if not isinstance(header, dict):
        raise DamagedFile(f"{path} is damaged: its header is no object")
    return tensors, header


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


def bytes_of(values: Tensor) -> bytes:
    """The bytes of a tensor, in its order."""
    import torch

    flat = values.detach().cpu().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy().tobytes()
