r"""Feedback into an encoder, where no late fusion can do.

One modality holds n = 8 fair bits b, the other the index i of the bit that is asked for. The bits
pass a bottleneck, one number in [-1, 1] with Gaussian noise of standard deviation σ = 1/4, so

    I(b; h) <= C = 1/2 log2(1 + 1/σ²) = 2.04 bits.

An encoder that does not know i must divide them among the bits. With Fano's inequality its accuracy
stays below a = 0.788, where

    H(a) = 1 - C/n,      H(a) = -a log2 a - (1 - a) log2 (1 - a),

whatever fuses its message with the index. Progressive fusion runs the encoders R times,

    z ← G(F1(b; W1 z), F2(i; W2 z)),      z = 0 at first.

With R = 1 this is late fusion. With R = 2 the encoder of the bits hears in z what it is asked for,
and sends that bit: its messages in the two rounds show it.
"""

import argparse
from pathlib import Path

import torch
from torch import nn

import pnpfusion as pf
from pnpfusion.data import IndexTask
from pnpfusion.visualize.style import COOL, FAINT, WARM, new_figure, styled

TASK, PLACES = IndexTask(bits=8), {"bits": "0", "index": "0"}  # context enters the first layers


def train(rounds, steps=800):  # the model, and its accuracy in training, mean of 20 steps
    fuse = nn.Sequential(pf.fusion.Concat(TASK.dims, 64), nn.ReLU(), nn.Linear(64, 32))
    layer = pf.fusion.Progressive.around(TASK.encoders(), fuse, width=32, at=PLACES, rounds=rounds)
    model, generator = nn.Sequential(layer, nn.Linear(32, 1)), torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam(model.parameters(), 5e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    right = []
    for _ in range(steps):
        x, label = TASK.draw(256, generator)
        answer = model(x)[:, 0]
        optimizer.zero_grad()
        nn.functional.binary_cross_entropy_with_logits(answer, label).backward()
        optimizer.step()
        schedule.step()
        right.append(((answer > 0) == (label > 0)).float().mean())
    return model, torch.stack(right).unflatten(0, (-1, 20)).mean(1)


def draw(curves, messages, label, file):
    with styled():
        figure = new_figure(9.2, 3.4, "What is fused tells the encoder which bit to send")
        left, *others = figure.subplots(1, 3)
        left.axhline(TASK.bound(), color=FAINT, label="bound of late fusion")
        for r, color in ((1, COOL[0]), (2, WARM[0])):
            left.plot(range(20, 801, 20), curves[r], color=color, label=f"R = {r}")
        left.set(xlabel="step", ylabel="accuracy", ylim=(0.45, 1.02))
        left.legend()
        for r, panel in enumerate(others):
            for bit, color in enumerate((COOL[0], WARM[0])):
                sent = messages[r][label == bit]
                panel.hist(sent, 60, color=color, alpha=0.6, label=f"bit {bit}")
            panel.set(title=f"round {r + 1}", xlabel="message of the bits", yticks=())
        panel.legend()
        figure.savefig(file)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Late fusion and feedback on INDEX.")
    parser.add_argument("--out", type=Path, default="runs", help="folder of the picture (runs)")
    out, share, curves = parser.parse_args().out, {}, {}
    torch.set_num_threads(1)  # on a busy machine more threads can be much slower
    torch.manual_seed(0)
    x, label = TASK.draw(20_000, torch.Generator().manual_seed(1))
    for rounds in (1, 2):
        model, curves[rounds] = train(rounds)
        with torch.no_grad():
            right = (model(x)[:, 0] > 0) == (label > 0)
        share[rounds] = float(right.float().mean())
        print(f"R = {rounds}: {share[rounds]:.4f} right")
    print(f"No late fusion exceeds {TASK.bound():.4f}; picture in {out}/")
    assert share[1] <= TASK.bound() + 0.01 < 0.98 <= share[2]
    with torch.no_grad():
        _, info = model[0](x, return_info=True)
        messages = [model[0].dynamics.encode(z, x)[0][:, 0] for z in info.solution.states[:2]]
    out.mkdir(parents=True, exist_ok=True)
    draw(curves, messages, label, out / "index_feedback.png")
