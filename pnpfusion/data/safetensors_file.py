"""Features from a safetensors file: named tensors and a header of texts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from pnpfusion.data.feature_set import Features
from pnpfusion.data.reading import a_file, fits
from pnpfusion.data.targets import from_arrays
from pnpfusion.solvers.faq import Faq


def from_safetensors(path: str | Path, *, dtype: torch.dtype = torch.float64) -> Features:
    """Features from a ``.safetensors`` file: one tensor per modality, named for it.

    Names and shapes are those of :func:`~pnpfusion.data.from_npz`. What is text stands in the
    file's metadata: ``class_names`` and ``feature_names`` as JSON (a list; a list for each
    modality), ``name``, ``terms`` and ``source`` as they are. A tensor ``split`` holds 0 for
    training, 1 for validation, 2 for test.

    Args:
        path: the file, as ``safetensors.torch.save_file`` writes it.
        dtype: of features and numbers, ``torch.float64`` or ``torch.float32``.

    Raises:
        FileNotFoundError: the file is not there.
        ValueError: no safetensors file, one that is cut short, a saved run, metadata that is
            not what it should be, and as :func:`~pnpfusion.data.from_npz`.
    """
    from safetensors import SafetensorError, safe_open

    path = a_file(path)
    size = path.stat().st_size
    fits(str(path), size, size)
    arrays = {}
    try:
        with safe_open(path, framework="pt") as file:
            about = file.metadata() or {}
            for name in file.keys():  # noqa: SIM118 - the file itself cannot be iterated
                values = file.get_tensor(name)
                short = values.dtype in (torch.bfloat16, torch.float16)
                arrays[name] = (values.float() if short else values).numpy()
    except (SafetensorError, OSError, TypeError) as error:
        raise ValueError(
            f"{path} is no whole safetensors file of numbers ({error}); write it again with "
            f"safetensors.torch.save_file(tensors, path) {Faq.DAMAGED_FILE}."
        ) from None
    if "pnpfusion" in about:  # the header of a run
        raise ValueError(
            f"{path} is a saved run, which holds no features; `pnpfusion lab --run {path}` plays "
            f"it and `pnpfusion.load` reads it."
        )
    return from_arrays(
        path,
        arrays,
        dtype,
        name=about.get("name", ""),
        class_names=_names(f"{path}: class_names", _json(path, about, "class_names", [])),
        feature_names={
            str(modality): _names(f"{path}: feature_names of {modality!r}", names)
            for modality, names in _json(path, about, "feature_names", {}).items()
        },
        terms=about.get("terms", ""),
        source=about.get("source", ""),
    )


def _json(path: Path, about: dict[str, str], key: str, default: Any) -> Any:
    try:
        value = json.loads(about[key]) if key in about else default
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: {key} in its metadata is no JSON: {error}.") from None
    if not isinstance(value, type(default)):
        wanted = "a list of names" if isinstance(default, list) else "lists of names by modality"
        raise ValueError(f"{path}: {key} in its metadata must be {wanted} as JSON, got {value!r}.")
    return value


def _names(what: str, values: Any) -> tuple[str, ...]:
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise ValueError(f"{what} must be a list of names, got {values!r}.")
    return tuple(values)
