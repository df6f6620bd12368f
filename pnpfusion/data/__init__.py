"""Features of several modalities: known sets, made-up ones, and readers for your files."""


def __dir__() -> list[str]:
    from pnpfusion.solvers.public_names import public_names

    return public_names(globals())


from pnpfusion.data.arrays import from_npz as from_npz
from pnpfusion.data.av_mnist import from_av_mnist as from_av_mnist
from pnpfusion.data.feature_set import Features as Features
from pnpfusion.data.index_task import IndexTask as IndexTask
from pnpfusion.data.index_task import index as index
from pnpfusion.data.index_task import late_fusion_bound as late_fusion_bound
from pnpfusion.data.interaction import interaction as interaction
from pnpfusion.data.known_sets import digits as digits
from pnpfusion.data.known_sets import htad as htad
from pnpfusion.data.mini_av_mnist import mini_av_mnist as mini_av_mnist
from pnpfusion.data.mm_imdb import from_mm_imdb as from_mm_imdb
from pnpfusion.data.mogonet import from_mogonet as from_mogonet
from pnpfusion.data.safetensors_file import from_safetensors as from_safetensors
from pnpfusion.data.sets import SETS as SETS
from pnpfusion.data.sets import open_set as open_set
from pnpfusion.data.splits import folds_of_blocks as folds_of_blocks
from pnpfusion.data.splits import holdout as holdout
from pnpfusion.data.splits import stratified as stratified
from pnpfusion.data.tables import from_csv as from_csv
from pnpfusion.data.volatility_law import VolatilityLaw as VolatilityLaw
from pnpfusion.data.volatility_law import volatility as volatility
