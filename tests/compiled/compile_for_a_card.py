"""Compiles the kernels for a card that need not be here, and prints what became of them.

usage: TRITON_INTERPRET=0 python -m tests.compiled.compile_for_a_card [ARCHITECTURE]

One JSON line per kernel: the layouts in which its numbers lie, and how often one becomes another.
"""

from __future__ import annotations

import json
import re
import sys
from typing import Any

from triton import compile as compile_kernel
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from pnpfusion.solvers.kernels.gpu.block_reduction import block_reduction
from pnpfusion.solvers.kernels.gpu.block_thomas import block_thomas
from pnpfusion.solvers.kernels.gpu.decorators import LANES
from pnpfusion.solvers.kernels.gpu.esdirk import esdirk
from pnpfusion.solvers.kernels.gpu.newton import newton

CELL = (("*fp64", "i32"),) * 6
SMALL = {"n", "batch", "matrices", "rounds", "most", "most_failures", "points"}
FLAGS = "following failures land steps rejected iterations going tries waits converged failed"
OF_A_CELL = {"S": 2, "FLOATING": False, "SCHEME": 0, "LANES": LANES}
KERNELS: list[tuple[Any, dict[str, int]]] = [
    (block_thomas, {"M": 3, "LANES": LANES}),
    (block_reduction, {"M": 2, "CELLS": 128}),
    (newton, OF_A_CELL),
    (esdirk, {**OF_A_CELL, "R": 5}),
]


def kind(name: str, constants: dict[str, int]) -> Any:
    """What an argument is, in Triton's words."""
    if name in constants:
        return "constexpr"
    special = {"cell": CELL, "room": ("*fp64",) * 7}
    if name in special:
        return special[name]
    return "i32" if name in SMALL else "*i32" if name in FLAGS.split() else "*fp64"


def main() -> None:
    """Compile all of them."""
    architecture = int(sys.argv[1]) if len(sys.argv) > 1 else 80
    for kernel, constants in KERNELS:
        source = ASTSource(
            fn=kernel,
            signature={name: kind(name, constants) for name in kernel.arg_names},
            constexprs=constants,
        )
        made = compile_kernel(
            source,
            target=GPUTarget("cuda", architecture, 32),
            options={"num_warps": 4 if kernel is block_reduction else 1},
        )
        layouts = sorted(set(re.findall(r"#\w+ = (#ttg\.blocked<.*>)", made.asm["ttgir"])))
        row = {
            "kernel": kernel.__name__,
            "bytes": len(made.asm["cubin"]),
            "layouts": layouts,
            "converted": made.asm["ttgir"].count("convert_layout"),
        }
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
