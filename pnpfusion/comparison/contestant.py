"""What takes part in a comparison, however it came by its answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from pnpfusion.data.feature_set import Features

Outputs = Callable[[Features], Tensor]  #: (n, K), of samples


@dataclass(frozen=True)
class Contestant:
    """A model that has learned."""

    outputs: Outputs  #: logits of classes or labels, or numbers
    parameters: int | None  #: that were fitted; None where that says nothing
    told: Mapping[str, Any] = field(default_factory=dict)  #: what is to be known of its learning
    is_sure: bool = True  #: whether its outputs are logits, which say how sure it is
    operations: Callable[[Features], float] | None = None
    """Floating point operations of one answer, the mean over samples; None where unknown."""
