"""What a trained PNP layer does on HTAD: features as ions and as charge, and whether that matters.

A feature is taken away by putting it at its mean over training; what changes then is its part.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import pnpfusion as pf
from docs.results.plans import Size
from pnpfusion.comparison import Cell, Plan, SetPlan
from pnpfusion.comparison.measure import opened, splits_of
from pnpfusion.comparison.records import CELLS, Task, read_record, write_record
from pnpfusion.data import Features
from pnpfusion.data.feature_set import target_of
from pnpfusion.fusion.inputs import Batch
from pnpfusion.fusion.pnp_attribution import Attribution
from pnpfusion.fusion.pnp_migration import MigratingIons
from pnpfusion.training import FusionModel, HealthWarning, evaluate, predict, train
from pnpfusion.training.identity import fingerprint

DATA = "htad"
DELETED = (0, 1, 2, 4, 6, 8, 12, 16, 24, 32, 40, 52)
DRAWS = 5  #: of random orders
TIMES = 25  #: of a run, over which its energy is told
RUNS = 64  #: samples whose runs are told of
VERSION = 1  #: of what is measured here

Found = dict[str, Any]


def explain(size: Size, folder: Path) -> list[Found]:
    """What was found on each fold; what the folder has is not done again."""
    (folder / CELLS).mkdir(parents=True, exist_ok=True)
    plan = Plan(sets=(SetPlan(DATA, 5),), models=("pnp", "pnp-transient"), seeds=(0,))
    found = []
    for fold in range(size.explained):
        cell = Cell(DATA, fold, "interpretation", 0, 0)
        data = splits_of(plan, cell, opened(DATA))
        identity = {
            "version": pf.__version__,
            "measure": VERSION,
            "data": fingerprint(data),
            "fold": fold,
            "recipe": size.recipe.to_json(),
            "hidden": size.hidden,
        }
        task = Task(cell, identity)
        record = read_record(folder, task)
        if record is None:
            record = {**_rest(data, size), **_ions(data, size)}
            write_record(folder, task, record)
        found.append(record)
    return found


def trained(data: Features, name: str, size: Size) -> FusionModel:
    """A model of this name, by the recipe that all have."""
    model = FusionModel.build(data, name, hidden=size.hidden, width=size.hidden)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", HealthWarning)
        return train(model, data, size.recipe).model


def layer_of(model: FusionModel) -> pf.fusion.PNP:
    """Its fusion layer.

    Raises:
        TypeError: it is none of PNP.
    """
    if not isinstance(model.fusion, pf.fusion.PNP):
        raise TypeError(f"wanted a model of PNP, got {type(model.fusion).__name__}.")
    return model.fusion


def standardised(model: FusionModel, data: Features) -> dict[str, Tensor]:
    """Features in units of their deviation in training, about the mean."""
    found = {}
    for place, name in enumerate(model.modalities):
        mean = model.get_buffer(f"mean_{place}")
        scale = model.get_buffer(f"scale_{place}")
        found[name] = (data.modalities[name].to(mean.dtype) - mean) / scale
    return found


def encoded(model: FusionModel, x: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What the fusion layer is given."""
    return {
        name: encoder(x[name])
        for name, encoder in zip(model.modalities, model.encoders, strict=True)
    }


def without(x: Mapping[str, Tensor], name: str, feature: int) -> dict[str, Tensor]:
    """The same with one feature at its mean."""
    changed = x[name].clone()
    changed[:, feature] = 0
    return {**x, name: changed}


@torch.no_grad()
def _rest(data: Features, size: Size) -> Found:
    """Of the resting cell: its potential, and deletion by what makes it."""
    with torch.enable_grad():
        model = trained(data, "pnp", size)
    layer, test = layer_of(model), data.split("test")
    x, target = standardised(model, test), target_of(test)
    whole = layer.attribution(encoded(model, x))
    potential = whole.total
    relevance = []  # what the potential loses with each feature, (rows, features)
    for name in model.modalities:
        for feature in range(x[name].shape[1]):
            left = layer.attribution(encoded(model, without(x, name, feature))).total
            relevance.append((left - potential).square().mean((1, 2)).sqrt())
    seen = torch.stack(relevance, 1)
    classes = target.unique()
    means = torch.stack([potential[target == one].mean(0) for one in classes])
    counts = torch.stack([(target == one).sum() for one in classes])[:, None, None]
    between = (counts * (means - potential.mean(0)).square()).sum(0) / len(potential)
    share = between.sum(1) / potential.var(0, correction=0).sum(1)
    channel = int(share.argmax())
    return {
        "accuracy": evaluate(model, test)["accuracy"],
        "deletion": _deletion(model, test, seen),
        "modalities": _modalities(model, test, whole),
        "class_names": [test.class_names[int(one)] for one in classes],
        "class_potential": means[:, channel].tolist(),
        "class_share": float(share[channel]),
        "relevance": _named(model, data, seen.mean(0)),
    }


def _deletion(model: FusionModel, test: Features, seen: Tensor) -> dict[str, list[float]]:
    """Accuracy where ever more features are at their mean, in three orders."""
    orders = {"most": seen.argsort(1, descending=True), "least": seen.argsort(1)}
    draw = torch.Generator().manual_seed(0)
    drawn = [torch.rand(seen.shape, generator=draw).argsort(1) for _ in range(DRAWS)]

    def curve(order: Tensor) -> Tensor:
        return torch.tensor([_accuracy_without(model, test, order[:, :k]) for k in DELETED])

    found = {name: curve(order).tolist() for name, order in orders.items()}
    return {**found, "random": torch.stack([curve(order) for order in drawn]).mean(0).tolist()}


def _accuracy_without(model: FusionModel, test: Features, gone: Tensor) -> float:
    mask = torch.zeros(len(test), sum(test.dims.values()), dtype=torch.bool)
    mask.scatter_(1, gone, True)
    changed, begin = {}, 0
    for place, name in enumerate(model.modalities):
        values = test.modalities[name]
        mean = model.get_buffer(f"mean_{place}").to(values.dtype)
        here = mask[:, begin : begin + values.shape[1]]
        changed[name] = torch.where(here, mean, values)
        begin += values.shape[1]
    return evaluate(model, replace(test, modalities=changed))["accuracy"]


def _modalities(model: FusionModel, test: Features, whole: Attribution) -> dict[str, float]:
    """Accuracy without the modality that makes more, or less, of each sample's potential."""
    target = target_of(test)
    size = whole.potential.square().mean((2, 3)).sqrt()  # (rows, modalities)
    found = {}
    for name, gone in (("without the larger", size.argmax(1)), ("the smaller", size.argmin(1))):
        present = {one: gone != place for place, one in enumerate(whole.names)}
        told = predict(model, replace(test, present=present))
        found[name] = float((told.argmax(1) == target).double().mean())
    for place, name in enumerate(whole.names):
        found[f"share {name}"] = float((size.argmax(1) == place).double().mean())
    return found


@torch.no_grad()
def _ions(data: Features, size: Size) -> Found:
    """Of the transient cell: which ions a feature makes, and the energy along the run."""
    with torch.enable_grad():
        model = trained(data, "pnp-transient", size)
    layer, test = layer_of(model), data.split("test")
    x = standardised(model, test)

    def ions(x: Mapping[str, Tensor]) -> list[Tensor]:
        return layer.cells.outset(Batch(encoded(model, x), None, (len(test),))).parts

    whole, shares = ions(x), []
    for place, name in enumerate(model.modalities):
        for feature in range(x[name].shape[1]):
            moved = ions(without(x, name, feature))[place] - whole[place]
            cation, anion = moved.square().mean((0, 1, 3)).tolist()
            shares.append(cation / max(cation + anion, 1e-30))
    outset = layer.cells.outset(Batch(encoded(model, x), None, (len(test),)))
    cells = layer.cells
    if not isinstance(cells, MigratingIons):
        raise TypeError(f"wanted ions that migrate, got {type(cells).__name__}.")
    times = torch.linspace(0, cells.duration, TIMES, dtype=torch.float64)
    run = pf.simulate(layer.dynamics, outset.u0[:RUNS], times, stepper=cells.stepper)
    energy = run.ledger.free_energy.flatten(1)  # (times, runs)
    drop = (energy - energy[-1]) / (energy[0] - energy[-1]).abs().clamp_min(1e-30)
    rises = energy.diff(dim=0).clamp_min(0).amax(0) / (energy[0] - energy[-1]).abs()
    return {
        "accuracy_transient": evaluate(model, test)["accuracy"],
        "invariant": _named(model, data, torch.tensor(shares)),
        "times": times.tolist(),
        "energy": [torch.quantile(drop, q, dim=1).tolist() for q in (0.05, 0.5, 0.95)],
        "energy_falls": float((rises < 1e-3).double().mean()),
    }


def _named(model: FusionModel, data: Features, values: Tensor) -> dict[str, dict[str, float]]:
    """By modality and feature."""
    found, told = {}, iter(values.tolist())
    for name in model.modalities:
        found[name] = {feature: next(told) for feature in data.feature_names[name]}
    return found
