"""Who is measured on what: programs, their discretisations, their tolerances."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Program:
    """A program and how it is started."""

    name: str
    module: str
    apart: bool = True  #: whether it runs in the environment of ``make peers``


PNPFUSION = "pnpfusion"
PROGRAMS = {
    program.name: program
    for program in (
        Program(PNPFUSION, "benchmarks.suite.ours", apart=False),
        Program("PyBaMM", "benchmarks.peers.pybamm_cell"),
        Program("scipy", "benchmarks.peers.scipy_cell", apart=False),
        Program("cosine IF-RK4", "benchmarks.peers.cosine_box", apart=False),
        Program("devsim", "benchmarks.peers.devsim_cell"),
        Program("FiPy", "benchmarks.peers.fipy_cell"),
        Program("py-pde", "benchmarks.peers.pypde_box"),
    )
}

DEFAULTS = "equal cells, as it comes"  #: PyBaMM's own tolerance, nothing compiled


@dataclass(frozen=True)
class Contestant:
    """One program with one discretisation of one problem: a point of the diagram."""

    problem: str
    program: str
    family: str  #: a line of the diagram: scheme and kind of grid
    cells: int  #: of an axis
    options: dict[str, Any] = field(default_factory=dict)  #: but cells and rtol
    tolerances: tuple[float, ...] = ()  #: rtol is the loosest that does not cost accuracy
    slow: bool = False  #: left out of quick runs
    once: bool = False  #: takes one turn only

    @property
    def label(self) -> str:
        """What a table calls it."""
        steps = f", {self.options['steps']} steps" if "steps" in self.options else ""
        rtol = f", rtol {self.options['rtol']:g}" if "rtol" in self.options else ""
        cells = "" if str(self.cells) in self.family else f", {self.cells}"
        return f"{self.family}{cells}{steps}{rtol}"


LOOSE = (1e-2, 3e-3, 1e-3, 3e-4, 1e-4, 1e-5)
USUAL = (1e-2, 1e-3, 3e-4, 1e-4, 1e-5, 1e-6)


def ours_in_cells(problem: str) -> list[Contestant]:
    """P1 or P3: equal cells, and graded ones of both kinds of faces."""
    sweeps = [
        ("central, equal cells", "central", 0.0, (64, 128, 256, 512)),
        ("central, graded cells", "central", 1.5, (32, 48, 64, 96, 128, 256)),
        ("Scharfetter–Gummel, equal cells", "scharfetter-gummel", 0.0, (64, 128, 256, 512)),
        (
            "Scharfetter–Gummel, graded cells",
            "scharfetter-gummel",
            3.0,
            (20, 24, 32, 48, 64, 128, 256),
        ),
    ]
    return [
        Contestant(
            problem,
            PNPFUSION,
            family,
            n,
            {"scheme": scheme, "grading": grading},
            LOOSE,
            slow=n > 256,
        )
        for family, scheme, grading, sizes in sweeps
        for n in sizes
        if problem == "P1" or n <= 256
    ]


def cells_of_others(problem: str) -> list[Contestant]:
    """P1 or P3 by the other programs."""
    few = problem == "P3"
    found = [
        Contestant(
            problem, "PyBaMM", family, n, {"grading": grading, "compile": True}, USUAL, slow=n > 256
        )
        for family, grading, sizes in (
            ("equal cells", 0.0, (64, 128, 256, 512)),
            ("graded cells", 1.5, (48, 64, 128, 256)),
        )
        for n in sizes
        if not few or n <= 256
    ]
    found += [
        Contestant(problem, "PyBaMM", DEFAULTS, 128 if few else 256, {}, (1e-4,)),
        *(
            Contestant(problem, "scipy", "LSODA, equal cells", n, {"method": "LSODA"}, USUAL, few)
            for n in ((128,) if few else (64, 128, 256))
        ),
    ]
    if few:
        options = {"steps": 50, "systems": 2}
        return [*found, Contestant("P3", "FiPy", "equal cells", 128, options, (), True, True)]
    fixed = {"steps": 100}
    return [
        *found,
        *(Contestant("P1", "devsim", "vertices", n, fixed, (), n > 128, True) for n in (128, 256)),
        Contestant("P1", "FiPy", "equal cells", 256, fixed, (), True, True),
        Contestant("P1", "py-pde", "equal cells", 256, {}, (1e-3,), True, True),
    ]


def square() -> list[Contestant]:
    """P2."""
    by_euler = {"steps": 20, "method": "bdf1"}
    ours = [
        *(
            Contestant("P2", PNPFUSION, f"series, {n}²", n, {"steps": steps}, slow=steps > 40)
            for n in (48, 128)
            for steps in (10, 20, 40, 80)
        ),
        *(
            Contestant("P2", PNPFUSION, f"series, {n}², no stepper named", n, {}, (1e-3,))
            for n in (48, 128)
        ),
    ]
    others = [
        *(
            Contestant("P2", "cosine IF-RK4", f"series, {n}²", n, {"steps": steps}, slow=steps > 40)
            for n in (48, 128)
            for steps in (10, 20, 40, 80)
        ),
        *(
            Contestant("P2", "scipy", f"{method}, equal cells", n, {"method": method}, (1e-3, 1e-4))
            for method in ("RK23", "RK45")
            for n in (64, 128)
        ),
        Contestant("P2", "devsim", "vertices", 128, by_euler, (), True, True),
        Contestant("P2", "FiPy", "equal cells", 128, {"steps": 20}, (), True, True),
        Contestant("P2", "py-pde", "equal cells", 128, {}, (1e-4,), True, True),
    ]
    return ours + others


SERIES_IN_CUBES = ((24, 10), (24, 20), (24, 40), (48, 10), (48, 20))


def cube() -> list[Contestant]:
    """P4."""
    ours = [
        Contestant("P4", PNPFUSION, f"series, {n}³", n, {"steps": steps}, slow=n > 32)
        for n, steps in SERIES_IN_CUBES
    ]
    others = [
        *(
            Contestant("P4", "cosine IF-RK4", f"series, {n}³", n, {"steps": steps}, slow=n > 32)
            for n, steps in SERIES_IN_CUBES
        ),
        *(
            Contestant("P4", "scipy", "RK23, equal cells", n, {}, (1e-3, 1e-4), slow=n > 32)
            for n in (24, 32, 48)
        ),
        Contestant("P4", "py-pde", "equal cells", 32, {}, (1e-4,), True, True),
    ]
    return ours + others


def steppers() -> list[Contestant]:
    """P1 by other steppers of ours, on a grid that errs little."""
    grid = {"scheme": "scharfetter-gummel", "grading": 3.0}
    return [
        Contestant("P1", PNPFUSION, name, 256, grid | {"stepper": name, "rtol": rtol})
        for name, tolerances in (
            ("KenCarp4", (1e-2, 1e-3, 1e-4, 1e-5)),
            ("TRBDF2", (1e-2, 1e-3, 1e-4, 1e-5)),
            ("BackwardEuler", (1e-2, 1e-3, 1e-4)),
        )
        for rtol in tolerances
    ]


def contestants(part: str) -> list[Contestant]:
    """All of a problem, or of what else is drawn as time against error."""
    if part == "steppers":
        return steppers()
    problem = part.upper()
    if problem == "P2":
        return square()
    if problem == "P4":
        return cube()
    found = ours_in_cells(problem) + cells_of_others(problem)
    if problem == "P1":
        found += [
            Contestant(
                "P1", PNPFUSION, "polynomials", n, {"scheme": "spectral"}, (1e-4, 1e-6), True
            )
            for n in (33, 49, 65)
        ]
    return found
