"""Where f(u) = 0: iterations, sample by sample, and gradients through what they find."""

from pnpfusion.solvers.fixed_point.anderson import Anderson as Anderson
from pnpfusion.solvers.fixed_point.base import ConvergenceWarning as ConvergenceWarning
from pnpfusion.solvers.fixed_point.base import FixedPoint as FixedPoint
from pnpfusion.solvers.fixed_point.base import FixedPointSolver as FixedPointSolver
from pnpfusion.solvers.fixed_point.base import GradientReport as GradientReport
from pnpfusion.solvers.fixed_point.base import Tolerance as Tolerance
from pnpfusion.solvers.fixed_point.broyden import Broyden as Broyden
from pnpfusion.solvers.fixed_point.gradient import Gradient as Gradient
from pnpfusion.solvers.fixed_point.gradient import Implicit as Implicit
from pnpfusion.solvers.fixed_point.gradient import Phantom as Phantom
from pnpfusion.solvers.fixed_point.gradient import solve_fixed_point as solve_fixed_point
from pnpfusion.solvers.fixed_point.jacobian import jacobian_penalty as jacobian_penalty
from pnpfusion.solvers.fixed_point.jacobian import spectral_radius as spectral_radius
from pnpfusion.solvers.fixed_point.newton_krylov import NewtonKrylov as NewtonKrylov
from pnpfusion.solvers.fixed_point.picard import Picard as Picard
