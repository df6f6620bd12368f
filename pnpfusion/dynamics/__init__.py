"""The laws of motion, one per module; `Coupled` makes one law of several."""


def __dir__() -> list[str]:
    from pnpfusion.solvers.public_names import public_names

    return public_names(globals())


from pnpfusion.dynamics.base import Dynamics as Dynamics
from pnpfusion.dynamics.contractive_deq import ContractiveDEQ as ContractiveDEQ
from pnpfusion.dynamics.coupled import Coupled as Coupled
from pnpfusion.dynamics.deq import DEQ as DEQ
from pnpfusion.dynamics.pnp import PNP as PNP
from pnpfusion.dynamics.progressive import Progressive as Progressive
