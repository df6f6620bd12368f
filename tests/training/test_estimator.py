"""Fusion models in scikit-learn's manner: its own checks, and what modalities add to them."""

from __future__ import annotations

import pickle
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import pnpfusion as pf
from tests.source_tree import ROOT

sklearn = pytest.importorskip("sklearn", reason="scikit-learn is an extra", minversion="1.6")
from sklearn.base import clone, is_classifier, is_regressor  # noqa: E402
from sklearn.metrics import r2_score  # noqa: E402
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_val_score  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402
from sklearn.utils.estimator_checks import check_estimator  # noqa: E402

Table = NDArray[Any]
BOTH = (pf.FusionClassifier, pf.FusionRegressor)
TWO = {"a": slice(0, 5), "b": slice(5, 8)}
#: One check of scikit-learn's is left out: the same samples in other batches must give the same
#: numbers to 1e-7, which is the round-off of float32. With precision="float64" it is passed.
ROUND_OFF = {"check_methods_subset_invariance": "float32 has seven digits"}


def table(samples: int = 90, seed: int = 0) -> tuple[Table, Table]:
    """Eight features, five of a and three of b, and three classes that take both to tell."""
    random = np.random.default_rng(seed)
    X = random.normal(size=(samples, 8))
    return X, np.array(["x", "y", "z"])[(X[:, :3] + X[:, 5:]).argmax(1)]


def quick(**more: Any) -> pf.FusionClassifier:
    return pf.FusionClassifier(**({"model": "concat", "modalities": TWO, "epochs": 12} | more))


def torn(X: Table) -> Table:
    """The same, where every third sample lacks a and every third b."""
    X = X.copy()
    X[::3, :5], X[1::3, 5:] = np.nan, np.nan
    return X


@pytest.mark.filterwarnings("ignore:Estimator .* does not inherit:UserWarning")
@pytest.mark.parametrize("kind", BOTH)
def test_the_checks_of_scikit_learn_are_passed(kind: Any) -> None:
    """None left out, in float64."""
    check_estimator(kind(model="concat", precision="float64", epochs=20), on_skip=None)


@pytest.mark.long
@pytest.mark.filterwarnings("ignore:Estimator .* does not inherit:UserWarning")
@pytest.mark.parametrize("kind", BOTH)
def test_the_checks_of_scikit_learn_are_passed_as_it_comes(kind: Any) -> None:
    check_estimator(kind(), on_skip=None, expected_failed_checks=ROUND_OFF)


def test_it_works_without_scikit_learn() -> None:
    code = (
        "import sys; sys.modules['sklearn'] = None\n"
        "import pnpfusion as pf, torch\n"
        "X = torch.randn(40, 4, generator=torch.Generator().manual_seed(0))\n"
        "clf = pf.FusionClassifier('concat', {'a': 2, 'b': 2}, epochs=3)\n"
        "print(clf.fit(X, X[:, 0] > 0).predict(X).dtype)\n"
        "try: pf.FusionClassifier().predict(X)\n"
        "except ValueError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.stdout.splitlines() == [
        "bool",
        "this FusionClassifier is not fitted yet; call fit(X, y) first.",
    ], done.stderr


def test_it_learns_what_both_modalities_tell() -> None:
    (X, y), (more, told) = table(400), table(200, seed=1)
    both = quick(epochs=40).fit(X, y)
    assert list(both.classes_) == ["x", "y", "z"]
    assert both.score(more, told) > 0.85
    for name in TWO:
        assert quick(model=f"only:{name}", epochs=40).fit(X, y).score(more, told) < 0.7
    likely = both.predict_proba(more)
    np.testing.assert_allclose(likely.sum(1), 1)
    assert (both.classes_[likely.argmax(1)] == both.predict(more)).all()
    assert both.score(more, told) == (both.predict(more) == told).mean()


@pytest.mark.parametrize("model", ["pnp", "gmf+deq", "progressive"])
def test_every_kind_of_layer_learns(model: str) -> None:
    X, y = table(200)
    assert quick(model=model, hidden=16, width=16, epochs=25).fit(X, y).score(X, y) > 0.8


def test_the_same_number_gives_the_same_model_and_fit_starts_anew() -> None:
    X, y = table()
    first, second = quick().fit(X, y), quick()
    second.fit(X[::2], (X[::2, :2] > 0).astype(int)).fit(X, y)
    np.testing.assert_array_equal(first.predict_proba(X), second.predict_proba(X))
    assert first.history_ == second.history_
    other = quick(random_state=1).fit(X, y).predict_proba(X)
    assert abs(other - first.predict_proba(X)).max() > 1e-3
    before = torch.get_rng_state()
    quick().fit(X, y)
    assert (torch.get_rng_state() == before).all()


def test_generators_of_numpy_and_none_are_random_states() -> None:
    X, y = table()

    def said(state: Any) -> Table:
        told: Table = quick(random_state=state, epochs=2).fit(X, y).predict_proba(X)
        return told

    for make in (np.random.default_rng, np.random.RandomState):
        np.testing.assert_array_equal(said(make(3)), said(make(3)))
    torch.manual_seed(0)
    assert abs(said(None) - said(None)).max() > 0


def test_it_is_cloned_pickled_and_shown() -> None:
    X, y = table()
    one = quick(epochs=3).fit(X, y)
    copy = clone(one)
    assert copy.get_params() == one.get_params()
    assert not hasattr(copy, "model_")
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(one)).predict(X), one.predict(X))
    assert repr(pf.FusionClassifier("gmf", epochs=3)) == "FusionClassifier(model='gmf', epochs=3)"
    assert is_classifier(one)
    assert is_regressor(pf.FusionRegressor())


def test_it_is_cross_validated_searched_and_piped() -> None:
    X, y = table(120)
    assert cross_val_score(quick(), X, y, cv=3).mean() > 0.6
    rates = np.array([1e-6, 1e-2])
    search = GridSearchCV(quick(), {"learning_rate": rates, "epochs": np.array([12])}, cv=2)
    assert search.fit(X, y).best_params_ == {"learning_rate": 1e-2, "epochs": 12}
    pipe = make_pipeline(StandardScaler(), quick())
    pipe.set_params(fusionclassifier__epochs=20)
    assert pipe.fit(torn(X), y).score(torn(X), y) > 0.6
    likely = cross_val_predict(quick(), X, y, cv=3, method="predict_proba")
    assert likely.shape == (120, 3)


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


def test_what_was_learned_is_saved_as_any_model(tmp_path: Any) -> None:
    X, y = table()
    one = quick(epochs=2).fit(X, y)
    model = pf.training.FusionModel.from_pretrained(one.model_.save_pretrained(tmp_path / "it"))
    features = pf.data.Features("X", {k: torch.from_numpy(X[:, v]) for k, v in TWO.items()})
    told = pf.training.predict(model, features).argmax(1)
    assert [model.config.class_names[k] for k in told] == list(one.predict(X))


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
