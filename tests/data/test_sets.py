"""Sets by name and by path: what a file is, is seen from what it holds."""

import json
import math
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from pnpfusion import data
from tests.data import test_av_mnist, test_mini_av_mnist, test_mm_imdb, test_mogonet
from tests.source_tree import ROOT


@pytest.mark.parametrize(
    ("text", "dims", "n"),
    [
        ("interaction", {"a": 16, "b": 16}, 4000),
        ("interaction:width=3,samples=10,seed=4", {"a": 3, "b": 3}, 10),
        ("index:bits=8,samples=50", {"bits": 8, "index": 8}, 50),
        (
            "volatility:assets=2,days=120",
            {"variance": 22, "returns": 22, "volume": 22, "sentiment": 22},
            240,
        ),
    ],
)
def test_sets_that_are_made(text: str, dims: dict[str, int], n: int) -> None:
    found = data.open_set(text)
    assert found.dims == dims
    assert len(found) == n
    again = data.open_set(text)
    assert all(torch.equal(again.modalities[m], v) for m, v in found.modalities.items())


def test_sets_from_packages() -> None:
    pytest.importorskip("sklearn", reason="the extra 'data' is not installed")
    assert data.open_set("digits").dims == {"left": 32, "right": 32}
    assert len(data.open_set("digits:parts=quadrants").dims) == 4
    with pytest.raises(ValueError, match=r"`parts` must be one of \['halves', 'quadrants'\]"):
        data.open_set("digits:parts=thirds")


def test_every_known_set_can_be_opened(tmp_path: Path) -> None:
    pytest.importorskip("sklearn", reason="the extra 'data' is not installed")
    pytest.importorskip("multiviewstacking", reason="the extra 'data' is not installed")
    folder = test_mini_av_mnist.recordings(tmp_path / "recordings")
    options = {"mini-av-mnist": f":folder={folder},train=30,test=10,snr=-10"}
    for name in data.SETS:
        found = data.open_set(name + options.get(name, ""))
        assert found.task is not None
        assert found.source, f"the set {name!r} says nothing of its `source`"


def test_the_table_of_built_in_sets_is_true(tmp_path: Path) -> None:
    pytest.importorskip("sklearn", reason="the extra 'data' is not installed")
    pytest.importorskip("multiviewstacking", reason="the extra 'data' is not installed")
    recordings = test_mini_av_mnist.recordings(tmp_path / "recordings")
    page = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")
    table = page.partition("## Built-in sets")[2].partition("\n\nOptions follow")[0]
    told = {line.split("`")[1].partition(":")[0]: line for line in table.splitlines()[4:]}
    assert told.keys() == data.SETS.keys(), "each set has a row in docs/data.md, Built-in sets"
    for name, line in told.items():
        text = f"{name}:folder={recordings}" if name == "mini-av-mnist" else name
        found, (_, _, samples, widths, asked, *_) = data.open_set(text), line.split("|")
        counted = [int(number) for number in re.findall(r"\d+", samples)]
        assert len(found) == (sum if "train" in samples else math.prod)(counted), name
        of_all = re.findall(r"(\d+) (?:days )?each", widths)
        assert all(str(width) in (of_all or widths) for width in found.dims.values()), name
        if classes := re.match(r" *(\d+)", asked):
            assert found.task == "classes"
            assert len(found.class_names) == int(classes[1])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("htad:seed=1", "the set 'htad' has no options, got 'seed=1'"),
        ("index:bit=8", r"the set 'index' has options \['samples', 'bits', .* got 'bit=8'"),
        ("index:bits=many", "option 'bits' must be of type int, got 'many'"),
        ("index:bits=0", "`bits` must be a whole number >= 1"),
        ("index:seed=-1", "option 'seed' must be within 0 and"),
        ("index:samples=0", "`samples` must be a whole number >= 1, got 0"),
        ("volatility:days=3", "`days` >= 115"),
    ],
)
def test_options_that_are_wrong(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        data.open_set(text)


def test_a_path_that_is_not_there() -> None:
    with pytest.raises(FileNotFoundError, match=r"'nowhere' is no known set and no path .*'htad'"):
        data.open_set("nowhere")


def test_files_and_folders(tmp_path: Path) -> None:
    audio = torch.rand(6, 2, dtype=torch.float64)
    np.savez(tmp_path / "named otherwise", audio=audio.numpy(), label=np.arange(6))
    save_file({"audio": audio, "label": torch.arange(6)}, tmp_path / "a.safetensors")
    shutil.copy(tmp_path / "a.safetensors", tmp_path / "without_suffix")
    for name in ("named otherwise.npz", "a.safetensors", "without_suffix"):
        found = data.open_set(str(tmp_path / name))
        assert torch.equal(found.modalities["audio"], audio), name
        assert found.task == "classes"
    folders: dict[str, Any] = {
        "mogonet": test_mogonet.folder,
        "av": test_av_mnist.folder,
    }
    for name, make in folders.items():
        (tmp_path / name).mkdir()
        make(tmp_path / name)
    assert list(data.open_set(str(tmp_path / "mogonet")).dims) == ["view1", "view2"]
    assert data.open_set(str(tmp_path / "av")).name == "AV-MNIST"


def test_a_table(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("audio_1,label\n1,a\n2,b\n")
    assert data.open_set(str(tmp_path / "t.csv")).class_names == ("a", "b")


def test_recordings_become_mini_av_mnist(tmp_path: Path) -> None:
    pytest.importorskip("sklearn", reason="the extra 'data' is not installed")
    test_mini_av_mnist.recordings(tmp_path / "fsdd" / "recordings")
    found = data.open_set(str(tmp_path / "fsdd"))
    assert found.name == "mini AV-MNIST"
    assert len(found) == 4000


def test_films(tmp_path: Path) -> None:
    path = tmp_path / "multimodal_imdb.hdf5"
    test_mm_imdb.written(path, test_mm_imdb.arrays())
    for where in (path, tmp_path):
        with pytest.raises(ValueError, match="holds 9 films, and the published split is of 25959"):
            data.open_set(str(where))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("mosi.pkl", b"\x80\x04N.", "is a pickle, .*python -m pnpfusion.data.convert_multibench"),
        ("mosi.dat", b"\x80\x02}q\x00.", "is a pickle, which can run code when read"),
        ("set.npz", b"PK nothing", r"is no \.npz archive; write one with numpy\.savez"),
        ("set.safetensors", b"x", "is no whole safetensors file"),
        ("set.txt", b"hello", r"is of no known kind: looked for an archive \(\.npz\), safetensors"),
    ],
)
def test_files_of_no_known_kind(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message) as raised:
        data.open_set(str(tmp_path / name))
    assert name in str(raised.value)


def test_a_folder_of_no_known_kind(tmp_path: Path) -> None:
    (tmp_path / "notes.json").write_text(json.dumps({}))
    with pytest.raises(ValueError, match=r"is no set that is known: looked for 1_tr\.csv"):
        data.open_set(str(tmp_path))
