"""Files that are not what they should be: what is written, who reads it, and what must be said."""

from __future__ import annotations

import json
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

import pnpfusion as pf
from pnpfusion import data
from pnpfusion.cli.train_setup import read_settings
from pnpfusion.comparison import Comparison, Plan
from pnpfusion.data.convert_multibench import read_affect
from pnpfusion.training import FusionModel
from tests.torture.damage import Bomb

BadFile = tuple[Callable[[Path], object], str]


def text(name: str, content: str | bytes) -> Callable[[Path], Path]:
    """Writes a file."""

    def write(folder: Path) -> Path:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def npz(**arrays: Any) -> Callable[[Path], object]:
    """Writes arrays and reads them as features."""

    def read(folder: Path) -> object:
        np.savez(folder / "mine.npz", **arrays)
        return data.from_npz(folder / "mine.npz")

    return read


def csv(content: str | bytes, **options: Any) -> Callable[[Path], object]:
    """Writes a table and reads it as features."""
    return lambda folder: data.from_csv(text("mine.csv", content)(folder), **options)


def tensors(metadata: dict[str, str] | None = None, **given: torch.Tensor) -> Any:
    """Writes safetensors and reads them as features."""

    def read(folder: Path) -> object:
        save_file(given, folder / "mine.safetensors", metadata=metadata)
        return data.open_set(str(folder / "mine.safetensors"))

    return read


def plan(**told: Any) -> Callable[[Path], object]:
    """Writes a plan and reads it."""
    whole = {"sets": ["interaction"], "models": ["concat"]} | told
    return lambda folder: Plan.load(text("plan.json", json.dumps(whole))(folder))


def _twice(folder: Path) -> object:
    run = pf.unroll(_cell(), torch.ones(2, 8, dtype=torch.float64), 1, step=1e-6)
    run.save(folder / "run.safetensors")
    return run.save(folder / "run.safetensors")


def _cell() -> pf.PNP:
    grid = pf.Grid((8,), (1.0,), ("wall",))
    return pf.PNP(grid, [pf.Species("a", 1), pf.Species("b", -1)], permittivity=1.0)


def _fifo(folder: Path) -> object:
    os.mkfifo(folder / "pipe.npz")
    return data.open_set(str(folder / "pipe.npz"))


def _archive_of_text(folder: Path) -> object:
    with zipfile.ZipFile(folder / "mine.npz", "w") as archive:
        archive.writestr("a.txt", "hello")
    return data.open_set(str(folder / "mine.npz"))


def _zip_bomb(folder: Path) -> object:
    with zipfile.ZipFile(folder / "mine.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        header = b"\x93NUMPY\x01\x00v\x00{'descr': '<f8', 'fortran_order': False, 'shape': (%d, 1)}"
        archive.writestr("a.npy", (header % 10**9).ljust(128) + b"0" * 10**6)
    return data.open_set(str(folder / "mine.npz"))


ROWS, COLUMN = np.ones((4, 3)), torch.ones(4, 3)
HEAD = "a_1,b_1,label\n"
FILES: dict[str, BadFile] = {
    "no file": (lambda f: pf.load(f / "run.safetensors"), r"there is no file .*run\.safetensors"),
    "a folder for a run": (lambda f: pf.load(f), "there is no file"),
    "an empty run": (lambda f: pf.load(text("run", b"")(f)), "no safetensors file"),
    "a run of text": (lambda f: pf.load(text("run", "hello, world")(f)), "no safetensors file"),
    "a run that is a set": (
        lambda f: (save_file({"a": COLUMN}, f / "run"), pf.load(f / "run")),
        "metadata have no entry `pnpfusion`",
    ),
    "a run that is there": (_twice, "is there already; choose another name"),
    "a run for nowhere": (
        lambda f: pf.unroll(_cell(), torch.ones(2, 8), 1, step=1e-6).save(f / "no" / "run"),
        "is not there; make it first",
    ),
    "a sweep of nothing": (lambda f: pf.Sweep.load(f), r"there is no file .*sweep\.safetensors"),
    "a sweep of text": (lambda f: pf.Sweep.load(text("s", "hello")(f)), "not a file of a sweep"),
    "a model of nothing": (lambda f: FusionModel.from_pretrained(f), r"config\.json is not there"),
    "a model of text": (
        lambda f: (
            text("config.json", "{}")(f),
            text("model.safetensors", "hello")(f),
            FusionModel.from_pretrained(f),
        ),
        "must have the entries",
    ),
    "settings of text": (
        lambda f: read_settings(text("settings.json", "hello")(f).parent, "--resume"),
        "settings.json.*(damaged|no JSON)",
    ),
    "settings nested without end": (
        lambda f: read_settings(text("settings.json", "[" * 100_000)(f).parent, "--resume"),
        "settings.json.*(damaged|no JSON)",
    ),
    "settings of a list": (
        lambda f: read_settings(text("settings.json", "[]")(f).parent, "--resume"),
        "must have the entries",
    ),
    "a comparison of nothing": (lambda f: Comparison.load(f), r"plan\.json"),
    "a plan of text": (lambda f: Plan.load(text("p.json", "hello")(f)), "p.json is no JSON"),
    "a plan of bytes": (lambda f: Plan.load(text("p.json", b"\xff\xfe\x00")(f)), "p.json is no"),
    "a plan nested without end": (
        lambda f: Plan.load(text("p.json", "[" * 100_000)(f)),
        "p.json is no JSON",
    ),
    "a plan of endless digits": (
        lambda f: Plan.load(text("p.json", "9" * 5000)(f)),
        "p.json is no JSON",
    ),
    "a plan without models": (
        lambda f: Plan.load(text("p.json", '{"sets": ["index"]}')(f)),
        "must have.*'models'",
    ),
    "a plan of a number": (lambda f: Plan.load(text("p.json", "7")(f)), "must be an object.*7"),
    "a plan with a set of numbers": (plan(sets=[3]), "set of a plan.*3"),
    "a plan with models as text": (plan(models="pnp"), "`models`.*must be a list, got 'pnp'"),
    "a plan with a model of 3": (plan(models=[3]), "`models` must be names, got 3"),
    "a plan with half a seed": (plan(seeds=[0.5]), r"`seeds`.*got 0\.5"),
    "a plan with a width as text": (plan(width="8"), "`width`.*got '8'"),
    "a plan with noise as text": (plan(noise=["loud"]), "`noise`.*got.*'loud'"),
    "a plan with a recipe's typo": (plan(recipe={"epoch": 1}), "'epoch'; did you mean"),
    "a plan with tuning of text": (plan(tuning=["fast"]), "`tuning`.*got 'fast'"),
    "a plan with an unknown entry": (plan(budget=3), "no 'budget'"),
    "an archive of text": (lambda f: data.open_set(str(text("m.npz", "hello")(f))), "no .npz"),
    "an archive without arrays": (_archive_of_text, "'a.txt' is no array"),
    "an archive that is a bomb": (_zip_bomb, "is said to hold 8000000000 bytes"),
    "a pipe": (_fifo, "no known set and no path|not there or no file"),
    "an array of objects": (npz(a=np.array([[{}]], dtype=object)), "holds pickled objects"),
    "an array of text": (npz(a=np.array([["x"]])), "'a' must hold real numbers, got dtype <U1"),
    "an array of complex numbers": (npz(a=ROWS * 1j), "real numbers, got dtype complex128"),
    "an array of one axis": (npz(a=np.ones(4)), r"got \(4,\)"),
    "an array of no rows": (npz(a=np.ones((0, 3))), "has no rows"),
    "an array of NaN": (npz(a=ROWS * np.nan), "must be finite, got nan"),
    "two labels": (npz(a=ROWS, y=np.arange(4), label=np.arange(4)), "more than one array"),
    "labels of two axes": (npz(a=ROWS, label=np.ones((4, 1))), r"labels 'label' must.*\(4, 1\)"),
    "labels of other samples": (npz(a=ROWS, label=np.arange(3)), r"`target`.*\(3,\)"),
    "splits unheard of": (npz(a=ROWS, split=np.array(["dev"] * 4)), "got 'dev'"),
    "flags of nobody": (npz(a=ROWS, **{"present.b": np.ones(4, bool)}), "'present.b'"),
    "a table that is empty": (csv(""), "is empty"),
    "a table of bytes": (csv(b"\xff\xfe\x00\x01"), "no UTF-8 text"),
    "a table without a header": (csv("1,2,3\n4,5,6\n"), "has no header"),
    "a table with semicolons": (csv("a_1;b_1\n1;2\n"), "is separated by ';'"),
    "a table without rows": (csv(HEAD), "has a header but no rows"),
    "a table of uneven lines": (csv(HEAD + "1,2\n"), "line 2: got 2 entries"),
    "a table with a word": (csv(HEAD + "1,two,x\n"), "column 'b_1': got 'two'"),
    "a table with NaN": (csv(HEAD + "1,nan,x\n"), "column 'b_1': got 'nan'"),
    "a table with a NUL": (csv(b"a_1,b_1\n1,\x00\n"), "got|UTF-8"),
    "a table with a name twice": (csv("a_1,a_1\n1,2\n"), r"the same name: \['a_1'\]"),
    "a table without prefixes": (csv("loud,quick\n1,2\n"), "column 'loud' has no prefix"),
    "a table without that label": (csv(HEAD + "1,2,x\n", label="diagnosis"), "'diagnosis'"),
    "a table without that column": (
        csv(HEAD + "1,2,x\n", modalities={"a": ["a_9"]}),
        "no column 'a_9'",
    ),
    "a field of a million characters": (csv(HEAD + f"1,{'9' * 10**6},x\n"), "got '9|field larger"),
    "tensors of one axis": (tensors(a=torch.ones(4)), r"got \(4,\)"),
    "tensors with names that are no JSON": (
        tensors({"class_names": "["}, a=COLUMN),
        "class_names in its metadata is no JSON",
    ),
    "tensors with names that are numbers": (
        tensors({"feature_names": '{"a": [1, 2, 3]}'}, a=COLUMN),
        r"must be a list of names, got \[1, 2, 3\]",
    ),
    "tensors that are a run": (tensors({"pnpfusion": "{}"}, a=COLUMN), "is a saved run"),
    "a pickle for a set": (
        lambda f: data.open_set(str(text("m.pkl", pickle.dumps([1]))(f))),
        "is a pickle, which can run code",
    ),
    "a pickle that runs code": (
        lambda f: read_affect(text("m.pkl", pickle.dumps(Bomb()))(f)),
        "asks for (posix|nt).system",
    ),
    "a pickle of a list": (
        lambda f: read_affect(text("m.pkl", pickle.dumps([1]))(f)),
        "must be a dict train/valid/test",
    ),
    "a pickle cut short": (
        lambda f: read_affect(text("m.pkl", pickle.dumps({"train": {}})[:-3])(f)),
        "no whole pickle",
    ),
    "a file of no kind": (lambda f: data.open_set(str(text("x.doc", "hello")(f))), "no known kind"),
    "a folder of no kind": (lambda f: data.open_set(str(f)), "no set that is known"),
    "views without the first": (
        lambda f: data.from_mogonet(text("2_tr.csv", "1\n")(f).parent),
        r"got numbers \[2\]",
    ),
}
