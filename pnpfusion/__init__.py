"""Poisson–Nernst–Planck dynamics on PyTorch, and multimodal fusion on top of it.

A `Dynamics` is a law of motion. Three verbs run one, `simulate` through time, `equilibrium` to
where it stands still, `unroll` round by round, and each returns a `Solution`::

    verbs     simulate, equilibrium, unroll; sweep over many cases
    laws      PNP, DEQ, ContractiveDEQ, Progressive, Coupled; Dynamics is what they share
    cells     Grid, ChebyshevGrid, Species, Wall, Reaction; Field varies in space; Scales for SI
    results   Solution, Ledger, Outcome, Sweep, and load for their files
    errors    SolveError, SweepError, Interrupted
    learning  FusionClassifier, FusionRegressor
    rooms     fusion, training, data, comparison, fields, units, visualize, dynamics, solvers

``help(pnpfusion.simulate)`` tells of one name, ``dir(pnpfusion.fusion)`` lists a room.
"""

# Each name stands here twice: for type checkers, and for Python, which imports a name's home at its
# first use. So `import pnpfusion` is quick and loads neither torch nor matplotlib.

from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:  # what type checkers and editors read
    from pnpfusion import comparison as comparison
    from pnpfusion import data as data
    from pnpfusion import dynamics as dynamics
    from pnpfusion import fields as fields
    from pnpfusion import fusion as fusion
    from pnpfusion import solvers as solvers
    from pnpfusion import training as training
    from pnpfusion import units as units
    from pnpfusion import visualize as visualize
    from pnpfusion.dynamics.base import Dynamics as Dynamics
    from pnpfusion.dynamics.contractive_deq import ContractiveDEQ as ContractiveDEQ
    from pnpfusion.dynamics.coupled import Coupled as Coupled
    from pnpfusion.dynamics.deq import DEQ as DEQ
    from pnpfusion.dynamics.pnp import PNP as PNP
    from pnpfusion.dynamics.progressive import Progressive as Progressive
    from pnpfusion.dynamics.species import Species as Species
    from pnpfusion.ledger import Ledger as Ledger
    from pnpfusion.run.equilibrium import equilibrium as equilibrium
    from pnpfusion.run.simulate import simulate as simulate
    from pnpfusion.run.sweep import sweep as sweep
    from pnpfusion.run.unroll import unroll as unroll
    from pnpfusion.solution import Interrupted as Interrupted
    from pnpfusion.solution import Solution as Solution
    from pnpfusion.solvers.boundary import Wall as Wall
    from pnpfusion.solvers.chebyshev import ChebyshevGrid as ChebyshevGrid
    from pnpfusion.solvers.field import Field as Field
    from pnpfusion.solvers.grid import Grid as Grid
    from pnpfusion.solvers.outcome import Outcome as Outcome
    from pnpfusion.solvers.outcome import SolveError as SolveError
    from pnpfusion.solvers.reactions import Reaction as Reaction
    from pnpfusion.storage import load as load
    from pnpfusion.sweeps.carry_out import SweepError as SweepError
    from pnpfusion.sweeps.result import Sweep as Sweep
    from pnpfusion.training.classifier import FusionClassifier as FusionClassifier
    from pnpfusion.training.regressor import FusionRegressor as FusionRegressor
    from pnpfusion.units import Scales as Scales
else:  # what Python runs; tests/project/test_imports.py compares the two halves
    from importlib import import_module

    _ROOMS = {
        *("comparison", "data", "dynamics", "fields", "fusion"),
        *("solvers", "training", "units", "visualize"),
    }
    _HOMES = {
        "Coupled": "pnpfusion.dynamics.coupled",
        "Dynamics": "pnpfusion.dynamics.base",
        "ContractiveDEQ": "pnpfusion.dynamics.contractive_deq",
        "DEQ": "pnpfusion.dynamics.deq",
        "PNP": "pnpfusion.dynamics.pnp",
        "Progressive": "pnpfusion.dynamics.progressive",
        "Species": "pnpfusion.dynamics.species",
        "Ledger": "pnpfusion.ledger",
        "equilibrium": "pnpfusion.run.equilibrium",
        "simulate": "pnpfusion.run.simulate",
        "sweep": "pnpfusion.run.sweep",
        "unroll": "pnpfusion.run.unroll",
        "Interrupted": "pnpfusion.solution",
        "Solution": "pnpfusion.solution",
        "Wall": "pnpfusion.solvers.boundary",
        "ChebyshevGrid": "pnpfusion.solvers.chebyshev",
        "Field": "pnpfusion.solvers.field",
        "Grid": "pnpfusion.solvers.grid",
        "Outcome": "pnpfusion.solvers.outcome",
        "SolveError": "pnpfusion.solvers.outcome",
        "Reaction": "pnpfusion.solvers.reactions",
        "load": "pnpfusion.storage",
        "Sweep": "pnpfusion.sweeps.result",
        "SweepError": "pnpfusion.sweeps.carry_out",
        "FusionClassifier": "pnpfusion.training.classifier",
        "FusionRegressor": "pnpfusion.training.regressor",
        "Scales": "pnpfusion.units",
    }

    def __getattr__(name):
        if name in _ROOMS:
            return import_module(f"pnpfusion.{name}")
        if name in _HOMES:
            return getattr(import_module(_HOMES[name]), name)
        from difflib import get_close_matches

        near = get_close_matches(name, __dir__(), n=1)
        advice = f"did you mean {near[0]!r}?" if near else "dir(pnpfusion) lists what it has."
        # `name=` also keeps Python from appending a guess of its own to ours.
        raise AttributeError(f"module 'pnpfusion' has no attribute {name!r}; {advice}", name=name)

    def __dir__():
        return sorted([*_HOMES, *_ROOMS, "__version__"])
