"""Fixed points that were solved block by block, as one."""

from __future__ import annotations

import torch
from torch import Tensor

from pnpfusion.dynamics.at_rest import AtRest
from pnpfusion.solvers.fixed_point.base import FixedPoint, GradientReport


def combined(blocks: list[FixedPoint], way: str) -> AtRest:
    """The state of rest whose blocks, of equal size and cost, are ``blocks``, (B, d) each.

    Its history is that of the worst block, as if all had been solved side by side.
    """
    evaluations = torch.stack([block.evaluations for block in blocks]).sum(0)
    number = len(blocks)
    return AtRest(
        u=torch.stack([block.u for block in blocks], 1),
        converged=torch.stack([block.converged for block in blocks]).all(0),
        finite=torch.stack([block.residuals for block in blocks]).isfinite().all(0),
        iterations=torch.zeros_like(evaluations),
        evaluations=(evaluations + number - 1).div(number, rounding_mode="floor"),
        rates=torch.stack([block.rates for block in blocks]).square().mean(0).sqrt(),
        way=way,
        history=_history(blocks),
        backward=_report(blocks),
    )


def _history(blocks: list[FixedPoint]) -> Tensor:
    """The worst relative residual of each iterate, (K, B); NaN once all blocks have ended."""
    length = max(len(block.history) for block in blocks)
    relative, ended = [], []
    for block in blocks:
        padded = block.history.new_full((length, len(block.u)), torch.nan)
        padded[: len(block.history)] = block.history
        ended.append(padded.isnan())
        relative.append(torch.where(ended[-1], block.residuals, padded))
    return torch.where(torch.stack(ended).all(0), torch.nan, torch.stack(relative).amax(0))


def _report(blocks: list[FixedPoint]) -> GradientReport | None:
    reports = [block.backward for block in blocks if block.backward is not None]
    return CascadeReport(reports) if reports else None


class CascadeReport(GradientReport):
    """How the linear solves of all blocks went; None before there was one for each."""

    def __init__(self, parts: list[GradientReport]) -> None:
        self.way = parts[0].way
        self.parts = parts  #: block by block

    @property
    def converged(self) -> Tensor | None:  # type: ignore[override]
        """Whether all blocks' did, bool, (B,)."""
        values = self._of_parts("converged")
        return None if values is None else values.all(0)

    @property
    def evaluations(self) -> Tensor | None:  # type: ignore[override]
        """Products with a transposed Jacobian, N + 1 of a block's for one, rounded up, (B,)."""
        values = self._of_parts("evaluations")
        if values is None:
            return None
        return (values.sum(0) + len(values) - 1).div(len(values), rounding_mode="floor")

    @property
    def residuals(self) -> Tensor | None:  # type: ignore[override]
        """The worst block's relative residual, (B,)."""
        values = self._of_parts("residuals")
        return None if values is None else values.amax(0)

    def _of_parts(self, name: str) -> Tensor | None:
        values = [getattr(part, name) for part in self.parts]
        return None if any(value is None for value in values) else torch.stack(values)
