"""What is computed with parameters must be as they are."""

import pytest
import torch
from torch import nn

from pnpfusion.dynamics.like_parameters import check_like_parameters


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            torch.ones(2).double(),
            r"got torch.float64 on cpu; move one of them, .*\(torch.float32\)",
        ),
        (torch.ones(2).half(), r"got torch.float16 on cpu; move one of them, .*\(torch.float32\)"),
        (torch.ones(2, device="meta"), r"got torch.float32 on meta; .* by .to\('cpu'\)"),
        (torch.ones(2, device="meta", dtype=torch.long), r"got torch.int64 on meta; .*\('cpu'\)"),
    ],
)
def test_other_kinds_are_refused(values, message):
    with pytest.raises(ValueError, match=r"`y` must be as the house's parameters, .*" + message):
        check_like_parameters(nn.Linear(2, 2), "y", values, "house")


def test_what_can_be_computed_with_passes():
    for values in (torch.ones(2), torch.ones(2, dtype=torch.long), torch.ones(2) > 0):
        check_like_parameters(nn.Linear(2, 2), "y", values)
    check_like_parameters(nn.Tanh(), "y", torch.ones(2, device="meta"))
