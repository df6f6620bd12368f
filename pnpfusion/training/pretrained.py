"""A model on disk: config.json and model.safetensors, of which nothing is executed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

import pnpfusion
from pnpfusion.fusion.layer import FusionLayer
from pnpfusion.solvers.faq import Faq
from pnpfusion.training.config import ModelConfig
from pnpfusion.training.files import DamagedFile, json_bytes, pack, unpack, write_whole

if TYPE_CHECKING:
    from pnpfusion.training.model import FusionModel

CONFIG, WEIGHTS = "config.json", "model.safetensors"
KEY, FORMAT = "pnpfusion_model", 1
ENTRIES = {"format", "version", "config"}  #: of config.json


def save_pretrained(model: FusionModel, folder: str | Path) -> Path:
    """See :meth:`FusionModel.save_pretrained`."""
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    dtype: Any = str(next(model.parameters()).dtype).removeprefix("torch.")
    config = replace(model.config, dtype=dtype).to_json()
    header = {"format": FORMAT, "version": pnpfusion.__version__, "config": config}
    write_whole(place / WEIGHTS, pack(model.state_dict(), header, KEY))
    write_whole(place / CONFIG, json_bytes(header))
    return place


def from_pretrained(
    folder: str | Path,
    *,
    encoders: Mapping[str, nn.Module] | None = None,
    fusion: FusionLayer | None = None,
) -> FusionModel:
    """See :meth:`FusionModel.from_pretrained`."""
    from pnpfusion.training.model import FusionModel

    place = Path(folder)
    for name in (CONFIG, WEIGHTS):
        if not (place / name).is_file():
            raise FileNotFoundError(
                f"{place} holds no saved model: {name} is not there; save_pretrained writes it"
                f" {Faq.DATA_NOT_FOUND}."
            )
    header = _read_config(place / CONFIG)
    try:
        config = ModelConfig.from_json(header["config"])
    except (ValueError, TypeError) as error:
        raise ValueError(f"{place / CONFIG}: {error}") from None
    try:
        weights, own = unpack(place / WEIGHTS, KEY)
    except DamagedFile as error:
        raise ValueError(
            f"{error}; copy it again, or train the model again {Faq.DAMAGED_FILE}."
        ) from None
    if own != header:
        raise ValueError(
            f"{place / CONFIG} is not the config of {WEIGHTS} beside it, which holds its own; "
            f"take both files from one save_pretrained."
        )
    with torch.random.fork_rng(devices=[]):  # what is drawn here is replaced
        model = FusionModel(config, encoders=encoders, fusion=fusion)
    check_weights(model.state_dict(), weights, str(place / WEIGHTS))
    model.load_state_dict(weights)
    return model.eval()


def check_weights(
    wanted: Mapping[str, torch.Tensor], given: Mapping[str, torch.Tensor], where: str
) -> None:
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
        header = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is damaged: {error} {Faq.DAMAGED_FILE}.") from None
    if not isinstance(header, dict) or header.keys() != ENTRIES:
        got = sorted(header) if isinstance(header, dict) else type(header).__name__
        raise ValueError(f"{path} must have the entries {sorted(ENTRIES)}, got {got}.")
    if header["format"] != FORMAT:
        raise ValueError(
            f"{path} has format {header['format']!r}, this version of pnpfusion reads format "
            f"{FORMAT}; it was written by pnpfusion {header['version']} {Faq.OTHER_VERSION}."
        )
    return header
