"""Baselines: each tells every task that it can."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from pnpfusion.comparison import BASELINES, Cell
from pnpfusion.comparison.measure import measure, opened, splits_of
from pnpfusion.data.scales import FeatureScales
from tests.comparison.small_plans import plan, saved
from tests.tiny_sets import TASKS


@pytest.mark.parametrize(
    ("task", "name"),
    [
        *((task, "concat") for task in TASKS),
        *(
            (task, name)
            for kind, baseline in BASELINES.items()
            for name in (kind, f"{kind}:a")
            for task in baseline.tasks
        ),
    ],
)
def test_every_baseline_tells_every_task_it_can(name: str, task: str, tmp_path: Path) -> None:
    text = saved(task, tmp_path)
    found = measure(plan(sets=(text,), models=(name,)), Cell(text, 0, name, 0, 0))
    score = found["score"]
    assert score in found["test"]
    assert [*found["without"]] == ["a", "b"]
    assert found["noise"]["all"][0] == found["test"][score]
    if name.startswith("constant"):
        assert len({*found["noise"]["all"], found["without"]["a"][score]}) == 1
    if name in ("logistic", "ridge", "svm"):  # they learn what the constant cannot
        plain = measure(plan(sets=(text,), models=("constant",)), Cell(text, 0, "constant", 0, 0))
        assert found["test"][score] > plain["test"][score] + 0.1
    if name.endswith(":a"):  # what it does not look at may be missing
        assert found["without"]["b"] == found["test"]


def test_logistic_regression_is_scikit_learns() -> None:
    from sklearn.linear_model import LogisticRegression

    cell = Cell("digits", 0, "logistic", 0, 0)
    asked = plan(sets=("digits",), models=("logistic",))
    data = splits_of(asked, cell, opened("digits"))
    train, test = data.split("train"), data.split("test")
    scales = FeatureScales.of(train)
    x, y = (
        torch.cat([scales.apply(name, some.modalities[name]) for name in data.dims], 1).numpy()
        for some in (train, test)
    )
    found = measure(asked, cell)
    model = LogisticRegression(C=found["strength"], max_iter=2000).fit(x, train.target)
    assert found["test"]["accuracy"] == pytest.approx(model.score(y, test.target))
    assert found["test"]["accuracy"] > 0.95
