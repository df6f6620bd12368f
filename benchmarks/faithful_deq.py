"""The paper's deep equilibrium layer, solved and differentiated as published (deq_training.py)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

import pnpfusion as pf

MEMORY, RIDGE, FORWARD, BACKWARD, EPS = 6, 1e-4, 105, 106, 1e-5


def set_gain(law: pf.DEQ, gain: float) -> None:
    """Multiply the gains of the cell's last norms, by which it contracts or does not."""
    blocks: Any = law.unimodal
    with torch.no_grad():
        for norm in [law.fusion.norm, *(block.norm3 for block in blocks)]:
            norm.weight.mul_(gain)


def anderson(
    f: Callable[[Tensor], Tensor], start: Tensor, evaluations: int, *, relative: bool
) -> tuple[Tensor, int]:
    """The iterate with the smallest residual of the whole batch, (B, n), and its evaluations."""
    batch, n = start.shape
    iterates, values = start.new_zeros(batch, MEMORY, n), start.new_zeros(batch, MEMORY, n)
    bordered = start.new_zeros(batch, MEMORY + 1, MEMORY + 1)
    bordered[:, 0, 1:] = bordered[:, 1:, 0] = 1
    load = start.new_zeros(batch, MEMORY + 1, 1)
    load[:, 0] = 1
    iterates[:, 0], values[:, 0] = start, f(start)
    iterates[:, 1] = values[:, 0]
    values[:, 1] = f(iterates[:, 1])
    best, smallest, k = iterates[:, 1], float("inf"), 1
    for k in range(2, evaluations):
        used = min(k, MEMORY)
        g = values[:, :used] - iterates[:, :used]
        bordered[:, 1 : used + 1, 1 : used + 1] = g @ g.mT + RIDGE * torch.eye(used)
        alpha = torch.linalg.solve(bordered[:, : used + 1, : used + 1], load[:, : used + 1])
        slot = k % MEMORY
        iterates[:, slot] = (alpha[:, 1:].mT @ values[:, :used])[:, 0]
        values[:, slot] = f(iterates[:, slot])
        residual = float((values[:, slot] - iterates[:, slot]).norm())
        size = residual / (1e-5 + float(values[:, slot].norm())) if relative else residual
        if size < smallest:
            best, smallest = iterates[:, slot].clone(), size
        if size < EPS:
            break
    return best, k + 1


class Faithful(nn.Module):
    """The paper's layer: the modules of ``law``, solved as published.

    Products and norms are those of PyTorch, or ``like_ours``.
    """

    def __init__(self, law: pf.DEQ, *, like_ours: bool = False) -> None:
        super().__init__()
        self.law, self.like_ours = law, like_ours
        self.evaluations = [0, 0]  #: of the last step, forward and backward

    def linear(self, of: nn.Linear, values: Tensor) -> Tensor:
        """A layer of the law."""
        plain = nn.functional.linear
        return of(values) if self.like_ours else plain(values, of.weight, of.bias)

    def norm(self, of: Any, values: Tensor) -> Tensor:
        """A norm of the law."""
        if self.like_ours:
            return of(values)
        return nn.functional.group_norm(values, of.num_groups, of.weight, of.bias, of.eps)

    def cell(self, z: Tensor, x: Tensor) -> Tensor:
        """f(z; x), equation by equation, (B, (N + 1) d)."""
        law, linear, norm = self.law, self.linear, self.norm
        state = z.reshape(len(z), law.modalities + 1, -1)
        fused, block = state[:, -1], law.fusion
        if law.sum_weights is None or law.sum_bias is None:
            raise ValueError("the law must learn its sum, as published.")
        injected = (law.sum_weights[:, None] * x).sum(1) + law.sum_bias
        after, mixed = [], torch.zeros_like(fused)
        blocks: Any = law.unimodal
        for i, own in enumerate(blocks):
            hidden = norm(own.norm1, linear(own.linear1, state[:, i])).relu()
            inner = norm(own.norm2, linear(own.linear2, hidden) + x[:, i]) + state[:, i]
            after.append(norm(own.norm3, inner.relu()))
            mixed = mixed + fused * linear(block.gate, after[-1] + fused)
        after.append(norm(block.norm, (linear(block.out, mixed) + injected).relu()))
        return torch.stack(after, 1).reshape(z.shape)

    def forward(self, x: Tensor) -> Tensor:
        """z_f, (B, d), of features (B, N, d)."""
        start = x.new_zeros(len(x), (x.shape[1] + 1) * x.shape[2])
        with torch.no_grad():
            z, self.evaluations[0] = anderson(
                lambda v: self.cell(v, x), start, FORWARD, relative=False
            )
        z = self.cell(z, x)
        again = z.detach().requires_grad_()
        f = self.cell(again, x)

        def solve(grad: Tensor) -> Tensor:
            def transposed(w: Tensor) -> Tensor:
                return torch.autograd.grad(f, again, w, retain_graph=True)[0] + grad

            w, self.evaluations[1] = anderson(
                transposed, torch.zeros_like(grad), BACKWARD, relative=True
            )
            return w

        if z.requires_grad:
            z.register_hook(solve)
        return z.reshape(len(z), x.shape[1] + 1, -1)[:, -1]
