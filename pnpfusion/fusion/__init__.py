"""Fusion layers: features of several modalities in, one feature out; one signature for all."""


def __dir__() -> list[str]:
    from pnpfusion.solvers.public_names import public_names

    return public_names(globals())


from pnpfusion.dynamics.place import Place as Place
from pnpfusion.fusion.attention import Attention as Attention
from pnpfusion.fusion.completion import Completion as Completion
from pnpfusion.fusion.concat import Concat as Concat
from pnpfusion.fusion.deq import DEQ as DEQ
from pnpfusion.fusion.gaussian_channel import GaussianChannel as GaussianChannel
from pnpfusion.fusion.gmf import GMF as GMF
from pnpfusion.fusion.layer import FusionInfo as FusionInfo
from pnpfusion.fusion.layer import FusionLayer as FusionLayer
from pnpfusion.fusion.pnp import PNP as PNP
from pnpfusion.fusion.progressive import Progressive as Progressive
from pnpfusion.fusion.warm_start import WarmStart as WarmStart
