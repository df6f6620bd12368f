"""Tables of two modalities, and a classifier that is quick to fit."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

import pnpfusion as pf

Table = NDArray[Any]
TWO = {"a": slice(0, 5), "b": slice(5, 8)}


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
