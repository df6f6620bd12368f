"""SI units: the constants, the scales, and a cell that is set up and read in SI."""

import doctest
import math
import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import constants as codata

import pnpfusion as pf
from pnpfusion import units
from tests.dynamics.test_reference_values import at_rest
from tests.marks import quiet
from tests.registry import f64, slope
from tests.source_tree import ROOT

WATER = pf.Scales(length=30 * units.nm, concentration=10 * units.mM)
SILICON = pf.Scales(
    length=1 * units.um,
    concentration=1e16 * units.per_cm3,
    temperature=300.0,
    relative_permittivity=11.7,
)
sizes = st.floats(1e-9, 1e6)
some_scales = st.builds(
    pf.Scales,
    length=sizes,
    concentration=sizes,
    temperature=sizes,
    relative_permittivity=sizes,
    diffusivity=sizes,
)


# ---- constants and units


def test_the_constants_are_those_of_codata():
    assert codata.N_A == units.AVOGADRO
    assert codata.k == units.BOLTZMANN
    assert codata.e == units.ELEMENTARY_CHARGE
    assert pytest.approx(codata.N_A * codata.k, rel=1e-15) == units.GAS_CONSTANT
    assert pytest.approx(codata.N_A * codata.e, rel=1e-15) == units.FARADAY
    # an older scipy has the value of 2018, which differs by 7e-10
    assert pytest.approx(codata.epsilon_0, rel=1e-9, abs=0) == units.VACUUM_PERMITTIVITY


def test_the_units_are_their_size_in_si():
    litre = codata.liter
    assert [units.nm, units.um, units.mm, units.cm] == [1e-9, 1e-6, 1e-3, 1e-2]
    assert [units.ns, units.us, units.ms, units.mV] == [1e-9, 1e-6, 1e-3, 1e-3]
    assert [units.uM, units.mM, units.M] == pytest.approx([1e-6 / litre, 1e-3 / litre, 1 / litre])
    assert units.per_cm3 == pytest.approx(1 / codata.N_A / codata.centi**3)
    assert units.cm2_per_s == pytest.approx(codata.centi**2)
    assert units.V_per_cm == pytest.approx(1 / codata.centi)
    assert units.mA_per_cm2 == pytest.approx(codata.milli / codata.centi**2)
    assert units.uC_per_cm2 == units.uF_per_cm2 == pytest.approx(codata.micro / codata.centi**2)


# ---- what 1 is


def test_the_thermal_voltage():
    assert WATER.potential == pytest.approx(25.692579121 * units.mV, rel=2e-11)
    assert SILICON.potential == pytest.approx(0.0258519998, rel=2e-9)
    assert WATER.potential == pytest.approx(codata.k * 298.15 / codata.e, rel=1e-14)


@pytest.mark.parametrize(
    ("concentration", "debye"), [(1.0, 9.61983003), (10.0, 3.04205736), (100.0, 0.961983003)]
)
def test_debye_lengths_of_a_salt(concentration, debye):
    scales = pf.Scales(length=1 * units.um, concentration=concentration * units.mM)
    debye *= units.nm
    assert scales.debye_length() == pytest.approx(debye, rel=1e-9)
    assert scales.debye_length(concentration) == pytest.approx(debye, rel=1e-9)
    assert WATER.debye_length(concentration) == pytest.approx(debye, rel=1e-9)
    pairs = [(+1, concentration), (-1, concentration)]
    assert WATER.debye_length(pairs) == pytest.approx(debye, rel=1e-9)
    assert scales.permittivity == pytest.approx(2 * (debye / scales.length) ** 2, rel=2e-9)


def test_the_debye_length_of_ions_of_several_valences():
    ions = [(2, 3.0), (-1, 6.0), (0, 50.0)]
    assert WATER.debye_length(ions) == pytest.approx(WATER.debye_length(9.0), rel=1e-14)


def test_each_unit_by_its_formula():
    """In particles and their charge, where the package counts in moles and theirs."""
    length, d, per_volume = 30e-9, 1e-9, 10.0 * codata.N_A
    kt = codata.k * 298.15
    wanted = {
        "length": length,
        "concentration": 10.0,
        "diffusivity": d,
        "time": length * length / d,
        "potential": kt / codata.e,
        "field": kt / codata.e / length,
        "charge_density": codata.e * per_volume,
        "surface_charge": codata.e * per_volume * length,
        "capacitance": codata.e**2 * per_volume * length / kt,
        "flux": d * per_volume / length / codata.N_A,
        "current_density": codata.e * d * per_volume / length,
        "reaction_rate": d * per_volume / length**2 / codata.N_A,
        "amount": per_volume * length / codata.N_A,
        "energy": kt * per_volume * length,
    }
    assert {q: WATER.to_si(q, 1.0) for q in units.QUANTITIES} == pytest.approx(wanted, rel=1e-13)
    permittivity = 78.5 * units.VACUUM_PERMITTIVITY * kt / (codata.e**2 * length**2 * per_volume)
    assert WATER.permittivity == pytest.approx(permittivity, rel=1e-10)


@given(some_scales)
@settings(max_examples=50, deadline=None)
def test_the_units_fit_together(s):
    assert s.surface_charge * s.potential == pytest.approx(s.energy)
    assert s.current_density * s.time == pytest.approx(s.surface_charge)
    assert s.flux * s.time == pytest.approx(s.amount)
    assert s.reaction_rate * s.time == pytest.approx(s.concentration)
    assert s.field * s.length == pytest.approx(s.potential)
    gauss = s.relative_permittivity * units.VACUUM_PERMITTIVITY * s.field / s.surface_charge
    assert s.permittivity == pytest.approx(gauss)


# ---- in and out


@given(some_scales, st.sampled_from(units.QUANTITIES), st.floats(-1e9, 1e9))
@settings(max_examples=200, deadline=None)
def test_out_and_in_again_is_where_one_was(scales, quantity, value):
    there = scales.to_si(quantity, scales.from_si(quantity, value))
    back = scales.from_si(quantity, scales.to_si(quantity, value))
    assert there == pytest.approx(value, rel=1e-15, abs=1e-280)
    assert back == pytest.approx(value, rel=1e-15, abs=1e-280)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_tensors_keep_shape_dtype_and_gradient(dtype):
    values = torch.linspace(-2, 2, 6, dtype=dtype).reshape(2, 3).requires_grad_()
    volts = WATER.to_si("potential", values)
    assert (volts.shape, volts.dtype) == (values.shape, dtype)
    torch.testing.assert_close(WATER.from_si("potential", volts), values)
    (slopes,) = torch.autograd.grad(volts.sum(), values)
    torch.testing.assert_close(slopes, torch.full_like(values, WATER.potential))


def test_gradients_of_conversions():
    values = torch.tensor([0.3, -1.0], dtype=f64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda v: WATER.from_si("potential", v), values)
    assert torch.autograd.gradcheck(lambda v: WATER.to_si("field", v) * 1e-6, values)


def test_a_quantity_is_an_attribute_with_its_unit():
    numbers = {name for name in dir(WATER) if isinstance(getattr(WATER, name), float)}
    no_units = {"temperature", "relative_permittivity", "permittivity"}
    assert numbers == no_units | set(units.QUANTITIES)
    for quantity in units.QUANTITIES:
        assert WATER.to_si(quantity, 1.0) == getattr(WATER, quantity)


# ---- errors


@pytest.mark.parametrize("convert", [WATER.to_si, WATER.from_si])
def test_a_wrong_quantity_is_answered_with_the_list(convert):
    with pytest.raises(ValueError, match=r"`quantity` must be one of .*, got 'voltage'\.") as error:
        convert("voltage", 1.0)
    assert all(repr(quantity) in str(error.value) for quantity in units.QUANTITIES)


@pytest.mark.parametrize("values", ["1 V", [1.0, 2.0], None])
def test_values_that_are_no_numbers(values):
    with pytest.raises(ValueError, match=r"`values` must be a number or a tensor, got "):
        WATER.to_si("potential", values)


@pytest.mark.parametrize(
    "name", ["length", "concentration", "temperature", "relative_permittivity", "diffusivity"]
)
@pytest.mark.parametrize("value", [0, -1.0, math.nan, math.inf, "50 nm", None, True, [1.0]])
def test_bad_scales_are_named(name, value):
    given = {"length": 1e-6, "concentration": 1.0} | {name: value}
    message = f"`{name}` must be a finite number > 0 in SI units, got {value!r}"
    with pytest.raises(ValueError, match=re.escape(message)):
        pf.Scales(**given)


@pytest.mark.parametrize(
    ("ions", "message"),
    [
        (-1.0, "`ions` must be a finite number > 0"),
        ("10 mM", "`ions` must be a finite number > 0"),
        ([1.0, 2.0], "`ions` must hold pairs"),
        ([(1, "ten")], "`ions` must hold pairs"),
        ([(1, -2.0)], "concentrations >= 0"),
        ([(math.nan, 2.0)], "finite valences"),
        ([(0, 2.0)], "must hold a charged ion"),
        ([], "must hold a charged ion"),
    ],
)
def test_bad_ions_are_named(ions, message):
    with pytest.raises(ValueError, match=message):
        WATER.debye_length(ions)


# ---- closed forms with known values in SI


@pytest.mark.parametrize(
    ("volts", "charge", "capacitance"),
    [(25e-3, 5.9400620083e-3, 0.2560602718), (100e-3, 4.0260762408e-2, 0.8161439849)],
)
def test_charge_and_capacitance_of_a_double_layer(volts, charge, capacitance):
    """Dimensionless: sigma = sqrt(8 eps2) sinh(v / 2), and its slope."""
    v, layer = WATER.from_si("potential", volts), math.sqrt(8 * WATER.permittivity)
    sigma, slope_ = layer * math.sinh(v / 2), layer / 2 * math.cosh(v / 2)
    assert WATER.to_si("surface_charge", sigma) == pytest.approx(charge, rel=1e-10)
    assert WATER.to_si("capacitance", slope_) == pytest.approx(capacitance, rel=2e-10)


@pytest.mark.parametrize(
    ("cation", "anion", "millivolts"), [(9.311, 2.032, 37.96358162), (1.957, 2.032, -1.11229662)]
)
def test_liquid_junctions(cation, anion, millivolts):
    phi = (anion - cation) / (cation + anion) * math.log(0.01 / 0.1)
    found = WATER.to_si("potential", phi) / units.mV
    assert found == pytest.approx(millivolts, rel=1e-8)


@pytest.mark.parametrize(
    ("acceptors", "donors", "width", "field"),
    [(1e16, 1e16, 0.4298210037, 33237.8895), (1e17, 1e15, 0.9659025732, 14790.6667)],
)
def test_a_p_n_junction(acceptors, donors, width, field):
    n_a, n_d, n_i = (
        SILICON.from_si("concentration", n * units.per_cm3) for n in (acceptors, donors, 1e10)
    )
    built_in = math.asinh(n_a / (2 * n_i)) + math.asinh(n_d / (2 * n_i))
    assert SILICON.to_si("potential", built_in) == pytest.approx(0.71431715199, rel=2e-11)
    depleted = math.sqrt(2 * SILICON.permittivity * built_in * (1 / n_a + 1 / n_d))
    assert SILICON.to_si("length", depleted) / units.um == pytest.approx(width, rel=1e-9)
    steepest = SILICON.to_si("field", 2 * built_in / depleted)
    assert steepest / units.V_per_cm == pytest.approx(field, rel=1e-8)


# ---- a whole cell in SI


def wall_charge(cells):
    """C/m² on an electrode at 25 mV, twenty Debye lengths before a reservoir of 10 mM."""
    scales = pf.Scales(length=60 * units.nm, concentration=10 * units.mM)
    s = torch.linspace(0, 1, cells + 1, dtype=f64)
    edges = torch.sinh(4 * s) / math.sinh(4)  # finest at the electrode
    salt = scales.from_si("concentration", 10 * units.mM)
    cell = pf.PNP(
        pf.Grid((cells,), (1.0,), ("wall",), edges=(edges,)),
        [
            pf.Species("Na+", +1, scales.from_si("diffusivity", 1.334e-9)),
            pf.Species("Cl-", -1, scales.from_si("diffusivity", 2.032e-9)),
        ],
        permittivity=scales.permittivity,
        walls={
            "x-": pf.Wall(potential=scales.from_si("potential", 25 * units.mV)),
            "x+": pf.Wall(potential=0.0, concentration={"Na+": salt, "Cl-": salt}),
        },
    )
    rest = at_rest(cell, torch.full((2, cells), salt, dtype=f64))
    in_the_layer = (cell.grid.weights * cell.charge(rest)).sum()
    return float(-scales.to_si("surface_charge", in_the_layer))


@quiet
def test_an_electrode_in_salt_water_takes_the_charge_of_the_closed_form():
    cells = [32, 64, 128]
    errors = [abs(wall_charge(n) / 5.9400620083e-3 - 1) for n in cells]
    assert slope(cells, errors) == pytest.approx(-2, abs=0.05)
    assert errors[-1] < 2e-4


# ---- the documents


def test_the_examples_run():
    assert doctest.testmod(units).failed == 0
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", readme, re.M | re.S)
    last = next(i for i, block in enumerate(blocks) if "pf.Scales" in block)
    names = {}
    exec("\n".join(blocks[: last + 1]), names)  # it goes on from the blocks before
    assert names["scales"].debye_length() == pytest.approx(3.042e-9, rel=1e-3)
    assert float(names["volts"].abs().max()) < 25e-3
