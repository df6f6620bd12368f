"""The names and signatures that other people's scripts rely on, run as they are written down."""

from __future__ import annotations

import inspect
import pydoc
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import pytest
import torch
from torch import Tensor

import pnpfusion as pf
from pnpfusion.cli.command_line import command_parsers

DIMS = {"audio": 36, "motion": 16}

# the physics


@pytest.fixture(scope="module")
def grid() -> pf.Grid:
    return pf.Grid(shape=(256,), lengths=(2.0,), boundaries=("wall",))


@pytest.fixture(scope="module")
def cell(grid: pf.Grid) -> pf.PNP:
    return pf.PNP(
        grid,
        species=[
            pf.Species("cation", valence=+1, diffusivity=1.0),
            pf.Species("anion", valence=-1, diffusivity=1.0),
        ],
        permittivity=2 * 0.05**2,
        walls={"x-": pf.Wall(potential=+2.0), "x+": pf.Wall(potential=-2.0)},
    )


def test_a_cell_is_simulated(grid: pf.Grid, cell: pf.PNP) -> None:
    c0 = torch.ones(2, 256, dtype=torch.float64)
    run = pf.simulate(cell, c0, torch.linspace(0, 0.5, 51, dtype=torch.float64), rtol=1e-6)
    assert run.states.shape == (51, 2, 256)
    assert run.final.shape == (2, 256)
    assert run.times.shape == (51,)
    assert run.outcome is pf.Outcome.REACHED_END
    assert run.ledger.mass.shape == (51, 2)
    for per_time in (run.ledger.charge, run.ledger.free_energy, run.ledger.smallest):
        assert per_time.shape == (51,)
    assert float(run.ledger.mass_error) <= 1e-12
    assert cell.potential(run.final).shape == (256,)
    assert cell.energy(run.final).shape == ()
    assert cell.flux(run.final).shape == (2, 257)
    assert grid.coordinates(0).shape == (256,)
    rho = cell.charge(run.final)
    phi = pf.solvers.solve_poisson(rho, grid, permittivity=2 * 0.05**2, walls=cell.walls)
    torch.testing.assert_close(phi, cell.potential(run.final))
    assert pf.solvers.solve_poisson(rho, grid, permittivity=0.01).shape == (256,)
    assert cell.grid is grid
    assert [one.name for one in cell.species] == ["cation", "anion"]
    torch.testing.assert_close((grid.weights * run.final).sum(-1), run.ledger.mass[-1])


def test_a_cell_comes_to_rest_and_rest_has_a_gradient(grid: pf.Grid, cell: pf.PNP) -> None:
    c0 = torch.ones(2, 256, dtype=torch.float64)
    rest = pf.equilibrium(cell, c0)
    assert rest.outcome is pf.Outcome.CONVERGED
    assert rest.final.shape == (2, 256)
    voltage = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    walls = {"x-": pf.Wall(potential=voltage), "x+": pf.Wall(potential=-2.0)}
    driven = pf.PNP(grid, cell.species, permittivity=2 * 0.05**2, walls=walls)
    pf.equilibrium(driven, c0).final[0, 0].backward()
    assert voltage.grad is not None
    assert voltage.grad < 0  # a higher wall repels cations


def test_sixty_four_cells_of_sixty_four_points_are_never_misread() -> None:
    """A bare tensor is one number per sample, a Field one per cell."""
    grid = pf.Grid((64,), (1.0,), ("wall",))
    values = torch.linspace(0.3, 0.6, 64, dtype=torch.float64)
    ions = [pf.Species("cation", 1), pf.Species("anion", -1)]
    voltages = torch.linspace(0, 1, 64, dtype=torch.float64)
    walls = {"x-": pf.Wall(potential=voltages), "x+": pf.Wall(potential=0.0)}
    c0 = torch.ones(64, 2, 64, dtype=torch.float64)
    span = torch.tensor([0.0, 0.1], dtype=torch.float64)
    by_sample = pf.simulate(pf.PNP(grid, ions, permittivity=values, walls=walls), c0, span)
    by_cell = pf.simulate(pf.PNP(grid, ions, permittivity=pf.Field(values), walls=walls), c0, span)
    walls = {"x-": pf.Wall(potential=1.0), "x+": pf.Wall(potential=0.0)}
    one = pf.simulate(pf.PNP(grid, ions, permittivity=0.6, walls=walls), c0[63], span)
    torch.testing.assert_close(by_sample.final[63], one.final, rtol=1e-9, atol=1e-9)
    assert not torch.allclose(by_cell.final[63], one.final, rtol=1e-6, atol=1e-6)


def test_an_input_may_be_a_mapping() -> None:
    """Fixed charge and wall potentials by name; none of them is the cell's own."""
    grid = pf.Grid((16,), (1.0,), ("wall",))
    ions = [pf.Species("cation", 1), pf.Species("anion", -1)]
    walls = {"x-": pf.Wall(potential=1.0), "x+": pf.Wall(potential=0.0)}
    charge = 0.1 * torch.linspace(-1, 1, 16, dtype=torch.float64)
    c0 = torch.ones(2, 16, dtype=torch.float64)
    plain = pf.PNP(grid, ions, permittivity=0.5, walls={**walls, "x-": pf.Wall(potential=0.0)})
    x = {"fixed_charge": pf.Field(charge), "potential:x-": torch.tensor(1.0, dtype=torch.float64)}
    own = pf.PNP(grid, ions, permittivity=0.5, walls=walls, fixed_charge=pf.Field(charge))
    told = pf.equilibrium(plain, c0, x=x).final
    torch.testing.assert_close(told, pf.equilibrium(own, c0).final)


def test_what_laws_are_made_of_can_be_asked_for(cell: pf.PNP) -> None:
    c0 = torch.ones(2, 256, dtype=torch.float64)
    solver, why = cell.solver_and_why(c0, None, None)
    assert repr(solver) in why
    mine = pf.solvers.Anderson()
    assert cell.solver_and_why(c0, None, mine) == (mine, f"{mine!r}, as asked")
    law = cell.electrolyte((), c0, None)
    higher = cell.electrolyte_of({"x-": pf.Wall(potential=3.0), "x+": cell.walls["x+"]}, (), c0, 0)
    assert higher.potential(c0[None])[0, 0] > law.potential(c0[None])[0, 0] + 0.9


def test_a_sweep_shows_its_file_its_cases_and_how_they_ended() -> None:
    assert [f.name for f in fields(pf.Sweep) if not f.name.startswith("_")] == [
        *("path", "cases", "rows")
    ]


# fusion


@pytest.fixture
def features() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {name: torch.randn(5, width, generator=generator) for name, width in DIMS.items()}


@pytest.mark.parametrize("layer", ["Concat", "GMF", "DEQ", "Progressive", "PNP"])
def test_a_layer_is_called(layer: str, features: dict[str, Tensor]) -> None:
    torch.manual_seed(0)
    fuse = getattr(pf.fusion, layer)(dims=DIMS, out_dim=64)
    a, m = features.values()
    fused = fuse({"audio": a, "motion": m})
    assert fused.shape == (5, 64)
    torch.testing.assert_close(fuse([a, m]), fused)
    told, info = fuse({"audio": a, "motion": m}, return_info=True)
    torch.testing.assert_close(told, fused)
    assert info.succeeded.shape == info.iterations.shape == (5,)
    assert all(term.shape == () for term in info.losses.values())
    has_law = layer in {"DEQ", "Progressive", "PNP"}
    assert isinstance(fuse.dynamics, pf.Dynamics) is has_law
    assert isinstance(info.solution, pf.Solution) is has_law
    without = fuse({"audio": a, "motion": None})
    assert without.shape == (5, 64)
    flags = torch.tensor([True, False, True, False, True])
    some = fuse({"audio": a, "motion": m}, present={"motion": flags})
    torch.testing.assert_close(some[flags], fused[flags])
    torch.testing.assert_close(some[~flags], without[~flags])
    with pytest.raises(ValueError, match="lacks every modality"):
        fuse({"audio": None, "motion": None})


@pytest.mark.parametrize("front", ["GMF", "PNP"])
def test_a_front_end_of_another_layer(front: str, features: dict[str, Tensor]) -> None:
    dims = {"audio": 36, "motion": 16}
    if front == "GMF":
        layer = pf.fusion.GMF(dims, backend=pf.fusion.DEQ(dims, out_dim=8))
        assert layer(features).shape == (5, 8 + 2 * 16)  # [X(p), s_0, s_1]
    else:
        both = torch.nn.ModuleDict(
            {name: pf.fusion.PNP({name: width}, 6) for name, width in dims.items()}
        )
        told = {name: both[name]({name: x}) for name, x in features.items()}
        assert pf.fusion.DEQ(dict.fromkeys(dims, 6), 8)(told).shape == (5, 8)


def test_the_papers_deq_cell() -> None:
    d, names = 8, ("a", "b")
    fuse = pf.fusion.DEQ(dict.fromkeys(names, d), out_dim=d, cell="paper")
    parts = [f"{one}.{kind}" for one in ("linear1", "linear2", "norm1", "norm2", "norm3")
             for kind in ("weight", "bias")]  # fmt: skip
    assert set(fuse.dynamics.state_dict()) == {
        *(f"unimodal.{i}.{part}" for i in range(2) for part in parts),
        *(f"fusion.{one}.{kind}" for one in ("gate", "out", "norm") for kind in ("weight", "bias")),
        "sum_weights",
        "sum_bias",
    }
    assert {id(p) for p in fuse.parameters()} == {id(p) for p in fuse.dynamics.parameters()}
    u, x = torch.randn(3, 2 + 1, d), torch.randn(3, 2, d)
    assert fuse.dynamics.rate(torch.tensor(0.0), u, x).shape == u.shape


def test_the_papers_bare_gmf_module(features: dict[str, Tensor]) -> None:
    assert pf.fusion.GMF(dims=DIMS)(features).shape == (5, 36 + 16 + 2 * 16)


# signatures: more keywords may be added, these stay

REQUIRED = inspect.Parameter.empty
WALL = ("potential", "surface_charge", "stern", "concentration", "flux", "mask")
SIGNATURES: list[tuple[Callable[..., Any], str, dict[str, Any]]] = [
    (pf.Grid, "shape lengths boundaries", {"edges": None}),
    (pf.Species, "name valence diffusivity", {"diffusivity": 1.0}),
    (pf.Wall, " ".join(WALL), dict.fromkeys(WALL)),
    (
        pf.PNP,
        "grid species",
        {
            "permittivity": REQUIRED,
            "walls": None,
            "fixed_charge": None,
            "scheme": "scharfetter-gummel",
            "steric": None,
            "reactions": (),
        },
    ),
    (
        pf.simulate,
        "dynamics u0 times",
        {"x": None, "stepper": None, "rtol": None, "atol": None, "progress": False},
    ),
    (pf.equilibrium, "dynamics u0", {"x": None, "solver": None, "tol": None}),
    (pf.unroll, "dynamics u0 rounds", {"x": None, "step": 1.0}),
    (
        pf.solvers.solve_poisson,
        "rho grid",
        {"permittivity": 1.0, "walls": None},
    ),
    (pf.fusion.Concat, "dims out_dim", {}),
    (pf.fusion.DEQ, "dims out_dim", {"cell": "contractive"}),
    (pf.fusion.Progressive, "dims out_dim", {}),
    (
        pf.fusion.PNP,
        "dims out_dim",
        {"run": "equilibrium", "encoder": "linear", "coupled": True, "channels": 8, "cells": 16},
    ),
    (
        pf.fusion.GMF,
        "dims out_dim",
        {"out_dim": None, "magnification": 4, "boundary": 0.5, "backend": None},
    ),
]


@pytest.mark.parametrize(
    ("call", "by_place", "defaults"), SIGNATURES, ids=lambda one: getattr(one, "__name__", "")
)
def test_a_signature(call: Callable[..., Any], by_place: str, defaults: dict[str, Any]) -> None:
    has = inspect.signature(call).parameters
    places = [name for name, one in has.items() if one.kind is one.POSITIONAL_OR_KEYWORD]
    assert places[: len(by_place.split())] == by_place.split()
    assert {name: has[name].default for name in defaults} == defaults
    others = [name for name in has if name not in defaults and name not in by_place.split()]
    needed = [name for name in others if has[name].default is REQUIRED]
    assert not needed, f"{call.__name__} needs {needed} of late; scripts do not give them"


@pytest.mark.parametrize("command", ["simulate", "train", "compare", "lab"])
def test_a_command_needs_no_option(command: str) -> None:
    parser = command_parsers()[1][command]
    parser.parse_args([])
    assert "examples:" in parser.format_help()


# what a newcomer sees


def test_dir_is_short_and_help_tells_of_all_that_it_lists() -> None:
    names = [name for name in dir(pf) if not name.startswith("_")]
    assert len(names) <= 40
    told = pydoc.plain(pydoc.render_doc(pf))
    assert len(told.splitlines()) <= 60
    missing = [
        name
        for name in names
        if name not in (pf.__doc__ or "").replace(",", " ").replace(";", " ").split()
    ]
    assert not missing, f"say in the docstring of pnpfusion what these are: {missing}"
