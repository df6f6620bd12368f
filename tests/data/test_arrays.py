"""Files of named arrays: what is asked for, splits, and files that are broken or lie."""

import io
import json
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from pnpfusion import data

AUDIO = np.arange(8.0).reshape(4, 2)


def npz(folder: Path, **arrays: Any) -> Path:
    path = folder / "set.npz"
    np.savez(path, audio=AUDIO, **arrays)
    return path


def safe(folder: Path, metadata: dict[str, str] | None = None, **arrays: Any) -> Path:
    path = folder / "set.safetensors"
    tensors = {name: torch.as_tensor(values) for name, values in arrays.items()}
    save_file({"audio": torch.from_numpy(AUDIO)} | tensors, path, metadata=metadata)
    return path


FORMATS = [(npz, data.from_npz), (safe, data.from_safetensors)]


@pytest.mark.parametrize(("write", "read"), FORMATS)
@pytest.mark.parametrize(
    ("target", "task"),
    [
        ({"label": np.array([3, 1, 3, 1])}, "classes"),
        ({"label": np.array([3.0, 1.0, 3.0, 1.0])}, "classes"),
        ({"target": np.array([3, 1, 3, 1])}, "classes"),
        ({"labels": np.eye(4, 3, dtype=bool)}, "labels"),
        ({"target": np.array([0.5, 1.0, 2.0, 3.0])}, "numbers"),
        ({"target": np.ones((4, 2), np.float32)}, "numbers"),
        ({}, None),
    ],
)
def test_the_kind_of_an_array_says_what_is_asked(
    tmp_path: Path, write: Any, read: Any, target: dict[str, Any], task: str | None
) -> None:
    found = read(write(tmp_path, **target))
    assert found.task == task
    assert found.dims == {"audio": 2}
    if task == "classes":
        assert found.target.tolist() == [1, 0, 1, 0]
        assert found.class_names == ("1", "3")
    elif task is not None:
        values = torch.from_numpy(next(iter(target.values())))
        assert torch.equal(found.target, values if task == "labels" else values.double())


@pytest.mark.parametrize(("write", "read"), FORMATS)
def test_splits_tokens_and_identifiers(tmp_path: Path, write: Any, read: Any) -> None:
    tokens = np.ones((4, 3, 5), np.float32)
    found = read(write(tmp_path, split=np.array([0, 2, 1, 0]), words=tokens, id=np.arange(4)))
    assert found.dims == {"audio": 2, "words": 5}
    assert found.modalities["words"].shape == (4, 3, 5)
    assert {name: rows.tolist() for name, rows in found.splits.items()} == {
        "train": [0, 3],
        "valid": [2],
        "test": [1],
    }
    assert read(write(tmp_path), dtype=torch.float32).modalities["audio"].dtype == torch.float32


def test_text_in_an_archive(tmp_path: Path) -> None:
    names = np.array(["low", "mid", "high"])
    found = data.from_npz(
        npz(
            tmp_path,
            label=np.array([2, 0, 0, 2], np.int8),
            class_names=names,
            split=np.array(["train", "test", "train", "test"]),
            patient=np.array(["a", "b", "c", "d"]),
        )
    )
    assert found.class_names == ("low", "mid", "high")
    assert found.target is not None
    assert found.target.tolist() == [2, 0, 0, 2]
    assert sorted(found.splits) == ["test", "train"]
    by_name = data.from_npz(
        npz(tmp_path, label=np.array([b"mid", b"low", b"low", b"mid"]), class_names=names)
    )
    assert by_name.target is not None
    assert by_name.target.tolist() == [1, 0, 0, 1]
    held = data.from_npz(npz(tmp_path, is_test=np.array([False, True, False, False])))
    assert {name: rows.tolist() for name, rows in held.splits.items()} == {
        "train": [0, 2, 3],
        "test": [1],
    }


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"label": np.zeros((4, 2), int)}, r"must be \(samples,\) whole .* got int64 \(4, 2\)"),
        ({"y": np.zeros((4, 2))}, r"or floats called target for numbers, got float64 \(4, 2\)"),
        ({"target": np.array([1.0, np.nan, 0, 0])}, "`target` must be finite, but row 1 is not"),
        ({"split": np.array(["train", "dev", "test", "test"])}, "row 1: got 'dev', wanted one of"),
        ({"split": np.array([0, 3, 0, 0])}, "row 1: got '3', wanted one of"),
        ({"split": np.array([0, 1])}, "one entry for each of 4 samples, got 2"),
        ({"split": np.zeros(4, int), "is_test": np.zeros(4, bool)}, "has split and is_test"),
        ({"is_test": np.zeros(4)}, r"'is_test' must be \(samples,\) bool"),
        ({"class_names": np.array(["a"])}, "has class_names but no labels"),
        ({"label": np.arange(4), "class_names": np.array(["a"])}, "must count from 0 to 0"),
        (
            {"label": np.array(["b"] * 4), "class_names": np.array(["a"])},
            "holds 'b', which is none of",
        ),
        ({"words": np.zeros((4, 3, 5, 2))}, r"'words' must be \(samples, features\)"),
        ({"who": np.array(["a", "b", "c", "d"])}, "'who' must hold real numbers, got dtype <U1"),
        ({"audio2": np.zeros((3, 2))}, "equal numbers of rows"),
    ],
)
def test_arrays_that_do_not_fit(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    path = npz(tmp_path, **arrays)
    with pytest.raises(ValueError, match=message) as raised:
        data.from_npz(path)
    assert str(path) in str(raised.value)


# ---- archives that are cut short or lie


def member(shape: str, body: bytes = b"", descr: str = "'<f8'") -> bytes:
    """An ``.npy`` file with any header."""
    header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}"
    header += " " * (-(len(header) + 11) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + body


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (member("(1000000000000, 1000)"), "is said to hold 8000000000000000 bytes, but 0 are ther"),
        (member("(4, 2)", b"\0" * 63), "is said to hold 64 bytes, but 63 are there"),
        (member("(4, 2)", b"\0" * 65), "is longer or shorter than its header says"),
        (member("(-4, 2)"), r"is of shape \(-4, 2\)"),
        (member("(4, 2)", descr="'O'"), "holds pickled objects, which can run code when read"),
        (member("(4, 2)", descr="'V'"), "write it again"),
        (member("(" * 400), "cannot be read as an array"),
        (b"\x93NUMPY\x09\x00", "cannot be read as an array"),
        (b"", "cannot be read as an array"),
    ],
)
def test_an_array_with_a_bad_header(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "set.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("audio.npy", content)
    with pytest.raises(ValueError, match=message) as raised:
        data.from_npz(path)
    assert str(path) in str(raised.value)
    assert "'audio'" in str(raised.value)


def test_an_array_larger_than_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pnpfusion.data.reading._memory", lambda: 63)
    with pytest.raises(ValueError, match="more than this machine's memory"):
        data.from_npz(npz(tmp_path))


def test_any_cut_and_any_flipped_byte_is_seen_or_harmless(tmp_path: Path) -> None:
    whole = npz(tmp_path, label=np.arange(4)).read_bytes()
    path = tmp_path / "broken.npz"
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"broken\.npz"):
            data.from_npz(path)
    good = data.from_npz(npz(tmp_path, label=np.arange(4)))
    told = []
    for at in range(0, len(whole), 3):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x41]) + whole[at + 1 :])
        try:
            found = data.from_npz(path)
        except ValueError as error:
            told.append(str(error))
        else:  # in what names a member, or in dates that nobody reads
            values = list(found.modalities.values())
            assert any(torch.equal(good.modalities["audio"], v) for v in values)
    assert len(told) > 20
    assert all("broken.npz" in message for message in told)


def test_an_archive_of_other_files(tmp_path: Path) -> None:
    path = tmp_path / "set.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("notes.txt", "hello")
    with pytest.raises(ValueError, match=r"'notes\.txt' is no array"):
        data.from_npz(path)


# ---- safetensors


def test_what_is_text_stands_in_the_metadata(tmp_path: Path) -> None:
    about = {
        "name": "toy",
        "terms": "CC0",
        "source": "me",
        "class_names": json.dumps(["low", "high"]),
        "feature_names": json.dumps({"audio": ["pitch", "loudness"]}),
    }
    found = data.from_safetensors(safe(tmp_path, about, label=[0, 1, 0, 1]))
    assert (found.name, found.terms, found.source) == ("toy", "CC0", "me")
    assert found.class_names == ("low", "high")
    assert found.feature_names["audio"] == ("pitch", "loudness")


def test_short_floats_are_read(tmp_path: Path) -> None:
    found = data.from_safetensors(safe(tmp_path, words=torch.ones(4, 1, dtype=torch.bfloat16)))
    assert found.modalities["words"].dtype == torch.float64


@pytest.mark.parametrize(
    ("about", "message"),
    [
        ({"pnpfusion": "{}"}, "is a saved run, which holds no features; `pnpfusion lab --run"),
        ({"class_names": "low"}, "class_names in its metadata is no JSON"),
        ({"class_names": '{"a": 1}'}, "class_names in its metadata must be a list of names"),
        ({"class_names": "[1, 2]"}, "class_names must be a list of names"),
        ({"feature_names": "[]"}, "feature_names in its metadata must be lists of names by mod"),
        ({"feature_names": '{"audio": ["pitch"]}'}, "must hold 2 names, got 1"),
    ],
)
def test_metadata_that_are_wrong(tmp_path: Path, about: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message) as raised:
        data.from_safetensors(safe(tmp_path, about, label=[0, 1, 0, 1]))
    assert "set.safetensors" in str(raised.value)


def header(**tensors: Any) -> bytes:
    text = json.dumps(tensors).encode()
    return struct.pack("<Q", len(text)) + text


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff" * 40,
        struct.pack("<Q", 2**60) + b"{}",
        header(audio={"dtype": "F64", "shape": [10**12, 9], "data_offsets": [0, 72 * 10**12]}),
        header(audio={"dtype": "F64", "shape": [4, 2], "data_offsets": [0, 64]}) + b"\0" * 63,
    ],
)
def test_a_broken_safetensors_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "set.safetensors"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"set\.safetensors is no whole safetensors file"):
        data.from_safetensors(path)


def test_an_array_in_another_order_is_read_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "set.npz"
    values = np.arange(12.0).reshape(3, 4)
    stream = io.BytesIO()
    np.save(stream, np.asfortranarray(values))
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("audio.npy", stream.getvalue())
    np.testing.assert_array_equal(data.from_npz(path).modalities["audio"].numpy(), values)
