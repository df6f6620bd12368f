"""Fusion models in scikit-learn's manner: its own checks, and what modalities add to them."""

from __future__ import annotations

import pickle
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch

import pnpfusion as pf
from tests.source_tree import ROOT
from tests.training.estimators import TWO, Table, quick, table, torn

sklearn = pytest.importorskip("sklearn", reason="scikit-learn is an extra", minversion="1.6")
from sklearn.base import clone, is_classifier, is_regressor  # noqa: E402
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_val_score  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402
from sklearn.utils.estimator_checks import check_estimator  # noqa: E402

BOTH = (pf.FusionClassifier, pf.FusionRegressor)
#: One check of scikit-learn's is left out: the same samples in other batches must give the same
#: numbers to 1e-7, which is the round-off of float32. With precision="float64" it is passed.
ROUND_OFF = {"check_methods_subset_invariance": "float32 has seven digits"}


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


def test_what_was_learned_is_saved_as_any_model(tmp_path: Any) -> None:
    X, y = table()
    one = quick(epochs=2).fit(X, y)
    model = pf.training.FusionModel.from_pretrained(one.model_.save_pretrained(tmp_path / "it"))
    features = pf.data.Features("X", {k: torch.from_numpy(X[:, v]) for k, v in TWO.items()})
    told = pf.training.predict(model, features).argmax(1)
    assert [model.config.class_names[k] for k in told] == list(one.predict(X))
