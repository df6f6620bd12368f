"""Tables as text: what is read, and where one is broken."""

from pathlib import Path
from typing import Any

import pytest

from pnpfusion import data
from tests.data.written_tables import TABLE, written
from tests.registry import f64


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
