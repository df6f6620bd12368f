"""Archives of NumPy: what is read, and where one is broken."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pnpfusion import data
from tests.data.written_tables import TABLE, written
from tests.registry import f64


def test_an_archive(tmp_path: Path) -> None:
    path = tmp_path / "set.npz"
    audio, motion = np.arange(6.0).reshape(3, 2), np.arange(3, dtype=np.int32).reshape(3, 1)
    np.savez(path, audio=audio, motion=motion, label=np.array(["b", "a", "b"]))
    found = data.from_npz(path)
    assert found.dims == {"audio": 2, "motion": 1}
    assert found.modalities["motion"].dtype == f64
    np.testing.assert_array_equal(found.modalities["audio"].numpy(), audio)
    assert found.target is not None
    assert found.target.tolist() == [1, 0, 1]
    assert found.class_names == ("a", "b")


def test_labels_of_an_archive_may_be_numbers(tmp_path: Path) -> None:
    path = tmp_path / "set.npz"
    np.savez(path, audio=np.zeros((3, 2)), y=np.array([2.5, 1234567.0, 2.5]))
    found = data.from_npz(path)
    assert found.target is not None
    assert found.target.tolist() == [0, 1, 0]
    assert found.class_names == ("2.5", "1234567")


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (
            {"audio": np.zeros(3)},
            r"'audio' must be \(samples, features\), got \(3,\), .*; arrays of cl",
        ),
        ({"audio": np.zeros((3, 0))}, "with at least one feature.*leave an empty modality out"),
        ({"audio": np.zeros((0, 3))}, "has no rows; at least one sample is needed"),
        (
            {"audio": np.zeros((3, 1)), "b": np.zeros((2, 1))},
            "equal numbers of rows, got {'audio': 3",
        ),
        ({"audio": np.full((2, 2), np.nan)}, "must be finite, got nan in row 0, column 0"),
        ({"audio": np.zeros((2, 2), complex)}, "must hold real numbers, got dtype complex128"),
        ({"audio": np.array([["x"]])}, "must hold real numbers, got dtype <U1"),
        ({"label": np.zeros(2)}, "has no modality; wanted one 2-D array for each"),
        ({"audio": np.zeros((2, 1)), "y": np.zeros((2, 1))}, r"labels 'y' must be \(samples,\)"),
        (
            {"audio": np.zeros((2, 1)), "y": np.zeros(3)},
            r"`target` of classes must be \(2,\), one row per",
        ),
        ({"audio": np.zeros((2, 1)), "y": np.array([1, np.nan])}, "row 1: got 'nan', wanted a cl"),
        (
            {"audio": np.zeros((2, 1)), "y": np.zeros(2), "label": np.zeros(2)},
            "more than one array",
        ),
    ],
)
def test_a_broken_archive(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    path = tmp_path / "set.npz"
    np.savez(path, **arrays)
    with pytest.raises(ValueError, match=message) as raised:
        data.from_npz(path)
    assert str(path) in str(raised.value)


def test_pickles_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "set.npz"
    np.savez(path, audio=np.array([[{}]], dtype=object))
    with pytest.raises(ValueError, match="array 'audio' holds pickled objects, which can run code"):
        data.from_npz(path)


def test_a_file_that_is_no_archive(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"is no .npz archive; write one with numpy.savez"):
        data.from_npz(written(tmp_path, TABLE))
