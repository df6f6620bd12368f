"""Warm starts between epochs: what they save in training, and whether accuracy stays.

usage: python -m benchmarks.deq_warm_start [--data digits|brca] [--cell paper|contractive] ...

Each seed trains the same model several times, from the same weights and in the same order of
batches: every solve begins at zero, or where the sample's state was at rest an epoch before; with
the paper's cell also by the paper's algorithm (`faithful`, see faithful_deq.py), which does not
tell who is unsolved. The gains of that cell's last norms begin at `--gain`: near 0.3 it contracts,
near 1 it does not. One JSON line per run, then a table of means, and what accuracy gains on
`faithful`, seed by seed. `evaluations` are those of the cell per sample and step, forward, over all
epochs and over the last; `seconds` are of the processor, one thread, of all steps, `per_epoch` of
one epoch; `accuracy` is on samples left out, a quarter of each class, at the last epoch; `unsolved`
is the share of samples, over all steps, without an equilibrium. The model: linear and ReLU per
modality, the layer, a linear head; Adam.

`brca` is the .npz file that the environment variable PNPFUSION_BRCA names, one array of two axes
per modality and the classes as `label`; without it that case says so and ends.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
import warnings
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

import pnpfusion as pf
from benchmarks import count
from benchmarks.faithful_deq import Faithful, set_gain
from benchmarks.script import options, say, show
from pnpfusion.data.feature_set import target_of
from pnpfusion.solvers import ConvergenceWarning


class Model(nn.Module):
    """Encoders, fusion layer and head."""

    def __init__(
        self,
        dims: dict[str, int],
        classes: int,
        *,
        cell: Literal["contractive", "paper"],
        width: int,
        gain: float,
        faithful: bool,
    ) -> None:
        super().__init__()
        self.encoders = nn.ModuleDict(
            {name: nn.Sequential(nn.Linear(d, width), nn.ReLU()) for name, d in dims.items()}
        )
        self.fusion = pf.fusion.DEQ(
            dict.fromkeys(dims, width),
            width,
            cell=cell,
            jacobian_probes=0,
        )
        law = self.fusion.dynamics
        if isinstance(law, pf.DEQ):
            set_gain(law, gain)
        self.faithful = Faithful(law) if faithful and isinstance(law, pf.DEQ) else None
        self.head = nn.Linear(width, classes)

    def forward(
        self, inputs: dict[str, Tensor], start: Tensor | None = None
    ) -> tuple[Tensor, pf.fusion.FusionInfo]:
        """Logits, and what the layer tells."""
        features = {name: encode(inputs[name]) for name, encode in self.encoders.items()}
        if self.faithful is not None:
            fused = self.faithful(torch.stack([*features.values()], 1))
            done = torch.full((len(fused),), sum(self.faithful.evaluations[:1]))
            return self.head(fused), pf.fusion.FusionInfo(done > 0, done)
        fused, info = self.fusion(features, start=start, return_info=True)
        return self.head(fused), info


def brca(place: str) -> pf.data.Features:
    """The arrays of two axes are modalities, `label` holds the classes."""
    with np.load(place, allow_pickle=False) as archive:
        arrays = {name: torch.from_numpy(archive[name]) for name in archive if name != "patient"}
    modalities = {name: v.double() for name, v in arrays.items() if v.ndim == 2}
    labels = arrays["label"].long()
    names = tuple(str(k) for k in range(int(labels.max()) + 1))
    return pf.data.Features("brca", modalities, target=labels, class_names=names)


def split(labels: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Numbers of samples to train with, and of a quarter of each class to leave out."""
    train, test = [], []
    for label in labels.unique():
        own = (labels == label).nonzero().squeeze(1)
        own = own[torch.randperm(len(own), generator=generator)]
        test.append(own[: len(own) // 4])
        train.append(own[len(own) // 4 :])
    return torch.cat(train), torch.cat(test)


def run(data: pf.data.Features, seed: int, method: str, args: argparse.Namespace) -> dict[str, Any]:
    """One training."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    target = target_of(data)
    train, test = split(target, generator)
    warm = method == "warm"
    model = Model(
        data.dims,
        len(data.class_names),
        cell=args.cell,
        width=args.width,
        gain=args.gain,
        faithful=method == "faithful",
    )
    optimiser = torch.optim.Adam(model.parameters(), lr=args.lr, weight_decay=1e-4)
    known = pf.fusion.WarmStart()
    evaluations: list[list[Tensor]] = []
    unsolved, steps, seconds = 0, 0, 0.0
    for _ in range(args.epochs):
        evaluations.append([])
        order = train[torch.randperm(len(train), generator=generator)]
        for index in order.split(args.batch):
            begin = time.process_time()
            inputs = {name: values[index] for name, values in data.modalities.items()}
            logits, info = model(inputs, known.of(index) if warm else None)
            optimiser.zero_grad()
            nn.functional.cross_entropy(logits, target[index]).backward()
            optimiser.step()
            if warm:
                known.keep(index, info)
            seconds += time.process_time() - begin
            evaluations[-1].append(info.iterations.double())
            unsolved += int((~info.succeeded).sum())
            steps += len(index)
    with torch.no_grad():
        logits, _ = model({name: values[test] for name, values in data.modalities.items()})
    right = (logits.argmax(1) == target[test]).double().mean()
    every = torch.cat([torch.cat(epoch) for epoch in evaluations])
    return {
        "data": args.data,
        "cell": args.cell,
        "seed": seed,
        "start": method,
        "evaluations": round(float(every.mean()), 2),
        "last_epoch": round(float(torch.cat(evaluations[-1]).mean()), 2),
        "seconds": round(seconds, 2),
        "per_epoch": round(seconds / args.epochs, 3),
        "accuracy": round(float(right), 4),
        "unsolved": round(unsolved / steps, 4),
    }


def main() -> None:
    """Train everything and print it."""
    parser = options(__doc__)
    parser.add_argument("--data", choices=("digits", "brca"), default="digits")
    parser.add_argument("--cell", choices=("paper", "contractive"), default="paper")
    parser.add_argument("--width", type=count, default=64)
    parser.add_argument("--epochs", type=count, default=20)
    parser.add_argument("--batch", type=count, default=128)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--gain", type=float, default=0.3)
    parser.add_argument("--seeds", type=count, default=3)
    args = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", ConvergenceWarning)
    if args.data == "brca":
        place = os.environ.get("PNPFUSION_BRCA")
        if not place:
            say({"data": "brca", "absent": "set PNPFUSION_BRCA to its file"})
            return
        data = brca(place)
    else:
        data = pf.data.digits()
    data = data.standardised()
    data = replace(data, modalities={name: v.float() for name, v in data.modalities.items()})
    methods = ["zero", "warm"] + (["faithful"] if args.cell == "paper" else [])
    rows = []
    for seed in range(args.seeds):
        for method in methods:
            rows.append(run(data, seed, method, args))
            say(rows[-1])
    columns = ("evaluations", "last_epoch", "seconds", "per_epoch", "accuracy", "unsolved")
    own = {start: [row for row in rows if row["start"] == start] for start in methods}
    means = []
    for start, some in own.items():
        mean = {name: statistics.mean(row[name] for row in some) for name in columns}
        means.append({"start": start, **mean})
    show(means)
    if "faithful" not in methods:
        return
    accuracy = {start: [row["accuracy"] for row in some] for start, some in own.items()}
    for name in methods[:-1]:
        pairs = zip(accuracy[name], accuracy["faithful"], strict=True)
        gains = [round(own - theirs, 4) for own, theirs in pairs]
        print(f"accuracy of {name} less that of faithful, by seed: {gains}")


if __name__ == "__main__":
    main()
