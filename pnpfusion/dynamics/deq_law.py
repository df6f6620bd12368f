"""What the deep-equilibrium laws have in common."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Protocol, Self

import torch
from torch import Tensor

from pnpfusion.dynamics.base import Dynamics
from pnpfusion.dynamics.bound import DenselyBound
from pnpfusion.dynamics.deq_input import Modalities, read_modalities
from pnpfusion.dynamics.input import Input
from pnpfusion.solvers.arguments import check_whole
from pnpfusion.solvers.faq import Faq
from pnpfusion.solvers.steppers.base import Law


class DrivenCell(Protocol):
    """A cell under the input of a flat batch: what does not change with its state is ready."""

    def __call__(self, z: Tensor) -> Tensor:
        """f(z; x), (B, N + 1, d) like ``z``."""

    def of(self, which: Tensor | None) -> Self:
        """The same for the samples ``which`` alone; None is all of them."""


class DEQLaw(Dynamics):
    r"""A law :math:`f(z; x) - z` of one state per modality and a fused one.

    A state is (z_1, ..., z_N, z_f), shape ``(*batch, N + 1, d)``. The input is a tensor of features
    ``(*batch, N, d)``, or a mapping with these as ``"features"`` and with ``"present"``, bool
    ``(*batch, N)``: an absent modality leaves the sums over modalities, its own state goes to 0.

    Args:
        modalities: N.
        width: d, of every modality.

    Raises:
        ValueError: N or d is no whole number >= 1.
    """

    state_ndim = 2

    def __init__(self, modalities: int, width: int) -> None:
        super().__init__()
        for name, value in (("modalities", modalities), ("width", width)):
            check_whole(name, value)
        self.modalities = modalities
        self.width = width

    @property
    def state_shape(self) -> tuple[int, ...]:
        """(N + 1, d)."""
        return self.modalities + 1, self.width

    @abstractmethod
    def driven(self, x: Modalities) -> DrivenCell:
        """The cell under ``x``."""

    def rate(self, t: Tensor, u: Tensor, x: Input = None) -> Tensor:
        """See :meth:`Dynamics.rate`."""
        cell = self.driven(self.read(x, tuple(u.shape[:-2])))
        return cell(u.reshape(-1, *self.state_shape)).reshape(u.shape) - u

    def bind(self, u0: Tensor, x: Input = None, t: float = 0.0) -> Law:
        """See :meth:`Dynamics.bind`; what does not change in the run is computed once."""
        return _BoundDEQ(self.driven(self.read(x, tuple(u0.shape[:-2]))))

    def check_rest(self, u0: Tensor, x: Input) -> None:
        """See :meth:`Dynamics.check_rest`; this law does not know the time."""

    def read(self, x: Input, batch: tuple[int, ...]) -> Modalities:
        """The input of a flat batch."""
        return read_modalities(x, batch, self.modalities, self.width)

    def check_state(self, name: str, u: Tensor, x: Input = None, t: float = 0.0) -> None:
        """See :meth:`Dynamics.check_state`."""
        super().check_state(name, u, x, t)
        if tuple(u.shape[-2:]) != self.state_shape:
            raise ValueError(
                f"`{name}` must end in {self.state_shape}, a state for each of {self.modalities} "
                f"modalities and the fused one, got {tuple(u.shape)} {Faq.WRONG_SHAPE}."
            )
        of_law = next(self.parameters())
        if (u.dtype, u.device) != (of_law.dtype, of_law.device):
            raise ValueError(
                f"`{name}` must be as the law's parameters, {of_law.dtype} on {of_law.device}, got "
                f"{u.dtype} on {u.device}; move one of them, e.g. law.to({name}) {Faq.WRONG_SHAPE}."
            )
        features = self.read(x, tuple(u.shape[:-2])).features
        if (features.dtype, features.device) != (u.dtype, u.device):
            raise ValueError(
                f"`x` must be as `{name}`, {u.dtype} on {u.device}, got {features.dtype} on "
                f"{features.device} {Faq.WRONG_SHAPE}."
            )

    def extra_repr(self) -> str:
        """N and d, for ``print(law)``."""
        return f"modalities={self.modalities}, width={self.width}"


def where_present(z: Tensor, present: Tensor | None) -> Tensor:
    """``z`` (B, N, d) with zeros for the modalities that are absent."""
    return z if present is None else torch.where(present[..., None], z, 0)


@dataclass(frozen=True, eq=False)
class _BoundDEQ(DenselyBound):
    """A driven cell on a flat batch."""

    cell: DrivenCell

    def rate(self, t: Tensor, u: Tensor) -> Tensor:
        return self.cell(u) - u

    def part(self, which: Tensor) -> Law:
        return _BoundDEQ(self.cell.of(which))
