r"""
One fixed point by three roads
==============================

A deep equilibrium [NBZ23], progressive fusion [STF22] and a Poisson–Nernst–Planck cell are laws
:math:`\dot u = f(u; x)`, and every law runs three ways:

.. math:: \dot u = f(u), \qquad u \leftarrow u + s f(u), \qquad f(u) = 0 .

``simulate`` follows the line, ``unroll`` jumps from dot to dot, ``equilibrium`` solves for the
star. All end in one :math:`u^*`, to 1e-6. A late round leaves :math:`\max|1 + s\,\lambda|` of the
error, with the eigenvalues of :math:`f'(u^*)` but those 0 that stand for what the law conserves.
"""

import matplotlib.pyplot as plt
import torch
from torch import nn

import pnpfusion as pf
from pnpfusion.visualize.style import COOL, INK, WARM

torch.set_num_threads(1), torch.manual_seed(0), plt.style.use(pf.visualize.LIGHT)
a, b = torch.randn(2, 1, 6, dtype=torch.float64)
encoders = {n: nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 6)) for n in "ab"}
fuse = nn.Sequential(pf.fusion.Concat({"a": 6, "b": 6}, 6), nn.Tanh())
loop = pf.Progressive(encoders, fuse, width=6, at={"a": "0", "b": "0"}).double()
for weight in loop.parameters():
    weight.data *= 1.7  # more feedback than at the start of a training
walls = {"x-": pf.Wall(potential=0.5), "x+": pf.Wall(potential=-0.5)}
ions = [pf.Species("cation", 1), pf.Species("anion", -1)]
cell = pf.PNP(pf.Grid((12,), (1.0,), ("wall",)), ions, permittivity=0.25, walls=walls)
c0, z0 = 0.5 + torch.rand(1, 2, 12).double(), torch.zeros(1, 3, 6).double()
LAWS = {  # law, where to begin, input, end of time, rounds, step
    "DEQ": (pf.ContractiveDEQ(2, 6).double(), z0, torch.stack([a, b], 1), 30.0, 40, 1.0),
    "Progressive": (loop, loop.start(1), {"a": a, "b": b}, 30.0, 40, 1.0),
    "PNP": (cell, c0, None, 2.0, 1000, 0.4 / 12**2),
}
figure, panels = plt.subplots(2, 3, figsize=(7.4, 5.0), layout="constrained")
for (plane, fall), (name, (law, u0, x, end, n, step)) in zip(panels.T, LAWS.items(), strict=True):
    rest = pf.equilibrium(law, u0, x=x, tol=1e-12).require_success().final
    path = pf.simulate(law, u0, end * torch.linspace(0, 1, 201).double() ** 2, x=x, rtol=1e-9)
    turns = pf.unroll(law, u0, n, x=x, step=step)
    away, jumps = ((run.states - rest).detach().flatten(1) for run in (path, turns))
    axes = torch.linalg.svd(torch.cat([away, jumps[:40]]), full_matrices=False).Vh[:2].T
    plane.plot(*(away @ axes).T, color=COOL[0], label="simulate")
    plane.plot(*(jumps @ axes).T, "o:", color=WARM[0], ms=3.5, lw=0.8, label="unroll")
    plane.plot(0, 0, "*", color=INK, ms=12, label="equilibrium")
    apart, error = torch.cat([away[-1], jumps[-1]]).abs().max(), jumps.norm(dim=1)
    share = error[(error < 1e-4) & (error > 1e-10)].log().diff().mean().exp()
    J = torch.autograd.functional.jacobian(lambda u, f=law.rate, x=x: f(0.0, u, x), rest)
    eig = (1 + step * torch.linalg.eigvals(J.reshape(2 * [rest.numel()]))).abs()
    wanted = eig[eig < 1 - 1e-6].max()  # what is conserved has 1
    plane.set(title=f"{name}: ends within {apart:.0e}", xticks=(), yticks=())
    fall.semilogy(error, color=WARM[0])
    fall.set(xlabel="round", ylim=(1e-11, 9), title=f"a round leaves {share:.3f}")
    print(f"{name:12} ends within {apart:.1e}; a round leaves {share:.4f} ({wanted:.4f})")
    assert apart < 1e-6
    assert abs(share.log() / wanted.log() - 1) < 0.04
panels[0, 0].legend(), panels[1, 0].set_ylabel("distance of the rounds to $u^*$")
plt.show()
