"""A small good file of every kind that is read, and what is read of it, to be damaged."""

from __future__ import annotations

import hashlib
import json
import pickle
import wave
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

import pnpfusion as pf
from pnpfusion import data
from pnpfusion.data.convert_multibench import read_affect
from pnpfusion.data.spoken_digits import read_recordings
from tests.registry import blocking_cell, times
from tests.tiny_sets import tiny


@dataclass(frozen=True)
class Kind:
    """A kind of file."""

    name: str
    make: Callable[[Path], Path]  #: writes a good one into an empty folder; the file to damage
    read: Callable[[Path], str | None]  #: a digest of what it says; None if it is known to be lost
    own: bool = True  #: whether it is ours: then no damage may pass unseen
    packed: bool = False  #: whether :func:`pack` of sealed files wrote it


def said(value: Any) -> str:
    """A digest of tensors, in whatever they stand."""
    total = hashlib.sha256()

    def add(one: Any) -> None:
        if isinstance(one, Tensor):
            total.update(f"{one.dtype}{tuple(one.shape)}".encode())
            total.update(one.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
        elif isinstance(one, np.ndarray):
            total.update(f"{one.dtype}{one.shape}".encode() + one.tobytes())
        elif isinstance(one, dict):
            for name, inner in one.items():
                add(name)
                add(inner)
        elif isinstance(one, list | tuple):
            for inner in one:
                add(inner)
        else:
            total.update(repr(one).encode())

    add(value)
    return total.hexdigest()


def _run(folder: Path) -> Path:
    cell = blocking_cell(8, debye=1.0, voltage=torch.tensor([0.5, 1.0], dtype=torch.float64))
    c0 = torch.ones(2, 2, 8, dtype=torch.float64)
    return pf.simulate(cell, c0, times(0, 0.01, 0.02)).save(folder / "run.safetensors")


def _read_run(path: Path) -> str:
    run = pf.load(path)
    law = run.dynamics
    told = [run.times, run.states, run.succeeded, run.residuals, run.lowest, run.outcome.name]
    told += [run.choice, vars(run.work), {} if law is None else law.description(run.times, (2,))]
    return said(told)


def _learner() -> tuple[Any, Any]:
    from pnpfusion.training import FusionModel

    few = tiny("classes", 12)
    return FusionModel.build(few, "pnp", hidden=4, width=4), few


def _checkpoint(folder: Path) -> Path:
    from pnpfusion.training import Recipe, checkpoint, train

    model, few = _learner()
    train(model, few, Recipe(epochs=1, batch=8), folder=folder)
    (folder / checkpoint.BEFORE).unlink(missing_ok=True)
    return folder / checkpoint.NAME


def _read_checkpoint(path: Path) -> str | None:
    from pnpfusion.training import Recipe, checkpoint
    from pnpfusion.training.identity import identity_of

    model, few = _learner()
    model.fit_scales(few.split("train"))
    found = checkpoint.read(path.parent, identity_of(model, Recipe(epochs=1, batch=8), few))
    if found is None:
        return None
    standing = vars(found.standing) | {"tally": found.standing.tally.to_json()}
    return said([found.model, found.best, found.optimizer, standing])


def _weights(folder: Path) -> Path:
    _learner()[0].save_pretrained(folder)
    return folder / "model.safetensors"


def _config(folder: Path) -> Path:
    _weights(folder)
    return folder / "config.json"


def _read_model(path: Path) -> str:
    from pnpfusion.training import FusionModel

    model = FusionModel.from_pretrained(path.parent)
    return said([model.config.to_json(), dict(model.state_dict())])


def _sweep(folder: Path) -> Path:
    def solve(cases: list[dict[str, Any]]) -> pf.Solution:
        voltage = torch.tensor([case["voltage"] for case in cases], dtype=torch.float64)
        cell = blocking_cell(8, debye=1.0, voltage=voltage)
        c0 = torch.ones(len(cases), 2, 8, dtype=torch.float64)
        return pf.simulate(cell, c0, times(0, 0.01))

    found = pf.sweep(solve, {"grid": {"voltage": [0.5, 1.0, 1.5]}}, folder)
    assert found is not None
    return found.path


def _read_sweep(path: Path) -> str:
    found = pf.Sweep.load(path)
    return said([found.cases, found.rows, found.tensor("states"), found.tensor("times")])


def _comparison(folder: Path) -> Path:
    from pnpfusion.comparison import Plan, compare

    plan = Plan(sets=("interaction:samples=60,width=2",), models=("constant",), seeds=(0, 1))
    compare(plan, folder)
    return min((folder / "cells").glob("*.json"))


def _plan(folder: Path) -> Path:
    _comparison(folder)
    return folder / "plan.json"


def _read_cell(path: Path) -> str | None:
    from pnpfusion.comparison import Comparison

    found = Comparison.load(path.parent.parent)
    return None if found.missing else said(found.to_json())


def _read_plan(path: Path) -> str:
    from pnpfusion.comparison import Plan

    return said(Plan.load(path).to_json())


def _settings(folder: Path) -> Path:
    from pnpfusion.cli.train_setup import DEFAULTS, write_settings
    from pnpfusion.training import Recipe

    told = {"data": "interaction:samples=40,width=3", "hidden": 4, "width": 4}
    write_settings(folder, {**DEFAULTS, **told, "recipe": Recipe().to_json()})
    return folder / "settings.json"


def _read_settings(path: Path) -> str:
    from pnpfusion.cli.messages import errors_end_the_command
    from pnpfusion.cli.train_setup import read_settings, set_up

    with errors_end_the_command():
        setup = set_up(read_settings(path.parent, "--resume"))
    return said([setup.settings, dict(setup.model.state_dict())])


def _cases(folder: Path) -> Path:
    path = folder / "grid.json"
    told = {"cells": 16, "grid": {"voltage": [10, 20], "debye": [0.1, 0.2]}}
    path.write_text(json.dumps(told), encoding="utf-8")
    return path


def _read_cases(path: Path) -> str:
    from pnpfusion.cli.command_line import command_parsers
    from pnpfusion.cli.simulate_cases import cases_of

    typed = ["simulate", "--sweep", str(path), "--data", "interaction:samples=5"]
    options = command_parsers()[0].parse_args(typed)
    return said(cases_of(options))


def _arrays() -> dict[str, Any]:
    few = tiny("classes", 12)
    assert few.target is not None
    arrays = {name: values.numpy() for name, values in few.modalities.items()}
    return arrays | {"label": few.target.numpy(), "split": np.repeat([0, 1, 2], 4)}


def _npz(folder: Path) -> Path:
    np.savez(folder / "mine.npz", **_arrays())
    return folder / "mine.npz"


def _packed_npz(folder: Path) -> Path:
    np.savez_compressed(folder / "mine.npz", **_arrays())
    return folder / "mine.npz"


def _safetensors(folder: Path) -> Path:
    tensors = {name: torch.from_numpy(values) for name, values in _arrays().items()}
    told = {"class_names": '["x", "y", "z"]', "feature_names": '{"b": ["p", "q", "r"]}'}
    save_file(tensors, folder / "mine.safetensors", metadata=told)
    return folder / "mine.safetensors"


def _csv(folder: Path) -> Path:
    lines = ["audio_1,audio_2,motion_1,label,split"]
    lines += [f"{i / 7:.4f},{-i / 3:.4f},{i % 5},{'ab'[i % 2]},train" for i in range(12)]
    (folder / "mine.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder / "mine.csv"


def _read_set(path: Path) -> str:
    found = data.open_set(str(path))
    return said([found.modalities, found.target, found.class_names, found.splits])


def _mogonet(folder: Path) -> Path:
    for view, end in ((view, end) for view in (1, 2) for end in ("tr", "te")):
        rows = np.random.default_rng(view).normal(size=(4, 3))
        np.savetxt(folder / f"{view}_{end}.csv", rows, "%.5f", ",")
        (folder / f"labels_{end}.csv").write_text("0\n1\n0\n1\n", encoding="utf-8")
    (folder / "1_featname.csv").write_text("p\nq\nr\n", encoding="utf-8")
    return folder / "2_tr.csv"


def _av_mnist(folder: Path) -> Path:
    rng = np.random.default_rng(0)
    for part, n in (("train", 13), ("test", 2)):
        np.save(folder / f"{part}_labels.npy", np.arange(n) % 10)
        for name, shape in (("image", (784,)), ("audio", (112, 112))):
            (folder / name).mkdir(exist_ok=True)
            values = rng.integers(0, 256, (n, *shape)).astype(np.uint8)
            np.save(folder / name / f"{part}_data.npy", values)
    return folder / "image" / "test_data.npy"


def _av_mnist_labels(folder: Path) -> Path:
    _av_mnist(folder)
    return folder / "test_labels.npy"


def _read_folder(path: Path) -> str:
    return _read_set(path.parent.parent if path.name == "test_data.npy" else path.parent)


def _hdf5(folder: Path) -> Path:
    import h5py

    rng = np.random.default_rng(0)
    with h5py.File(folder / "multimodal_imdb.hdf5", "w") as file:
        file["features"] = rng.normal(size=(6, 5))
        file.create_dataset("vgg_features", data=rng.normal(size=(6, 4)), compression="gzip")
        file["genres"] = (rng.random((6, 3)) < 0.5).astype(np.int64)
    return folder / "multimodal_imdb.hdf5"


def _read_hdf5(path: Path) -> str:
    found = data.from_mm_imdb(path, bounds=(3, 4))
    return said([found.modalities, found.target])


def _recording(folder: Path) -> Path:
    for index in (0, 4, 5, 6):
        for digit in range(10):
            with wave.open(str(folder / f"{digit}_ann_{index}.wav"), "wb") as sound:
                sound.setnchannels(1)
                sound.setsampwidth(2)
                sound.setframerate(8000)
                sound.writeframes(np.full(400, 100 * digit, np.int16).tobytes())
    return folder / "3_ann_5.wav"


def _read_recordings(path: Path) -> str:
    return said(vars(read_recordings(path.parent)))


def _pickle(folder: Path) -> Path:
    draw = np.random.default_rng(0)
    widths = {"vision": 2, "audio": 2, "text": 3}
    told = {
        split: {name: draw.normal(size=(3, 4, n)) for name, n in widths.items()}
        | {"labels": draw.normal(size=(3, 1, 1))}
        for split in ("train", "valid", "test")
    }
    (folder / "mosi.pkl").write_bytes(pickle.dumps(told, protocol=2))
    return folder / "mosi.pkl"


KINDS = (
    Kind("run", _run, _read_run),
    Kind("checkpoint", _checkpoint, _read_checkpoint, packed=True),
    Kind("weights", _weights, _read_model, packed=True),
    Kind("config", _config, _read_model),
    Kind("sweep", _sweep, _read_sweep),
    Kind("cell", _comparison, _read_cell),
    Kind("plan", _plan, _read_plan, own=False),
    Kind("settings", _settings, _read_settings, own=False),
    Kind("cases", _cases, _read_cases, own=False),
    Kind("npz", _npz, _read_set, own=False),
    Kind("packed-npz", _packed_npz, _read_set, own=False),
    Kind("safetensors", _safetensors, _read_set, own=False),
    Kind("csv", _csv, _read_set, own=False),
    Kind("mogonet", _mogonet, _read_folder, own=False),
    Kind("av-mnist", _av_mnist, _read_folder, own=False),
    Kind("npy", _av_mnist_labels, _read_folder, own=False),
    Kind("hdf5", _hdf5, _read_hdf5, own=False),
    Kind("wav", _recording, _read_recordings, own=False),
    Kind("pickle", _pickle, lambda path: said(read_affect(path)), own=False),
)
