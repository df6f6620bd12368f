"""What scikit-learn's manner of a fusion model takes for samples, and how it says no to others."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import pnpfusion as pf
from tests.training.estimators import TWO, quick, table, torn

pytest.importorskip("sklearn", reason="scikit-learn is an extra", minversion="1.6")
from sklearn.metrics import r2_score


def test_columns_are_told_in_any_way() -> None:
    import pandas

    X, y = table()
    names = [f"a{i}" for i in range(5)] + [f"b{i}" for i in range(3)]
    frame = pandas.DataFrame(X, columns=names)
    wanted = quick(epochs=2).fit(X, y).predict_proba(X)
    for columns in ({"a": 5, "b": 3}, {"a": range(5), "b": np.array([5, 6, 7])}):
        np.testing.assert_array_equal(
            quick(modalities=columns, epochs=2).fit(X, y).predict_proba(X), wanted
        )
    by_name = quick(modalities={"a": names[:5], "b": names[5:]}, epochs=2).fit(frame, y)
    np.testing.assert_array_equal(by_name.predict_proba(frame), wanted)
    assert list(by_name.feature_names_in_) == names
    with pytest.raises(ValueError, match="column 0 is 'b2', wanted 'a0'"):
        by_name.predict(frame[names[::-1]])
    parts = {"a": X[:, :5], "b": X[:, 5:]}
    of_parts = quick(modalities=None, epochs=2).fit(parts, y)
    np.testing.assert_array_equal(of_parts.predict_proba(parts), wanted)
    alone = X.copy()
    alone[:, 5:] = np.nan
    np.testing.assert_array_equal(
        of_parts.predict({"b": None, "a": X[:, :5]}), of_parts.predict(alone)
    )
    some = quick(modalities={"a": [6, 1], "b": [0]}, epochs=1).fit(X, y)
    np.testing.assert_array_equal(some.predict({"b": X[:, :1], "a": X[:, [6, 1]]}), some.predict(X))
    assert (some.columns_, some.n_features_in_) == ({"a": [6, 1], "b": [0]}, 8)


def test_nan_is_a_modality_that_is_missing() -> None:
    X, y = table()
    one = quick(epochs=3).fit(X, y)
    flags = {"a": torch.arange(90) % 3 != 0, "b": torch.arange(90) % 3 != 1}
    parts = {"a": torch.from_numpy(X[:, :5]), "b": torch.from_numpy(X[:, 5:])}
    with torch.no_grad():
        wanted = one.model_({k: v.float() for k, v in parts.items()}, flags).softmax(1)
    np.testing.assert_allclose(one.predict_proba(torn(X)), wanted, rtol=1e-5)


@pytest.mark.parametrize("model", ["pnp", "only:a", "gmf"])
def test_what_stands_in_absent_features_is_never_looked_at(model: str) -> None:
    """Not even in scales, in validation or beside modality dropout."""
    X, y = table()
    flags = {"a": torch.arange(90) % 3 != 0, "b": torch.arange(90) % 3 != 1}
    names, target = np.unique(y, return_inverse=True)
    rows = torch.arange(90)
    found = []
    for filling in (0.0, 1e9):
        data = pf.data.Features(
            "torn",
            {
                name: torch.where(flags[name][:, None], torch.from_numpy(X[:, TWO[name]]), filling)
                for name in TWO
            },
            target=torch.from_numpy(target),
            class_names=tuple(names),
            present=flags,
            splits={"train": rows[:60], "valid": rows[60:]},
        )
        one = pf.training.FusionModel.build(data, model, hidden=8, width=8)
        recipe = pf.training.Recipe(epochs=3, modality_dropout=0.3)
        found.append(pf.training.train(one, data, recipe))
    assert found[0].history == found[1].history
    for name, value in found[0].model.state_dict().items():
        assert torch.equal(value, found[1].model.state_dict()[name])
    seen = torch.from_numpy(X[:60, :5])[flags["a"][:60]]
    torch.testing.assert_close(found[0].model.get_buffer("mean_0"), seen.mean(0).float())


def test_learning_with_gaps_is_learning_to_do_without() -> None:
    (X, y), (more, told) = table(600), table(300, seed=1)
    whole, gaps = quick(epochs=40).fit(X, y), quick(epochs=40).fit(torn(X), y)
    assert gaps.score(more, told) > 0.75
    more[:, 5:] = np.nan
    assert gaps.score(more, told) > whole.score(more, told) - 0.02
    assert gaps.score(more, told) > 0.5


def test_labels_are_any_of_several() -> None:
    X, _ = table(200)
    y = (X[:, :3] + X[:, 5:] > 0).astype(int)
    one = quick(epochs=30).fit(X, y)
    assert one.predict(X).shape == one.predict_proba(X).shape == (200, 3)
    assert one.score(X, y) == (one.predict(X) == y).all(1).mean() > 0.6


def test_numbers_are_told_in_their_own_units() -> None:
    X, _ = table(300)
    y = 500 + 100 * np.stack([X[:, 0] + X[:, 5], X[:, 1] - X[:, 6]], 1)
    several = pf.FusionRegressor("concat", TWO, epochs=40).fit(X, y)
    assert several.predict(X).shape == (300, 2)
    assert several.score(X, y) == pytest.approx(r2_score(y, several.predict(X)))
    assert several.score(X, y) > 0.9
    one = pf.FusionRegressor("concat", TWO, epochs=40).fit(X, y[:, 0])
    assert one.predict(X).shape == (300,)
    assert one.score(X, y[:, 0]) > 0.9
    with pytest.raises(ValueError, match="`y` must have 1 columns, got 2"):
        one.score(X, y)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"modalities": {"a": 5, "b": 4}}, "add up to the 8 columns"),
        ({"modalities": {"a": 5, "b": [5, 6]}}, "all widths or all columns"),
        ({"modalities": {"a": slice(0, 5), "b": slice(4, 8)}}, "column 4 is in 'a' and 'b'"),
        ({"modalities": {"a": slice(0, 9)}}, "ends at 9, but `X` has 8 columns"),
        ({"modalities": {"a": slice(0, 0)}}, r"`modalities\['a'\]` has no columns"),
        ({"modalities": {"a": [8]}}, "columns from 0 to 7, or their names, got 8"),
        ({"modalities": {"a": [True]}}, "columns from 0 to 7, or their names, got True"),
        ({"modalities": {"a": ["loud"]}}, "names the column 'loud', but `X` has columns without"),
        ({"modalities": {"a": "loud"}}, "must be a slice, or a list of columns, got 'loud'"),
        ({"modalities": ["a"]}, "`modalities` must map names to columns"),
        ({"model": "pmp"}, "did you mean 'pnp'"),
        ({"epochs": 0}, "`epochs` must be a whole number >= 1, got 0"),
        ({"width": 2.5}, "`width` must be a whole number >= 1, got 2.5"),
        ({"validation_fraction": 1.0}, r"`validation_fraction` must be within \[0, 1\), got 1.0"),
        ({"random_state": -1}, "`random_state` must be a whole number >= 0, None, or"),
        ({"class_weights": (1.0, 2.0)}, "`class_weights` must be 3 numbers"),
    ],
)
def test_a_bad_parameter_is_told_by_fit(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        quick(**changed).fit(*table())


def test_bad_samples_are_told() -> None:
    X, y = table()
    hole, bare = X.copy(), X.copy()
    hole[3, 1], bare[4] = np.nan, np.nan
    with pytest.raises(ValueError, match="row 3 of `X` has NaN in 1 of the 5 columns of 'a'"):
        quick().fit(hole, y)
    with pytest.raises(ValueError, match=r"row 4 of `X` is NaN in all of \['a', 'b'\]"):
        quick().fit(bare, y)
    bare = X.copy()
    bare[:, 5:] = np.nan
    with pytest.raises(ValueError, match="no sample of '`X`' to learn from has 'b'; leave it out"):
        quick().fit(bare, y)
    with pytest.raises(ValueError, match=r"`y` must be \(90,\) or \(90, K\)"):
        quick().fit(X, y[:5])
    with pytest.raises(ValueError, match="at least two classes, got one class, 'x'"):
        quick().fit(X, ["x"] * 90)
    with pytest.raises(ValueError, match="zeros and ones, one for each label"):
        quick().fit(X, np.full((90, 2), 3))
    with pytest.raises(ValueError, match="None or NaN"):
        quick().fit(X, [None, *y[1:]])
    with pytest.raises(ValueError, match="`modalities` must be None where `X` is a dict"):
        quick().fit({"a": X}, y)
    with pytest.raises(ValueError, match="arrays of equal numbers of rows"):
        quick(modalities=None).fit({"a": X, "b": X[:3]}, y)
    one = quick(modalities=None, epochs=1).fit({"a": X, "b": X[:, :2]}, y)
    with pytest.raises(ValueError, match=r"must have the modalities \['a', 'b'\], got \['a'\]"):
        one.predict({"a": X})
    with pytest.raises(ValueError, match=r"`X\['b'\]` must have 2 features, got 8"):
        one.predict({"a": X, "b": X})
    with pytest.raises(ValueError, match="has no parameter 'epoch'; did you mean 'epochs'"):
        quick().set_params(epoch=3)
