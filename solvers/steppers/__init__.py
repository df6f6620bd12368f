"""Ways to follow a law of motion through time."""

from pnpfusion.solvers.steppers.base import Law as Law
from pnpfusion.solvers.steppers.base import Path as Path
from pnpfusion.solvers.steppers.base import Semilinear as Semilinear
from pnpfusion.solvers.steppers.base import SemilinearLaw as SemilinearLaw
from pnpfusion.solvers.steppers.base import Stepper as Stepper
from pnpfusion.solvers.steppers.base import Work as Work
from pnpfusion.solvers.steppers.explicit import RK4 as RK4
from pnpfusion.solvers.steppers.explicit import Euler as Euler
from pnpfusion.solvers.steppers.explicit import Heun as Heun
from pnpfusion.solvers.steppers.exponential import ETDRK4 as ETDRK4
from pnpfusion.solvers.steppers.exponential import IFRK4 as IFRK4
from pnpfusion.solvers.steppers.implicit import TRBDF2 as TRBDF2
from pnpfusion.solvers.steppers.implicit import BackwardEuler as BackwardEuler
from pnpfusion.solvers.steppers.implicit import KenCarp4 as KenCarp4
from pnpfusion.solvers.steppers.odeint import Odeint as Odeint
from pnpfusion.solvers.steppers.semi_implicit import AsymptoticPreserving as AsymptoticPreserving
