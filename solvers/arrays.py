"""Tensors of the CPU as the arrays that compiled kernels read and write."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray
from torch import Tensor


def as_array(values: Tensor) -> NDArray[Any]:
    """The numbers of ``values``, without gradient and gaps: in its own memory if it has no gaps."""
    array: NDArray[Any] = values.detach().contiguous().numpy()
    return array
