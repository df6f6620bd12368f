"""Splits: every class in both parts, nothing in two, blocks that are contiguous."""

from typing import Any

import pytest
import torch

from pnpfusion import data

TARGET = torch.tensor([0] * 10 + [1] * 40 + [2] * 3 + [3])


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def features(n: int = 54, **changes: Any) -> data.Features:
    given: dict[str, Any] = {"target": TARGET, "class_names": ("a", "b", "c", "d")} | changes
    return data.Features("made", {"x": torch.arange(float(n))[:, None]}, **given)


def test_stratified() -> None:
    stay, held = data.stratified(TARGET, 0.2, generator())
    assert torch.cat([stay, held]).sort().values.tolist() == list(range(54))
    assert TARGET[held].bincount(minlength=4).tolist() == [2, 8, 1, 0]
    assert torch.equal(held, held.sort().values)
    again = data.stratified(TARGET, 0.2, generator())[1]
    other = data.stratified(TARGET, 0.2, generator(1))[1]
    assert torch.equal(held, again)
    assert not torch.equal(held, other)
    assert TARGET[data.stratified(TARGET, 0.99, generator())[0]].bincount().tolist() == [1, 1, 1, 1]


def test_blocks_are_contiguous_in_each_class() -> None:
    target = torch.tensor([0, 1, 0, 1, 1, 0, 1, 0, 1, 0, 0])
    folds = data.folds_of_blocks(target, 3)
    judged = torch.cat([test for _, test in folds])
    assert sorted(judged.tolist()) == list(range(11))
    for i, (train, test) in enumerate(folds):
        assert torch.cat([train, test]).sort().values.tolist() == list(range(11))
        for label in (0, 1):
            rows = (target == label).nonzero()[:, 0]
            assert test[target[test] == label].tolist() == rows.tensor_split(3)[i].tolist()


def test_holdout_of_a_set_without_splits() -> None:
    found = data.holdout(features(), 0.2, 0.3, generator=generator())
    assert list(found.splits) == ["train", "valid", "test"]
    assert sorted(torch.cat([*found.splits.values()]).tolist()) == list(range(54))
    assert found.split("test").target is not None
    counts = {name: found.target[rows].bincount().tolist() for name, rows in found.splits.items()}  # type: ignore[index]
    assert counts == {"train": [5, 20, 1, 1], "valid": [2, 8, 1], "test": [3, 12, 1]}


def test_holdout_leaves_what_is_there() -> None:
    rows = {"train": torch.arange(0, 54, 2), "test": torch.arange(1, 54, 2)}
    whole = features(splits=rows)
    found = data.holdout(whole, generator=generator())
    assert torch.equal(found.splits["test"], rows["test"])
    assert set(found.splits["valid"].tolist()) < set(rows["train"].tolist())
    again = data.holdout(found, generator=generator(1))
    assert all(torch.equal(again.splits[name], found.splits[name]) for name in found.splits)
    assert data.holdout(whole, 0.0, generator=generator()).splits.keys() == {"train", "test"}


@pytest.mark.parametrize("target", [None, torch.zeros(54), torch.ones(54, 2, dtype=torch.bool)])
def test_holdout_without_classes(target: Any) -> None:
    whole = features(target=target, class_names=())
    found = data.holdout(whole, 0.25, generator=generator())
    assert {name: len(rows) for name, rows in found.splits.items()} == {"train": 40, "valid": 14}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: data.stratified(TARGET, 1.0, generator()), r"`share` must be within \(0, 1\)"),
        (lambda: data.stratified(TARGET.double(), 0.1, generator()), "`target` must be int64"),
        (lambda: data.stratified(torch.arange(3), 0.1, generator()), "no class of two samples"),
        (lambda: data.folds_of_blocks(TARGET, 1), "`k` must be >= 2"),
        (lambda: data.folds_of_blocks(TARGET, 5), "need 5 samples of each class, but one has 1"),
        (lambda: data.holdout(features(), 0.6, 0.5, generator=generator()), "that leave something"),
        (lambda: data.holdout(features(), -0.1, generator=generator()), "that leave something"),
        (
            lambda: data.holdout(
                features(splits={"test": torch.tensor([0])}), generator=generator()
            ),
            "but none called 'train'",
        ),
        (
            lambda: data.holdout(
                features(1, target=None, class_names=()), 0.2, generator=generator()
            ),
            "has too few samples",
        ),
    ],
)
def test_splits_that_cannot_be(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_blocks_of_htad_show_that_fusion_helps() -> None:
    """Accuracy of a support vector machine, standardised by what is learnt from, over 5 blocks."""
    pytest.importorskip("multiviewstacking", reason="the extra 'data' is not installed")
    pytest.importorskip("sklearn", reason="the extra 'data' is not installed")
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    found = data.htad()
    assert found.target is not None
    y = found.target.numpy()
    views = {name: values.numpy() for name, values in found.modalities.items()}
    views["both"] = torch.cat([*found.modalities.values()], 1).numpy()
    mean = {}
    for name, x in views.items():
        scores = [
            make_pipeline(StandardScaler(), SVC(C=5))
            .fit(x[train], y[train])
            .score(x[test], y[test])
            for train, test in data.folds_of_blocks(found.target, 5)
        ]
        mean[name] = sum(scores) / 5
    assert mean == pytest.approx({"audio": 0.729, "motion": 0.784, "both": 0.857}, abs=2e-3)
