r"""
A current among charged posts
=============================

Two reservoirs of salt, a voltage between them, and three posts of fixed charge :math:`\rho_f` that
ions can enter. In the steady state

.. math:: J_\pm = -(\nabla c_\pm \pm c_\pm\nabla\phi), \quad \nabla\cdot J_\pm = 0, \quad
          -\varepsilon\nabla^2\phi = c_+ - c_- + \rho_f .

Each post gathers ions of the other sign [DH23], and three Debye lengths from its edge nearly all of
its charge is hidden, although a current passes. Full of ions, posts conduct best: lines bend into
them, and inside the current is at least 1.2 times as dense as in the ring half a radius away.
"""

import matplotlib.pyplot as plt
import torch

import pnpfusion as pf
from pnpfusion.visualize.style import COOL, INK, SIGNED_MAP, WARM

torch.set_num_threads(1), plt.style.use(pf.visualize.LIGHT)
grid, radius, debye = pf.Grid((96, 64), (1.5, 1.0), ("wall", "wall")), 0.1, 0.07
x, y = torch.meshgrid(grid.coordinates(0), grid.coordinates(1), indexing="ij")
posts = ((0.35, 0.32, -1), (0.75, 0.68, +1), (1.15, 0.32, -1))
away = [((x - a) ** 2 + (y - b) ** 2).sqrt() for a, b, _ in posts]
fixed = 30.0 * sum(q * (r < radius) for r, (_, _, q) in zip(away, posts, strict=True))
salt, ions = {"cation": 1.0, "anion": 1.0}, [pf.Species("cation", +1), pf.Species("anion", -1)]
walls = {side: pf.Wall(v, concentration=salt) for side, v in {"x-": 2.0, "x+": -2.0}.items()}
cell = pf.PNP(grid, ions, permittivity=2 * debye**2, walls=walls, fixed_charge=pf.Field(fixed))
rest = pf.equilibrium(cell, torch.ones(2, 96, 64, dtype=torch.float64)).require_success().final

reach, rho = torch.linspace(0.02, radius + 3 * debye, 30), cell.charge(rest)
seen = [[float(rho[r < R].sum() / fixed[r < radius].sum()) for R in reach] for r in away]
left = max(abs(one[-1]) for one in seen)
across, along = cell.current(rest, axis=0), cell.current(rest, axis=1)
steady = float(across.sum(1).max() / across.sum(1).min() - 1)
east, north = (across[1:] + across[:-1]) / 2, (along[:, 1:] + along[:, :-1]) / 2  # in the cells
denser = min(east[r < radius].mean() / east[(r - 0.2).abs() < 0.05].mean() for r in away)
print(f"{left:.1%} of a charge seen, current even to {steady:.0e}, in posts {denser:.2f} times it")
assert left < 0.07
assert steady < 1e-8
assert denser > 1.2

figure, (box, side) = plt.subplots(
    1, 2, figsize=(7.6, 3.6), layout="constrained", width_ratios=(2, 1)
)
look = {"cmap": SIGNED_MAP, "vmin": -4, "vmax": 4, "extent": (0, 1.5, 0, 1), "origin": "lower"}
mesh = box.imshow(cell.potential(rest).T, interpolation="bilinear", **look)
figure.colorbar(mesh, ax=box, location="bottom", label=r"potential $\phi$  ($kT/e$)", shrink=0.8)
flow = x[:, 0].numpy(), y[0].numpy(), east.T.numpy(), north.T.numpy()
box.streamplot(*flow, color=INK, linewidth=0.6, density=0.7)
for (a, b, q), one in zip(posts, seen, strict=True):
    box.add_patch(plt.Circle((a, b), radius, fill=False, ec=INK, lw=1.5))
    side.plot(reach, one, color=WARM[0] if q > 0 else COOL[0])
side.axvline(radius, color=INK, lw=0.8, ls="--")
side.set(xlabel="distance $r$ from a post's centre", ylabel="charge within $r$ / that of the post")
side.set(ylim=(0, 0.6), title=f"Outside, {1 - left:.0%} are hidden")
box.set(title="Potential, and lines of current", xlabel="$x$  ($L$)", ylabel="$y$  ($L$)")
plt.show()
