"""Made-up samples whose class no sum of functions of one modality tells."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from pnpfusion.data.feature_set import Features


def interaction(
    samples: int = 4000,
    dims: Mapping[str, int] | None = None,
    *,
    generator: torch.Generator,
) -> Features:
    r"""Normal features whose class is the sign of a product of modalities, about its median.

    .. math:: y = \Bigl[\, \prod_m a_m \cdot x_m > \text{median} \Bigr], \qquad
              x_m, a_m \sim N(0, I)

    with fixed vectors :math:`a_m`. Both classes are equally frequent. The product is symmetric in
    each modality, so what is additive in modalities, as concatenation with a linear head, does not
    do better than chance; a product must be formed.

    Args:
        samples: n >= 2.
        dims: the width of each modality, by name; None is 16 for each of ``"a"`` and ``"b"``.
        generator: where the randomness comes from.

    Raises:
        ValueError: fewer than two samples, fewer than two modalities, or an empty one.
    """
    dims = {"a": 16, "b": 16} if dims is None else dict(dims)
    if samples < 2:
        raise ValueError(f"`samples` must be >= 2, one for each class, got {samples}.")
    if len(dims) < 2:
        raise ValueError(f"`dims` must name two modalities or more, got {dims}.")
    modalities, product = {}, torch.ones(samples)
    for name, width in dims.items():
        if width < 1:
            raise ValueError(f"`dims[{name!r}]` must be >= 1, got {width}.")
        modalities[name] = torch.randn(samples, width, generator=generator)
        product = product * (modalities[name] @ torch.randn(width, generator=generator))
    rank = product.argsort().argsort()  # exact halves, whatever the ties
    return Features(
        "interaction",
        modalities,
        target=(rank >= (samples + 1) // 2).long(),
        class_names=("low", "high"),
        source="made by pnpfusion.data.interaction",
    )
