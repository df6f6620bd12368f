"""The public face: quick to import, complete, and helpful about a misspelt name."""

import ast
import subprocess
import sys
import time
from pathlib import Path

import pytest

import pnpfusion as pf
from tests.source_tree import ROOT, parse

HOMES: dict[str, str] = vars(pf)["_HOMES"]
ROOMS: set[str] = vars(pf)["_ROOMS"]
COMMANDS = ("simulate", "train", "compare", "lab")
HEAVY = {"matplotlib", "numba", "numpy", "pandas", "scipy", "sklearn", "torch", "torchdiffeq"}


def heavy_after(code: str) -> set[str]:
    """Which heavy libraries a fresh Python has loaded after running ``code``."""
    report = f"import sys\nprint(*({HEAVY} & sys.modules.keys()), file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\n{report}"],
        cwd=ROOT,
        text=True,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return set(done.stderr.splitlines()[-1].split())


def test_import_loads_nothing_heavy() -> None:
    assert heavy_after("import pnpfusion; dir(pnpfusion)") == set()


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["--version"], *([one, "--help"] for one in COMMANDS)],
    ids=" ".join,
)
def test_help_loads_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "from contextlib import suppress\n"
        "from pnpfusion.cli import main\n"
        f"with suppress(SystemExit): main({arguments})"
    )
    assert heavy_after(code) == set()


def test_only_what_is_drawn_loads_matplotlib() -> None:
    code = f"import pnpfusion as pf\nfor name in {sorted(HOMES)}: getattr(pf, name)"
    assert heavy_after(code) <= {"torch", "numpy"}


def test_help_answers_at_once() -> None:
    seconds = []
    for _ in range(10):  # the best of some: the machine may be busy with other tests
        start = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "pnpfusion", "--help"], cwd=ROOT, capture_output=True, check=True
        )
        seconds.append(time.perf_counter() - start)
        if seconds[-1] < 0.5:
            return
    pytest.fail(f"`pnpfusion --help` took {min(seconds):.2f} s at best, wanted < 0.5 s")


def test_type_checkers_and_python_see_the_same_names() -> None:
    branch = next(node for node in parse(Path(pf.__file__)).body if isinstance(node, ast.If))
    imports = [node for node in branch.body if isinstance(node, ast.ImportFrom)]
    seen = {alias.name: node.module for node in imports for alias in node.names}
    assert all(alias.asname == alias.name for node in imports for alias in node.names)
    assert seen == HOMES | dict.fromkeys(ROOMS, "pnpfusion")


@pytest.mark.parametrize("name", sorted(HOMES))
def test_a_name_comes_from_its_home(name: str) -> None:
    assert getattr(pf, name).__module__ == HOMES[name]


@pytest.mark.parametrize("room", sorted(ROOMS))
def test_a_room_is_a_module(room: str) -> None:
    assert getattr(pf, room) is sys.modules[f"pnpfusion.{room}"]


def test_no_module_shadows_a_public_name() -> None:
    """Importing ``pnpfusion/simulate.py`` would put that module in the place of the function."""
    beside = {path.stem for path in (ROOT / "pnpfusion").iterdir()}
    assert not beside & HOMES.keys()


def test_dir_lists_the_public_names() -> None:
    assert dir(pf) == sorted([*HOMES, *ROOMS, "__version__"])


@pytest.mark.parametrize("room", sorted(ROOMS))
def test_dir_of_a_room_lists_its_public_names_alone(room: str) -> None:
    module, defined = getattr(pf, room), set[str]()
    for node in parse(Path(module.__file__)).body:
        if isinstance(node, ast.ImportFrom):  # a door gives names on by `as`
            defined |= {alias.name for alias in node.names if alias.asname == alias.name}
        elif isinstance(node, ast.ClassDef | ast.FunctionDef):
            defined.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            inside = [one for target in targets for one in ast.walk(target)]
            defined |= {one.id for one in inside if isinstance(one, ast.Name)}
    assert dir(module) == sorted(name for name in defined if not name.startswith("_"))
    assert all(hasattr(module, name) for name in dir(module))


def test_a_misspelt_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(AttributeError, match="no attribute 'simulat'; did you mean 'simulate'"):
        _ = pf.simulat  # type: ignore[attr-defined]


def test_a_name_like_no_other_is_answered_with_the_list() -> None:
    with pytest.raises(AttributeError, match=r"no attribute 'qqq'; dir\(pnpfusion\) lists"):
        _ = pf.qqq  # type: ignore[attr-defined]
