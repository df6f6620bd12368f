"""Features of several modalities: two known sets, made-up ones, and readers for your files."""

from pnpfusion.data.arrays import from_npz as from_npz
from pnpfusion.data.feature_set import Features as Features
from pnpfusion.data.index_task import IndexTask as IndexTask
from pnpfusion.data.index_task import late_fusion_bound as late_fusion_bound
from pnpfusion.data.interaction import interaction as interaction
from pnpfusion.data.known_sets import digits as digits
from pnpfusion.data.known_sets import htad as htad
from pnpfusion.data.tables import from_csv as from_csv
