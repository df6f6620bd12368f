"""Features of several modalities: two known sets, a made-up one, and readers for your own files."""

from pnpfusion.data.arrays import from_npz as from_npz
from pnpfusion.data.feature_set import Features as Features
from pnpfusion.data.interaction import interaction as interaction
from pnpfusion.data.known_sets import digits as digits
from pnpfusion.data.known_sets import htad as htad
from pnpfusion.data.tables import from_csv as from_csv
