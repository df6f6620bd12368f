"""Readers read what they promise, and say where a file is broken."""

import builtins
import importlib.metadata
import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pnpfusion import data
from tests.registry import f64

TABLE = """audio_1,audio_2,motion.x,class,motion.y
1,2,3,sweep,4
5,6,7,brush,8
9,10,11,sweep,12
"""


def written(folder: Path, text: str, name: str = "set.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


# ---- comma-separated text


def test_a_table_is_grouped_by_prefix(tmp_path: Path) -> None:
    found = data.from_csv(written(tmp_path, TABLE))
    assert found.name == "set"
    assert found.dims == {"audio": 2, "motion": 2}
    assert found.modalities["audio"].tolist() == [[1, 2], [5, 6], [9, 10]]
    assert found.modalities["motion"].tolist() == [[3, 4], [7, 8], [11, 12]]
    assert found.modalities["audio"].dtype == f64
    assert found.feature_names["motion"] == ("motion.x", "motion.y")
    assert found.class_names == ("brush", "sweep")
    assert found.target is not None
    assert found.target.tolist() == [1, 0, 1]


def test_columns_can_be_named(tmp_path: Path) -> None:
    path = written(tmp_path, "x,y,z,kind\n1,2,3,10\n4,5,6,9\n")
    found = data.from_csv(path, modalities={"b": ["z"], "a": ["y", "x"]}, label="kind")
    assert found.dims == {"b": 1, "a": 2}
    assert found.modalities["a"].tolist() == [[2, 1], [5, 4]]
    assert found.class_names == ("9", "10")  # numbers by size, not by spelling
    assert found.target is not None
    assert found.target.tolist() == [1, 0]


def test_a_table_needs_no_label(tmp_path: Path) -> None:
    found = data.from_csv(written(tmp_path, "a_1,b_1\n1,2\n"))
    assert found.target is None
    assert found.class_names == ()


def test_what_spreadsheets_write(tmp_path: Path) -> None:
    path = tmp_path / "excel.csv"
    path.write_bytes(b'\xef\xbb\xbf"a_1", a_2 ,label\r\n\r\n1e-3,-2,"x, y"\r\n')
    found = data.from_csv(path)
    assert found.modalities["a"].tolist() == [[1e-3, -2]]
    assert found.class_names == ("x, y",)


BROKEN = {
    "": "is empty; wanted a header line and one line per sample",
    "a_1,b_1\n": "has a header but no rows",
    "1,2\n3,4\n": "has no header: its first line holds numbers; put the columns' names there",
    "a_1;b_1\n1;2\n": "is separated by ';'; save it with commas",
    "a_1,a_1\n1,2\n": r"has columns of the same name: \['a_1'\]",
    "a_1,a_2\n1,2\n3\n": "line 3: got 1 entries, but the header has 2",
    "a_1,a_2\n1,2,3\n": "line 2: got 3 entries, but the header has 2",
    "a_1,a_2\n1,2\n\n3,x\n": "line 4, column 'a_2': got 'x', wanted a finite number",
    "a_1,a_2\n1,nan\n": "line 2, column 'a_2': got 'nan', wanted a finite number",
    "a_1,a_2\n1,-inf\n": "line 2, column 'a_2': got '-inf', wanted a finite number",
    "a_1,a_2\n1,\n": "line 2, column 'a_2': got '', wanted a finite number; fill it in",
    "pitch,b_1\n1,2\n": "column 'pitch' has no prefix that names its modality, as in audio_1",
    "_1,b_1\n1,2\n": "column '_1' has no prefix that names its modality",
    "label,class,b_1\n1,2,3\n": r"each of \['label', 'class'\] may be the label; say which",
    "label\nx\n": "has no column of features beside 'label'",
    "a_1,label\n1,\n": "column 'label', line 2: got '', wanted a class; drop that sample",
    "a_1,label\n1,nan\n": "column 'label', line 2: got 'nan', wanted a class",
}


@pytest.mark.parametrize("text", BROKEN)
def test_a_broken_table(tmp_path: Path, text: str) -> None:
    with pytest.raises(ValueError, match=BROKEN[text]):
        data.from_csv(written(tmp_path, text))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"label": "clas"}, r"has no column 'clas' for label; near it: \['class'\]"),
        ({"label": "zzz"}, r"has no column 'zzz' for label; it has \['audio_1', .*\]"),
        ({"modalities": {"a": ["audio_3"]}}, r"no column 'audio_3' for modality 'a'; near it: \["),
        ({"modalities": {"a": []}}, r"`modalities\['a'\]` must list one or more columns, got \[\]"),
        ({"modalities": {"a": "audio_1"}}, r"must list one or more columns, got 'audio_1'"),
        ({"modalities": {"a": ["class"]}, "label": "class"}, "'class' is the label and stands in"),
        ({"modalities": {}}, "`modalities` of 'set' is empty; at least one is needed"),
    ],
)
def test_columns_that_are_not_there(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        data.from_csv(written(tmp_path, TABLE), **options)


def test_a_table_that_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "set.csv"
    path.write_bytes(b"a_1,b_1\n\xff\xfe,2\n")
    with pytest.raises(ValueError, match="is no UTF-8 text of comma-separated values"):
        data.from_csv(path)


@pytest.mark.parametrize("reader", [data.from_csv, data.from_npz])
def test_a_file_that_is_not_there(tmp_path: Path, reader: Any) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere is not there or no file; check the path"):
        reader(tmp_path / "nowhere")


# ---- archives of arrays


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


# ---- the set itself


def small(**changes: Any) -> data.Features:
    values = {"a": torch.tensor([[1.0, 0.1], [3.0, 0.1], [8.0, 0.1]], dtype=f64)}
    return data.Features("small", changes.pop("modalities", values), **changes)


def test_standardising() -> None:
    scaled = small().standardised().modalities["a"]
    torch.testing.assert_close(scaled[:, 0].mean(), torch.tensor(0.0, dtype=f64))
    torch.testing.assert_close(scaled[:, 0].square().mean(), torch.tensor(1.0, dtype=f64))
    assert (scaled[:, 1] == 0).all()  # constant, also where its mean is off by round-off


def test_standardising_needs_a_spread() -> None:
    with pytest.raises(ValueError, match="'small' has one sample, and standardising takes"):
        small().samples(0).standardised()


@pytest.mark.parametrize(
    ("selection", "rows"),
    [(1, [1]), (-1, [2]), (slice(1, 3), [1, 2]), ([2, 0], [2, 0]), (torch.tensor([1]), [1])],
    ids=str,
)
def test_choosing_samples(selection: Any, rows: list[int]) -> None:
    whole = small(target=torch.tensor([0, 1, 0]), class_names=("x", "y"))
    part = whole.samples(selection)
    assert torch.equal(part.modalities["a"], whole.modalities["a"][rows])
    assert part.target is not None
    assert part.target.tolist() == [[0, 1, 0][row] for row in rows]
    assert len(part) == len(rows)


@pytest.mark.parametrize(
    ("selection", "message"),
    [(3, "has samples 0 to 2, got 3"), ([0, -4], "got -4"), ([], "`selection` is empty")],
)
def test_samples_that_are_not_there(selection: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        small().samples(selection)


def test_names_are_numbered_if_not_given() -> None:
    assert small().feature_names == {"a": ("1", "2")}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"modalities": {}}, "`modalities` of 'small' is empty"),
        ({"modalities": {"a": [1.0]}}, r"`modalities\['a'\]` must be a torch.Tensor, got list"),
        ({"modalities": {"a": torch.zeros(2, 1).half()}}, "float32 or float64, got torch.float16"),
        ({"modalities": {"a": torch.zeros(2)}}, r"must be \(samples, features\) .* got \(2,\)"),
        (
            {"modalities": {"a": torch.zeros(2, 1), "b": torch.zeros(2, 1, dtype=f64)}},
            "must have one dtype",
        ),
        ({"target": [0, 1, 0]}, "`target` must be an int64 tensor of classes, .* got list"),
        ({"target": torch.zeros(3).half()}, "or a float one of numbers, got torch.float16"),
        ({"target": torch.tensor([0])}, r"`target` of classes must be \(3,\), .* got \(1,\)"),
        (
            {"target": torch.tensor([0, 1, 2]), "class_names": ("x", "y")},
            "`target` must count from 0 to 1, .* got 0 to 2",
        ),
        ({"target": torch.zeros(3, dtype=torch.bool)}, r"`target` of labels must be \(3, K\)"),
        (
            {"target": torch.zeros(3, 2), "class_names": ("x",)},
            r"must name each column of `target`, \(3, 2\), got 1",
        ),
        ({"target": torch.tensor([0.0, 1.0, float("nan")])}, "finite, but row 2 is not"),
        ({"splits": {"train": [0]}}, r"`splits\['train'\]` must be an int64 tensor"),
        ({"splits": {"train": torch.tensor([3])}}, "must name rows 0 to 2, got 3 to 3"),
        ({"splits": {"train": torch.tensor([], dtype=torch.long)}}, "has no rows; leave it out"),
        (
            {"splits": {"train": torch.tensor([0, 1]), "test": torch.tensor([1])}},
            "must not share samples, but row 1 is in 2 places",
        ),
        ({"feature_names": {"a": ("x",)}}, r"`feature_names\['a'\]` must hold 2 names, got 1"),
        (
            {"feature_names": {"b": ("x",)}},
            r"`feature_names` names \['b'\], but the modalities are",
        ),
    ],
)
def test_a_set_that_cannot_be(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        small(**changes)


def test_what_is_asked_of_a_sample() -> None:
    assert small().task is None
    assert small(target=torch.tensor([0, 1, 0]), class_names=("x", "y")).task == "classes"
    assert small(target=torch.ones(3, 2, dtype=torch.bool)).task == "labels"
    assert small(target=torch.tensor([0.5, 1.0, -3.0])).task == "numbers"


def test_a_split_is_a_set_of_its_own() -> None:
    whole = small(splits={"train": torch.tensor([2, 0]), "test": torch.tensor([1])})
    part = whole.split("train")
    assert torch.equal(part.modalities["a"], whole.modalities["a"][[2, 0]])
    assert part.splits == {}
    with pytest.raises(ValueError, match=r"has splits \['train', 'test'\], got 'valid'"):
        whole.split("valid")


def test_tokens_are_standardised_together() -> None:
    values = torch.arange(12, dtype=f64).reshape(2, 3, 2)
    whole = small(modalities={"a": values})
    scaled = whole.standardised().modalities["a"]
    assert whole.dims == {"a": 2}
    torch.testing.assert_close(scaled.mean((0, 1)), torch.zeros(2, dtype=f64))
    torch.testing.assert_close(scaled.square().mean((0, 1)), torch.ones(2, dtype=f64))


def test_the_place_of_what_is_not_finite_is_named() -> None:
    values = torch.tensor([[0.0, 1.0], [2.0, float("inf")]])
    with pytest.raises(ValueError, match=r"got inf in row 1, column 1 \(pitch\)"):
        small(modalities={"a": values}, feature_names={"a": ("loudness", "pitch")})


# ---- sets with a name


def test_htad() -> None:
    pytest.importorskip("multiviewstacking", reason="the extra 'data' is not installed")
    found = data.htad()
    assert found.name == "HTAD"
    assert {name: tuple(v.shape) for name, v in found.modalities.items()} == {
        "audio": (1386, 36),
        "motion": (1386, 16),
    }
    assert len(found.class_names) == 7
    assert found.target is not None
    counts = found.target.bincount()
    assert counts.min() == 178
    assert counts.max() == 282
    assert found.class_names[int(found.target[0])] == "watch_tv"
    assert found.feature_names["audio"][0] == "mfcc1"
    assert found.modalities["audio"][0, 0] == 120.0788862
    for words in ("research and educational", "written permission", "978-3-030-67835-7_17"):
        assert words in found.terms
    assert "multiviewstacking" in found.source


def test_digits() -> None:
    pytest.importorskip("sklearn", reason="the extra 'data' is not installed")
    from sklearn.datasets import load_digits

    found = data.digits()
    assert found.dims == {"left": 32, "right": 32}
    assert found.class_names == tuple("0123456789")
    halves = [found.modalities[name].reshape(-1, 8, 4) for name in ("left", "right")]
    np.testing.assert_array_equal(torch.cat(halves, -1).numpy(), load_digits().images)
    assert found.feature_names["right"][:2] == ("pixel 0,4", "pixel 0,5")
    assert "CC BY" in found.terms


def test_quadrants_of_digits() -> None:
    pytest.importorskip("sklearn", reason="the extra 'data' is not installed")
    halves, quarters = data.digits(), data.digits("quadrants")
    assert quarters.dims == dict.fromkeys(
        ("top left", "top right", "bottom left", "bottom right"), 16
    )
    parts = {name: v.reshape(-1, 4, 4) for name, v in quarters.modalities.items()}
    for side in ("left", "right"):
        whole = torch.cat([parts[f"top {side}"], parts[f"bottom {side}"]], 1)
        assert torch.equal(whole.flatten(1), halves.modalities[side])
    assert quarters.feature_names["bottom right"][0] == "pixel 4,4"


def test_index_as_a_set() -> None:
    found = data.index(200, bits=5, generator=torch.Generator().manual_seed(0))
    assert found.dims == {"bits": 5, "index": 5}
    at = found.modalities["index"].argmax(1)
    asked = found.modalities["bits"].gather(1, at[:, None])[:, 0] > 0
    assert torch.equal(found.target == 1, asked)
    assert f"{data.IndexTask(5).bound():.4f}" in found.source


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_distribution(name: str) -> None:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr("pnpfusion.data.known_sets.distribution", no_distribution)
    with pytest.raises(ImportError, match=r"pip install 'pnpfusion\[data\]'"):
        data.htad()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"scikit-learn, .*pip install 'pnpfusion\[data\]'"):
        data.digits()


def test_htad_is_read_without_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """The package's own import would bring pandas and scikit-learn, some seconds of them."""
    pytest.importorskip("multiviewstacking", reason="the extra 'data' is not installed")
    plain = builtins.__import__

    def watched(name: str, *rest: Any) -> Any:
        assert name.split(".")[0] not in {"multiviewstacking", "pandas", "sklearn"}
        return plain(name, *rest)

    monkeypatch.setattr(builtins, "__import__", watched)
    data.htad()
