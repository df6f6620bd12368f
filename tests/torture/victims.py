"""What is killed: work that writes files, to be begun again by the same call."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

import pnpfusion as pf
from pnpfusion.cli import main as command
from pnpfusion.data.convert_multibench import main as convert
from pnpfusion.files import write_whole
from pnpfusion.sealed_file import bytes_of, unpack
from pnpfusion.training import FusionModel, Recipe, checkpoint, train
from tests.registry import Decay, blocking_cell, times
from tests.tiny_sets import tiny

SET = "interaction:samples=60,width=3"
STEPS = 12  #: of a training, each with a checkpoint
SMALL = ["--hidden", "4", "--width", "4", "--epochs", "2"]
#: What may differ from call to call: what is measured in seconds.
TIMED = ("seconds", "training_seconds", "ms_per_sample")
TIMES_INSIDE = ("table.md", "table.csv", "comparison.png")  #: of a comparison


@dataclass(frozen=True)
class Victim:
    """Work that may be killed at any moment, and begun again by the same call."""

    name: str
    work: Callable[[Path], None]  #: in a folder
    #: What must be there at the end, bit for bit, but for what is measured in seconds.
    result: Callable[[Path], dict[str, object]]


def contents(folder: Path) -> dict[str, object]:
    """What the files of a folder hold, by their names: bytes, or JSON without times."""
    return {
        str(path.relative_to(folder)): _content(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def _content(path: Path) -> object:
    if path.suffix == ".json":
        return _untimed(json.loads(path.read_text(encoding="utf-8")))
    if path.name in TIMES_INSIDE and (path.parent / "cells").is_dir():
        return "times"
    return path.read_bytes()


def _untimed(told: Any) -> Any:
    if isinstance(told, dict):
        return {
            name: _untimed(inner)
            for name, inner in told.items()
            if name not in TIMED and name not in ("digest", "settings")
        }
    return [_untimed(inner) for inner in told] if isinstance(told, list) else told


def learn(name: str, folder: Path, every: float = 0.0) -> None:
    """Six steps an epoch, a checkpoint after each."""
    torch.set_num_threads(1)
    data = tiny("classes")
    model = FusionModel.build(data, name, hidden=8, width=8)
    recipe = Recipe(epochs=STEPS // 6, batch=4, modality_dropout=0.2, patience=None)
    train(model, data, recipe, folder=folder, checkpoint_every=every)


def learnt(folder: Path) -> dict[str, object]:
    """What a training leaves; of the checkpoint all but its seconds."""
    tensors, header = unpack(folder / checkpoint.NAME, checkpoint.KEY)
    del header["standing"]["seconds"]
    told: dict[str, object] = {"header": header}
    told |= {name: bytes(bytes_of(value)) for name, value in tensors.items()}
    names = ("model.safetensors", "config.json", "metrics.jsonl")
    return told | {name: (folder / name).read_bytes() for name in names}


def _decays(cases: list[dict[str, Any]]) -> pf.Solution:
    rates = torch.tensor([case["rate"] for case in cases], dtype=torch.float64)
    return pf.simulate(Decay(), torch.ones(len(cases), 3).double(), times(0, 1), x=rates[:, None])


def sweep(folder: Path) -> None:
    """A sweep of many blocks."""
    pf.sweep(_decays, {"grid": {"rate": [k / 8 for k in range(40)]}}, folder, stack=2)


def save_runs(folder: Path) -> None:
    """Two runs in turn under one name, the second one last."""
    runs = [
        pf.unroll(Decay(), torch.full((3, 20_000), k).double(), 2, step=0.1) for k in (1.0, 2.0)
    ]
    for k in range(12):
        one = runs[k % 2]
        pf.Solution(**{**vars(one), "dynamics": None}).save(
            folder / "run.safetensors", overwrite=True
        )


def save_models(folder: Path) -> None:
    """Two models in turn in one folder, the second one last."""
    models = [FusionModel.build(tiny("classes"), "concat", seed=seed) for seed in (0, 1)]
    for k in range(12):
        models[k % 2].save_pretrained(folder)


def commanded(*typed: str) -> Callable[[Path], None]:
    """A command that writes into the folder."""

    def work(folder: Path) -> None:
        torch.set_num_threads(1)
        target = folder / "lab.html" if typed[0] == "lab" else folder
        if code := command([*typed, "--out", str(target)]):
            raise SystemExit(code)

    return work


def _simulate_sweep(folder: Path) -> None:
    plan = folder.with_name("grid.json")
    told = {"cells": 16, "times": 3, "duration": 1e-3, "grid": {"voltage": [1, 2, 3, 4, 5, 6]}}
    write_whole(plan, json.dumps(told).encode())
    commanded("simulate", "--data", SET, "--sweep", str(plan), "--stack", "1", "--quiet")(folder)


def _animate(folder: Path) -> None:
    cell = blocking_cell(8, debye=1.0)
    run = pf.unroll(cell, torch.ones(2, 8, dtype=torch.float64), 4, step=1e-3)
    pf.visualize.animate(run, folder / "animation.gif", frames=4)


def _convert(folder: Path) -> None:
    draw = np.random.default_rng(0)
    widths = {"vision": 20, "audio": 20, "text": 30}
    told = {
        split: {name: draw.normal(size=(60, 50, n)) for name, n in widths.items()}
        | {"labels": draw.normal(size=(60, 1, 1))}
        for split in ("train", "valid", "test")
    }
    source = folder.with_name("mosi.pkl")
    write_whole(source, pickle.dumps(told))
    folder.mkdir(exist_ok=True)
    if convert([str(source), str(folder / "mosi.npz"), "--trust", "--overwrite"]):
        raise SystemExit(1)


def _arrays(folder: Path) -> dict[str, object]:
    with np.load(folder / "mosi.npz") as archive:
        return {name: archive[name].tobytes() for name in archive}


def _total(values: np.ndarray) -> float:
    result = 0.0
    for value in values:
        result += value
    return result


def _compile(folder: Path) -> None:
    """A kernel whose machine code is kept in the folder."""
    import os

    from pnpfusion.solvers.kernels import cache
    from pnpfusion.solvers.kernels.decorators import kernel

    os.environ["XDG_CACHE_HOME"] = str(folder)
    cache.kernel_folder.cache_clear()
    if kernel(_total)(np.arange(5.0)) != 10:
        raise SystemExit(1)


VICTIMS = (
    *(
        Victim(f"train {name}", lambda folder, name=name: learn(name, folder), learnt)
        for name in ("gmf", "pnp", "deq", "pnp-transient", "pnp+deq")
    ),
    Victim("sweep", sweep, contents),
    Victim("runs", save_runs, contents),
    Victim("models", save_models, contents),
    Victim(
        "simulate",
        commanded(
            *("simulate", "--data", SET, "--cells", "16", "--times", "5", "--duration", "0.001"),
            *("--quiet", "--overwrite", "--no-gif"),
        ),
        contents,
    ),
    Victim("simulate --sweep", _simulate_sweep, contents),
    Victim(
        "train",
        commanded("train", "--data", SET, "--model", "concat", *SMALL, "--quiet"),
        lambda folder: {k: v for k, v in contents(folder).items() if "checkpoint" not in k},
    ),
    Victim(
        "compare",
        commanded(
            *("compare", "--data", SET, "--models", "constant,concat", "--seeds", "1", *SMALL),
            "--quiet",
        ),
        contents,
    ),
    Victim("lab", commanded("lab", "--no-browser", "--overwrite"), contents),
    Victim("animation", _animate, contents),
    Victim("convert", _convert, _arrays),
    Victim("kernel", _compile, lambda _: {}),
)
BY_NAME = {one.name: one for one in VICTIMS}
