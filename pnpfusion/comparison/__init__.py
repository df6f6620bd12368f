"""Models against each other, fairly: the same splits, recipe and tuning, seeds and intervals."""


def __dir__() -> list[str]:
    from pnpfusion.solvers.public_names import public_names

    return public_names(globals())


from pnpfusion.comparison.baselines import BASELINES as BASELINES
from pnpfusion.comparison.plan import Cell as Cell
from pnpfusion.comparison.plan import Plan as Plan
from pnpfusion.comparison.robustness import effective_robustness as effective_robustness
from pnpfusion.comparison.robustness import relative_robustness as relative_robustness
from pnpfusion.comparison.robustness import retention as retention
from pnpfusion.comparison.runner import Comparison as Comparison
from pnpfusion.comparison.runner import compare as compare
from pnpfusion.comparison.set_plan import SetPlan as SetPlan
from pnpfusion.comparison.statistics import Difference as Difference
from pnpfusion.comparison.statistics import Interval as Interval
from pnpfusion.comparison.statistics import bootstrap_interval as bootstrap_interval
from pnpfusion.comparison.statistics import holm as holm
from pnpfusion.comparison.statistics import mean_interval as mean_interval
from pnpfusion.comparison.statistics import paired_difference as paired_difference
from pnpfusion.comparison.statistics import sign_flip_p as sign_flip_p
from pnpfusion.comparison.summary import Row as Row
from pnpfusion.comparison.summary import SetSummary as SetSummary
