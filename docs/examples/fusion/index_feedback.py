r"""
Feedback where no late fusion can do
====================================

One modality holds n = 8 fair bits b, the other the index of the bit that is asked for. The bits
pass one number in [-1, 1] with noise of deviation 1/4: at most
:math:`C = \tfrac12 \log_2(1 + 4^2) = 2.04` bits, which an encoder that does not know the index
must share out. By Fano's inequality no late fusion is right more often than a,

.. math:: 1 - C/n = H(a) = -a \log_2 a - (1 - a) \log_2 (1 - a), \qquad a = 0.788 .

Progressive fusion [STF22] with R = 2 rounds runs the encoders again, which hear what was fused in
the first, late fusion: that of the bits now sends the one that is asked for.
"""

import matplotlib.pyplot as plt
import torch
from torch import nn

import pnpfusion as pf
from pnpfusion.visualize.style import COOL, FAINT, WARM

torch.set_num_threads(1), torch.manual_seed(0)
task, steps, curves, share = pf.data.IndexTask(bits=8), 400, {}, {}
x, label = task.draw(20_000, torch.Generator().manual_seed(1))
for rounds in (1, 2):
    fuse = nn.Sequential(pf.fusion.Concat(task.dims, 64), nn.ReLU(), nn.Linear(64, 32))
    at = {"bits": "0", "index": "0"}  # the context enters the first layers
    layer = pf.fusion.Progressive.around(task.encoders(), fuse, width=32, at=at, rounds=rounds)
    model, generator = nn.Sequential(layer, nn.Linear(32, 1)), torch.Generator().manual_seed(0)
    adam, right = torch.optim.Adam(model.parameters(), 3e-3), []
    for _ in range(steps):
        given, wanted = task.draw(256, generator)
        answer = model(given)[:, 0]
        adam.zero_grad()
        nn.functional.binary_cross_entropy_with_logits(answer, wanted).backward()
        adam.step()
        right.append(((answer > 0) == (wanted > 0)).float().mean())
    curves[rounds] = torch.stack(right).unflatten(0, (-1, 20)).mean(1)
    with torch.no_grad():
        share[rounds] = float(((model(x)[:, 0] > 0) == (label > 0)).float().mean())
print(f"right: R = 1 {share[1]:.3f}, bound {task.bound():.3f}, R = 2 {share[2]:.3f}")
assert share[1] <= task.bound() + 0.01 < 0.98 <= share[2]
plt.style.use(pf.visualize.LIGHT)
figure, (left, *others) = plt.subplots(1, 3, figsize=(7.4, 3.0), layout="constrained")
figure.suptitle(
    f"Late fusion {share[1]:.1%} right, bound {task.bound():.1%}, feedback {share[2]:.1%}"
)
left.axhline(task.bound(), color=FAINT, ls=":", label=f"no late fusion above {task.bound():.3f}")
for r, color, dash in ((1, COOL[0], "--"), (2, WARM[0], "-")):
    left.plot(range(20, steps + 1, 20), curves[r], color=color, ls=dash, label=f"R = {r}")
left.set(xlabel="step of training", ylabel="accuracy", ylim=(0.45, 1.02))
states = layer(x, return_info=True)[1].solution.states[:2]
for when, panel, z in zip(("before", "after"), others, states, strict=True):
    sent = layer.dynamics.encode(z, x)[0][:, 0].detach()
    for bit, color, style in ((0, COOL[0], "step"), (1, WARM[0], "stepfilled")):
        panel.hist(sent[label == bit], 60, color=color, histtype=style, label=f"bit {bit}")
    panel.set(title=f"sent {when} feedback", xlabel="message of the bits", yticks=())
left.legend(), panel.legend()
plt.show()
