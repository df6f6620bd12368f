r"""
What batch mates do to a sample
===============================

One sample of a batch is hard, an oscillator of :math:`\omega = 40`; its mates are easy,
:math:`\omega = 1`:

.. math:: \dot u = \omega \begin{pmatrix} 0 & 1 \\ -1 & 0 \end{pmatrix} u, \qquad 0 \le t \le 5.

A solver that shares steps and averages the error over the batch, as torchdiffeq [CRBD18] does if
not told otherwise, hides the hard one. KenCarp4 gives every sample steps of its own, and the same
answer in any company; `Odeint` shares steps, but those that the hardest sample needs.
"""

import matplotlib.pyplot as plt
import torch
from torchdiffeq import odeint

import pnpfusion as pf
from pnpfusion.solvers import KenCarp4, Odeint
from pnpfusion.visualize.style import COOL, WARM

torch.set_num_threads(1)
plt.style.use(pf.visualize.LIGHT)


class Oscillator(pf.Dynamics):
    def rate(self, t, u, x=None):
        return x[:, None] * torch.stack([u[:, 1], -u[:, 0]], -1)


law, times = Oscillator(), torch.tensor([0.0, 5.0]).double()
angle = 40.0 * times[-1]
exact = torch.stack([angle.cos(), -angle.sin()])
sizes, ends = [1, 4, 16, 64, 256], {}
for size in sizes:
    x = torch.tensor([40.0] + [1.0] * (size - 1)).double()
    u0 = torch.tensor([[1.0, 0.0]]).double().repeat(size, 1)
    shared = odeint(lambda t, u, x=x: law.rate(t, u, x), u0, times, rtol=1e-4, atol=1e-6)
    ends.setdefault("torchdiffeq, dopri5", []).append(shared[-1, 0])
    for stepper in (Odeint("dopri5", rtol=1e-4, atol=1e-6), KenCarp4(rtol=1e-4, atol=1e-6)):
        run = pf.simulate(law, u0, times, x=x, stepper=stepper).require_success()
        ends.setdefault(f"pnpfusion, {type(stepper).__name__}", []).append(run.final[0])
errors = {name: [float((u - exact).norm()) for u in found] for name, found in ends.items()}
grown = [found[-1] / found[0] for found in errors.values()]
print("errors grow times", grown)
assert grown[0] > 10
assert max(abs(factor - 1) for factor in grown[1:]) < 1e-9

figure, axes = plt.subplots(figsize=(5.8, 3.9), layout="constrained")
for (name, found), color, mark in zip(
    errors.items(), (WARM[0], COOL[1], COOL[0]), "o^s", strict=True
):
    axes.loglog(sizes, found, mark + "-", color=color)
    axes.text(290, found[-1] * (0.8 if mark == "s" else 1.13), name, color=color, ha="right")
axes.set(xlabel="batch size", ylabel="error of the hard sample at t = 5", ylim=(4e-3, 0.4))
axes.set_xticks(sizes, sizes)
axes.minorticks_off()
axes.set_title(f"Easy mates make torchdiffeq {grown[0]:.0f} times as wrong, pnpfusion not at all")
plt.show()
