"""Samples that lack a modality, in the record and in files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from pnpfusion.data import Features, from_npz, holdout, open_set
from pnpfusion.data.scales import FeatureScales
from pnpfusion.training.identity import fingerprint
from pnpfusion.training.noise import noised
from tests.tiny_sets import tiny, torn

NAN = float("nan")


def test_what_stands_where_a_modality_is_absent_is_nothing() -> None:
    flags = torch.tensor([True, False, True])
    one, other = (
        Features("x", {"a": torch.tensor([[1.0], [filling], [3.0]]), "b": torch.ones(3, 2)},
                 present={"a": flags, "b": torch.ones(3, dtype=torch.bool)})
        for filling in (NAN, 7.0)
    )  # fmt: skip
    assert one.modalities["a"].tolist() == [[1.0], [0.0], [3.0]]
    assert one.present is not None
    assert [*one.present] == ["a"]  # all have b
    assert torch.equal(one.there("a"), flags)
    assert one.there("b").all()
    assert one.measured("a").tolist() == [[1.0], [3.0]]
    assert fingerprint(one) == fingerprint(other)
    assert fingerprint(one) != fingerprint(replace(one, present=None))
    assert replace(one, present={"a": ~torch.zeros(3, dtype=torch.bool)}).present is None


def test_it_goes_along_with_the_samples() -> None:
    data = torn()
    some = data.samples([0, 1, 2, -1])
    assert some.there("a").tolist() == [False, True, True, True]
    assert some.there("b").tolist() == [True, False, True, True]
    assert data.samples([2, 5]).present is None
    draw = torch.Generator().manual_seed(0)
    cut = holdout(replace(data, splits={}), 0.3, generator=draw)
    part = cut.split("valid")
    assert torch.equal(part.there("a"), data.there("a")[cut.splits["valid"]])


def test_scales_are_of_those_who_have_it() -> None:
    data = torn()
    scaled = data.standardised()
    for name in data.dims:
        own = scaled.measured(name).double()
        torch.testing.assert_close(own.mean(0), torch.zeros_like(own[0]), atol=1e-6, rtol=0)
        torch.testing.assert_close(own.std(0, correction=0), torch.ones_like(own[0]))
        assert not scaled.modalities[name][~data.there(name)].any()
    scales = FeatureScales.of(data)
    torch.testing.assert_close(scales.means["a"], data.measured("a").double().mean(0))
    noisy = noised(data, scales.deviations, 1.0, ["a", "b"], seed=0)
    assert noisy.measured("a").ne(data.measured("a")).all()
    assert not noisy.modalities["a"][~data.there("a")].any()


def test_without_leaves_out_who_has_nothing_else() -> None:
    data = torn(9)
    left = data.without(["a"])
    assert len(left) == 6  # three have only a
    assert not left.there("a").any()
    assert left.there("b").all()
    whole = tiny("classes")
    assert len(whole.without(["b"])) == len(whole)
    assert data.rows_without(["a"]).tolist() == [0, 2, 3, 5, 6, 8]
    assert data.rows_without(["a", "b"]).tolist() == []
    with pytest.raises(ValueError, match=r"nothing is left of 'tiny classes' without \['a', 'b'\]"):
        data.without(["a", "b"])
    with pytest.raises(ValueError, match=r"unknown modalities \['c'\]; known are \['a', 'b'\]"):
        data.without(["c"])


def test_without_keeps_the_splits_of_who_is_left() -> None:
    data = torn()
    left = data.without(["a"])
    assert {*left.splits} == {*data.splits}
    for name, rows in data.splits.items():
        here = rows[data.there("b")[rows]]
        assert torch.equal(left.split(name).modalities["b"], data.modalities["b"][here])
    whole = tiny("classes")
    for name, rows in whole.without(["a"]).splits.items():
        assert torch.equal(rows, whole.splits[name])
    lone = torch.ones(60, dtype=torch.bool)
    lone[data.splits["test"]] = False
    assert [*replace(data, present={"b": lone}).without(["a"]).splits] == ["train", "valid"]


def test_flags_are_its_own() -> None:
    flags = torch.tensor([True, False, True])
    data = Features("x", {"a": torch.ones(3, 1), "b": torch.ones(3, 2)}, present={"a": flags})
    flags[:] = True
    assert data.there("a").tolist() == [True, False, True]


@pytest.mark.parametrize(
    ("present", "message"),
    [
        ({"c": torch.ones(3, dtype=torch.bool)}, r"unknown modalities \['c'\]; known are"),
        ({"a": torch.ones(3)}, r"`present\['a'\]` must be bool \(3,\), got torch.float32 \(3,\)"),
        ({"a": torch.ones(2, dtype=torch.bool)}, r"must be bool \(3,\), got torch.bool \(2,\)"),
        (
            {name: torch.tensor([True, False, True]) for name in "ab"},
            "`present` leaves 1 samples of 'x' without any modality, the first is row 1",
        ),
    ],
)
def test_flags_that_do_not_fit(present: dict[str, Tensor], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Features("x", {"a": torch.ones(3, 1), "b": torch.ones(3, 2)}, present=present)


def test_all_files_tell_the_same(tmp_path: Path) -> None:
    a = np.array([[0.5, 1.0], [NAN, NAN], [2.0, 3.0]])
    b = np.array([[4.0], [5.0], [NAN]])
    has_a, has_b = np.array([True, False, True]), np.array([True, True, False])
    arrays = {"a": a, "b": b, "present.a": has_a, "present.b": has_b, "label": np.array([0, 1, 0])}
    np.savez(tmp_path / "x.npz", **arrays)
    tensors = {name: torch.from_numpy(values) for name, values in arrays.items()}
    save_file(tensors, tmp_path / "x.safetensors")
    (tmp_path / "x.csv").write_text("a_1,a_2,b_1,label\n0.5,1,4,0\n,,5,1\n2,3,,0\n")
    for kind in ("npz", "safetensors", "csv"):
        found = open_set(str(tmp_path / f"x.{kind}"))
        assert found.there("a").tolist() == has_a.tolist(), kind
        assert found.there("b").tolist() == has_b.tolist(), kind
        assert found.modalities["a"].tolist() == [[0.5, 1], [0, 0], [2, 3]], kind
        assert found.modalities["b"].tolist() == [[4], [5], [0]], kind
        assert found.dims == {"a": 2, "b": 1}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"present.a": np.array([1, 0, 1])}, "'present.a' must be bool, and named for one of"),
        ({"present.c": np.ones(3, bool)}, r"'present.c' must be bool, and named for one of \['a'"),
        ({"present.a": np.ones(2, bool)}, r"must be bool \(3,\), got torch.bool \(2,\)"),
        ({"present.a": np.ones(3, bool)}, "must be finite, got nan in row 1"),
    ],
)
def test_broken_arrays(changed: dict[str, np.ndarray], message: str, tmp_path: Path) -> None:
    whole = {"a": np.array([[0.5], [NAN], [2.0]]), "b": np.ones((3, 1))}
    np.savez(tmp_path / "x.npz", **whole, **changed)
    with pytest.raises(ValueError, match=message):
        from_npz(tmp_path / "x.npz")


def test_broken_tables(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("a_1,a_2,b_1\n1,2,3\n1,,3\n")
    with pytest.raises(ValueError, match=r"line 3, column 'a_2'.*empty in all its columns"):
        open_set(str(path))
    path.write_text("a_1,b_1\n1,2\n,\n")
    with pytest.raises(ValueError, match=r"line 3: all of \['a', 'b'\] are empty; drop the line"):
        open_set(str(path))
