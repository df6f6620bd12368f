"""A noisy bottleneck."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class GaussianChannel(nn.Module):
    r"""Adds noise, :math:`h + \sigma \varepsilon`, independent normal :math:`\varepsilon`, always.

    In training and in evaluation alike: what passes is bounded, to
    :math:`\frac12 \log_2 (1 + 1/\sigma^2)` bits for each entry of h within [-1, 1]. It is drawn
    by torch's own generator, as dropout is, so that a law can hold it fixed for one solve.

    Args:
        sigma: its standard deviation, >= 0.

    Raises:
        ValueError: sigma < 0.
    """

    random = True  #: a law that holds it draws random numbers

    def __init__(self, sigma: float) -> None:
        super().__init__()
        if not sigma >= 0:
            raise ValueError(f"`sigma` must be >= 0, got {sigma}.")
        self.sigma = sigma

    def forward(self, h: Tensor) -> Tensor:
        """``h`` with noise, in its shape."""
        return h + self.sigma * torch.randn_like(h)

    def extra_repr(self) -> str:
        """The standard deviation, for ``print(channel)``."""
        return f"sigma={self.sigma}"
