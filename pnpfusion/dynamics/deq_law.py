"""What the deep-equilibrium laws have in common."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor

from pnpfusion.dynamics.base import Dynamics, Input
from pnpfusion.dynamics.deq_input import Modalities, read_modalities


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
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"`{name}` must be a whole number >= 1, got {value!r}.")
        self.modalities = modalities
        self.width = width

    @property
    def state_shape(self) -> tuple[int, ...]:
        """(N + 1, d)."""
        return self.modalities + 1, self.width

    @abstractmethod
    def cell(self, z: Tensor, x: Modalities) -> Tensor:
        """f(z; x), one evaluation of the cell on a flat batch, (B, N + 1, d)."""

    def rate(self, t: Tensor, u: Tensor, x: Input = None) -> Tensor:
        """See :meth:`Dynamics.rate`."""
        flat = u.reshape(-1, *self.state_shape)
        return self.cell(flat, self.read(x, tuple(u.shape[:-2]))).reshape(u.shape) - u

    def read(self, x: Input, batch: tuple[int, ...]) -> Modalities:
        """The input of a flat batch."""
        return read_modalities(x, batch, self.modalities, self.width)

    def check_state(self, name: str, u: Tensor, x: Input = None, t: float = 0.0) -> None:
        """See :meth:`Dynamics.check_state`."""
        super().check_state(name, u, x, t)
        if tuple(u.shape[-2:]) != self.state_shape:
            raise ValueError(
                f"`{name}` must end in {self.state_shape}, a state for each of {self.modalities} "
                f"modalities and the fused one, got {tuple(u.shape)}."
            )
        of_law = next(self.parameters())
        if (u.dtype, u.device) != (of_law.dtype, of_law.device):
            raise ValueError(
                f"`{name}` must be as the law's parameters, {of_law.dtype} on {of_law.device}, got "
                f"{u.dtype} on {u.device}; move one of them, e.g. law.to({name})."
            )
        features = self.read(x, tuple(u.shape[:-2])).features
        if (features.dtype, features.device) != (u.dtype, u.device):
            raise ValueError(
                f"`x` must be as `{name}`, {u.dtype} on {u.device}, got {features.dtype} on "
                f"{features.device}."
            )

    def extra_repr(self) -> str:
        """N and d, for ``print(law)``."""
        return f"modalities={self.modalities}, width={self.width}"


def where_present(z: Tensor, present: Tensor | None) -> Tensor:
    """``z`` (B, N, d) with zeros for the modalities that are absent."""
    return z if present is None else torch.where(present[..., None], z, 0)
