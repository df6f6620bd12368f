"""The three laws, made small; a law with a total; and a cell that drives another law."""

import torch
from torch import nn

import pnpfusion as pf
from tests.registry import blocking_cell, f64, random


def cell_of_eight():
    """A PNP cell, states on one mass shell, and a step below 2 / (its largest rate)."""
    c0 = torch.stack([1 + 0.3 * random(2, 2, 8, seed=s) for s in range(2)]).mean(0)
    return blocking_cell(8, debye=0.5), c0, None, 0.4 * 0.25**2


def deep_equilibrium():
    torch.manual_seed(0)
    law = pf.ContractiveDEQ(2, 4).double()
    return law, torch.zeros(3, 3, 4, dtype=f64), random(3, 2, 4) - 0.5, 1.0


def feedback():
    torch.manual_seed(1)
    encoders = {
        name: nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 4)) for name in ("a", "b")
    }

    class Sum(nn.Module):
        def forward(self, parts):
            return torch.tanh(parts[0] + parts[1])

    law = pf.Progressive(encoders, Sum(), width=4, at={"a": "0", "b": "0"}).double()
    x = {"a": random(3, 3, seed=2) - 0.5, "b": random(3, 3, seed=3) - 0.5}
    return law, torch.zeros(3, 4, dtype=f64), x, 1.0


LAWS = {"PNP": cell_of_eight, "DEQ": deep_equilibrium, "Progressive": feedback}


class Exchange(pf.Dynamics):
    """Two pools that exchange what they hold, at a rate k: only the sum is conserved."""

    def __init__(self, k):
        super().__init__()
        self.k = k

    def rate(self, t, u, x=None):
        flow = self.k * (u[..., 0].exp() - 1 - u[..., 1])
        return torch.stack([-flow, flow, torch.ones_like(flow) - u[..., 2]], -1)

    def conserved(self, u):
        return u[..., :2].sum(-1, keepdim=True)


def cell_and_deq():
    """The potential of a cell feeds a deep equilibrium, whose answer charges an electrode."""
    torch.manual_seed(0)
    cell = blocking_cell(4, debye=1.0, voltage=0.5)
    deq = pf.ContractiveDEQ(1, 4).double()
    law = pf.Coupled(
        {"cell": cell, "deq": deq},
        {
            "deq": lambda s, laws, x: laws["cell"].potential(s["cell"]).unsqueeze(-2),
            "cell": lambda s, laws, x: {"potential:x+": 0.5 + 0.2 * s["deq"][..., -1, 0]},
        },
    )
    start = {"cell": 1 + torch.zeros(2, 2, 4, dtype=f64), "deq": torch.zeros(2, 2, 4, dtype=f64)}
    start["cell"][1] *= 1.3
    return law, law.join(start)
