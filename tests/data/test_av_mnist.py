"""Folders of AV-MNIST, small ones made here, and broken ones."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pnpfusion import data


def folder(path: Path, train: int = 24, test: int = 3) -> Path:
    rng = np.random.default_rng(0)
    for name in ("image", "audio"):
        (path / name).mkdir()
    for part, n in (("train", train), ("test", test)):
        np.save(path / f"{part}_labels.npy", np.arange(n) % 10)
        np.save(path / "image" / f"{part}_data.npy", rng.integers(0, 256, (n, 784)).astype(float))
        audio = rng.integers(0, 256, (n, 112, 112)).astype(np.uint8)
        np.save(path / "audio" / f"{part}_data.npy", audio)
    return path


def test_a_folder(tmp_path: Path) -> None:
    found = data.from_av_mnist(folder(tmp_path))
    assert {name: tuple(v.shape) for name, v in found.modalities.items()} == {
        "image": (27, 784),
        "audio": (27, 112, 112),
    }
    assert {name: len(rows) for name, rows in found.splits.items()} == {
        "train": 22,
        "valid": 2,
        "test": 3,
    }
    assert found.class_names == tuple("0123456789")
    assert found.target is not None
    assert found.target[-3:].tolist() == [0, 1, 2]
    audio = np.load(tmp_path / "audio" / "test_data.npy")
    last = found.split("test").modalities["audio"].numpy() * 255
    np.testing.assert_allclose(last, audio, rtol=1e-6)
    assert all(float(v.max()) == 1 for v in found.modalities.values())


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("image/train_data.npy", np.zeros((24, 28, 28)), r"must hold real numbers \(24, 784\)"),
        (
            "audio/test_data.npy",
            np.zeros((2, 112, 112)),
            r"one row for each label, got float64 \(2",
        ),
        ("audio/test_data.npy", np.full((3, 112, 112), 256.0), "from 0 to 255"),
        ("image/test_data.npy", np.full((3, 784), np.nan), "from 0 to 255"),
        ("image/test_data.npy", np.full((3, 784), "x"), "must hold real numbers"),
        ("test_labels.npy", np.array([0, 1, 10]), "must hold digits 0 to 9"),
        ("test_labels.npy", np.zeros((3, 1)), r"must hold digits, \(n,\)"),
        ("test_labels.npy", np.array([{}, 1, 2], dtype=object), "holds pickled objects"),
    ],
)
def test_broken_arrays(tmp_path: Path, name: str, values: Any, message: str) -> None:
    np.save(folder(tmp_path) / name, values)
    with pytest.raises(ValueError, match=message) as raised:
        data.from_av_mnist(tmp_path)
    assert str(tmp_path) in str(raised.value)


def test_an_array_that_is_cut_short(tmp_path: Path) -> None:
    path = folder(tmp_path) / "audio" / "train_data.npy"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"audio/train_data\.npy is said to hold 301056 bytes"):
        data.from_av_mnist(tmp_path)
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"train_data\.npy is not there"):
        data.from_av_mnist(tmp_path)
