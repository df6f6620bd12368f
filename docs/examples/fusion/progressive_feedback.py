r"""
Feedback redraws what was fused
===============================

Of four bits one is asked for; which, the other modality knows, and the bits pass one noisy number
(``pf.data.IndexTask``). Progressive fusion [STF22] runs the encoders round by round, :math:`z
\leftarrow G(F_1(b; W_1 z), F_2(i; W_2 z))` from z = 0. Round 1 is plain late fusion: without noise
the same numbers, exactly, come from the encoders and G by themselves. It has to choose whom to
serve. In round 2 the encoder of the bits hears in z which one is asked for, and sends it.
"""

import matplotlib.pyplot as plt
import torch
from matplotlib.animation import FuncAnimation
from torch import nn

import pnpfusion as pf
from pnpfusion.visualize.style import COOL, WARM

torch.set_num_threads(1), torch.manual_seed(0)
task, generator = pf.data.IndexTask(bits=4), torch.Generator().manual_seed(0)
encoders, head = task.encoders(), nn.Linear(32, 1)
fuse = nn.Sequential(pf.fusion.Concat(task.dims, 64), nn.ReLU(), nn.Linear(64, 32))
at = {"bits": "0", "index": "0"}  # the context enters the first layers
layer = pf.fusion.Progressive.around(encoders, fuse, width=32, at=at, rounds=3)
adam = torch.optim.Adam([*layer.parameters(), *head.parameters()], 3e-3)
for _ in range(500):
    x, label = task.draw(256, generator)
    logits = head(layer(x, return_info=True)[1].solution.states[1:])[..., 0]
    loss = nn.functional.binary_cross_entropy_with_logits(logits, label.expand(3, -1))
    adam.zero_grad(), loss.backward(), adam.step()
x, label = task.draw(500, generator)
with torch.no_grad():
    logits = head(layer(x, return_info=True)[1].solution.states[1:])[..., 0]
    encoders["bits"][-1].sigma = 0.0  # no noise, to compare numbers
    late = fuse([encoder(x[name]) for name, encoder in encoders.items()])
    assert torch.equal(late, layer(x, return_info=True)[1].solution.states[1])
heights = x["index"].argmax(1) + 1 + 0.5 * torch.rand(500, generator=generator)
right = ((logits > 0) == label.bool()).float().mean(1)
print(f"right in rounds 1, 2, 3: {[round(float(one), 3) for one in right]}")
assert right[0] < 0.9 < 0.98 < right[1]
plt.style.use(pf.visualize.LIGHT)
figure, ax = plt.subplots(figsize=(5.8, 4.2), dpi=110, layout="constrained")
ax.set(xscale="asinh", xlim=(-99, 99), xlabel="logit of the answer", ylim=(0.8, 5.2))
ax.set_yticks([1.25, 2.25, 3.25, 4.25], ["bit 1", "bit 2", "bit 3", "bit 4"])
dots = [ax.plot([], [], m, c=c, ms=4, mfc="none")[0] for m, c in (("o", COOL[0]), ("x", WARM[0]))]
ax.legend(dots, ["is 0", "is 1"], loc="upper left", ncols=2), ax.set_ylabel("asked for")


def draw(frame):  # a round is held for ten frames, and ten lead to the next
    r, step = divmod(frame, 20)
    place = logits[r].lerp(logits[min(r + 1, 2)], max(0.0, (step - 9) / 10))
    for bit in (0, 1):
        dots[bit].set_data(place[label == bit], heights[label == bit])
    r += step > 14
    ax.set_title(f"Round {r + 1}{', late fusion' * (r == 0)}: {right[r]:.1%} right")


movie = FuncAnimation(figure, draw, frames=[*range(41), *[40] * 14], interval=100)
plt.show()
