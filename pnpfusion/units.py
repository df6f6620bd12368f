r"""SI units: the one door between metres and volts and the dimensionless numbers inside.

Everything else in pnpfusion is dimensionless. A :class:`Scales` says what 1 stands for:

>>> from pnpfusion import units
>>> scales = units.Scales(length=50 * units.nm, concentration=10 * units.mM)
>>> round(scales.from_si("potential", 25 * units.mV), 6)  # what pf.Wall(potential=...) takes
0.973044
>>> round(scales.to_si("surface_charge", 0.1) / units.uC_per_cm2, 6)
0.482427

A unit of this module is its size in SI, so that a number times a unit is SI, and SI divided by a
unit is a number to print. The constants are exact by the definition of the SI, but for the
vacuum permittivity [CODATA22].
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from numbers import Real
from typing import TYPE_CHECKING, Literal, TypeVar, get_args

if TYPE_CHECKING:  # a conversion needs nothing of torch
    from torch import Tensor

__all__ = [
    *("Scales", "Quantity", "QUANTITIES"),
    *("AVOGADRO", "BOLTZMANN", "ELEMENTARY_CHARGE", "FARADAY", "GAS_CONSTANT"),
    *("VACUUM_PERMITTIVITY", "nm", "um", "mm", "cm", "ns", "us", "ms", "uM", "mM", "M", "per_cm3"),
    *("mV", "V_per_cm", "cm2_per_s", "mA_per_cm2", "uC_per_cm2", "uF_per_cm2"),
]

AVOGADRO = 6.02214076e23  #: N_A, in 1/mol
BOLTZMANN = 1.380649e-23  #: k, in J/K
ELEMENTARY_CHARGE = 1.602176634e-19  #: e, in C
GAS_CONSTANT = AVOGADRO * BOLTZMANN  #: R, in J/(mol K)
FARADAY = AVOGADRO * ELEMENTARY_CHARGE  #: F, in C/mol
VACUUM_PERMITTIVITY = 8.8541878188e-12  #: eps_0, in F/m

nm, um, mm, cm = 1e-9, 1e-6, 1e-3, 1e-2  #: in m
ns, us, ms = 1e-9, 1e-6, 1e-3  #: in s
uM, mM, M = 1e-3, 1.0, 1e3  #: micro-, milli- and moles per litre, in mol/m^3
per_cm3 = 1e6 / AVOGADRO  #: particles per cm^3, in mol/m^3
mV = 1e-3  #: in V
V_per_cm = 1e2  #: in V/m
cm2_per_s = 1e-4  #: in m^2/s
mA_per_cm2 = 1e1  #: in A/m^2
uC_per_cm2 = uF_per_cm2 = 1e-2  #: in C/m^2 and F/m^2

#: What :meth:`Scales.to_si` and :meth:`Scales.from_si` convert; each is an attribute of `Scales`.
Quantity = Literal[
    "length",
    "concentration",
    "diffusivity",
    "time",
    "potential",
    "field",
    "charge_density",
    "surface_charge",
    "capacitance",
    "flux",
    "current_density",
    "reaction_rate",
    "amount",
    "energy",
]
QUANTITIES: tuple[Quantity, ...] = get_args(Quantity)

_Values = TypeVar("_Values", float, "Tensor")


@dataclass(frozen=True, kw_only=True)
class Scales:
    r"""What the dimensionless 1 of each quantity is in SI units.

    The attribute of a quantity's name is that 1: ``scales.time`` is :math:`L^2/D` in seconds, and
    ``scales.to_si("time", t)`` is ``t * scales.time``. Three are no units: ``temperature``,
    ``relative_permittivity``, and :attr:`permittivity`, which ``pf.PNP`` takes as it is.

    The units hold on grids of one, two and three axes, but for what is summed over the whole cell,
    its mass, charge and energy: ``amount``, ``surface_charge`` and ``energy`` are per area, as on
    one axis; each further axis brings a further factor ``length``.

    A few more, from these: a Stern layer of capacitance C (F/m^2) is
    ``pf.Wall(stern=scales.permittivity / scales.from_si("capacitance", C))``; an ion of
    diffusivity D is ``pf.Species(..., diffusivity=scales.from_si("diffusivity", D))``; a medium of
    relative permittivity e has ``scales.permittivity * e / scales.relative_permittivity``.

    Args:
        length: L, in m: a grid of ``lengths=(1.0,)`` is that long.
        concentration: c_ref, in mol/m^3, which is mM.
        temperature: T, in K; 298.15 if not given.
        relative_permittivity: eps_r, a pure number; that of water at 25 °C, 78.5, if not given.
        diffusivity: D_ref, in m^2/s; 1e-9, like that of small ions in water, if not given.

    Raises:
        ValueError: an argument that is not a finite number above 0.

    References: [CODATA22] for the constants.
    """

    length: float  #: L, in m: a grid of ``lengths=(1.0,)`` is that long
    concentration: float  #: c_ref, in mol/m^3, which is mM
    temperature: float = 298.15  #: T, in K
    relative_permittivity: float = 78.5  #: eps_r, of water at 25 °C
    diffusivity: float = 1e-9  #: D_ref, in m^2/s; like that of small ions in water

    def __post_init__(self) -> None:
        for one in fields(self):
            object.__setattr__(self, one.name, _positive(one.name, getattr(self, one.name)))

    # ---- what 1 is

    @property
    def potential(self) -> float:
        """The thermal voltage R T / F = k T / e, in V."""
        return GAS_CONSTANT * self.temperature / FARADAY

    @property
    def time(self) -> float:
        """The time to diffuse through the length, L² / D_ref, in s."""
        return self.length**2 / self.diffusivity

    @property
    def field(self) -> float:
        """The electric field, a thermal voltage over the length, R T / (F L), in V/m."""
        return self.potential / self.length

    @property
    def charge_density(self) -> float:
        """The charge of c_ref monovalent ions, F c_ref, in C/m³: fixed charge, doping."""
        return FARADAY * self.concentration

    @property
    def surface_charge(self) -> float:
        """Charge per area, F c_ref L, in C/m²; also the net charge of a ledger."""
        return self.charge_density * self.length

    @property
    def capacitance(self) -> float:
        """Capacitance per area, surface charge per thermal voltage, F² c_ref L / (R T), in F/m²."""
        return self.surface_charge / self.potential

    @property
    def flux(self) -> float:
        """Flux of a species, D_ref c_ref / L, in mol/(m² s)."""
        return self.diffusivity * self.concentration / self.length

    @property
    def current_density(self) -> float:
        """Electric current per area, F D_ref c_ref / L, in A/m²."""
        return FARADAY * self.flux

    @property
    def reaction_rate(self) -> float:
        """Amount that reacts per volume and time, D_ref c_ref / L², in mol/(m³ s)."""
        return self.flux / self.length

    @property
    def amount(self) -> float:
        """Amount of a species per area, c_ref L, in mol/m²; the mass of a ledger."""
        return self.concentration * self.length

    @property
    def energy(self) -> float:
        """Free energy per area, R T c_ref L, in J/m²."""
        return GAS_CONSTANT * self.temperature * self.amount

    # ---- what is no unit

    @property
    def permittivity(self) -> float:
        r"""The dimensionless number that ``pf.PNP(permittivity=...)`` takes.

        .. math:: \varepsilon = \frac{\varepsilon_r \varepsilon_0 R T}{F^2 L^2 c_{ref}},

        which is :math:`2 (\lambda_D / L)^2` with the Debye length of a 1:1 salt of c_ref.
        """
        return self.relative_permittivity * VACUUM_PERMITTIVITY / (self.capacitance * self.length)

    def debye_length(self, ions: float | Sequence[tuple[float, float]] | None = None) -> float:
        r"""The width of a diffuse double layer, in m.

        .. math:: \lambda_D^2 = \frac{\varepsilon_r\varepsilon_0 R T}{F^2 \sum_i z_i^2 c_i}
            = \frac{\varepsilon_r\varepsilon_0 R T}{2 F^2 I}

        Args:
            ions: the ionic strength I in mol/m^3, for a 1:1 salt its concentration; or for each ion
                (valence, concentration in mol/m^3). Nothing: a 1:1 salt of c_ref.

        Raises:
            ValueError: a number that is not finite, a negative concentration, or no charged ion.
        """
        if ions is None:
            strength = 2 * self.concentration
        elif isinstance(ions, Sequence) and not isinstance(ions, str):
            strength = _charge_strength(ions)
        else:
            strength = 2 * _positive("ions", ions)
        return self.length * math.sqrt(self.permittivity * self.concentration / strength)

    # ---- in and out

    def to_si(self, quantity: Quantity, values: _Values) -> _Values:
        """Dimensionless ``values`` in SI units, of the same shape; differentiable.

        Args:
            quantity: one of :data:`QUANTITIES`, such as ``"potential"``; the attribute of that name
                tells the unit.
            values: a number or a tensor; dtype and device are kept.

        Raises:
            ValueError: ``quantity`` is no such name, or ``values`` is neither number nor tensor.
        """
        return values * self._unit(quantity, values)

    def from_si(self, quantity: Quantity, values: _Values) -> _Values:
        """SI ``values`` made dimensionless; the inverse of :meth:`to_si`, to round-off.

        Args:
            quantity: one of :data:`QUANTITIES`, such as ``"potential"``.
            values: a number or a tensor; dtype and device are kept.

        Raises:
            ValueError: ``quantity`` is no such name, or ``values`` is neither number nor tensor.
        """
        return values / self._unit(quantity, values)

    def _unit(self, quantity: Quantity, values: object) -> float:
        if quantity not in QUANTITIES:
            raise ValueError(f"`quantity` must be one of {list(QUANTITIES)}, got {quantity!r}.")
        if not (isinstance(values, Real) or hasattr(values, "dtype")):
            raise ValueError(
                f"`values` must be a number or a tensor, got {type(values).__name__}; "
                f"convert a list with torch.tensor(...)."
            )
        return float(getattr(self, quantity))


def _positive(name: str, value: object) -> float:
    if isinstance(value, Real) and not isinstance(value, bool) and 0 < float(value) < math.inf:
        return float(value)
    raise ValueError(
        f"`{name}` must be a finite number > 0 in SI units, got {value!r}; "
        f"pnpfusion.units has factors for other units, e.g. 50 * units.nm."
    )


def _charge_strength(ions: Sequence[tuple[float, float]]) -> float:
    """The sum of z² c, which is twice the ionic strength."""
    total = 0.0
    for ion in ions:
        try:
            valence, concentration = map(float, ion)
        except (TypeError, ValueError):
            raise ValueError(
                f"`ions` must hold pairs (valence, concentration in mol/m^3), got {ion!r}."
            ) from None
        if not (math.isfinite(valence) and 0 <= concentration < math.inf):
            raise ValueError(
                f"`ions` must hold finite valences and concentrations >= 0, got {ion!r}."
            )
        total += valence**2 * concentration
    if total <= 0:
        raise ValueError(f"`ions` must hold a charged ion, got {list(ions)}; nothing screens.")
    return total


def __dir__() -> list[str]:
    from pnpfusion.solvers.public_names import public_names

    return public_names(globals())
