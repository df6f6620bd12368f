"""Small made-up sets of every task, with splits."""

from __future__ import annotations

from dataclasses import replace

import torch

from pnpfusion.data import Features

TASKS = ("classes", "labels", "numbers")


def tiny(task: str, samples: int = 48, *, tokens: int = 0, seed: int = 0) -> Features:
    """Two modalities, "a" of 5 features (or tokens of them) and "b" of 3, and a target to learn."""
    draw = torch.Generator().manual_seed(seed)
    shape = (samples, tokens, 5) if tokens else (samples, 5)
    a, b = torch.randn(shape, generator=draw), torch.randn(samples, 3, generator=draw)
    told = (a.mean(1) if tokens else a)[:, :3] + b
    rows = torch.randperm(samples, generator=draw)
    parts = rows.split([samples // 2, samples // 4, samples - samples // 2 - samples // 4])
    target, names = {
        "classes": (told.argmax(1), ("x", "y", "z")),
        "labels": (told > 0, ("x", "y", "z")),
        "numbers": (5 + 100 * told[:, :2].double(), ()),
    }[task]
    return Features(
        f"tiny {task}",
        {"a": a, "b": b},
        target=target,
        class_names=names,
        splits=dict(zip(("train", "valid", "test"), parts, strict=True)),
    )


def torn(samples: int = 60) -> Features:
    """A third of the samples lack "a", another third "b"."""
    rows = torch.arange(samples)
    return replace(tiny("classes", samples), present={"a": rows % 3 != 0, "b": rows % 3 != 1})
