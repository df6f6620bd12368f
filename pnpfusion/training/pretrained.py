"""A model on disk: config.json and model.safetensors, of which nothing is executed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

import pnpfusion
from pnpfusion.files import json_bytes, read_json, write_whole
from pnpfusion.sealed_file import DamagedFile, pack, unpack
from pnpfusion.solvers.faq import Faq
from pnpfusion.training.config import ModelConfig

CONFIG, WEIGHTS = "config.json", "model.safetensors"
KEY, FORMAT = "pnpfusion_model", 1
ENTRIES = {"format", "version", "config"}  #: of config.json


def write_model(folder: Path, config: ModelConfig, weights: Mapping[str, Tensor]) -> None:
    """Write both files into a folder, which is made if need be.

    Raises:
        OSError: the folder cannot be made or written to.
    """
    folder.mkdir(parents=True, exist_ok=True)
    header = {"format": FORMAT, "version": pnpfusion.__version__, "config": config.to_json()}
    pack(folder / WEIGHTS, weights, header, KEY)
    write_whole(folder / CONFIG, json_bytes(header))


def read_model(folder: Path) -> tuple[ModelConfig, dict[str, Tensor]]:
    """What :func:`write_model` wrote.

    Raises:
        FileNotFoundError: a file is not there.
        ValueError: damaged files, files that do not belong together, unknown entries or versions.
    """
    for name in (CONFIG, WEIGHTS):
        if not (folder / name).is_file():
            raise FileNotFoundError(
                f"{folder} holds no saved model: {name} is not there; save_pretrained writes it"
                f" {Faq.DATA_NOT_FOUND}."
            )
    header = _read_config(folder / CONFIG)
    try:
        config = ModelConfig.from_json(header["config"])
    except (ValueError, TypeError) as error:
        raise ValueError(f"{folder / CONFIG}: {error}") from None
    try:
        weights, own = unpack(folder / WEIGHTS, KEY)
    except DamagedFile as error:
        raise ValueError(
            f"{error}; copy it again, or train the model again {Faq.DAMAGED_FILE}."
        ) from None
    if own != header:
        raise ValueError(
            f"{folder / CONFIG} is not the config of {WEIGHTS} beside it, which holds its own; "
            f"take both files from one save_pretrained."
        )
    return config, weights


def check_weights(wanted: Mapping[str, Tensor], given: Mapping[str, Tensor], where: str) -> None:
    """See that the weights in a file are those of a model, by name, shape and dtype.

    Raises:
        ValueError: they are not.
    """
    lacking, unknown = [*(wanted.keys() - given.keys())], [*(given.keys() - wanted.keys())]
    if lacking or unknown:
        raise ValueError(
            f"{where} holds another model: it lacks {sorted(lacking)[:3]} and has "
            f"{sorted(unknown)[:3]} beyond."
        )
    for name, value in wanted.items():
        found = given[name]
        if found.shape != value.shape or found.dtype != value.dtype:
            raise ValueError(
                f"{where} holds another model: {name!r} must be {value.dtype} "
                f"{tuple(value.shape)}, got {found.dtype} {tuple(found.shape)}."
            )


def _read_config(path: Path) -> dict[str, Any]:
    try:
        header = read_json(path, path.name)
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error} Copy it again {Faq.DAMAGED_FILE}.") from None
    if not isinstance(header, dict) or header.keys() != ENTRIES:
        got = sorted(header) if isinstance(header, dict) else type(header).__name__
        raise ValueError(f"{path} must have the entries {sorted(ENTRIES)}, got {got}.")
    if header["format"] != FORMAT:
        raise ValueError(
            f"{path} has format {header['format']!r}, this version of pnpfusion reads format "
            f"{FORMAT}; it was written by pnpfusion {header['version']} {Faq.OTHER_VERSION}."
        )
    return header
