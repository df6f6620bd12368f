"""Products with a matrix by the faster of the libraries that come with PyTorch."""

from __future__ import annotations

import platform
from functools import cache
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pnpfusion.solvers.implicit_solve import runs_forward

SMALLEST = 128 * 128  #: entries of a matrix that is worth another library's overhead


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    r""":math:`x W^T + b`, to round-off that of `torch.nn.functional.linear`.

    On AMD's processors with AVX-512 the library that PyTorch calls for products in single
    precision, MKL, leaves half of their width unused; oneDNN, which PyTorch brings too, does not.
    """
    if not _is_faster_otherwise(x, weight):
        return F.linear(x, weight, bias)
    if not torch.is_grad_enabled():
        return _product(x, weight, bias)
    # Apart, so that a gradient by x alone, of which implicit ones take many, takes one product:
    y: Tensor = _ByInput.apply(x, weight)  # type: ignore[no-untyped-call]
    if weight.requires_grad or (bias is not None and bias.requires_grad):
        y = y + _ByWeight.apply([x], weight, bias)  # type: ignore[no-untyped-call]
    elif bias is not None:
        y = y + bias
    return y


class Products:
    r""":math:`x W^T + b` and :math:`x W` of many x, without gradient; the library is chosen once.

    Args:
        weight: W, ``(m, n)``.
        bias: b, ``(m,)``, or None.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        self.weight = _without_gaps(weight.detach())
        self.bias = None if bias is None else bias.detach()
        self._faster = _is_faster_otherwise(self.weight, self.weight)

    def forward(self, x: Tensor) -> Tensor:
        """:math:`x W^T + b` for ``x`` ``(B, n)``."""
        return self._product(x, self.weight, self.bias)

    def back(self, y: Tensor) -> Tensor:
        """:math:`y W` for ``y`` ``(B, m)``."""
        return self._product(y, self.weight.mT)

    def by_weight(self, y: Tensor, x: Tensor) -> Tensor:
        """:math:`y^T x` for ``y`` ``(B, m)`` and ``x`` ``(B, n)``."""
        return self._product(y.mT, x.mT)

    def _product(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        if not self._faster:
            return F.linear(x, weight, bias)
        y: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
        return y


def times_transposed(x: Tensor, y: Tensor) -> Tensor:
    """:math:`x y^T` of matrices in a stack, ``(*batch, m, n)`` and ``(*batch, k, n)``."""
    one, other = (stack.reshape(-1, *stack.shape[-2:]).unbind() for stack in (x, y))
    pairs = list(zip(one, other, strict=True))
    if torch.is_grad_enabled() or not pairs or not _is_faster_otherwise(*pairs[0]):
        return x @ y.mT
    product = torch.stack([_product(a, b, None) for a, b in pairs])
    return product.reshape(*x.shape[:-1], y.shape[-2])


class _ByInput(torch.autograd.Function):
    """The product, with a derivative by x."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(weight)
        return _product(x, weight, None)

    @staticmethod
    def backward(ctx: Any, by_y: Tensor) -> tuple[Tensor, None]:
        (weight,) = ctx.saved_tensors
        return linear(by_y, weight.mT), None


class _ByWeight(torch.autograd.Function):
    """The bias, with the derivatives of the whole by weight and bias, not on the way to x."""

    @staticmethod
    def forward(ctx: Any, hidden: list[Tensor], weight: Tensor, bias: Tensor | None) -> Tensor:
        (x,) = hidden  # from autograd, for which only tensors that stand alone are inputs
        ctx.save_for_backward(x)
        return (x.new_zeros(len(weight)) if bias is None else bias.clone()).expand(len(x), -1)

    @staticmethod
    def backward(ctx: Any, by_y: Tensor) -> tuple[None, Tensor | None, Tensor | None]:
        (x,) = ctx.saved_tensors
        _, by_weight, by_bias = ctx.needs_input_grad
        found = linear(by_y.mT, x.mT) if by_weight else None
        return None, found, by_y.sum(0) if by_bias else None


def _product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    x, weight = _without_gaps(x), _without_gaps(weight)
    y: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    return y


def _without_gaps(matrix: Tensor) -> Tensor:
    """``matrix``, copied if it is a part of something wider: oneDNN may take a thousandfold time.

    Such are the states of one modality, and what is transposed of them is the worst.
    """
    dense = matrix.is_contiguous() or matrix.mT.is_contiguous()
    return matrix if dense else matrix.contiguous()


def _is_faster_otherwise(x: Tensor, weight: Tensor) -> bool:
    if x.dtype is not torch.float32 or weight.dtype is not torch.float32 or x.ndim != 2:
        return False
    if x.device.type != "cpu" or weight.numel() < SMALLEST or not len(x):
        return False
    return is_plain(x) and is_plain(weight) and _leaves_width_unused()


def is_plain(values: Tensor) -> bool:
    """Whether ``values`` are numbers in memory, neither traced nor transformed nor to be cast."""
    if type(values) not in (Tensor, nn.Parameter) or torch.is_autocast_enabled("cpu"):
        return False
    transformed = torch._C._functorch.maybe_current_level() is not None
    return not (transformed or runs_forward() or torch.compiler.is_compiling())


@cache
def _leaves_width_unused() -> bool:
    if not torch.backends.mkldnn.is_available() or not torch.backends.mkl.is_available():
        return False
    if torch.backends.cpu.get_cpu_capability() != "AVX512":
        return False
    listed = Path("/proc/cpuinfo")
    made_by = listed.read_text()[:1000] if listed.exists() else platform.processor()
    return "AuthenticAMD" in made_by and _still_answers()


def _still_answers() -> bool:
    """Whether the operation, which PyTorch keeps to itself, is there and does what it did."""
    x, weight, bias = (
        torch.tensor(one) for one in ([[1.0, 2.0]], [[3.0, 4.0], [5.0, 6.0]], [7.0, 8.0])
    )
    try:
        with torch.no_grad():
            y = _product(x, weight, bias)
    except (AttributeError, RuntimeError, TypeError):
        return False
    return type(y) is Tensor and y.tolist() == [[18.0, 25.0]]
