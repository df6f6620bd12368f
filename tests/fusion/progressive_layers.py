"""Layers of progressive fusion, and the encoders that they are made of."""

import torch
from torch import nn

import pnpfusion as pf
from tests.registry import f64

DIMS, WIDTH = {"a": 3, "b": 4, "c": 2}, 5


class Counted(nn.Module):
    """The identity, counting its calls."""

    calls = 0

    def forward(self, x):
        self.calls += 1
        return x


class Pair(nn.Module):
    """Any fusion of a list: a bilinear form of the first two, and the sum of all, squashed."""

    def __init__(self, width):
        super().__init__()
        self.product, self.calls = nn.Bilinear(6, 6, width), 0

    def forward(self, encodings):
        self.calls += 1
        return torch.tanh(self.product(encodings[0], sum(encodings)))


def mlp(d, hidden=8, out=6):
    return nn.Sequential(nn.Linear(d, hidden), nn.Tanh(), nn.Linear(hidden, out))


def features(samples=4, dims=DIMS):
    return {name: torch.randn(samples, d, dtype=f64) for name, d in dims.items()}


def ready(**options):
    return pf.fusion.Progressive(DIMS, WIDTH, hidden=8, bottleneck=6, context=3, **options).double()


def smooth(rounds=2, **options):
    encoders = {name: mlp(d) for name, d in DIMS.items()}
    at = dict.fromkeys(DIMS, "0")
    return pf.fusion.Progressive.around(
        encoders, Pair(WIDTH), width=WIDTH, at=at, rounds=rounds, context=3, **options
    ).double()


LAYERS = [ready, smooth]


def base_model(layer, x):
    """Late fusion with the layer's own weights."""
    law = layer.dynamics
    return law.fuse([e.encoder(x[n]) for n, e in zip(law.modalities, law.encoders, strict=True)])
