"""What is asked of a sample, which the dtype of a target tells."""

from __future__ import annotations

from collections.abc import Sized
from typing import Literal

import torch
from torch import Tensor

#: One class, which of several labels, or numbers.
Task = Literal["classes", "labels", "numbers"]


def task_of(target: Tensor) -> Task:
    """Classes of int64, labels of bool, else numbers."""
    kinds: dict[torch.dtype, Task] = {torch.int64: "classes", torch.bool: "labels"}
    return kinds.get(target.dtype, "numbers")


def outputs_of(target: Tensor, class_names: Sized) -> int:
    """How many classes, labels or numbers it takes to tell a target."""
    if task_of(target) == "classes":
        return len(class_names)
    return target.shape[1] if target.ndim == 2 else 1
