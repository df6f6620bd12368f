"""A noisy bottleneck."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class GaussianChannel(nn.Module):
    r"""Adds noise, :math:`h + \sigma \varepsilon`, independent normal :math:`\varepsilon`, always.

    In training and in evaluation alike: what passes is bounded, to
    :math:`\frac12 \log_2 (1 + 1/\sigma^2)` bits for each entry of h within [-1, 1].

    Args:
        sigma: its standard deviation, >= 0.
        generator: what draws it; None is torch's own.

    Raises:
        ValueError: sigma < 0.
    """

    random = True  #: a law that holds it draws random numbers

    def __init__(self, sigma: float, generator: torch.Generator | None = None) -> None:
        super().__init__()
        if not sigma >= 0:
            raise ValueError(f"`sigma` must be >= 0, got {sigma}.")
        self.sigma = sigma
        self.generator = generator

    def forward(self, h: Tensor) -> Tensor:
        """``h`` with noise, in its shape."""
        noise = torch.randn(h.shape, dtype=h.dtype, device=h.device, generator=self.generator)
        return h + self.sigma * noise

    def extra_repr(self) -> str:
        """The standard deviation, for ``print(channel)``."""
        return f"sigma={self.sigma}"
