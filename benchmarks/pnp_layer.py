"""What the PNP layer costs: forward and backward, against the same layer without its solve.

usage: python -m benchmarks.pnp_layer [--batch 256] [--channels 8] [--cells 16]

Two modalities of 16 features, linear encoders, 32 features out, one thread. "without" is the layer
with the solve replaced by the identity: the same maps and the same reading (and, in time, the same
law built). Milliseconds of the processor, which others' work does not lengthen; medians of turns
in which both take part, in either order, then the ratio of medians and that of minima. One JSON
line per case, then a table.
"""

from __future__ import annotations

import statistics
from functools import partial
from typing import Any

import torch
from torch import Tensor

import pnpfusion as pf
from benchmarks import count
from benchmarks.clock import in_turns
from benchmarks.script import options, say, show
from pnpfusion.fusion.pnp_cells import Cells, Outset
from pnpfusion.fusion.pnp_rest import CHARGE_READ, RestingCells
from pnpfusion.solution import Solution

TURNS = 60
DIMS = {"a": 16, "b": 16}


class WithoutSolve:
    """What a layer's cells answer with the solve left out; everything around it is done."""

    def __init__(self, cells: Cells) -> None:
        self.cells = cells

    def answer(self, outset: Outset, run: Solution | None) -> tuple[Tensor, Tensor]:
        """The state as if it were the answer."""
        cells, final = self.cells, outset.u0
        good = torch.ones(final.shape[:-2], dtype=torch.bool)
        if not isinstance(cells, RestingCells):
            _ = cells.law  # which a transient run needs
            return cells.read(outset.u0, final), good
        charge = cells.together(outset.parts)
        read = cells.read(outset.u0, final + charge.square().unsqueeze(-2))
        return torch.cat([read, CHARGE_READ * charge.flatten(1)], 1), good


def step(layer: pf.fusion.PNP, given: dict[str, Tensor]) -> None:
    """One forward and backward."""
    layer(given).square().sum().backward()


def main() -> None:
    """Time everything and print it."""
    parser = options(__doc__)
    parser.add_argument("--batch", type=count, default=256)
    parser.add_argument("--channels", type=count, default=8)
    parser.add_argument("--cells", type=count, default=16)
    args = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for run in ("equilibrium", "transient"):
        for dtype in (torch.float32, torch.float64):
            generator = torch.Generator().manual_seed(0)
            torch.manual_seed(0)
            whole, without = (
                pf.fusion.PNP(DIMS, 32, run=run, channels=args.channels, cells=args.cells).to(dtype)
                for _ in range(2)
            )
            without.cells.answer = WithoutSolve(without.cells).answer  # type: ignore[method-assign]
            given = {
                name: torch.randn(args.batch, d, generator=generator).to(dtype)
                for name, d in DIMS.items()
            }
            both = {"layer": whole, "without": without}
            steps = {name: partial(step, layer, given) for name, layer in both.items()}
            taken = in_turns(steps, TURNS, warm=2)  # the first ones compile
            row: dict[str, Any] = {"run": run, "dtype": str(dtype).removeprefix("torch.")}
            for kind, of in (("", statistics.median), ("least ", min)):
                layer_ms, without_ms = (1e3 * of(taken[name]) for name in both)
                row |= {
                    f"{kind}layer": round(layer_ms, 2),
                    f"{kind}without": round(without_ms, 2),
                    f"{kind}share": round(layer_ms / without_ms, 2),
                }
            say(row)
            rows.append(row)
    show(rows)


if __name__ == "__main__":
    main()
