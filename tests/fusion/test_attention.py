"""The attention baseline against its formula."""

from __future__ import annotations

import pytest
import torch

import pnpfusion as pf
from tests.registry import f64

DIMS = {"audio": 5, "motion": 3, "video": 4}


def test_attention_is_its_formula() -> None:
    """softmax(q k / sqrt(width per head)) over the tokens that are present, head by head."""
    torch.manual_seed(0)
    layer = pf.fusion.Attention(DIMS, 6, heads=2, width=8).double()
    generator = torch.Generator().manual_seed(0)
    given = {k: torch.randn(2, n, dtype=f64, generator=generator) for k, n in DIMS.items()}
    flags = torch.tensor([True, False])
    maps = zip(layer.tokens, given.values(), strict=True)
    tokens = torch.stack([token(x) for token, x in maps], 1) + layer.embedding
    projected = tokens @ layer.attention.in_proj_weight.T + layer.attention.in_proj_bias
    q, k, v = projected.unflatten(-1, (3, 2, 4)).permute(2, 0, 3, 1, 4)
    scores = q @ k.mT / 4**0.5
    scores[1, :, :, 1] = -torch.inf
    seen = layer.attention.out_proj((scores.softmax(-1) @ v).transpose(1, 2).flatten(2))
    mean = torch.stack([seen[0].mean(0), seen[1, [0, 2]].mean(0)])
    found = layer(given, present={"motion": flags})
    torch.testing.assert_close(found, layer.linear(mean), rtol=1e-12, atol=1e-12)


def test_width_is_the_smallest_that_holds_the_answer() -> None:
    assert pf.fusion.Attention(DIMS, 6).embedding.shape == (3, 8)
    assert pf.fusion.Attention(DIMS, 64).embedding.shape == (3, 64)


@pytest.mark.parametrize(
    ("heads", "width", "message"),
    [
        (0, None, "`heads` must be a whole number >= 1, got 0"),
        (2.0, None, "`heads` must be a whole number >= 1, got 2.0"),
        (3, 8, "`width` must be a multiple of the 3 `heads`, e.g. 24, got 8"),
        (4, 0, "`width` must be a multiple of the 4 `heads`"),
    ],
)
def test_heads_must_divide_the_width(heads: int, width: int | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pf.fusion.Attention(DIMS, 6, heads=heads, width=width)
