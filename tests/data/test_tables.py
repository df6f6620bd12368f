"""Tables that ask for labels or numbers, and that say what a sample is for."""

from pathlib import Path
from typing import Any

import pytest

from pnpfusion import data

MANY = """audio_1,label_rain,label_wind,split
1,1,0,train
2,0,0,test
3,1,1.0,valid
"""


def table(folder: Path, text: str) -> Path:
    path = folder / "set.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_labels_and_splits(tmp_path: Path) -> None:
    found = data.from_csv(table(tmp_path, MANY))
    assert found.task == "labels"
    assert found.dims == {"audio": 1}
    assert found.class_names == ("rain", "wind")
    assert found.target is not None
    assert found.target.tolist() == [[True, False], [False, False], [True, True]]
    splits = {name: rows.tolist() for name, rows in found.splits.items()}
    assert splits == {"train": [0], "valid": [2], "test": [1]}


@pytest.mark.parametrize(
    ("header", "options", "shape"),
    [
        ("a_1,target_x,target_y", {}, (2, 2)),
        ("a_1,target.x,a_2", {}, (2,)),
        ("a_1,target,a_2", {}, (2,)),
        ("a_1,height,a_2", {"numbers": ["height"]}, (2,)),
        ("a_1,label,a_2", {"numbers": ["label"]}, (2,)),
    ],
)
def test_numbers(tmp_path: Path, header: str, options: Any, shape: tuple[int, ...]) -> None:
    found = data.from_csv(table(tmp_path, f"{header}\n1,0.5,2\n3,4,5\n"), **options)
    assert found.task == "numbers"
    assert found.target is not None
    assert found.target.shape == shape
    assert found.target.flatten()[0] == 0.5


def test_whole_numbers_called_target_are_classes(tmp_path: Path) -> None:
    found = data.from_csv(table(tmp_path, "a_1,target\n1,7\n2,3\n"))
    assert found.task == "classes"
    assert found.class_names == ("3", "7")


def test_columns_may_be_named(tmp_path: Path) -> None:
    path = table(tmp_path, "x,wet,fold\n1,1,train\n2,0,test\n")
    found = data.from_csv(path, modalities={"a": ["x"]}, labels=["wet"], split="fold")
    assert found.task == "labels"
    assert found.class_names == ("wet",)
    assert sorted(found.splits) == ["test", "train"]


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("a_1,label_x\n1,2\n", {}, "line 2, column 'label_x': got 2, wanted 1 for a sample that"),
        ("a_1,label_x\n1,yes\n", {}, "line 2, column 'label_x': got 'yes', wanted a finite number"),
        ("a_1,target_x\n1,\n", {}, "line 2, column 'target_x': got ''"),
        ("a_1,label_x,target_y\n1,0,1\n", {}, "may be what is asked for; say which by `label`"),
        ("a_1,label_x,class\n1,0,1\n", {}, "may be what is asked for; say which by `label`"),
        ("a_1,split\n1,dev\n", {}, "column 'split', line 2: got 'dev', wanted one of"),
        ("a_1,fold\n1,train\n", {"split": "folds"}, "no column 'folds' for split; near it"),
        ("a_1,b_1\n1,2\n", {"numbers": ["c"]}, "no column 'c' for numbers"),
        ("a_1,b_1\n1,2\n", {"numbers": []}, "`numbers` must list one or more columns"),
        ("a_1,b_1\n1,2\n", {"labels": "b_1"}, "`labels` must list one or more columns, got 'b_1'"),
        ("a_1,y\n1,2\n", {"numbers": ["y"], "label": "y"}, "give one of `label`, `labels` and"),
        (
            "a_1,b_1\n1,2\n",
            {"numbers": ["b_1"], "modalities": {"m": ["a_1", "b_1"]}},
            "'b_1' is the target and stands in modality 'm' too",
        ),
    ],
)
def test_tables_that_do_not_tell(tmp_path: Path, text: str, options: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        data.from_csv(table(tmp_path, text), **options)
