"""Folders of the MOGONET format, small ones made here, and broken ones."""

from pathlib import Path

import pytest

from pnpfusion import data

FILES = {
    "1_tr.csv": "0.1,0.2\n0.3,0.4\n0.5,0.6\n",
    "1_te.csv": "1.1,1.2\n1.3,-1.4\n",
    "2_tr.csv": "1.000000000000000000e+00\n2\n3",
    "2_te.csv": "4\n5\n",
    "1_featname.csv": "TP53|7157\n?|90288\n",
    "labels_tr.csv": "3.000000000000000000e+00\n0.0\n3\n",
    "labels_te.csv": "0\n1\n",
}


def folder(path: Path, **changes: str | None) -> Path:
    for name, text in (FILES | {f"{k[1:]}.csv": v for k, v in changes.items()}).items():
        if text is not None:
            (path / name).write_text(text, encoding="utf-8")
    return path


def test_a_folder(tmp_path: Path) -> None:
    found = data.from_mogonet(folder(tmp_path))
    assert found.dims == {"view1": 2, "view2": 1}
    assert found.modalities["view1"].tolist()[-1] == [1.3, -1.4]
    assert found.modalities["view2"].flatten().tolist() == [1, 2, 3, 4, 5]
    assert found.class_names == ("0", "1", "3")
    assert found.target is not None
    assert found.target.tolist() == [2, 0, 2, 0, 1]
    assert found.splits["train"].tolist() == [0, 1, 2]
    assert found.splits["test"].tolist() == [3, 4]
    assert found.feature_names == {"view1": ("TP53|7157", "?|90288"), "view2": ("1",)}


def test_three_views_have_names(tmp_path: Path) -> None:
    whole = folder(tmp_path, _3_tr="1\n2\n3\n", _3_te="4\n5\n")
    assert list(data.from_mogonet(whole).dims) == ["mRNA", "methylation", "miRNA"]
    assert list(data.from_mogonet(whole, views=["a", "b", "c"]).dims) == ["a", "b", "c"]
    with pytest.raises(ValueError, match="`views` must be 3 different names"):
        data.from_mogonet(whole, views=["a", "b"])


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"_1_tr": None}, ValueError, r"must hold views 1_tr.csv, 2_tr.csv, ..., got numbers \[2"),
        ({"_2_te": None}, FileNotFoundError, "2_te.csv is not there"),
        ({"_labels_te": None}, FileNotFoundError, "labels_te.csv is not there"),
        ({"_2_tr": "1\n2\n"}, ValueError, "2_tr.csv has 2 rows, but labels_tr.csv has 3"),
        ({"_1_te": "1\n2\n"}, ValueError, "1_tr.csv has 2 columns and 1_te.csv has 1"),
        ({"_1_te": "1,2\n3\n"}, ValueError, "1_te.csv must hold numbers.*columns changed"),
        ({"_1_te": "a,b\n3,4\n"}, ValueError, "1_te.csv must hold numbers.*no header.*'a'"),
        ({"_1_te": "1,\n3,4\n"}, ValueError, "1_te.csv must hold numbers"),
        ({"_1_te": "1,nan\n3,4\n"}, ValueError, "1_te.csv, row 0, column 1: got nan"),
        ({"_1_te": ""}, ValueError, "1_te.csv must hold numbers.*it is empty"),
        ({"_labels_tr": "1\n2.5\n3\n"}, ValueError, "labels_tr.csv, row 1: got 2.5, wanted a who"),
        ({"_labels_tr": "1,0\n2,0\n3,0\n"}, ValueError, "one label a line, got 2 columns"),
        ({"_1_featname": "only\n"}, ValueError, "1_featname.csv has 1 names, but 1_tr.csv has 2"),
    ],
)
def test_broken_folders(
    tmp_path: Path, changes: dict[str, str | None], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message) as raised:
        data.from_mogonet(folder(tmp_path, **changes))
    assert str(tmp_path) in str(raised.value)


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    (folder(tmp_path) / "2_tr.csv").write_bytes(b"\xff\xfe\n1\n2\n")
    with pytest.raises(ValueError, match=r"2_tr\.csv must hold numbers"):
        data.from_mogonet(tmp_path)
    with pytest.raises(FileNotFoundError, match="is not there or no folder"):
        data.from_mogonet(tmp_path / "nowhere")
