"""Runs in boxes of one to three axes, which must be those of one axis where nothing varies."""

import pytest
import torch

import pnpfusion as pf
from pnpfusion.solvers import AsymptoticPreserving, BackwardEuler
from tests.marks import quiet
from tests.registry import (
    ALL_SCHEMES,
    ALL_STEPPERS,
    box_of_everything,
    f64,
    masked_walls,
    random,
    stepper_name,
    times,
)


def line_cell(axis, ndim, scheme, *, full):
    """A cell that varies along ``axis`` only; the other axes have walls or are rings."""
    others = [(3, 1.3, "wall"), (2, 0.7, "periodic")][: ndim - 1]
    axes = [*others[:axis], (6, 1.0, "wall"), *others[axis:]]
    shape, lengths, boundaries = (tuple(a[i] for a in axes) for i in range(3))
    name = "xyz"[axis]
    wide = [1] * ndim
    wide[axis] = -1
    profile = torch.linspace(0.5, 1.5, 6, dtype=f64).reshape(wide).expand(shape)
    more = {}
    if full:
        more = {
            "steric": 0.2,
            "reactions": [pf.Reaction(["salt"], ["cation", "anion"], forward=2.0, backward=1.5)],
        }
    cell = pf.PNP(
        pf.Grid(shape, lengths, boundaries),
        [
            pf.Species("cation", 1, pf.Field(profile)),
            pf.Species("anion", -1, 0.8),
            pf.Species("salt", 0),
        ],
        permittivity=pf.Field(0.3 * profile),
        walls={
            f"{name}-": pf.Wall(potential=1.0, stern=0.1, flux={"salt": 0.3}),
            f"{name}+": pf.Wall(surface_charge=-0.2, concentration={"cation": 1.1}),
        },
        fixed_charge=pf.Field(0.2 * profile),
        scheme=scheme,
        **more,
    )
    start = 0.5 + random(3, 6, seed=1)
    return cell, start.reshape(3, *wide).expand(3, *shape)


def first_line(states, axis, ndim):
    """The states along ``axis`` at the first cell of the others, and how much the others differ."""
    moved = states.movedim(axis - ndim, -1)
    flat = moved.flatten(-ndim, -2) if ndim > 1 else moved.unsqueeze(-2)
    return flat[..., 0, :], float((flat - flat[..., :1, :]).abs().max())


#: One stepper with every scheme, every stepper with one; all pairs are slow.
PAIRS = [
    pytest.param(
        stepper,
        scheme,
        marks=[]
        if scheme == "scharfetter-gummel" or stepper == BackwardEuler(dt=1e-4)
        else [pytest.mark.slow],
        id=f"{stepper!r}-{scheme}",
    )
    for stepper in ALL_STEPPERS
    for scheme in ALL_SCHEMES
]


@quiet
@pytest.mark.parametrize("full", [False, True], ids=["plain", "crowded-reacting"])
@pytest.mark.parametrize(("stepper", "scheme"), PAIRS)
def test_a_problem_of_one_axis_has_its_answer_in_every_box(stepper, scheme, full):
    span = times(0, 5e-4, 1e-3)
    cell, c0 = line_cell(0, 1, scheme, full=full)
    line = pf.simulate(cell, c0, span, stepper=stepper).require_success()
    for axis, ndim in [(0, 2), (1, 2), (2, 3)]:
        cell, c0 = line_cell(axis, ndim, scheme, full=full)
        run = pf.simulate(cell, c0, span, stepper=stepper).require_success()
        found, uneven = first_line(run.states, axis, ndim)
        assert uneven <= 1e-12
        tight = 1e-12 if getattr(stepper, "dt", None) else 1e-10
        torch.testing.assert_close(found, line.states, rtol=tight, atol=tight)


@quiet
@pytest.mark.parametrize("stepper", [None, AsymptoticPreserving(dt=0.02)], ids=str)
def test_and_so_it_has_in_long_runs(stepper):
    cell, c0 = line_cell(0, 1, "scharfetter-gummel", full=True)
    line = pf.simulate(cell, c0, times(0, 1.0), stepper=stepper).require_success()
    for axis, ndim in [(0, 2), (1, 2), (0, 3), (1, 3), (2, 3)]:
        cell, c0 = line_cell(axis, ndim, "scharfetter-gummel", full=True)
        run = pf.simulate(cell, c0, times(0, 1.0), stepper=stepper).require_success()
        found, uneven = first_line(run.states, axis, ndim)
        assert uneven <= 1e-11
        torch.testing.assert_close(found, line.states, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("scheme", ALL_SCHEMES)
def test_mirror_images_and_swapped_signs_run_as_such(scheme):
    grid = pf.Grid((6, 5), (0.5, 0.6), ("wall", "wall"))
    low, c0 = grid.coordinates(1) < 0.3, 0.5 + random(2, 6, 5)

    def run(walls, c0, d):
        cell = pf.PNP(
            grid,
            [pf.Species("cation", 1, d[0]), pf.Species("anion", -1, d[1])],
            permittivity=0.8,
            walls=walls,
            scheme=scheme,
        )
        return pf.simulate(cell, c0, times(0, 0.1)).final

    def walls(left, right, low, sign=1.0):
        return {
            left: [
                pf.Wall(potential=sign * 1.2, mask=low),
                pf.Wall(surface_charge=sign * 0.4, mask=~low),
            ],
            right: pf.Wall(potential=0.0, stern=0.3),
        }

    plain = run(walls("x-", "x+", low), c0, (1.0, 1.6))
    across = run(walls("x+", "x-", low), c0.flip(1), (1.0, 1.6))
    torch.testing.assert_close(across.flip(1), plain, rtol=1e-11, atol=1e-11)
    down = run(walls("x-", "x+", low.flip(0)), c0.flip(2), (1.0, 1.6))
    torch.testing.assert_close(down.flip(2), plain, rtol=1e-11, atol=1e-11)
    swapped = run(walls("x-", "x+", low, sign=-1.0), c0.flip(0), (1.6, 1.0))
    torch.testing.assert_close(swapped.flip(0), plain, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize(
    "stepper", [s for s in ALL_STEPPERS if getattr(s, "dt", None)], ids=stepper_name
)
def test_batch_equals_loop_with_fixed_steps(stepper):
    voltages, span = torch.tensor([0.2, 1.0, 4.0], dtype=f64), times(0, 1e-3, 2e-3)
    c0 = 1 + 0.5 * random(3, 2, 6, 5)
    together = pf.simulate(masked_walls(voltage=voltages), c0, span, stepper=stepper)
    for i, voltage in enumerate(voltages.tolist()):
        alone = pf.simulate(masked_walls(voltage=voltage), c0[i], span, stepper=stepper)
        torch.testing.assert_close(together.states[:, i], alone.states, rtol=1e-12, atol=1e-12)


@quiet
def test_single_precision_stays_single_and_near_double():
    for cell, c0 in [
        (masked_walls(), torch.ones(2, 6, 5, dtype=f64)),
        (box_of_everything((4, 3), ("wall", "periodic")), 0.5 + random(3, 4, 3)),
    ]:
        double = pf.simulate(cell, c0, times(0, 0.1)).final
        run = pf.simulate(cell, c0.float(), torch.tensor([0.0, 0.1])).require_success()
        assert run.states.dtype == torch.float32
        assert cell.potential(run.final).dtype == torch.float32
        torch.testing.assert_close(run.final.double(), double, rtol=5e-3, atol=5e-3)


@pytest.mark.parametrize("shape", [(1,), (1, 1), (1, 3), (3, 1), (1, 1, 1), (1, 2, 1)])
@pytest.mark.parametrize("boundary", ["wall", "periodic"])
@quiet
def test_boxes_of_one_cell_run(shape, boundary):
    """A single cell along an axis, and a ring of one cell, which is its own neighbour."""
    grid = pf.Grid(shape, (1.0,) * len(shape), (boundary,) * len(shape))
    walls = {"x-": pf.Wall(potential=1.0)} if boundary == "wall" else None
    cell = pf.PNP(
        grid, [pf.Species("cation", 1), pf.Species("anion", -1)], permittivity=0.5, walls=walls
    )
    c0 = torch.ones(2, *shape, dtype=f64)
    for stepper in (None, BackwardEuler(dt=0.05), AsymptoticPreserving(dt=0.05)):
        run = pf.simulate(cell, c0, times(0, 0.1), stepper=stepper).require_success()
        torch.testing.assert_close(run.final, c0, rtol=1e-12, atol=1e-12)
    rest = pf.equilibrium(cell, c0).require_success()
    torch.testing.assert_close(rest.final, c0, rtol=1e-9, atol=1e-9)
