"""Leaves of a run's parameters, and the gradient in them."""

import torch

from tests.registry import f64, times

SPAN = times(0, 3.3e-4, 1.11e-3, 1.12e-3, 4e-3)  # between the steps, and two within one


def parameters():
    generator = torch.Generator().manual_seed(0)
    values = {
        "c0": 1 + 0.3 * torch.rand(2, 2, 12, dtype=f64, generator=generator),
        "z": torch.tensor(1.0, dtype=f64),
        "d": torch.tensor([1.0, 1.7], dtype=f64),
        "epsilon": torch.tensor([0.4, 0.9], dtype=f64),
        "charge": 0.1 * torch.randn(12, dtype=f64, generator=generator),
        "left": torch.tensor([0.7, -5.0], dtype=f64),
        "right": torch.tensor([0.1, 0.2], dtype=f64),
        "stern": torch.tensor(0.2, dtype=f64),
        "reservoir": torch.tensor(1.2, dtype=f64),
    }
    return {name: value.requires_grad_() for name, value in values.items()}


def gradients(run, inputs):
    weights = torch.linspace(0.5, 2, run.states[0].numel(), dtype=f64)
    loss = (run.states.sin().flatten(1) * weights).sum()
    return torch.autograd.grad(loss, inputs)
