"""Plans of comparisons: every model sees the same samples, splits and noise."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import pnpfusion as pf
from pnpfusion.comparison import Cell, Plan, SetPlan, compare
from pnpfusion.comparison.measure import opened, splits_of
from pnpfusion.comparison.set_plan import Facts
from pnpfusion.data.scales import FeatureScales
from pnpfusion.training.noise import noised
from tests.comparison.small_plans import plan
from tests.tiny_sets import tiny


def test_the_room_is_public() -> None:
    assert pf.comparison.compare is compare


def test_a_plan_comes_back_from_its_file(tmp_path: Path) -> None:
    given = plan(
        sets=("htad", SetPlan("digits", 3)), tuning=({}, {"epochs": 2, "width": 16}), noise=()
    )
    text = json.dumps(given.to_json())
    (tmp_path / "plan.json").write_text(text)
    assert Plan.load(tmp_path / "plan.json") == given
    assert [one.folds for one in given.sets] == [5, 3]
    short = Plan.from_json({"sets": ["digits"], "models": ["pnp", "deq"], "seeds": 3})
    assert (short.seeds, short.against) == ((0, 1, 2), "pnp")


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ([], "a plan must be an object"),
        ({"sets": ["digits"]}, r"a plan must have \['models'\]"),
        ({"sets": ["digits"], "models": ["concat"], "seed": 3}, "did you mean 'seeds'"),
        ({"sets": ["digits"], "models": []}, "`models` must have at least one"),
        ({"sets": ["digits"], "models": ["pnp", "pnp"]}, "'pnp' twice"),
        ({"sets": ["digits"], "models": "pnp"}, "`models` of a plan must be a list"),
        ({"sets": ["digits"], "models": [3]}, "`models` must be names"),
        ({"sets": [3], "models": ["pnp"]}, "set of a plan must be an object"),
        ({"sets": [{"folds": 3}], "models": ["pnp"]}, "must have 'data'"),
        (
            {"sets": [{"data": "htad", "folds": 0}], "models": ["pnp"]},
            "`folds` must be a whole number",
        ),
        ({"sets": ["digits"], "models": ["pnp"], "seeds": [-1]}, "`seeds` must be a whole number"),
        ({"sets": ["digits"], "models": ["pnp"], "valid": 0}, "`valid` must be a share"),
        ({"sets": ["digits"], "models": ["pnp"], "noise": [1, 1]}, "`noise` must be levels"),
        ({"sets": ["digits"], "models": ["pnp"], "tuning": [{"epoch": 1}]}, "mean 'epochs'"),
        ({"sets": ["digits"], "models": ["pnp"], "tuning": [{"seed": 1}]}, "not change the seed"),
        ({"sets": ["digits"], "models": ["pnp"], "tuning": [3]}, "must be a list of objects"),
        (
            {"sets": ["digits"], "models": ["pnp"], "tuning": [{"width": 0}]},
            "`width` must be a whole number",
        ),
        ({"sets": ["digits"], "models": ["pnp"], "reference": "deq"}, "`reference` must be among"),
    ],
)
def test_a_bad_plan_is_refused(told: object, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Plan.from_json(told)


def test_stars_stand_for_each_modality_and_others_tasks_are_left_out(tmp_path: Path) -> None:
    asked = plan(models=("constant", "logistic:*", "ridge", "only:*", "svm:b", "concat"))
    classes, numbers = (Facts.of(tiny(task)) for task in ("classes", "numbers"))
    two = ["only:a", "only:b", "svm:b", "concat"]
    assert asked.models_of(classes) == ["constant", "logistic:a", "logistic:b", *two]
    assert asked.models_of(numbers) == ["constant", "ridge", *two]
    for name, words in (
        ("pmp", "did you mean 'pnp'"),
        ("svm:c", r"not there; there are \['a', 'b'\]"),
        ("only:c", "not there"),
        ("transformer", "there are"),
    ):
        with pytest.raises(ValueError, match=words):
            plan(models=(name,)).models_of(classes)


def test_folds_judge_every_sample_once_and_validation_moves_with_the_seed() -> None:
    data = opened("digits")
    asked = plan(sets=(SetPlan("digits", 4),))
    cut = {
        (seed, fold): splits_of(asked, Cell("digits", fold, "concat", 0, seed), data).splits
        for seed in (0, 1)
        for fold in range(4)
    }
    for seed in (0, 1):
        judged = torch.cat([cut[seed, fold]["test"] for fold in range(4)])
        assert torch.equal(judged.sort().values, torch.arange(len(data)))
    for fold in range(4):
        assert torch.equal(cut[0, fold]["test"], cut[1, fold]["test"])
        assert not torch.equal(cut[0, fold]["valid"], cut[1, fold]["valid"])
        together = torch.cat([*cut[0, fold].values()])
        assert torch.equal(together.sort().values, torch.arange(len(data)))


def test_a_sets_own_test_samples_stay() -> None:
    data, asked = tiny("classes"), plan(sets=("tiny",))
    data = replace(data, splits={name: data.splits[name] for name in ("train", "test")})
    first, second = (splits_of(asked, Cell("tiny", 0, "concat", 0, seed), data) for seed in (0, 1))
    assert torch.equal(first.splits["test"], data.splits["test"])
    assert torch.equal(second.splits["test"], data.splits["test"])
    assert not torch.equal(first.splits["valid"], second.splits["valid"])


def test_noise_is_the_same_for_every_model_and_level() -> None:
    data = tiny("classes")
    scales = FeatureScales.of(data.split("train")).deviations
    one, two = (noised(data, scales, level, ["a", "b"], seed=3) for level in (1.0, 2.0))
    alone = noised(data, scales, 1.0, ["b"], seed=3)
    assert torch.equal(alone.modalities["b"], one.modalities["b"])
    assert torch.equal(alone.modalities["a"], data.modalities["a"])
    for name, values in data.modalities.items():
        first, second = (some.modalities[name] - values for some in (one, two))
        torch.testing.assert_close(second, 2 * first, rtol=1e-3, atol=1e-5)
    assert torch.equal(
        noised(data, scales, 0.0, ["a"], seed=3).modalities["a"], data.modalities["a"]
    )
