"""INDEX: a task that late fusion cannot solve, whatever is trained, and feedback can."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pnpfusion.data.feature_set import Features
from pnpfusion.solvers.arguments import check_whole


@dataclass(frozen=True)
class IndexTask:
    r"""Which of n bits is asked for is known to one modality, the bits to the other.

    ``"bits"`` are n fair signs; ``"index"`` is the one-hot code of a position i; the label is bit
    i. The bits pass a noisy channel: d numbers within [-1, 1] with Gaussian noise of standard
    deviation :math:`\sigma`, hence at most :math:`C = d \tfrac12 \log_2 (1 + 1/\sigma^2)` bits a
    message. An encoder that does not know i must spread them over all n, so that no fusion after it
    exceeds :meth:`bound`. One that is told i sends the bit itself, right with probability
    :math:`\Phi(\sqrt d / \sigma)`.

    Raises:
        ValueError: sizes that are no whole numbers >= 1, or sigma <= 0: without noise one number
            may carry all bits.
    """

    bits: int = 16  #: n
    channels: int = 1  #: d
    sigma: float = 0.25  #: standard deviation of the noise

    def __post_init__(self) -> None:
        for name in ("bits", "channels"):
            check_whole(name, getattr(self, name))
        if not self.sigma > 0:
            raise ValueError(
                f"`sigma` must be > 0, got {self.sigma}; without noise no bound holds."
            )

    def draw(self, samples: int, generator: torch.Generator) -> tuple[dict[str, Tensor], Tensor]:
        """Fresh samples by modality, (samples, n) each, and their labels 0 or 1, (samples,).

        All float32, on the device of ``generator``.
        """
        device = generator.device
        code = torch.randint(2, (samples, self.bits), generator=generator, device=device)
        index = torch.randint(self.bits, (samples, 1), generator=generator, device=device)
        asked = torch.zeros(samples, self.bits, device=device).scatter(1, index, 1.0)
        label = code.gather(1, index)[:, 0].float()
        return {"bits": 2.0 * code - 1.0, "index": asked}, label

    def encoders(self) -> dict[str, nn.Module]:
        """New encoders: of the bits through the channel to d numbers, of the index to 32."""
        from pnpfusion.fusion.gaussian_channel import GaussianChannel

        bits = nn.Sequential(
            nn.Linear(self.bits, 128),
            nn.ReLU(),
            nn.Linear(128, self.channels),
            nn.Tanh(),
            GaussianChannel(self.sigma),
        )
        index = nn.Sequential(nn.Linear(self.bits, 64), nn.ReLU(), nn.Linear(64, 32))
        return {"bits": bits, "index": index}

    @property
    def dims(self) -> dict[str, int]:
        """The widths of the encodings."""
        return {"bits": self.channels, "index": 32}

    def bound(self, messages: int = 1) -> float:
        """What no accuracy exceeds; see :func:`late_fusion_bound`.

        Args:
            messages: how often the encoder's output is sent, with fresh noise.
        """
        return late_fusion_bound(self.bits, self.sigma, self.channels, messages)


def late_fusion_bound(bits: int, sigma: float, channels: int = 1, messages: int = 1) -> float:
    r"""The largest accuracy on INDEX of an encoder that is not told the index.

    .. math:: H^{-1}\big(1 - R C / n\big), \qquad C = d \tfrac12 \log_2 (1 + 1/\sigma^2),

    with the branch :math:`\ge 1/2` of the inverse of the binary entropy H: the bits are
    independent, so :math:`\sum_i I(b_i; h) \le R C`, and Fano's inequality with the concavity of H
    bounds the mean accuracy over i. 1 where the channel could carry all bits.

    Args:
        bits: n.
        sigma: standard deviation of the noise on each of the numbers within [-1, 1].
        channels: d, how many there are.
        messages: R, how often they are sent, with fresh noise.
    """
    entropy = 1 - messages * channels * math.log2(1 + 1 / sigma**2) / (2 * bits)
    if entropy <= 0:
        return 1.0
    low, high = 0.5, 1.0  # H falls from 1 to 0 between them
    while (middle := (low + high) / 2) not in (low, high):
        h = -middle * math.log2(middle) - (1 - middle) * math.log2(1 - middle)
        low, high = (middle, high) if h > entropy else (low, middle)
    return high


def index(
    samples: int = 20000,
    bits: int = 16,
    sigma: float = 0.25,
    channels: int = 1,
    *,
    generator: torch.Generator,
) -> Features:
    """Samples of :class:`IndexTask` as a set: the bits, the index asked for, and the bit there.

    The channel is no part of the data: a model that is to be judged against the bound has the
    encoders of :meth:`IndexTask.encoders`. Without a channel this is an easy set.

    Args:
        samples: how many.
        bits: n, the width of both modalities.
        sigma: noise of the channel whose bound is stated in ``source``.
        channels: d, of the same.
        generator: where the randomness comes from.

    Raises:
        ValueError: no samples, and as :class:`IndexTask`.
    """
    task = IndexTask(bits, channels, sigma)
    check_whole("samples", samples)
    modalities, label = task.draw(samples, generator)
    return Features(
        "INDEX",
        modalities,
        target=label.long(),
        class_names=("minus", "plus"),
        source=f"made by pnpfusion.data.index; late fusion through {channels} channel(s) with "
        f"noise {sigma:g} has an accuracy of at most {task.bound():.4f}",
    )
