"""The sets that are known by name."""

import builtins
import importlib.metadata
import importlib.util
from typing import Any

import numpy as np
import pytest
import torch

from pnpfusion import data


def test_htad() -> None:
    pytest.importorskip("multiviewstacking", reason="the extra 'data' is not installed")
    found = data.htad()
    assert found.name == "HTAD"
    assert {name: tuple(v.shape) for name, v in found.modalities.items()} == {
        "audio": (1386, 36),
        "motion": (1386, 16),
    }
    assert len(found.class_names) == 7
    assert found.target is not None
    counts = found.target.bincount()
    assert counts.min() == 178
    assert counts.max() == 282
    assert found.class_names[int(found.target[0])] == "watch_tv"
    assert found.feature_names["audio"][0] == "mfcc1"
    assert found.modalities["audio"][0, 0] == 120.0788862
    for words in ("research and educational", "written permission", "978-3-030-67835-7_17"):
        assert words in found.terms
    assert "multiviewstacking" in found.source


def test_digits() -> None:
    pytest.importorskip("sklearn", reason="the extra 'data' is not installed")
    from sklearn.datasets import load_digits

    found = data.digits()
    assert found.dims == {"left": 32, "right": 32}
    assert found.class_names == tuple("0123456789")
    halves = [found.modalities[name].reshape(-1, 8, 4) for name in ("left", "right")]
    np.testing.assert_array_equal(torch.cat(halves, -1).numpy(), load_digits().images)
    assert found.feature_names["right"][:2] == ("pixel 0,4", "pixel 0,5")
    assert "CC BY" in found.terms


def test_quadrants_of_digits() -> None:
    pytest.importorskip("sklearn", reason="the extra 'data' is not installed")
    halves, quarters = data.digits(), data.digits("quadrants")
    assert quarters.dims == dict.fromkeys(
        ("top left", "top right", "bottom left", "bottom right"), 16
    )
    parts = {name: v.reshape(-1, 4, 4) for name, v in quarters.modalities.items()}
    for side in ("left", "right"):
        whole = torch.cat([parts[f"top {side}"], parts[f"bottom {side}"]], 1)
        assert torch.equal(whole.flatten(1), halves.modalities[side])
    assert quarters.feature_names["bottom right"][0] == "pixel 4,4"


def test_index_as_a_set() -> None:
    found = data.index(200, bits=5, generator=torch.Generator().manual_seed(0))
    assert found.dims == {"bits": 5, "index": 5}
    at = found.modalities["index"].argmax(1)
    asked = found.modalities["bits"].gather(1, at[:, None])[:, 0] > 0
    assert torch.equal(found.target == 1, asked)
    assert f"{data.IndexTask(5).bound():.4f}" in found.source


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_distribution(name: str) -> None:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr("pnpfusion.data.known_sets.distribution", no_distribution)
    with pytest.raises(ImportError, match=r"pip install 'pnpfusion\[data\]'"):
        data.htad()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"scikit-learn, .*pip install 'pnpfusion\[data\]'"):
        data.digits()


def test_htad_is_read_without_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """The package's own import would bring pandas and scikit-learn, some seconds of them."""
    pytest.importorskip("multiviewstacking", reason="the extra 'data' is not installed")
    plain = builtins.__import__

    def watched(name: str, *rest: Any) -> Any:
        assert name.split(".")[0] not in {"multiviewstacking", "pandas", "sklearn"}
        return plain(name, *rest)

    monkeypatch.setattr(builtins, "__import__", watched)
    data.htad()
