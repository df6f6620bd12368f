"""Fusion layers: features of several modalities in, one feature out; one signature for all."""

from pnpfusion.fusion.concat import Concat as Concat
from pnpfusion.fusion.deq import DEQ as DEQ
from pnpfusion.fusion.layer import FusionInfo as FusionInfo
from pnpfusion.fusion.layer import FusionLayer as FusionLayer
