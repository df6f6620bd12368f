"""deltapv (∂PV, JAX): a p-n junction at rest or biased, and its gradient.

usage: python -m benchmarks.peers.deltapv_junction REQUEST

REQUEST: {"problem": "rest", "options": {"cells": 128}, "repeat": 3}

Its nodes are the centres of the cells of `junction.py` and the contacts. Carriers recombine at the
contacts at 1e10 cm/s, which holds them where they are at rest, and nowhere else. The bias is taken
in one go, by its `solve_pdd`: in steps, as its `simulate` would, takes longer. It compiles what its
iterations call, which the first run does. The gradient is `jax.value_and_grad`, by dense solves,
one for each of its solves.

The answer has ``seconds`` of runs, ``with_gradient`` of runs with it, ``setup_seconds``, the
``value`` and its ``gradient`` by acceptors, donors (each per cm³) and relative permittivity.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import numpy as np

from benchmarks.peers import junction
from benchmarks.peers.serve import answer_lines

os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
with contextlib.redirect_stdout(sys.stderr):  # it prints its name
    import deltapv as dpv
    import jax
    from deltapv import adjoint, bcond, objects, scales, simulator, solver
    from jax import numpy as jnp

FAST = 1e10  #: recombination at the contacts, in cm/s
NEVER = 1e6  #: lifetimes elsewhere, in s
STATES = 1e19  #: of either band, per cm³
Value = Callable[[Any, Any], Any]


def value_of(problem: str, cells: int) -> tuple[Value, tuple[Any, Any]]:
    """The number as a function of doping and permittivity of the nodes, and what they are."""
    edges, volt = junction.edges(cells), scales.energy
    x = np.concatenate([edges[:1], (edges[1:] + edges[:-1]) / 2, edges[-1:]])
    silicon = dpv.create_material(
        eps=junction.PERMITTIVITY,
        Chi=4.05,
        Eg=2 * volt * np.log(STATES / junction.INTRINSIC),
        Nc=STATES,
        Nv=STATES,
        mn=junction.ELECTRONS / volt,
        mp=junction.HOLES / volt,
        tn=NEVER,
        tp=NEVER,
    )
    design = simulator.empty_design(jnp.array(1e-4 * (x - x[0])))
    design = simulator.add_material(design, silicon, lambda place: place >= 0)
    design = simulator.contacts(design, FAST, FAST, FAST, FAST)
    plain = simulator.init_cell(design, objects.LightSource())  # no light
    bias = junction.BIAS[problem]

    def value(doping: Any, permittivity: Any) -> Any:
        cell = objects.update(
            plain, Ndop=doping / scales.density, eps=permittivity * jnp.ones(len(x))
        )
        rest = bcond.boundary_eq(cell)
        found = solver.solve_eq(cell, rest, solver.eq_guess(cell, rest))
        if not bias:
            field = jnp.diff(found.phi) / cell.dgrid
            return field[len(x) // 2 - 1] * volt / scales.length
        guess = solver.ooe_guess(cell, found)
        return adjoint.solve_pdd(cell, -bias / volt, guess)[0] * scales.current

    doping = jnp.where(jnp.array(x < 0), -junction.ACCEPTORS, junction.DONORS)
    return value, (doping, jnp.array(junction.PERMITTIVITY))


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """What one request is answered."""
    value, given = value_of(request["problem"], request["options"]["cells"])
    with_gradient = jax.value_and_grad(value, argnums=(0, 1))
    begin = time.perf_counter()
    jax.block_until_ready((value(*given), with_gradient(*given)))
    setup = time.perf_counter() - begin
    alone: list[float] = []
    both: list[float] = []
    for _ in range(request.get("repeat", 1)):
        for work, taken in ((value, alone), (with_gradient, both)):
            begin = time.process_time()
            found = jax.block_until_ready(work(*given))
            taken.append(time.process_time() - begin)
    number, (by_doping, by_permittivity) = found
    by_doping, left = np.asarray(by_doping), np.asarray(given[0]) < 0
    return {
        "seconds": alone,
        "with_gradient": both,
        "setup_seconds": setup,
        "derivatives": len(by_doping) + 1,
        "value": float(number),
        "gradient": [
            -float(by_doping[left].sum()),
            float(by_doping[~left].sum()),
            float(by_permittivity),
        ],
    }


if __name__ == "__main__":
    dpv.logger.setLevel("WARNING")
    answer_lines(f"deltapv {version('deltapv')} (jax {version('jax')})", answer)
