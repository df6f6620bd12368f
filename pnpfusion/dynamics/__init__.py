"""The laws of motion, one per module; `Coupled` makes one law of several."""

from pnpfusion.dynamics.base import Dynamics as Dynamics
from pnpfusion.dynamics.coupled import Coupled as Coupled
from pnpfusion.dynamics.pnp import PNP as PNP
