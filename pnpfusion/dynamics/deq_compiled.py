"""The unimodal blocks of the paper's cell with all compiled that lies between products."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.modules.module import _has_any_global_hook

from pnpfusion.dynamics.deq_blocks import GroupNorm, Linear, UnimodalBlock
from pnpfusion.solvers.backend import backend
from pnpfusion.solvers.fixed_point.anderson import Anderson
from pnpfusion.solvers.fixed_point.base import FixedPointSolver
from pnpfusion.solvers.fixed_point.broyden import Broyden
from pnpfusion.solvers.fixed_point.gradient import Gradient, Implicit
from pnpfusion.solvers.fixed_point.linearised import Linearised
from pnpfusion.solvers.fixed_point.picard import Picard
from pnpfusion.solvers.implicit_solve import without_derivative
from pnpfusion.solvers.products import Products, is_plain


@cache
def kernels() -> Any:
    """The module of compiled kernels, where :func:`can_compile` says that they run."""
    from pnpfusion.solvers.kernels.fixed_point import normed as normed

    return normed


def compiled_block(
    block: nn.Module,
    features: Tensor,
    there: Tensor | None,
    solver: FixedPointSolver,
    gradient: Gradient | None,
) -> CompiledBlock | None:
    """f(z) - z of the block of one modality, or None where only torch can evaluate it.

    Args:
        block: the block.
        features: of the modality, ``(B, d)``.
        there: which samples have it, bool ``(B,)``; None is all.
        solver: of the equilibrium; one that takes derivatives by itself needs torch's.
        gradient: of the equilibrium; likewise.
    """
    parts: dict[str, type[nn.Module]] = {"linear1": Linear, "linear2": Linear}
    parts |= {"norm1": GroupNorm, "norm2": GroupNorm, "norm3": GroupNorm}
    known = can_compile(features, solver, gradient)
    if not (known and is_made_of(block, UnimodalBlock, parts, features)):
        return None
    return CompiledBlock(cast(UnimodalBlock, block), features, there)


def can_compile(like: Tensor, solver: FixedPointSolver, gradient: Gradient | None) -> bool:
    """Whether the kernels know states such as ``like`` ``(B, d)``, and serve what solves."""
    known = type(solver) in (Picard, Anderson, Broyden)
    known = known and (gradient is None or type(gradient) is Implicit)
    return known and backend(like) == "numba" and like.numel() > 0 and is_plain(like)


def is_made_of(
    block: nn.Module, kind: type[nn.Module], parts: Mapping[str, type[nn.Module]], like: Tensor
) -> bool:
    """Whether a block and its parts are of these kinds and nothing else, all of them plain."""
    if type(block) is not kind or {n: type(p) for n, p in block.named_children()} != parts:
        return False
    width = like.shape[1]
    shapes: dict[str, tuple[int, ...]] = {f"{name}.bias": (width,) for name in parts}
    for name, part in parts.items():
        shapes[f"{name}.weight"] = (width, width) if part is Linear else (width,)
    found = dict(block.named_parameters())
    groups = {one.num_groups for one in block.children() if isinstance(one, GroupNorm)}
    return (
        {name: tuple(one.shape) for name, one in found.items()} == shapes
        and len(groups) == 1
        and not _is_hooked(block)
        and all(
            is_plain(one) and (one.dtype, one.device) == (like.dtype, like.device)
            for one in found.values()
        )
    )


def _is_hooked(block: nn.Module) -> bool:
    """Whether something listens to a module of the block, or was put in the place of its own."""
    hooks = "_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks"
    return _has_any_global_hook() or any(
        "forward" in vars(one) or any(getattr(one, kind) for kind in hooks)
        for one in block.modules()
    )


def parameters_of(*parts: nn.Module) -> list[Tensor]:
    """The weight and the bias of each part: by name, for the order that modules have may change."""
    return [cast(Tensor, getattr(part, name)) for part in parts for name in ("weight", "bias")]


def norm_of(module: nn.Module) -> Any:
    """A group norm as the kernels read it."""
    norm = cast(GroupNorm, module)
    gain, shift = norm.weight.detach().numpy(), norm.bias.detach().numpy()
    return kernels().Norm(gain, shift, norm.num_groups, norm.eps)


class CompiledBlock:
    """f(z) - z of a block, and its derivatives.

    Args:
        block: the block.
        features: of its modality, ``(B, d)``.
        there: which samples have it, bool ``(B,)``; None is all.
    """

    def __init__(self, block: UnimodalBlock, features: Tensor, there: Tensor | None) -> None:
        self.features, self.there = features, there
        norms, linears = (block.norm1, block.norm2, block.norm3), (block.linear1, block.linear2)
        self.residual, self.parameters = block.residual, parameters_of(*linears, *norms)
        self.first, self.second, self.third = map(norm_of, norms)
        self.linear1, self.linear2 = (Products(one.weight, one.bias) for one in linears)
        self._none = Kept.of(0, 0, features.detach())
        self._x = features.detach().contiguous()

    def __call__(self, z: Tensor, which: Tensor | None) -> Tensor:
        """f(z) - z of the samples ``which``, without gradient."""
        return self.change(z, which, self._none)

    def linearised(self, u: Tensor, rows: Tensor | None) -> Linearised:
        """See :class:`pnpfusion.solvers.fixed_point.linearised.OwnDerivative`."""
        there, features = self.there, self.features
        if rows is not None:
            there, features = None if there is None else there[rows], features[rows]
        with torch.no_grad():
            kept = Kept.of(len(u), self.first.groups, u)
            place = _Place(self, u.detach().contiguous(), there, kept)
            f = self.change(place.z, rows, kept)
        plan = [place, f]  # hidden from autograd, whose inputs are tensors that stand alone
        f = ByInputs.apply(plan, features, *self.parameters)  # type: ignore[no-untyped-call]
        return Linearised(f, place.transposed)

    def change(self, z: Tensor, which: Tensor | None, kept: Kept) -> Tensor:
        """f(z) - z of the samples ``which``; what derivatives need is put into ``kept``."""
        x = self._x if which is None else self._x[which]
        first, second, third = kept.units
        a, f = self.linear1.forward(z), torch.empty_like(z)
        h = kept.h if len(kept.h) else a
        kernels().first_norm(a.numpy(), self.first, h.numpy(), first)
        b = self.linear2.forward(h)
        given = b.numpy(), x.numpy(), z.numpy(), self.residual, self.second, self.third
        kernels().last_norms(*given, f.numpy(), kept.on.numpy(), (second, third))
        if self.there is None:
            return f
        there = self.there if which is None else self.there[which]
        return torch.where(there[:, None], f, -z)


@dataclass(frozen=True, eq=False)
class Kept:
    """What an evaluation of R rows leaves for derivatives; nothing where R is 0."""

    h: Tensor  #: after the first ReLU, (R, d)
    on: Tensor  #: after the second, (R, d)
    norms: list[tuple[Tensor, Tensor]]  #: unit values and factors of each norm

    @classmethod
    def of(cls, rows: int, groups: int, like: Tensor, norms: int = 3) -> Kept:
        """Room for it."""
        h, on, *values = (like.new_empty(rows, like.shape[1]) for _ in range(2 + norms))
        return cls(h, on, [(one, like.new_empty(rows, groups)) for one in values])

    @cached_property
    def units(self) -> list[Any]:
        """The norms as the kernels read them."""
        return [kernels().Unit(values.numpy(), factor.numpy()) for values, factor in self.norms]


@dataclass(frozen=True, eq=False)
class _Place:
    """The derivatives of a block at the states ``z``."""

    block: CompiledBlock
    z: Tensor  #: (R, d)
    there: Tensor | None  #: which have the modality, bool (R,)
    kept: Kept

    def back(self, by: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """From the derivative by the new state to those within the block.

        By what the second ReLU is given, by the second product, by the first norm's values, and by
        the first product.
        """
        block, kept = self.block, self.kept
        first, second, third = kept.units
        inner, by_b, by_norm, by_a = (torch.empty_like(by) for _ in range(4))
        last = by.numpy(), block.second, block.third, kept.on.numpy(), (second, third)
        kernels().back_last_norms(*last, inner.numpy(), by_b.numpy())
        by_h = block.linear2.back(by_b)
        initial = by_h.numpy(), block.first, kept.h.numpy(), first
        kernels().back_first_norm(*initial, by_norm.numpy(), by_a.numpy())
        return inner, by_b, by_norm, by_a

    def where_there(self, by: Tensor) -> Tensor:
        """The derivative by the new state, which is 0 where the modality is absent."""
        by = by if self.there is None else torch.where(self.there[:, None], by, 0)
        return by.contiguous()

    def transposed(self, w: Tensor) -> Tensor:
        """The derivative of f(z) - z, transposed, times ``w``."""
        inner, _, _, by_a = self.back(self.where_there(w))
        by_z = self.block.linear1.back(by_a)
        return (by_z.add_(inner) if self.block.residual else by_z).sub_(w)

    def by_inputs(self, w: Tensor) -> list[Tensor]:
        """That by the features, and by the parameters in their order."""
        by, kept = self.where_there(w), self.kept
        inner, by_b, by_norm, by_a = self.back(by)
        (first, _), (second, _), (third, _) = kept.norms
        products = [
            self.block.linear1.by_weight(by_a, self.z),
            self.block.linear2.by_weight(by_b, kept.h),
        ]
        return [
            by_b,
            *(products[0], by_a.sum(0), products[1], by_b.sum(0)),
            *((by_norm * first).sum(0), by_norm.sum(0)),
            *((inner * second).sum(0), inner.sum(0)),
            *((by * third).sum(0), by.sum(0)),
        ]


class ByInputs(torch.autograd.Function):
    """The values of a block, with their derivatives by all but the state."""

    @staticmethod
    def forward(ctx: Any, plan: list[Any], *inputs: Tensor) -> Tensor:
        ctx.place, values = plan
        ctx.save_for_backward(*inputs)  # so that a change of them in place is noticed
        result: Tensor = values
        return result

    @staticmethod
    def backward(ctx: Any, by: Tensor) -> tuple[Tensor | None, ...]:
        _ = ctx.saved_tensors
        with torch.no_grad(), torch.autocast(by.device.type, enabled=False):
            found = ctx.place.by_inputs(by)
        asked = zip(found, ctx.needs_input_grad[1:], strict=True)
        return None, *(without_derivative(one, by) if needed else None for one, needed in asked)
