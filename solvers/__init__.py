"""Tensors in, tensors out: grids, boundary conditions, Poisson, fluxes, linear solves, steppers."""

if __name__ != "pnpfusion.solvers":
    raise ImportError(f"import pnpfusion.solvers, not {__name__}: a second copy of its classes")


def __dir__() -> list[str]:
    from pnpfusion.solvers.public_names import public_names

    return public_names(globals())


from pnpfusion.solvers.banded import solve_block_tridiagonal as solve_block_tridiagonal
from pnpfusion.solvers.banded import solve_tridiagonal as solve_tridiagonal
from pnpfusion.solvers.boundary import Wall as Wall
from pnpfusion.solvers.chebyshev import ChebyshevGrid as ChebyshevGrid
from pnpfusion.solvers.field import Field as Field
from pnpfusion.solvers.fixed_point import Anderson as Anderson
from pnpfusion.solvers.fixed_point import Broyden as Broyden
from pnpfusion.solvers.fixed_point import ConvergenceWarning as ConvergenceWarning
from pnpfusion.solvers.fixed_point import FixedPoint as FixedPoint
from pnpfusion.solvers.fixed_point import FixedPointSolver as FixedPointSolver
from pnpfusion.solvers.fixed_point import Gradient as Gradient
from pnpfusion.solvers.fixed_point import GradientReport as GradientReport
from pnpfusion.solvers.fixed_point import Implicit as Implicit
from pnpfusion.solvers.fixed_point import NewtonKrylov as NewtonKrylov
from pnpfusion.solvers.fixed_point import Phantom as Phantom
from pnpfusion.solvers.fixed_point import Picard as Picard
from pnpfusion.solvers.fixed_point import Tolerance as Tolerance
from pnpfusion.solvers.fixed_point import jacobian_penalty as jacobian_penalty
from pnpfusion.solvers.fixed_point import solve_fixed_point as solve_fixed_point
from pnpfusion.solvers.fixed_point import spectral_radius as spectral_radius
from pnpfusion.solvers.fluxes import FACE_SCHEMES as FACE_SCHEMES
from pnpfusion.solvers.fluxes import bernoulli as bernoulli
from pnpfusion.solvers.grid import Grid as Grid
from pnpfusion.solvers.outcome import Outcome as Outcome
from pnpfusion.solvers.outcome import SolveError as SolveError
from pnpfusion.solvers.poisson import solve_poisson as solve_poisson
from pnpfusion.solvers.poisson_boltzmann import (
    solve_poisson_boltzmann as solve_poisson_boltzmann,
)
from pnpfusion.solvers.steppers import ETDRK4 as ETDRK4
from pnpfusion.solvers.steppers import IFRK4 as IFRK4
from pnpfusion.solvers.steppers import RK4 as RK4
from pnpfusion.solvers.steppers import TRBDF2 as TRBDF2
from pnpfusion.solvers.steppers import AsymptoticPreserving as AsymptoticPreserving
from pnpfusion.solvers.steppers import BackwardEuler as BackwardEuler
from pnpfusion.solvers.steppers import Euler as Euler
from pnpfusion.solvers.steppers import Heun as Heun
from pnpfusion.solvers.steppers import KenCarp4 as KenCarp4
from pnpfusion.solvers.steppers import Odeint as Odeint
from pnpfusion.solvers.steppers import Stepper as Stepper
