"""What ``pnpfusion train`` makes of its options: data, a model and a recipe, ready to learn."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch

from pnpfusion.cli.messages import CommandError, errors_end_the_command
from pnpfusion.data.feature_set import Features, target_of
from pnpfusion.files import json_bytes, read_json, write_whole
from pnpfusion.training.identity import check_fit
from pnpfusion.training.model import FusionModel
from pnpfusion.training.randomness import drawn_by
from pnpfusion.training.recipe import Recipe

SETTINGS = "settings.json"
#: What is settled beside the recipe, and what holds if nothing is said.
DEFAULTS: dict[str, Any] = {
    "data": "htad",
    "valid": 0.2,
    "test": 0.2,
    "model": "pnp",
    "hidden": 64,
    "width": 64,
}


@dataclass(frozen=True, eq=False)
class Setup:
    """All that is learned from, by what, and how."""

    settings: dict[str, Any]  #: as settings.json has them
    data: Features  #: with splits
    model: FusionModel
    recipe: Recipe


def settings_of(options: Namespace) -> dict[str, Any]:
    """What the options settle; with --resume, what was settled before.

    Raises:
        CommandError: the folder to resume in has none of these.
        ValueError: a bad recipe.
    """
    if options.resume is not None:
        return read_settings(Path(options.resume), "--resume")
    typed = vars(options)
    told = {name: typed.get(name, default) for name, default in DEFAULTS.items()}
    return {**told, "recipe": recipe_of(options).to_json()}


def read_settings(folder: Path, option: str) -> dict[str, Any]:
    """What a folder of a training says of it; ``option`` is what named it.

    Raises:
        CommandError: it says nothing that can be understood.
    """
    path = folder / SETTINGS
    if not path.is_file():
        raise CommandError(f"{option} {folder} holds no training: no {path}.")
    with errors_end_the_command():
        told = read_json(path)
    if not isinstance(told, dict) or told.keys() != {*DEFAULTS, "recipe"}:
        raise CommandError(f"{path} must have the entries {sorted([*DEFAULTS, 'recipe'])}.")
    return told


def write_settings(folder: Path, settings: Mapping[str, Any]) -> None:
    """Keep them for --resume."""
    write_whole(folder / SETTINGS, json_bytes(settings))


def set_up(settings: Mapping[str, Any]) -> Setup:
    """Data, model and recipe.

    Raises:
        ImportError: an extra package is needed.
        OSError: a file is not there.
        ValueError: what is said does not fit together.
    """
    from pnpfusion.data.sets import open_set
    from pnpfusion.data.splits import holdout

    recipe = Recipe.from_json(settings["recipe"])
    data = open_set(str(settings["data"]))
    target_of(data)  # or nothing could be learned
    data = holdout(
        data,
        settings["valid"],
        settings["test"],
        generator=drawn_by("splits", recipe.seed),
    )
    model = FusionModel.build(
        data,
        settings["model"],
        seed=recipe.seed,
        hidden=settings["hidden"],
        width=settings["width"],
    )
    check_fit(model, data, recipe)
    return Setup(dict(settings), data, model, recipe)


def device_of(name: str | None) -> torch.device:
    """The device of this name.

    Raises:
        CommandError: there is none.
    """
    try:
        device = torch.device(name or "cpu")
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise CommandError(f"--device {name} is of no use here: {reason}.") from None
    return device


def recipe_of(options: Namespace) -> Recipe:
    """That of the file, with what was typed in place of its entries.

    Raises:
        OSError: the file cannot be read.
        ValueError: a bad recipe.
    """
    told: dict[str, Any] = {}
    typed = vars(options)
    if "recipe" in typed:
        given = read_json(typed["recipe"], f"--recipe {typed['recipe']}")
        told = Recipe.from_json(given).to_json()
    told |= {one.name: typed[one.name] for one in fields(Recipe) if one.name in typed}
    if "loss_weight" in typed:
        told["loss_weights"] = {**Recipe.from_json(told).loss_weights, **dict(typed["loss_weight"])}
    return Recipe.from_json(told)
