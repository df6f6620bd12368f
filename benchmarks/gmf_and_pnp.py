r"""The numbers of docs/gmf_and_pnp.md: the stages of GMF beside an electrolysis that is simulated.

usage: python -m benchmarks.gmf_and_pnp [--out FOLDER]

The features a and b of two modalities are ions in one cell 0 < x < 2, a's in its left half, b's in
its right, positive parts as cations, negative parts as anions. Between its walls lie 8 kT/e:

    ∂c_i/∂t = ∂/∂x (∂c_i/∂x + z_i c_i ∂φ/∂x),     −0.2 ∂²φ/∂x² = Σ z_i c_i,     φ(0) = 4, φ(2) = −4.

Beside it, GMF learns to reconstruct the same features. Each, f_j, is spread over 32 units, cut at
index 16 into invariants s_j and specifics p_j, and read back, by affine maps A, C, S and R:

    u_j = A_j f_j + a_j,    s_j = C_j u_j[:16] + c_j,    p_j = S_j u_j[16:] + e_j,
    Z_a = [s_b, p_a],       Z_b = [s_a, p_b],            Σ_j mean (R_j Z_j + r_j − f_j)² → min.

What each keeps, splits and exchanges is measured: one JSON line, then a table. With --out, a
picture of the cell at the start and at the end.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

import pnpfusion as pf
from benchmarks.script import options, say

FEATURES = torch.randn(2, 64, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
IONS = pf.fields.FeatureMap({"a": 16, "b": 16}, pf.Grid((64,), (2.0,), ("wall",)), background=0.0)
WALLS = {"x-": pf.Wall(potential=4.0), "x+": pf.Wall(potential=-4.0)}
CELL = pf.PNP(IONS.grid, IONS.species(), permittivity=0.2, walls=WALLS)


def electrolyse(a: Tensor, b: Tensor) -> tuple[pf.Solution, Tensor]:
    """Features (samples, 8) to the run, and the mean error of what is read back."""
    placed = {"a": torch.cat([a, 0 * a], -1), "b": torch.cat([0 * b, b], -1)}
    run = pf.simulate(CELL, IONS.fields(placed), torch.linspace(0, 1, 41), rtol=1e-6)
    back = IONS.features(run.require_success().states)
    error = sum((back[k] - placed[k]).square().sum(-1) for k in placed)
    return run, (error / (a.square() + b.square()).sum(-1)).sqrt().mean(-1)


def cell_facts() -> tuple[dict[str, Tensor], pf.Solution]:
    """What the cell keeps and moves, and its run."""
    a, b = FEATURES[:, :3]
    (run, error), (alone, _) = electrolyse(a, b), electrolyse(a, 0 * b)
    mass, right = run.states.sum(-1), run.states[..., 32:].sum(-1)
    middle = CELL.potential(run.states)[..., 31:33].mean(-1).abs().amax(-1)
    moved = (run.states - alone.states)[:, :, :2].abs().sum((-2, -1)) / mass[:, :, :2].sum(-1) / 2
    facts = {"cell: largest relative change of a mass": (mass / mass[0] - 1).abs().max()}
    for when, k in (("before", 0), ("after", -1)):
        facts[f"cell: error of features read back {when}"] = error[k]
        facts[f"cell: largest potential in the middle {when}"] = middle[k]
        for name, share in zip(IONS.names, (right / mass).mean(1)[k], strict=True):
            facts[f"cell: share of {name}s in the right half {when}"] = share
    return facts | {"cell: share of a's ions that b's displace": moved.max()}, run


def gmf_facts() -> dict[str, Tensor | int]:
    """What GMF keeps and exchanges, trained to reconstruct."""
    torch.manual_seed(0)
    layer, losses = pf.fusion.GMF({"a": 8, "b": 8}).double(), []
    adam = torch.optim.Adam(layer.parameters(), lr=1e-2)
    for _ in range(400):
        losses.append(layer([*FEATURES], return_info=True)[1].losses["reconstruction"])
        adam.zero_grad()
        losses[-1].backward()
        adam.step()
    slopes = torch.autograd.functional.jacobian(lambda f: layer([*f])[0], FEATURES[:, :1])
    slopes = slopes.abs().reshape(4, 8, 2, 8).amax((1, 3))  # of s_b, p_a, s_a, p_b by a, b
    p = torch.nn.functional.pad(layer.stages([*FEATURES]).specific["a"].detach(), (0, 1), value=1.0)
    misfit = p @ torch.linalg.lstsq(p, FEATURES[0]).solution - FEATURES[0]
    return {
        "gmf: units left of the boundary, of 32": layer.splits[0].boundary,
        "gmf: reconstruction loss before": losses[0].detach(),
        "gmf: reconstruction loss after": losses[-1].detach(),
        "gmf: slope of a part by its own feature, at least": slopes[range(4), [1, 0, 0, 1]].min(),
        "gmf: slope of a part by the other, at most": slopes[range(4), [0, 1, 1, 0]].max(),
        "gmf: error of a read back from p_a alone": misfit.abs().max(),
    }


def main() -> None:
    """Measure and print it."""
    parser = options(__doc__)
    parser.add_argument("--out", type=Path, help="folder of the picture; none is drawn without")
    given = parser.parse_args()
    facts, run = cell_facts()
    found = {name: float(value) for name, value in (facts | gmf_facts()).items()}
    say(found)
    for name, value in found.items():
        print(f"{name:52}", f"{value:.2g}" if value > 1e-10 else "0 to round-off")
    if given.out is not None:
        given.out.mkdir(parents=True, exist_ok=True)
        pf.visualize.plot_profiles(run).savefig(given.out / "gmf_and_pnp.png")


if __name__ == "__main__":
    main()
