import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import pnpfusion as pf
from pnpfusion.solvers import solve_poisson
from pnpfusion.solvers.dielectric import Dielectric
from pnpfusion.solvers.elliptic import conjugate_gradients
from tests.registry import f64, random, slope

WALLS = {
    "electrodes": {"x-": pf.Wall(potential=1.0), "x+": pf.Wall(potential=-2.0)},
    "electrode and insulator": {"x-": pf.Wall(potential=1.0)},
    "electrode and charge": {"x-": pf.Wall(surface_charge=0.3), "x+": pf.Wall(potential=0.5)},
    "stern": {"x-": pf.Wall(potential=1.0, stern=0.1), "x+": pf.Wall(potential=0.0)},
    "insulators": {},
}


def test_a_known_potential_comes_back_at_second_order_on_the_ring():
    errors, sizes = [], [32, 64, 128, 256]
    for n in sizes:
        grid = pf.Grid((n,), (1.0,), ("periodic",))
        x, k = grid.coordinates(0), 2 * math.pi
        phi = solve_poisson(0.7 * k**2 * torch.sin(k * x), grid, permittivity=0.7)
        errors.append(float((phi - torch.sin(k * x)).abs().max()))
    assert slope(sizes, errors) == pytest.approx(-2, abs=0.05)
    assert errors[-1] < 6e-5


@pytest.mark.parametrize("graded", [False, True])
@pytest.mark.parametrize("kind", WALLS)
def test_order_two_between_walls_of_every_kind(kind, graded):
    """phi = sin(2 x) + a + b x, with a and b from the walls, and permittivity 0.3."""
    epsilon, length, errors, sizes = 0.3, 1.0, [], [40, 80, 160]
    for n in sizes:
        s = torch.linspace(-1, 1, n + 1, dtype=f64)
        edges = ((torch.tanh(1.5 * s) / math.tanh(1.5) + 1) / 2,) if graded else None
        grid = pf.Grid((n,), (length,), ("wall",), edges=edges)
        x = grid.coordinates(0)
        rho = 4 * epsilon * torch.sin(2 * x)
        wanted = torch.sin(2 * x)
        slopes = (2 * math.cos(0), 2 * math.cos(2 * length))
        if kind == "insulators":  # sin(2 x) + b x + c x^2 has slope 0 at both ends
            b = -slopes[0]
            c = -(slopes[1] + b) / 2
            wanted, rho = wanted + b * x + c * x**2, rho - 2 * epsilon * c
            rho = rho - (rho * grid.weights).sum()  # neutral in the sums too
            wanted = wanted - (wanted * grid.weights).sum()
        elif kind == "electrodes":
            wanted = wanted + 1 + (-2 - 1 - math.sin(2)) * x
        elif kind == "electrode and insulator":
            wanted = wanted + 1 - slopes[1] * x
        elif kind == "electrode and charge":  # -eps phi'(0) = 0.3
            b = -0.3 / epsilon - slopes[0]
            wanted = wanted + b * x + 0.5 - math.sin(2) - b
        elif kind == "stern":  # phi(0) - 0.1 phi'(0) = 1, phi(1) = 0
            b = (-1 - math.sin(2) - 0.1 * slopes[0]) / (1 + 0.1)
            wanted = wanted + b * x - math.sin(2) - b
        phi = solve_poisson(rho, grid, permittivity=epsilon, walls=WALLS[kind])
        errors.append(float((phi - wanted).abs().max()))
    assert slope(sizes, errors) == pytest.approx(-2, abs=0.1)
    assert errors[-1] < 3e-4


def test_permittivity_as_a_field_keeps_the_displacement_of_a_capacitor():
    grid = pf.Grid((50,), (1.0,), ("wall",))
    layers = torch.where(grid.coordinates(0) < 0.5, 1.0, 4.0)
    walls = {"x-": pf.Wall(potential=1.0), "x+": pf.Wall(potential=0.0)}
    phi = solve_poisson(
        torch.zeros(50, dtype=f64), grid, permittivity=pf.Field(layers), walls=walls
    )
    displacement = 1 / (0.5 / 1 + 0.5 / 4)
    wanted = torch.where(
        grid.coordinates(0) < 0.5,
        1 - displacement * grid.coordinates(0),
        displacement / 4 * (1 - grid.coordinates(0)),
    )
    torch.testing.assert_close(phi, wanted, rtol=1e-12, atol=1e-12)


@settings(max_examples=40, deadline=None)
@given(
    cells=st.integers(1, 40),
    batch=st.integers(1, 4),
    kind=st.sampled_from([*WALLS, "ring"]),
    seed=st.integers(0, 10**6),
)
def test_gauss_law_holds_in_every_cell(cells, batch, kind, seed):
    generator = torch.Generator().manual_seed(seed)
    grid = pf.Grid((cells,), (1.5,), ("periodic" if kind == "ring" else "wall",))
    walls = None if kind == "ring" else WALLS[kind]
    rho = torch.randn(batch, cells, dtype=f64, generator=generator)
    if kind in ("insulators", "ring"):
        rho = rho - rho.mean(-1, keepdim=True)
    epsilon = torch.rand(batch, cells, dtype=f64, generator=generator) + 0.1
    medium = Dielectric.build(grid, pf.Field(epsilon), walls, (batch,), rho)
    phi = solve_poisson(rho, grid, permittivity=pf.Field(epsilon), walls=walls)
    (through,) = medium.displacement(phi)
    torch.testing.assert_close(
        through.diff(dim=-1),
        medium.volumes * rho,
        rtol=1e-11,
        atol=1e-11 * float(through.abs().max()),
    )
    if kind in ("insulators", "ring"):
        assert float(phi.mean(-1).abs().max()) < 1e-12 * max(1.0, float(phi.abs().max()))


@pytest.mark.parametrize("kind", [*WALLS, "ring"])
def test_it_is_self_adjoint(kind):
    grid = pf.Grid((12,), (1.0,), ("periodic" if kind == "ring" else "wall",))
    walls = None if kind == "ring" else WALLS[kind]
    a, b = torch.randn(2, 12, dtype=f64, generator=torch.Generator().manual_seed(1))
    a, b = a - a.mean(), b - b.mean()
    alone = solve_poisson(torch.zeros_like(a), grid, walls=walls)
    ga, gb = (solve_poisson(v, grid, walls=walls) - alone for v in (a, b))
    torch.testing.assert_close((ga * b).sum(), (a * gb).sum(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("boundary", ["wall", "periodic"])
def test_gradients_to_second_order_in_charge_permittivity_and_walls(boundary):
    grid = pf.Grid((5,), (1.0,), (boundary,))
    rho = torch.randn(2, 5, dtype=f64, generator=torch.Generator().manual_seed(2)).requires_grad_()
    epsilon = torch.tensor([0.5, 2.0], dtype=f64, requires_grad=True)
    if boundary == "periodic":

        def potential(rho, epsilon):
            return solve_poisson(rho - rho.mean(-1, keepdim=True), grid, permittivity=epsilon)

        inputs = (rho, epsilon)
    else:

        def potential(rho, epsilon, left, stern, charge):
            walls = {
                "x-": pf.Wall(potential=left, stern=stern),
                "x+": pf.Wall(surface_charge=charge),
            }
            return solve_poisson(rho, grid, permittivity=epsilon, walls=walls)

        scalars = [torch.tensor(v, dtype=f64, requires_grad=True) for v in (1.0, 0.2, -0.4)]
        inputs = (rho, epsilon, *scalars)
    assert torch.autograd.gradcheck(potential, inputs)
    assert torch.autograd.gradgradcheck(potential, inputs)


@pytest.mark.parametrize(
    ("rho", "settings", "message"),
    [
        (torch.ones(4), {}, "net charge of 1 .*sample 0.*give a wall a `potential`"),
        (torch.zeros(5), {}, r"must end in the grid's shape \(4,\), got \(5,\)"),
        (torch.zeros(4).half(), {}, "float32 or float64, got torch.float16"),
        ([0.0] * 4, {}, "must be a torch.Tensor, got list"),
        (torch.zeros(4), {"permittivity": 0.0}, "`permittivity` must be > 0, got 0"),
        (torch.zeros(4), {"permittivity": float("nan")}, "`permittivity` must be finite"),
        (torch.zeros(4), {"permittivity": torch.ones(4)}, "wrapped in pnpfusion.Field"),
        (torch.zeros(4), {"permittivity": pf.Field(torch.ones(3))}, "is a Field and must end in"),
        (
            torch.zeros(4),
            {"walls": {"left": pf.Wall(potential=1.0)}},
            "names 'left', but the walls",
        ),
        (torch.zeros(4), {"walls": {"x-": 1.0}}, "must be a Wall, got float"),
        (
            torch.zeros(4),
            {"walls": {"x-": pf.Wall(potential=1.0, stern=torch.tensor(-1.0))}},
            "`stern` must be >= 0",
        ),
    ],
)
def test_a_wrong_call_says_what_is_wanted(rho, settings, message):
    with pytest.raises(ValueError, match=message):
        solve_poisson(rho, pf.Grid((4,), (1.0,), ("wall",)), **settings)


def test_what_a_wall_cannot_be():
    with pytest.raises(ValueError, match="either `potential` or `surface_charge`"):
        pf.Wall(potential=1.0, surface_charge=1.0)
    with pytest.raises(ValueError, match="`stern` needs the `potential`"):
        pf.Wall(stern=0.1)
    with pytest.raises(ValueError, match="must map species names"):
        pf.Wall(concentration=1.0)
    with pytest.raises(ValueError, match="either concentration or flux of"):
        pf.Wall(concentration={"a": 1.0}, flux={"a": 0.0})


def test_round_off_charges_of_a_neutral_box_are_no_error():
    grid = pf.Grid((64,), (1.0,), ("periodic",))
    noise = 1e-17 * torch.randn(64, dtype=f64, generator=torch.Generator().manual_seed(3))
    assert solve_poisson(noise, grid, permittivity=1e-3).abs().max() < 1e-12


# ---- more than one axis, screening, and the methods by name


def box_cases():
    """Boxes of 1 to 3 axes with every kind of wall that transforms can take."""
    for axes in (1, 2, 3):
        for boundaries in itertools.product(("wall", "periodic"), repeat=axes):
            grid = pf.Grid((6, 5, 4)[:axes], (1.0, 1.3, 0.8)[:axes], boundaries)
            yield grid, {}
            if boundaries[0] == "wall":
                yield grid, {"x-": pf.Wall(potential=1.0)}
                yield grid, {"x-": pf.Wall(potential=1.0), "x+": pf.Wall(potential=-2.0)}
                yield grid, {"x-": pf.Wall(surface_charge=0.3), "x+": pf.Wall(potential=0.0)}


@pytest.mark.parametrize("screened", [False, True])
def test_every_method_gives_the_same_potential(screened):
    generator = torch.Generator().manual_seed(0)
    epsilon = torch.tensor([0.5, 2.0], dtype=f64)
    screening = torch.tensor([1.0, 3.0], dtype=f64) if screened else None
    for grid, walls in box_cases():
        rho = torch.randn(2, *grid.shape, dtype=f64, generator=generator)
        if all(wall.potential is None for wall in walls.values()) and not screened:
            rho = rho - rho.flatten(1).mean(1).reshape(-1, *(1 for _ in grid.shape))
        given = {"permittivity": epsilon, "walls": walls, "screening": screening}
        methods = ["transform", "conjugate-gradients", None]
        methods += ["tridiagonal"] if grid.ndim == 1 else []
        first, *others = (solve_poisson(rho, grid, **given, method=m) for m in methods)
        for other in others:
            torch.testing.assert_close(other, first, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("contrast", [0.5, 0.9])
def test_iterations_do_not_grow_with_the_grid_where_the_permittivity_varies(contrast):
    counts = []
    for n in (16, 32, 64):
        grid = pf.Grid((n, n), (1.0, 1.0), ("wall", "wall"))
        x, y = grid.coordinates(0)[:, None], grid.coordinates(1)
        epsilon = 1 + contrast * torch.sin(2 * math.pi * x) * torch.cos(math.pi * y)
        walls = {"x-": pf.Wall(potential=1.0), "x+": pf.Wall(potential=0.0)}
        medium = Dielectric.build(grid, pf.Field(epsilon), walls, (), torch.zeros((), dtype=f64))
        load = medium.load(torch.ones(1, n, n, dtype=f64))
        through = tuple(line.conductance for line in medium.lines)
        _, iterations = conjugate_gradients(grid, through, None, load)
        counts.append(int(iterations))
    assert counts[0] <= counts[-1] <= 1.3 * counts[0]
    assert counts[-1] <= (30 if contrast == 0.5 else 80)


@pytest.mark.parametrize("method", ["transform", "conjugate-gradients"])
def test_screened_poisson_in_a_box_is_differentiable_twice(method):
    grid = pf.Grid((3, 4), (1.0, 1.0), ("wall", "periodic"))
    generator = torch.Generator().manual_seed(1)

    def phi(rho, epsilon, screening, voltage):
        walls = {"x-": pf.Wall(potential=voltage)}
        return solve_poisson(
            rho, grid, permittivity=epsilon, walls=walls, screening=screening, method=method
        )

    inputs = [torch.rand(2, 3, 4, dtype=f64, generator=generator) + 0.5]
    inputs += [torch.rand(2, dtype=f64, generator=generator) + 0.5 for _ in range(3)]
    inputs = [value.requires_grad_() for value in inputs]
    assert torch.autograd.gradcheck(phi, inputs)
    assert torch.autograd.gradgradcheck(phi, inputs)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"method": "tridiagonal"}, "needs a grid of one axis, got 2"),
        ({"method": "fft"}, "must be one of .*'transform'.* got 'fft'"),
        (
            {"method": "transform", "permittivity": pf.Field(torch.ones(4, 4))},
            "needs equal cells, walls that are electrodes all over",
        ),
        (
            {
                "method": "transform",
                "walls": {"x-": pf.Wall(potential=1.0, mask=torch.arange(4) < 2)},
            },
            "needs equal cells, walls that are electrodes all over",
        ),
        ({"screening": -1.0}, "`screening` must be >= 0"),
        ({"screening": 0.0}, "> 0 somewhere"),
    ],
)
def test_a_method_that_does_not_fit_says_what_it_needs(given, message):
    grid = pf.Grid((4, 4), (1.0, 1.0), ("wall", "wall"))
    with pytest.raises(ValueError, match=message):
        solve_poisson(torch.zeros(4, 4), grid, **given)


def test_loads_whose_squares_vanish_are_solved():
    grid = pf.Grid((5, 4), (1.0, 1.0), ("wall", "wall"))
    medium = pf.Field(1 + random(5, 4))
    walls = {"x-": pf.Wall(potential=0.0)}
    rho = random(2, 5, 4, seed=1) - 0.3
    phi = solve_poisson(rho, grid, permittivity=medium, walls=walls)
    tiny = solve_poisson(1e-200 * rho, grid, permittivity=medium, walls=walls)
    torch.testing.assert_close(1e200 * tiny, phi, rtol=1e-10, atol=1e-10)
