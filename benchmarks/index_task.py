"""What late fusion loses and feedback restores: accuracies on INDEX beside their bounds.

usage: python -m benchmarks.index_task [--bits 16] [--steps 4000] [--seeds 3] [--only NAME ...]

One JSON line per model, then a table. `bound` is what no training can exceed: H⁻¹(1 - RC/n) for R
messages from an encoder of the bits that does not know the index, 1 for one that is told.
Accuracies are of 100,000 samples that were not trained on, one for each seed.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

import pnpfusion as pf
from benchmarks import count
from benchmarks.script import options, say
from pnpfusion.data import IndexTask
from pnpfusion.text_table import aligned

WIDTH = 32  # of what is fused


class Late(nn.Module):
    """Encoders, each once, and a fusion layer on their encodings."""

    def __init__(self, encoders: dict[str, nn.Module], fuse: nn.Module) -> None:
        super().__init__()
        self.encoders, self.fuse = nn.ModuleDict(encoders), fuse

    def forward(self, x: dict[str, Tensor]) -> Tensor:
        """The fused feature."""
        fused: Tensor = self.fuse({name: f(x[name]) for name, f in self.encoders.items()})
        return fused


def fusion(dims: dict[str, int]) -> nn.Module:
    """G: of the list of encodings, by one hidden layer."""
    return nn.Sequential(pf.fusion.Concat(dims, 64), nn.ReLU(), nn.Linear(64, WIDTH))


def progressive(task: IndexTask, rounds: int) -> nn.Module:
    """With the context at the first layer of each encoder."""
    return pf.fusion.Progressive.around(
        task.encoders(),
        fusion(task.dims),
        width=WIDTH,
        at={"bits": "0", "index": "0"},
        rounds=rounds,
    )


def silent(task: IndexTask, rounds: int) -> nn.Module:
    """The same with the context frozen at 0."""
    layer = progressive(task, rounds)
    for name, weight in layer.named_parameters():
        if name.endswith("context.weight"):
            nn.init.zeros_(weight).requires_grad_(False)
    return layer


def after_the_channel(task: IndexTask, rounds: int) -> nn.Module:
    """With the context behind the channel of the bits, which sends anew in every round."""
    encoders = task.encoders()
    encoders["bits"] = nn.Sequential(  # its place is inside an entry, so all of it is run again
        encoders["bits"], nn.Sequential(nn.Linear(task.channels, 32), nn.ReLU())
    )
    return pf.fusion.Progressive.around(
        encoders,
        fusion({"bits": 32, "index": 32}),
        width=WIDTH,
        at={"bits": "1.0", "index": "0"},
        rounds=rounds,
    )


def late(task: IndexTask, layer: Callable[..., nn.Module]) -> nn.Module:
    """Another fusion layer on the encodings of one pass."""
    return Late(task.encoders(), layer(task.dims, WIDTH))


def train(
    layer: nn.Module, task: IndexTask, *, steps: int, rate: float, batch: int, seed: int
) -> nn.Module:
    """The layer with a linear head, trained on fresh samples only."""
    model = nn.Sequential(layer, nn.Linear(WIDTH, 1)).train()
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.Adam(weights, rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        x, label = task.draw(batch, generator)
        loss = nn.functional.binary_cross_entropy_with_logits(model(x)[:, 0], label)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return model.eval()


@torch.no_grad()
def accuracy(model: nn.Module, task: IndexTask, samples: int = 100_000) -> float:
    """The share of right answers on samples of a fixed seed."""
    x, label = task.draw(samples, torch.Generator().manual_seed(2**31))
    return float(((model(x)[:, 0] > 0) == (label > 0)).double().mean())


def main() -> None:
    """Run everything and print it."""
    parser = options(__doc__)
    parser.add_argument("--bits", type=count, default=16)
    parser.add_argument("--steps", type=count, default=4000)
    parser.add_argument("--seeds", type=count, default=3)
    parser.add_argument("--only", nargs="*", help="the models to run")
    given = parser.parse_args()
    torch.set_num_threads(1)
    task, double = IndexTask(given.bits), IndexTask(given.bits, channels=2)
    models: dict[str, tuple[IndexTask, Callable[[], nn.Module], float]] = {
        "late fusion (R = 1)": (task, lambda: progressive(task, 1), task.bound()),
        "feedback, R = 2": (task, lambda: progressive(task, 2), 1.0),
        "feedback, R = 3": (task, lambda: progressive(task, 3), 1.0),
        "R = 2, W = 0": (task, lambda: silent(task, 2), task.bound()),
        "R = 1, two channels": (double, lambda: progressive(double, 1), double.bound()),
        "R = 2, after the channel": (task, lambda: after_the_channel(task, 2), task.bound(2)),
    }
    for name in ("Concat", "Attention", "GMF", "DEQ", "PNP"):
        if layer := getattr(pf.fusion, name, None):
            models[f"late fusion, {name}"] = (task, partial(late, task, layer), task.bound())
    rows: list[dict[str, Any]] = []
    for name, (game, make, bound) in models.items():
        if given.only and name not in given.only:
            continue
        found, seconds = [], []
        for seed in range(given.seeds):
            torch.manual_seed(seed)
            begin = time.perf_counter()
            model = train(make(), game, steps=given.steps, rate=2e-3, batch=512, seed=seed)
            seconds.append(time.perf_counter() - begin)
            found.append(round(accuracy(model, game), 5))
        size = sum(weight.numel() for weight in model.parameters())
        row: dict[str, Any] = {
            "model": name,
            "bits": game.bits,
            "bound": round(bound, 5),
            "accuracy": found,
        }
        row |= {"mean": round(statistics.mean(found), 5), "parameters": size}
        row |= {"seconds": round(statistics.median(seconds), 1)}
        rows.append(row)
        say(row)
    print()
    cells = [[row["model"], *(f"{row[name]:.4f}" for name in ("bound", "mean"))] for row in rows]
    print(aligned([["model", "bound", "accuracy"], *cells]))


if __name__ == "__main__":
    main()
