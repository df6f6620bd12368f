"""The real files, where they are at hand: in ../shared/data, or where PNPFUSION_SHARED says."""

import os
from pathlib import Path

import pytest
import torch

from pnpfusion import data
from tests.source_tree import ROOT

SHARED = Path(os.environ.get("PNPFUSION_SHARED", ROOT.parent / "shared")) / "data"


def at_hand(name: str) -> Path:
    path = SHARED / name
    if not path.exists():
        pytest.skip(f"{path} is not there; set PNPFUSION_SHARED to the folder above data/")
    return path


def test_brca769() -> None:
    found = data.open_set(str(at_hand("brca769.npz")))
    assert found.dims == {"mrna": 993, "meth": 1000, "mirna": 503}
    assert found.target is not None
    counts = {name: found.target[rows].bincount().tolist() for name, rows in found.splits.items()}
    assert found.target.bincount().tolist() == [36, 130, 46, 418, 139]
    assert counts == {"train": [25, 96, 34, 304, 99], "test": [11, 34, 12, 114, 40]}
    held = data.holdout(found, generator=torch.Generator().manual_seed(0))
    assert held.target is not None
    assert held.target[held.splits["valid"]].bincount().tolist() == [5, 19, 7, 61, 20]


def test_all_spoken_digits_are_read() -> None:
    pytest.importorskip("sklearn", reason="the extra 'data' is not installed")
    from pnpfusion.data.spoken_digits import read_recordings

    folder = at_hand("fsdd")
    spoken = read_recordings(folder)
    assert spoken.sound.shape == (3000, 8000)
    assert spoken.digit.bincount().tolist() == [300] * 10
    assert int((spoken.index < 5).sum()) == 300
    assert sorted(set(spoken.speakers)) == [
        "george",
        "jackson",
        "lucas",
        "nicolas",
        "theo",
        "yweweler",
    ]


@pytest.mark.slow
def test_both_halves_of_mini_av_mnist_tell_something() -> None:
    """Measured for 25 % of the variance and 0 dB, one draw: image .413, audio .797, both .860."""
    pytest.importorskip("sklearn", reason="the extra 'data' is not installed")
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    generator = torch.Generator().manual_seed(0)
    found = data.mini_av_mnist(at_hand("fsdd"), generator=generator)
    train, test = found.split("train"), found.split("test")
    assert train.target is not None
    assert test.target is not None
    scores = {}
    for name, wanted in (("image", 0.413), ("audio", 0.797)):
        model = make_pipeline(StandardScaler(), SVC(C=5))
        model.fit(train.modalities[name].numpy(), train.target.numpy())
        scores[name] = model.score(test.modalities[name].numpy(), test.target.numpy())
        assert scores[name] == pytest.approx(wanted, abs=0.07)


def test_one_view_of_brca769_is_enough() -> None:
    """Known accuracies of logistic regression: the set cannot show that fusion helps."""
    pytest.importorskip("sklearn", reason="the extra 'data' is not installed")
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    found = data.from_npz(at_hand("brca769.npz"))
    train, test = found.split("train"), found.split("test")
    assert train.target is not None
    assert test.target is not None
    scores = {}
    for name in found.dims:
        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=2000))
        model.fit(train.modalities[name].numpy(), train.target.numpy())
        scores[name] = model.score(test.modalities[name].numpy(), test.target.numpy())
    assert scores == pytest.approx({"mrna": 0.934, "meth": 0.829, "mirna": 0.820}, abs=6e-3)
