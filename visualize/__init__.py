"""Pictures that explain themselves: the claim in the title, with numbers from the run."""

if __name__ != "pnpfusion.visualize":
    raise ImportError(f"import pnpfusion.visualize, not {__name__}: a second copy of its classes")


def __dir__() -> list[str]:
    from pnpfusion.solvers.public_names import public_names

    return public_names(globals())


from pnpfusion.visualize.animation import animate as animate
from pnpfusion.visualize.comparison import plot_comparison as plot_comparison
from pnpfusion.visualize.lab.page import lab_page as lab_page
from pnpfusion.visualize.ledger import plot_ledger as plot_ledger
from pnpfusion.visualize.paths import plot_path as plot_path
from pnpfusion.visualize.profiles import plot_profiles as plot_profiles
from pnpfusion.visualize.residuals import plot_residuals as plot_residuals
from pnpfusion.visualize.space_time import plot_space_time as plot_space_time
from pnpfusion.visualize.style import DARK as DARK
from pnpfusion.visualize.style import LIGHT as LIGHT
from pnpfusion.visualize.training import plot_training as plot_training
