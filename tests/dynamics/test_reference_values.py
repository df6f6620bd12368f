"""Closed forms and independent high-accuracy values: double layer, relaxation, GHK, charging."""

import math

import pytest
import torch

import pnpfusion as pf
from pnpfusion.solvers import BackwardEuler, KenCarp4
from tests.marks import quiet
from tests.registry import ALL_SCHEMES, f64, slope, times


def at_rest(cell, c0):
    """The steady state, by backward Euler steps that grow past every time scale."""
    t = torch.cat([torch.zeros(1), torch.logspace(-3, 6, 19)]).double()
    return pf.simulate(cell, c0, t, stepper=BackwardEuler(dt=1e6)).require_success().final


# ---- the double layer: 1:1 salt, lengths in Debye lengths, wall at v against the bulk


def gouy_chapman(x, v):
    g = math.tanh(v / 4)
    return 2 * torch.log((1 + g * torch.exp(-x)) / (1 - g * torch.exp(-x)))


def double_layer(cells, v, scheme="scharfetter-gummel", stern=None):
    grid = pf.Grid((cells,), (10.0,), ("wall",))
    bulk = {"cation": 1.0, "anion": 1.0}
    cell = pf.PNP(
        grid,
        [pf.Species("cation", +1), pf.Species("anion", -1)],
        permittivity=2.0,
        walls={
            "x-": pf.Wall(potential=v, stern=stern),
            "x+": pf.Wall(potential=0.0, concentration=bulk),
        },
        scheme=scheme,
    )
    return cell, at_rest(cell, torch.ones(2, cells, dtype=f64))


def test_the_closed_form_gives_the_tabulated_values():
    x = torch.tensor([1.0, 3.0], dtype=f64)
    assert gouy_chapman(x, 1.0).tolist() == pytest.approx(
        [0.3613822018735187, 0.048777546405043434]
    )
    assert gouy_chapman(x, 4.0).tolist() == pytest.approx([1.151487151706867, 0.15174291142465643])


@pytest.mark.parametrize(
    ("v", "known"), [(1.0, (3.1e-3, 8.4e-4, 2.2e-4)), (4.0, (4.4e-2, 1.5e-2, 4.5e-3))]
)
def test_gouy_chapman_profile_and_wall_charge(v, known):
    errors, sizes = [], [64, 128, 256]
    for n in sizes:
        cell, rest = double_layer(n, v)
        phi = cell.potential(rest)
        errors.append(float((phi - gouy_chapman(cell.grid.coordinates(0), v)).abs().max()))
    assert errors == pytest.approx(known, rel=0.05)
    charge = -float((cell.grid.weights * cell.charge(rest)).sum())  # in eps V_T / Debye length / 2
    wanted = 2 * math.sinh(v / 2)
    assert {1.0: 1.0421906109874948, 4.0: 7.253720815694037}[v] == pytest.approx(wanted)
    assert charge / 2 == pytest.approx(wanted, rel=5e-3)


@pytest.mark.parametrize(
    ("thickness", "v", "layer"),
    [(0.1, 1.0, 0.90624260178), (0.5, 4.0, 2.4472950562), (1.0, 2.0, 0.9801461370)],
)
def test_stern_layer_takes_its_share_of_the_voltage(thickness, v, layer):
    cell, rest = double_layer(256, v, stern=thickness)
    bound = cell.bind(rest).cell
    medium = bound.dielectric
    at_wall = medium.with_walls(cell.potential(rest)[None], medium.lines[0])[0, 0]
    assert float(at_wall) == pytest.approx(layer, abs=2e-3)


# ---- linear relaxation: a small wave over a uniform electrolyte


@pytest.mark.parametrize("boundary", ["periodic", "wall"])
@pytest.mark.parametrize(
    ("z", "c", "d"),
    [
        ((1, -1), (1.0, 1.0), (1.0, 1.0)),
        ((1, -1), (1.0, 1.0), (1.0, 2.0)),
        ((2, -1), (1.0, 2.0), (0.79, 2.03)),
        ((1, -1, 2), (1.0, 2.0, 0.5), (1.0, 2.0, 0.7)),
    ],
)
@quiet
def test_small_waves_decay_at_the_eigenvalues(z, c, d, boundary):
    n, epsilon = 64, 0.02
    z, c, d = (torch.tensor(v, dtype=f64) for v in (z, c, d))
    grid = pf.Grid((n,), (1.0,), (boundary,))
    k = 2 * math.pi if boundary == "periodic" else math.pi
    cell = pf.PNP(
        grid,
        [
            pf.Species(f"s{i}", *pair)
            for i, pair in enumerate(zip(z.tolist(), d.tolist(), strict=True))
        ],
        permittivity=epsilon,
    )
    wave = torch.cos(k * grid.coordinates(0))
    amplitude = torch.linspace(1.0, -0.6, len(z), dtype=f64) * 1e-6
    run = pf.simulate(
        cell, c[:, None] + amplitude[:, None] * wave, times(0, 0.01), stepper=KenCarp4(dt=2e-4)
    )
    symbol = (2 - 2 * math.cos(k / n)) * n**2  # of the discrete second difference
    matrix = torch.diag(d * symbol) + torch.outer(d * z * c, z) / epsilon
    wanted = torch.linalg.matrix_exp(-0.01 * matrix) @ amplitude
    found = 2 * ((run.final - c[:, None]) * wave).mean(-1)
    torch.testing.assert_close(found, wanted, rtol=2e-6, atol=1e-12)


def test_the_eigenvalues_are_the_tabulated_ones():
    k2, epsilon = (2 * math.pi) ** 2, 0.02
    for z, c, d, rates in (
        ((1, -1), (1, 1), (1, 1), (139.47841760435745, 39.47841760435743)),
        ((1, -1), (1, 1), (1, 2), (217.893171246381, 50.542081566691)),
        ((2, -1), (1, 2), (0.79, 2.03), (421.315325570954, 51.013812073334)),
    ):
        z, c, d = (torch.tensor(v, dtype=f64) for v in (z, c, d))
        matrix = torch.diag(d * k2) + torch.outer(d * z * c, z) / epsilon
        found = torch.linalg.eigvals(matrix).real.sort(descending=True).values
        assert found.tolist() == pytest.approx(rates, rel=1e-12)


# ---- constant field: Goldman-Hodgkin-Katz


@pytest.mark.parametrize("cells", [1, 2, 7, 50])
def test_goldman_hodgkin_katz_to_round_off_at_any_number_of_cells(cells):
    u = torch.tensor([-4.0, -1.0, 0.0, 1.0, 2.5], dtype=f64)
    cell = pf.PNP(
        pf.Grid((cells,), (1.0,), ("wall",)),
        [pf.Species("ion", +1)],
        permittivity=1e14,
        walls={
            "x-": pf.Wall(potential=u, concentration={"ion": 1.0}),
            "x+": pf.Wall(potential=0.0, concentration={"ion": 0.1}),
        },
    )
    rest = at_rest(cell, torch.full((5, 1, cells), 0.5, dtype=f64))
    flux = cell.flux(rest)
    assert float((flux - flux[..., :1]).abs().max()) < 1e-12
    safe = torch.where(u == 0, 1.0, u)
    wanted = torch.where(u == 0, 0.9, safe * (1 - 0.1 * torch.exp(-safe)) / -torch.expm1(-safe))
    table = [-0.33283350269041345, 0.42377903618239376, 0.9, 1.5237790361823937]
    assert wanted[:4].tolist() == pytest.approx(table, rel=1e-14)
    torch.testing.assert_close(flux[:, 0, 0], wanted, rtol=1e-12, atol=1e-12)


# ---- charging of the cell between two blocking electrodes


def charging_cell(cells, debye, voltage, scheme="scharfetter-gummel", grading=None):
    edges = None
    if grading is not None:
        s = torch.linspace(-1, 1, cells + 1, dtype=f64)
        edges = (torch.tanh(grading * s) / math.tanh(grading),)
    return pf.PNP(
        pf.Grid((cells,), (2.0,), ("wall",), edges=edges),
        [pf.Species("cation", +1), pf.Species("anion", -1)],
        permittivity=2 * debye**2,
        walls={"x-": pf.Wall(potential=-voltage), "x+": pf.Wall(potential=voltage)},
        scheme=scheme,
    )


def charge_left(cell, c):
    """Q, the charge of the left half."""
    half = cell.grid.shape[0] // 2
    return (cell.grid.weights * (c[..., 0, :] - c[..., 1, :]))[..., :half].sum(-1)


@pytest.mark.parametrize(("debye", "tau"), [(0.1, 0.9456492862), (0.05, 0.9739943532)])
def test_the_slowest_charging_time_at_small_voltage(debye, tau):
    cell = charging_cell(192, debye, 1e-4, grading=1.5)
    span = torch.tensor([0.0, 3, 4, 25], dtype=f64) * debye
    run = pf.simulate(cell, torch.ones(2, 192, dtype=f64), span, stepper=KenCarp4(dt=0.04 * debye))
    q = charge_left(cell, run.states)
    left = q[3] - q[1:3]
    assert float(debye / torch.log(left[0] / left[1])) == pytest.approx(tau * debye, rel=1e-3)


@pytest.mark.parametrize("scheme", ALL_SCHEMES)
def test_charging_at_two_thermal_volts(scheme):
    """Against a Chebyshev collocation of 128 modes; the charge converges at order 2."""
    wanted = torch.tensor([0.12886353330, 0.22780764190], dtype=f64)
    sizes, errors = [64, 128, 256], []
    for n in sizes:
        cell = charging_cell(n, 0.05, 2.0, scheme, grading=1.5)
        run = pf.simulate(cell, torch.ones(2, n, dtype=f64), times(0, 0.05, 0.5), rtol=1e-6)
        errors.append(float((charge_left(cell, run.states)[1:] - wanted).abs().max()))
    assert slope(sizes, errors) == pytest.approx(-2, abs=0.25)
    assert errors[-1] < 2.5e-4


def test_the_charged_cell_at_rest():
    """phi' and the concentrations at the wall for t -> infinity, extrapolated from two grids."""
    found = []
    for n in (256, 512):
        cell = charging_cell(n, 0.05, 2.0, grading=1.5)
        rest = at_rest(cell, torch.ones(2, n, dtype=f64))
        found.append(float(charge_left(cell, rest) / (2 * 0.05**2)))
    richardson = (4 * found[1] - found[0]) / 3
    assert richardson == pytest.approx(45.748917022548, rel=2e-5)


@pytest.mark.parametrize("permeability", [(1.0, 0.04), (0.3, 1.7)])
def test_no_current_flows_at_the_reversal_potential(permeability):
    """Goldman's formula for one cation and one anion, in and out at different concentrations."""
    cations, anions = permeability
    inside, outside = {"cation": 140.0, "anion": 20.0}, {"cation": 5.0, "anion": 110.0}
    into = cations * outside["cation"] + anions * inside["anion"]
    out_of = cations * inside["cation"] + anions * outside["anion"]
    cell = pf.PNP(
        pf.Grid((9,), (1.0,), ("wall",)),
        [pf.Species("cation", +1, cations), pf.Species("anion", -1, anions)],
        permittivity=1e14,
        walls={
            "x-": pf.Wall(potential=math.log(into / out_of), concentration=inside),
            "x+": pf.Wall(potential=0.0, concentration=outside),
        },
    )
    flux = cell.flux(at_rest(cell, torch.full((2, 9), 50.0, dtype=f64)))
    assert float((flux[0] - flux[1]).abs().max()) < 1e-11 * float(flux.abs().max() + 1)


def test_a_single_ion_rests_at_the_nernst_potential():
    thermal_voltage = 8.31446261815324 * 310.15 / 96485.33212331  # kT/e in volts
    nernst = -0.089058694036732 / thermal_voltage
    assert nernst == pytest.approx(math.log(5 / 140), rel=1e-10)
    cell = pf.PNP(
        pf.Grid((9,), (1.0,), ("wall",)),
        [pf.Species("potassium", +1)],
        permittivity=1e14,
        walls={
            "x-": pf.Wall(potential=nernst, concentration={"potassium": 140.0}),
            "x+": pf.Wall(potential=0.0, concentration={"potassium": 5.0}),
        },
    )
    flux = cell.flux(at_rest(cell, torch.full((1, 9), 50.0, dtype=f64)))
    assert float(flux.abs().max()) < 1e-10


def test_concentrations_in_the_middle_of_the_charging_cell():
    cell = charging_cell(256, 0.05, 2.0, "central", grading=1.5)
    run = pf.simulate(cell, torch.ones(2, 256, dtype=f64), times(0, 0.05, 0.5), rtol=1e-6)
    middle = run.states[1:, 0, 127:129].mean(-1)
    assert middle.tolist() == pytest.approx([0.99990422, 0.95027153], abs=1e-4)


@quiet
@pytest.mark.parametrize("share", [0.2, 0.5])
def test_a_current_below_the_limiting_one_tilts_the_salt(share):
    """Cations pass both walls, anions are blocked: c = 1 - j x, potential drop 2 artanh j."""
    half = math.atanh(share)
    cell = pf.PNP(
        pf.Grid((128,), (2.0,), ("wall",)),
        [pf.Species("cation", +1), pf.Species("anion", -1)],
        permittivity=2 * 0.005**2,
        walls={
            "x-": pf.Wall(potential=half, flux={"cation": 2 * share}),
            "x+": pf.Wall(potential=-half, flux={"cation": -2 * share}),
        },
    )
    rest = at_rest(cell, torch.ones(2, 128, dtype=f64))
    x = cell.grid.coordinates(0) - 1
    assert float((rest - (1 - share * x)).abs()[:, 4:-4].max()) < 2e-3
    assert 2 * math.atanh(0.5) == pytest.approx(1.0986122887)
