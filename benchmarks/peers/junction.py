r"""A p-n junction that two programs solve: silicon at 300 K between ohmic contacts.

Acceptors on [-1.5, 0] µm, donors on [0, 4] µm, 1e16 per cm³ of each, 1e10 intrinsic carriers,
diffusivities of 36 (electrons) and 12 cm²/s (holes), no recombination. The contacts hold what the
bulk holds. Two problems, each of one number:

- rest: no voltage, the field in V/cm where the doping changes sign, which a first integral gives:
  :math:`\varepsilon E^2/2 = \Delta(2 n_i \cosh\phi - N \phi)` from the bulk to there;
- biased: .5 V in forward direction, the current in A/cm².

Its gradient is by the doping of every node and by the relative permittivity; summed over a side it
is that by the acceptors or the donors. Needs numpy alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.peers.problems import Array

ACCEPTORS, DONORS, INTRINSIC = 1e16, 1e16, 1e10  #: per cm³
TEMPERATURE, PERMITTIVITY = 300.0, 11.7  #: in K; relative
ENDS = -1.5, 4.0  #: where the contacts are, in µm
ELECTRONS, HOLES = 36.0, 12.0  #: diffusivities, in cm²/s
BIAS = {"rest": 0.0, "biased": 0.5}  #: in V
ELEMENTARY_CHARGE, BOLTZMANN, VACUUM = 1.602176634e-19, 1.380649e-23, 8.8541878188e-14
THERMAL = BOLTZMANN * TEMPERATURE / ELEMENTARY_CHARGE  #: voltage, in V
STEP = 1e-30  #: into the complex plane, so that a difference loses no digits


def edges(cells: int) -> Array:
    """Of the cells, which grow away from the junction; an even number of them, in µm."""
    half = np.linspace(0, 1, cells // 2 + 1)
    fine = np.sinh(4.5 * half) / np.sinh(4.5)
    return np.concatenate([ENDS[0] * fine[::-1], ENDS[1] * fine[1:]])


def exact_field() -> tuple[float, Array]:
    """The field at rest in V/cm, and its derivatives by acceptors, donors and permittivity."""
    given = np.array([ACCEPTORS, DONORS, PERMITTIVITY], dtype=complex)
    slopes = [_field(*(given + 1j * STEP * given * row)).imag / STEP for row in np.eye(3)]
    return _field(*given).real, np.array(slopes) / given.real


def _field(acceptors: Any, donors: Any, permittivity: Any) -> Any:
    n = INTRINSIC
    left, right = -np.arcsinh(acceptors / (2 * n)), np.arcsinh(donors / (2 * n))
    bulk = [2 * n * np.cosh(u) - net * u for u, net in ((left, -acceptors), (right, donors))]
    u = (bulk[0] - bulk[1]) / (acceptors + donors)
    pressure = 2 * n * np.cosh(u) + acceptors * u - bulk[0]
    return np.sqrt(2 * ELEMENTARY_CHARGE * THERMAL * pressure / (permittivity * VACUUM))
