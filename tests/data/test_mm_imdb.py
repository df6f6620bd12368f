"""HDF5 files of MM-IMDB, small ones made here, and broken ones."""

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pnpfusion import data


def arrays(n: int = 9) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    return {
        "features": rng.normal(size=(n, 300)),
        "vgg_features": rng.normal(size=(n, 4096)).astype(np.float32),
        "genres": (rng.random((n, 23)) < 0.3).astype(np.int64),
        "imdb_ids": np.array([b"0012345"] * n),
    }


def written(path: Path, given: dict[str, Any], **options: Any) -> Path:
    h5py = pytest.importorskip("h5py", reason="the extra 'data' is not installed")
    with h5py.File(path, "w") as file:
        for name, values in given.items():
            file.create_dataset(name, data=values, **options)
    return path


@pytest.mark.parametrize("options", [{}, {"chunks": True, "compression": "gzip"}])
def test_a_file(tmp_path: Path, options: dict[str, Any]) -> None:
    path = written(tmp_path / "multimodal_imdb.hdf5", arrays(), **options)
    found = data.from_mm_imdb(path, bounds=(5, 7))
    assert found.dims == {"text": 300, "image": 4096}
    assert found.task == "labels"
    np.testing.assert_array_equal(found.target, arrays()["genres"])  # type: ignore[arg-type]
    np.testing.assert_allclose(found.modalities["text"], arrays()["features"], rtol=1e-6)
    assert {name: len(rows) for name, rows in found.splits.items()} == {
        "train": 5,
        "valid": 2,
        "test": 2,
    }


@pytest.mark.parametrize(
    ("changes", "bounds", "message"),
    [
        ({}, None, "holds 9 films, and the published split is of 25959"),
        ({}, (5, 9), r"`bounds` must be 0 < valid < test < 9, got \(5, 9\)"),
        ({"genres": None}, (5, 7), "no array 'genres', but"),
        ({"genres": np.full((9, 23), 2)}, (5, 7), "'genres' must hold 0 and 1 only"),
        ({"genres": np.zeros((8, 23), int)}, (5, 7), "got .8, 23.|`target`"),
        ({"features": np.zeros(9)}, (5, 7), r"'features' must be \(films, n\) of numbers"),
        ({"features": np.array([[b"x"]] * 9)}, (5, 7), r"'features' must be \(films, n\)"),
        ({"features": np.full((9, 3), np.nan)}, (5, 7), "must be finite"),
        ({"features": np.zeros((8, 3))}, (5, 7), "equal numbers of rows"),
    ],
)
def test_broken_files(tmp_path: Path, changes: dict[str, Any], bounds: Any, message: str) -> None:
    given = {name: v for name, v in (arrays() | changes).items() if v is not None}
    path = written(tmp_path / "films.hdf5", given)
    with pytest.raises(ValueError, match=message) as raised:
        data.from_mm_imdb(path, bounds=bounds)
    assert str(path) in str(raised.value) or "bounds" in str(raised.value)


def test_files_that_lie(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py", reason="the extra 'data' is not installed")
    path = written(tmp_path / "films.hdf5", arrays())
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"films\.hdf5 is no whole file of MM-IMDB"):
        data.from_mm_imdb(path)
    path.write_bytes(whole)
    with h5py.File(path, "r+") as file:
        del file["features"]
        file.create_dataset("features", (10**9, 4096), "f4", chunks=(1, 4096))
    with pytest.raises(ValueError, match="'features' is said to hold 16384000000000 bytes, but 0"):
        data.from_mm_imdb(path)
    with h5py.File(path, "r+") as file:
        del file["features"]
        file["features"] = h5py.ExternalLink("other.hdf5", "/features")
    with pytest.raises(
        ValueError, match="'features' cannot be read: it must be an array in the file itself"
    ):
        data.from_mm_imdb(path)
    raw = tmp_path / "raw"
    raw.write_bytes(b"\0" * 4 * 9 * 3)
    with h5py.File(path, "r+") as file:
        del file["features"]
        file.create_dataset("features", (9, 3), "f4", external=[(str(raw), 0, 4 * 9 * 3)])
    with pytest.raises(ValueError, match="points to other files"):
        data.from_mm_imdb(path)


def test_no_file_and_no_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "films.hdf5"
    with pytest.raises(FileNotFoundError, match="is not there or no file"):
        data.from_mm_imdb(path)
    path.write_bytes(b"no such format")
    if importlib.util.find_spec("h5py") is not None:
        with pytest.raises(ValueError, match="is no whole file of MM-IMDB"):
            data.from_mm_imdb(path)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"h5py, .*pip install 'pnpfusion\[data\]'"):
        data.from_mm_imdb(path)
