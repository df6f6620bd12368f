"""Boxes of one to three axes: Gauss' law, matrices, and runs that must be those of one axis."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import pnpfusion as pf
from pnpfusion.solvers import AsymptoticPreserving, BackwardEuler, KenCarp4, Odeint
from pnpfusion.solvers.coupled_newton import jacobian, residual
from pnpfusion.solvers.dielectric import Dielectric
from pnpfusion.solvers.elliptic import apply_elliptic, conjugate_gradients
from tests.marks import quiet
from tests.registry import (
    ADAPTIVE,
    ALL_SCHEMES,
    ALL_STEPPERS,
    FIXED_STEP,
    box_of_everything,
    f64,
    masked_walls,
    random,
    slope,
    stepper_name,
    times,
)

MONOTONE = ["scharfetter-gummel", "harmonic"]


# ---- Poisson's equation


@st.composite
def grids(draw):
    """Boxes of one to three axes of one to five cells, some of them graded."""
    ndim = draw(st.integers(1, 3))
    shape = tuple(draw(st.integers(1, 5)) for _ in range(ndim))
    boundaries = tuple(draw(st.sampled_from(["wall", "periodic"])) for _ in range(ndim))
    lengths = tuple(draw(st.floats(0.3, 3)) for _ in range(ndim))
    edges = []
    for axis, (n, length) in enumerate(zip(shape, lengths, strict=True)):
        widths = 0.2 + random(n, seed=draw(st.integers(0, 99)) + 100 * axis)
        inner = (widths.cumsum(0) * length / widths.sum())[:-1].tolist()
        edges.append([0.0, *inner, length] if draw(st.booleans()) else None)
    return pf.Grid(shape, lengths, boundaries, edges=edges)


@st.composite
def media(draw, batch=2):
    """A dielectric with a permittivity over two decades and walls of every kind, in parts."""
    grid, seed = draw(grids()), draw(st.integers(0, 10**6))

    def field(shape, k):
        return pf.Field(random(batch, *shape, seed=seed + k))

    walls = {}
    for side in grid.sides:
        axis = "xyz".index(side[0])
        over = grid.shape[:axis] + grid.shape[axis + 1 :]
        kinds = [
            pf.Wall(),
            pf.Wall(potential=field(over, 1)),
            pf.Wall(potential=field(over, 2), stern=field(over, 3)),
            pf.Wall(surface_charge=field(over, 4)),
        ]
        first, second = draw(st.sampled_from(kinds)), draw(st.sampled_from(kinds))
        walls[side] = first
        if grid.ndim > 1 and draw(st.booleans()):
            mask = random(*over, seed=seed + 5) < 0.5
            walls[side] = [
                pf.Wall(first.potential, first.surface_charge, first.stern, mask=mask),
                pf.Wall(second.potential, second.surface_charge, second.stern, mask=~mask),
            ]
    epsilon = pf.Field(10 ** (2 * random(batch, *grid.shape, seed=seed + 6) - 1))
    like = torch.zeros((), dtype=f64)
    medium = Dielectric.build(grid, epsilon, walls, (batch,), like)
    without = {
        side: [
            pf.Wall(potential=None if w.potential is None else 0.0, stern=w.stern, mask=w.mask)
            for w in (parts if isinstance(parts, list) else [parts])
        ]
        for side, parts in walls.items()
    }
    rho = torch.randn(
        2, batch, *grid.shape, dtype=f64, generator=torch.Generator().manual_seed(seed)
    )
    return medium, Dielectric.build(grid, epsilon, without, (batch,), like), rho


def neutral(medium, rho):
    """``rho`` with what floats made neutral, walls included."""
    if not medium.floating:
        return rho
    charge = medium.total(rho)
    for line in medium.lines:
        charge = charge + (line.surface_charge * torch.ones_like(line.areas)[..., None]).flatten(
            1
        ).sum(1)
    wide = (-1, *(1 for _ in rho.shape[1:]))
    return rho - (charge / medium.volumes.sum()).reshape(wide)


@settings(max_examples=60, deadline=None)
@given(media())
def test_gauss_law_holds_in_every_cell(made):
    medium, _, rho = made
    load = neutral(medium, rho[0])
    through = medium.displacement(medium.potential(load))
    gap = medium.leaving(through) - medium.volumes * load
    size = max(float(one.abs().max()) for one in through)
    size = max(size, float((medium.volumes * rho[0]).abs().max()))
    assert float(gap.abs().max()) <= 1e-11 * size


@settings(max_examples=40, deadline=None)
@given(media())
def test_the_potential_is_self_adjoint_in_the_charge(made):
    _, medium, (a, b) = made
    a, b = neutral(medium, a), neutral(medium, b)
    left, right = medium.total(medium.potential(a) * b), medium.total(a * medium.potential(b))
    size = (medium.total(medium.potential(a) * a) * medium.total(medium.potential(b) * b)).sqrt()
    assert bool(((left - right).abs() <= 1e-11 * size).all())


@settings(max_examples=15, deadline=None)
@given(media(batch=1))
def test_the_potential_has_its_finite_differences(made):
    medium, _, rho = made
    grid, lines = medium.grid, medium.lines
    load = neutral(medium, rho[0]).requires_grad_()
    scale = random(*medium.volumes.shape, seed=1).add(0.5).requires_grad_()

    def phi(load, scale):
        shift = medium.total(load) / medium.volumes.sum() if medium.floating else 0.0
        conductances = []
        for line in lines:  # each face by the mean of its two cells
            cells = scale.movedim(line.axis - grid.ndim, -1)
            ends = cells[..., [-1, 0]] if line.periodic else cells[..., [0, -1]]
            beside = torch.cat([ends[..., :1], cells, ends[..., 1:]], -1)
            conductances.append(line.conductance * (beside[..., 1:] + beside[..., :-1]) / 2)
        return medium.solve(tuple(conductances), medium.volumes * (load - shift))

    if medium.floating and load.numel() == 1:
        return  # zero, whatever is given

    assert torch.autograd.gradcheck(phi, [load, scale], rtol=1e-4, atol=1e-5, fast_mode=True)


def test_a_part_that_covers_no_face_is_no_electrode():
    grid = pf.Grid((3, 2), (1.0, 1.0), ("wall", "wall"))
    none = torch.zeros(2, dtype=torch.bool)
    ions = [pf.Species("cation", 1), pf.Species("anion", -1)]

    def cell(*parts):
        return pf.PNP(grid, ions, permittivity=40.0, walls={"x-": list(parts)})

    empty = pf.Wall(potential=1.0, concentration={"cation": 2.0}, mask=none)
    whole = pf.Wall(surface_charge=0.3, mask=~none)
    c0 = torch.stack([1 + random(3, 2, seed=1), 1.3 + random(3, 2, seed=2)])
    c0[1] += (c0[0] - c0[1]).mean() + 0.3
    alone = pf.simulate(cell(whole), c0, times(0, 0.1)).require_success()
    run = pf.simulate(cell(empty, whole), c0, times(0, 0.1)).require_success()
    assert torch.equal(run.final, alone.final)
    assert run.ledger.closed == (True, True)
    with pytest.raises(ValueError, match="net charge"):
        pf.simulate(cell(empty), c0, times(0, 0.1))


@pytest.mark.parametrize("spread", [1.0, 3.0, 10.0])
def test_conjugate_gradients_do_not_feel_the_grid(spread):
    """Iterations for a smooth permittivity 1 ... spread in a box with one electrode, n x n cells.

    ======  ====  ====  ====
    spread  n=16  n=32  n=64
    ======  ====  ====  ====
    1         1     1     1
    3        24    25    25
    10       44    49    51
    ======  ====  ====  ====
    """
    table = {1.0: (1, 1, 1), 3.0: (24, 25, 25), 10.0: (44, 49, 51)}
    counts = []
    for n in (16, 32, 64):
        grid = pf.Grid((n, n), (1.0, 1.0), ("wall", "wall"))
        x, y = grid.coordinates(0)[:, None], grid.coordinates(1)
        wave = (1 + torch.sin(2 * math.pi * x) * torch.sin(2 * math.pi * y)) / 2
        medium = Dielectric.build(
            grid,
            pf.Field(spread**wave),
            {"x-": pf.Wall(potential=0.0)},
            (),
            torch.zeros((), dtype=f64),
        )
        load = medium.volumes * (random(1, n, n) - 0.5)
        conductances = tuple(line.conductance for line in medium.lines)
        found, iterations = conjugate_gradients(grid, conductances, None, load)
        left = apply_elliptic(grid, conductances, None, found) - load
        assert float(left.norm()) <= 1e-13 * float(load.norm()) * n
        counts.append(int(iterations))
    assert counts == pytest.approx(table[spread], abs=3)


# ---- the matrix of Newton's method


@pytest.mark.parametrize("scheme", ALL_SCHEMES)
@pytest.mark.parametrize("steric", [None, 0.15])
@pytest.mark.parametrize(
    ("shape", "boundaries"),
    [
        ((4,), ("wall",)),
        ((3,), ("periodic",)),
        ((2,), ("periodic",)),
        ((1,), ("wall",)),
        ((3, 2), ("wall", "wall")),
        ((3, 4), ("periodic", "wall")),
        ((2, 3), ("periodic", "wall")),
        ((1, 3), ("periodic", "wall")),
        ((2, 2), ("periodic", "periodic")),
        ((2, 3, 2), ("wall", "periodic", "wall")),
    ],
)
def test_the_matrix_is_the_derivative_of_what_is_wrong(shape, boundaries, steric, scheme):
    cell = box_of_everything(shape, boundaries, steric=steric, scheme=scheme)
    c = 0.5 + random(2, 3, *shape, seed=5)
    phi, step = 2 * random(2, *shape, seed=6), torch.tensor([0.3, 2.0], dtype=f64)
    if "wall" not in boundaries:  # then species cannot pass, and the charge is not neutral
        cell.fixed_charge = 0.0
    bound = cell.bind(c).cell
    faces = bound.faces(c, phi)

    def wrong(both):
        phi, c = both[..., 0], both[..., 1:].movedim(-1, 1)
        return residual(bound, bound.faces(c, phi), c, phi, c.detach() + 0.1, step)

    def wrong_of_all(both):
        phi, c = both[..., 0], both[..., 1:].movedim(-1, 1)
        return residual(bound, bound.faces(c, phi), c, phi, 0 * c.detach(), step)

    matrix = jacobian(bound, faces, c, step)
    both = torch.cat([phi.unsqueeze(1), c], 1).movedim(1, -1)
    along = torch.randn(both.shape, dtype=f64, generator=torch.Generator().manual_seed(7))
    _, wanted = torch.autograd.functional.jvp(wrong_of_all, both.clone(), along)
    found = matrix.apply(along)
    if bound.dielectric.floating:  # grounded in one place, which only picks one potential
        grounded = along[..., 0].flatten(1)[:, 0] * bound.dielectric.grounding
        found.flatten(1, -2)[:, 0, 0] -= grounded
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)
    other = torch.randn(both.shape, dtype=f64, generator=torch.Generator().manual_seed(8))
    left = (other * matrix.apply(along)).sum()
    right = (matrix.transposed().apply(other) * along).sum()
    torch.testing.assert_close(left, right, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(matrix.apply(matrix.solve(other)), other, rtol=1e-9, atol=1e-9)
    back = matrix.transposed()
    torch.testing.assert_close(back.apply(back.solve(other)), other, rtol=1e-9, atol=1e-9)


# ---- a problem of one axis in a box of more


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


# ---- orders in space


def manufactured(n, ndim):
    """c+ = 1 + a, c- = 1 + b, a = .5 prod cos kx, b = -.3 cos 2kx prod cos ky, k = 2 pi.

    phi solves Poisson with permittivity .1; also the divergence of the cation flux.
    """
    grid = pf.Grid((n,) * ndim, (1.0,) * ndim, ("periodic",) * ndim)
    k, epsilon = 2 * math.pi, 0.1

    def at(*x):
        rest = math.prod((torch.cos(k * y) for y in x[1:]), start=torch.ones_like(x[0]))
        a, b = 0.5 * torch.cos(k * x[0]) * rest, -0.3 * torch.cos(2 * k * x[0]) * rest
        return 1 + a, 1 + b, (a / (ndim * k**2) - b / ((ndim + 3) * k**2)) / epsilon

    points = torch.meshgrid(*(grid.coordinates(i) for i in range(ndim)), indexing="ij")
    points = [p.clone().requires_grad_() for p in points]
    cation, anion, phi = at(*points)
    by_c = torch.autograd.grad(cation.sum(), points, create_graph=True)
    by_phi = torch.autograd.grad(phi.sum(), points, create_graph=True)
    divergence = 0.0
    for point, c_slope, phi_slope in zip(points, by_c, by_phi, strict=True):
        flux = -(c_slope + cation * phi_slope)
        divergence = divergence + torch.autograd.grad(flux.sum(), point, retain_graph=True)[0]
    c = torch.stack([cation, anion]).detach()
    return grid, epsilon, c, phi.detach(), divergence


@pytest.mark.parametrize("scheme", ALL_SCHEMES)
@pytest.mark.parametrize(("ndim", "sizes"), [(2, [16, 32, 64]), (3, [8, 16, 32])])
def test_order_in_space_of_the_flux_divergence(ndim, sizes, scheme):
    errors, potentials = [], []
    for n in sizes:
        grid, epsilon, c, phi, divergence = manufactured(n, ndim)
        cell = pf.PNP(
            grid,
            [pf.Species("cation", +1), pf.Species("anion", -1)],
            permittivity=epsilon,
            scheme=scheme,
        )
        bound = cell.bind(c).cell
        leaving = bound.dielectric.leaving(bound.fluxes(bound.faces(c[None], phi[None])))[0, 0]
        found = leaving / grid.weights
        errors.append(float((found - divergence).abs().max() / divergence.abs().max()))
        potentials.append(float((cell.potential(c) - phi).abs().max()))
    assert slope([float(n) for n in sizes[1:]], errors[1:]) == pytest.approx(-2, abs=0.1)
    assert slope([float(n) for n in sizes[1:]], potentials[1:]) == pytest.approx(-2, abs=0.1)
    if ndim == 2 and scheme == "scharfetter-gummel":
        assert errors[-1] == pytest.approx(1.15598e-3, rel=1e-4)


# ---- what every run must keep


@st.composite
def closed_boxes(draw):
    """Closed cells of two axes with electrodes on parts of their walls, and uneven states."""
    shape = (draw(st.integers(1, 5)), draw(st.integers(1, 5)))
    second = draw(st.sampled_from(["wall", "periodic"]))
    grid = pf.Grid(shape, (1.0, draw(st.floats(0.3, 3))), ("wall", second))
    seed = draw(st.integers(0, 10**6))
    mask = random(shape[1], seed=seed) < 0.5
    debye, voltage = 10 ** draw(st.floats(-2, 0.5)), draw(st.floats(-5, 5))
    c0 = 10 ** (2 * random(2, 2, *shape, seed=seed + 1) - 1)
    c0 = torch.stack(
        [c0[:, 0], c0[:, 1] * (c0[:, 0].sum((1, 2)) / c0[:, 1].sum((1, 2)))[:, None, None]], 1
    )
    cell = pf.PNP(
        grid,
        [pf.Species("cation", 1, 10 ** draw(st.floats(-1, 1))), pf.Species("anion", -1)],
        permittivity=pf.Field(2 * debye**2 * (0.3 + random(*shape, seed=seed + 2))),
        walls={
            "x-": [
                pf.Wall(potential=voltage, stern=draw(st.sampled_from([0.0, 0.2])), mask=mask),
                pf.Wall(surface_charge=draw(st.floats(-1, 1)), mask=~mask),
            ],
            "x+": pf.Wall(potential=0.0),
        },
        scheme=draw(st.sampled_from(MONOTONE)),
    )
    return cell, c0


@quiet
@settings(max_examples=10, deadline=None)
@given(closed_boxes(), st.sampled_from([KenCarp4(1e-3), BackwardEuler(1e-2)]))
def test_closed_boxes_keep_mass_and_stay_positive(made, stepper):
    cell, c0 = made
    run = pf.simulate(cell, c0, times(0, 1e-3, 0.1), stepper=stepper).require_success()
    assert float(run.ledger.mass_error.max()) <= 1e-12
    assert float(run.ledger.min_concentration.min()) > 0


@quiet
@settings(max_examples=15, deadline=None)
@given(closed_boxes(), st.floats(-5, 3))
def test_the_robust_step_keeps_both_at_any_step(made, exponent):
    cell, c0 = made
    dt = 10**exponent
    run = pf.simulate(cell, c0, times(0, 3 * dt), stepper=AsymptoticPreserving(dt=dt))
    assert bool(run.succeeded.all())
    assert float(run.ledger.mass_error.max()) <= 1e-12
    assert float(run.ledger.min_concentration.min()) > 0


@quiet
@settings(max_examples=15, deadline=None)
@given(closed_boxes(), st.floats(-4, 1))
def test_energy_never_rises_under_backward_euler(made, exponent):
    cell, c0 = made
    dt = 10**exponent
    run = pf.simulate(cell, c0, dt * torch.arange(4, dtype=f64), stepper=BackwardEuler(dt=dt))
    if int(run.work.fallbacks.sum()):
        return  # the equations of so large a step were not solved, and the run says so
    mixing = (cell.grid.weights * (torch.xlogy(c0, c0) - c0).abs()).sum((-3, -2, -1))
    round_off = 16 * torch.finfo(f64).eps * run.ledger.free_energy.abs().amax(0)
    assert bool((run.ledger.energy_largest_rise <= 1e-12 * mixing + round_off).all())


@pytest.mark.parametrize("scheme", MONOTONE)
def test_what_rests_stays_at_rest_under_every_stepper(scheme):
    cell = masked_walls(voltage=3.0)
    cell.scheme = scheme
    rest = pf.equilibrium(cell, torch.ones(2, 6, 5, dtype=f64), tol=1e-13).require_success().final
    for method in FIXED_STEP:
        run = pf.simulate(cell, rest, times(0, 5e-3), stepper=method(dt=1e-3))
        assert float((run.final - rest).abs().max()) <= 1e-13 * float(rest.max()), method
    steppers = [s for s in ADAPTIVE if not isinstance(s, Odeint)]
    for stepper in (*steppers, AsymptoticPreserving(dt=0.1), BackwardEuler(dt=0.1)):
        run = pf.simulate(cell, rest, times(0, 1.0), stepper=stepper)
        assert float((run.final - rest).abs().max()) <= 1e-13 * float(rest.max()), stepper
    assert float(max(cell.flux(rest, axis=a).abs().max() for a in (0, 1))) <= 1e-12


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
