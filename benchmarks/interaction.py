"""Whether a fusion layer forms products of modalities: sign((a . u)(b . v)), linear maps around it.

usage: python -m benchmarks.interaction [--seeds 5] [--epochs 40] [--dims 16 16] [--samples 3000]

Every layer has the same training: AdamW, cross-entropy, batches of 128, a linear head, and is
judged on 1000 other samples after the last epoch. Concatenation and cells that share nothing are
at chance, .50, by construction. One JSON line per run, then a table: test accuracy of each seed.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import nn

import pnpfusion as pf
from benchmarks import count
from benchmarks.script import options, say
from pnpfusion.data.feature_set import target_of
from pnpfusion.text_table import aligned

WIDTH, TEST = 32, 1000
LAYERS: dict[str, Callable[[dict[str, int]], pf.fusion.FusionLayer]] = {
    "PNP, equilibrium": lambda dims: pf.fusion.PNP(dims, WIDTH),
    "PNP, equilibrium, uncoupled": lambda dims: pf.fusion.PNP(dims, WIDTH, coupled=False),
    "PNP, transient": lambda dims: pf.fusion.PNP(dims, WIDTH, run="transient"),
    "PNP, transient, uncoupled": lambda dims: pf.fusion.PNP(
        dims, WIDTH, run="transient", coupled=False
    ),
    "Concat": lambda dims: pf.fusion.Concat(dims, WIDTH),
}


def train(
    make: Callable[[dict[str, int]], pf.fusion.FusionLayer],
    seed: int,
    *,
    dims: dict[str, int],
    samples: int = 3000,
    epochs: int = 40,
    rate: float = 1e-2,
) -> tuple[float, float]:
    """Accuracy on the samples trained with and on others."""
    generator = torch.Generator().manual_seed(seed)
    given = pf.data.interaction(samples + TEST, dims, generator=generator)
    features, labels = given.modalities, target_of(given)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = nn.Sequential(make(dims), nn.Linear(WIDTH, 2))
    optimiser = torch.optim.AdamW(model.parameters(), rate)
    for _ in range(epochs):
        for rows in torch.randperm(samples, generator=generator).split(128):
            found = model({name: values[rows] for name, values in features.items()})
            loss = nn.functional.cross_entropy(found, labels[rows])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    with torch.no_grad():
        right = (model(dict(features)).argmax(1) == labels).float()
    return float(right[:samples].mean()), float(right[samples:].mean())


def main() -> None:
    """Train everything and print it."""
    parser = options(__doc__)
    parser.add_argument("--seeds", type=count, default=5)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--epochs", type=count, default=40)
    parser.add_argument("--dims", type=count, nargs="+", default=[16, 16])
    parser.add_argument("--samples", type=count, default=3000, help="to train with")
    parser.add_argument("--layers", nargs="+", default=[*LAYERS], choices=[*LAYERS])
    args = parser.parse_args()
    torch.set_num_threads(1)
    dims = {chr(ord("a") + i): width for i, width in enumerate(args.dims)}
    table: dict[str, list[float]] = {}
    for name in args.layers:
        for seed in range(args.first_seed, args.first_seed + args.seeds):
            begin = time.perf_counter()
            train_, test = train(
                LAYERS[name], seed, dims=dims, samples=args.samples, epochs=args.epochs
            )
            seconds = round(time.perf_counter() - begin, 1)
            row = {"layer": name, "seed": seed, "train": train_, "test": test, "seconds": seconds}
            say(row)
            table.setdefault(name, []).append(test)
    lines = [[name, *map("{:.3f}".format, [*found, min(found)])] for name, found in table.items()]
    print(f"\n{aligned([['layer', *[''] * args.seeds, 'least'], *lines])}")


if __name__ == "__main__":
    main()
