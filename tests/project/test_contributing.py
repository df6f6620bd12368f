"""The contributor guide: its exercises, carried out in a copy, and the way of a value."""

from __future__ import annotations

import importlib
import os
import pkgutil
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch

import pnpfusion as pf
from pnpfusion.fusion import FusionLayer
from pnpfusion.solvers import Stepper
from pnpfusion.solvers.backend import using
from tests import registry
from tests.registry import blocking_cell
from tests.source_tree import ROOT

#: Where the classes of a family stand that is shown at a door.
ROOMS = {"dynamics": "dynamics", "solvers": "solvers.steppers", "fusion": "fusion"}
PAGE = (ROOT / "docs" / "contributing.md").read_text(encoding="utf-8")
FILES = re.compile(r"^`([\w/.]+)`:\n\n```(python|diff)\n(.*?)^```", re.MULTILINE | re.DOTALL)
#: Each new member, and the tests of its family that must take it up.
MEMBERS = {
    "LotkaVolterra": {
        "test_every_stepper_follows_every_law",
        "test_rounds_are_forward_euler_steps",
    },
    "Kutta3": {
        "test_order_in_time_on_a_nonlinear_oscillator",
        "test_decay_within_reach_is_followed_and_beyond_it_is_not",
        "test_every_stepper_follows_every_law",
        "test_batch_equals_loop_to_round_off_with_fixed_steps",
        "test_gradcheck_in_every_parameter",
    },
    "Gated": {"test_tokens_are_rows", "test_a_list_is_a_dict_in_order"},
}
PLAIN = ["-p", "no:cacheprovider"]
FAMILIES = [
    "solvers/test_orders",
    "run/test_simulate",
    "run/test_unroll",
    "dynamics/test_batches",
    "dynamics/test_gradients",
    "fusion/test_layers",
    "fusion/test_layer_gradients",
    "fusion/test_layer_precision",
]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout in which all the exercises are done."""
    copy = tmp_path_factory.mktemp("house")
    skip = shutil.ignore_patterns("__pycache__")
    for name in ("pnpfusion", "solvers", "visualize", "tests"):
        shutil.copytree(ROOT / name, copy / name, symlinks=True, ignore=skip)
    shutil.copy(ROOT / "pyproject.toml", copy)
    for name, kind, text in FILES.findall(PAGE):
        path = copy / name
        if kind == "python":
            assert not path.exists(), f"{name} of the guide is there already"
            path.write_text(text, encoding="utf-8")
            continue
        added = re.findall(r"^\+(.*)$", text, re.MULTILINE)
        assert len(added) == 1, f"{name}: the guide promises one line"
        path.write_text(path.read_text(encoding="utf-8") + added[0] + "\n", encoding="utf-8")
    return copy


def carried_out(house: Path, only: str, *families: str) -> tuple[dict[str, set[str]], str]:
    """Which tests of the families passed and failed in the copy, by name, and what pytest said."""
    report = house / "report.xml"
    files = [f"tests/{family}.py" for family in families]
    # Without compiled kernels, which are kept by the place of their sources.
    code = (
        "import sys, pytest; from pnpfusion.solvers.backend import using\n"
        "with using('torch'): sys.exit(pytest.main(sys.argv[1:]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "-q", "-k", only, f"--junitxml={report}", *PLAIN, *files],
        cwd=house,
        env=os.environ | {"PYTHONPATH": str(house), "OMP_NUM_THREADS": "1"},
        text=True,
        capture_output=True,
        check=False,
    )
    found: dict[str, set[str]] = {"passed": set(), "failed": set()}
    for case in ElementTree.parse(report).iter("testcase"):
        bad = case.find("failure") is not None or case.find("error") is not None
        found["failed" if bad else "passed"].add(case.attrib["name"])
    return found, done.stdout + done.stderr


@pytest.mark.slow
def test_the_exercises_pass_the_tests_of_their_families(house: Path) -> None:
    found, said = carried_out(house, " or ".join(MEMBERS), *FAMILIES)
    assert not found["failed"], said
    for member, wanted in MEMBERS.items():
        ran = {name.partition("[")[0] for name in found["passed"] if member in name}
        assert wanted <= ran, f"{member} was not taken up by {wanted - ran}\n{said}"


@pytest.mark.slow
def test_a_wrong_weight_is_found(house: Path) -> None:
    path = house / "solvers" / "steppers" / "kutta.py"
    good = path.read_text(encoding="utf-8")
    wrong = good.replace("weights = (1 / 6, 2 / 3, 1 / 6)", "weights = (1 / 4, 1 / 2, 1 / 4)")
    assert wrong != good
    path.write_text(wrong, encoding="utf-8")
    try:
        found, _ = carried_out(house, "Kutta3", "solvers/test_orders")
    finally:
        path.write_text(good, encoding="utf-8")
    assert found["failed"] == {
        "test_order_in_time_on_a_nonlinear_oscillator[Kutta3]",
        "test_decay_within_reach_is_followed_and_beyond_it_is_not[Kutta3]",
    }


def test_the_exercises_keep_the_style_of_the_house(house: Path) -> None:
    new = [str(house / name) for name, kind, _ in FILES.findall(PAGE) if kind == "python"]
    assert len(new) == len(MEMBERS)
    for check in (["check"], ["format", "--check"]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *check, "--no-cache", *new],
            cwd=house,
            text=True,
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr


def classes_of(room: str, family: type) -> Iterator[tuple[str, str]]:
    """Public classes of a family, those that no other builds on, and the file of each."""
    for found in pkgutil.iter_modules(importlib.import_module(room).__path__, f"{room}."):
        for name, one in vars(importlib.import_module(found.name)).items():
            here = isinstance(one, type) and one.__module__ == found.name
            if here and issubclass(one, family) and not one.__subclasses__() and name[0] != "_":
                yield name, found.name


@pytest.mark.parametrize(
    ("door", "family", "listed", "advice"),
    [
        (
            "dynamics",
            pf.Dynamics,
            [type(law) for law, _ in registry.ALL_DYNAMICS],
            "give all its arguments defaults and say its `state_shape`, or add it to ALL_DYNAMICS",
        ),
        (
            "solvers",
            Stepper,
            [type(stepper) for stepper in registry.ALL_STEPPERS],
            "make it from a tableau, or add it to ALL_STEPPERS",
        ),
        (
            "fusion",
            FusionLayer,
            [type(make({"a": 3, "b": 2}, 4)) for make in registry.ALL_LAYERS.values()],
            "let its arguments begin with `dims, out_dim`, or add it to ALL_LAYERS",
        ),
    ],
    ids=["laws", "steppers", "layers"],
)
def test_no_member_is_left_out(door: str, family: type, listed: list[type], advice: str) -> None:
    for name, file in classes_of(f"pnpfusion.{ROOMS[door]}", family):
        assert hasattr(getattr(pf, door), name), (
            f"{name} of {file} has no line at the door of {door}"
        )
    left = {*registry.members(getattr(pf, door), family)} - {*listed, *registry.APART}
    names = sorted(one.__name__ for one in left)
    assert not names, f"no test takes up {names}: {advice} in tests/registry.py"


def called(cell: pf.PNP, c0: torch.Tensor) -> Iterator[tuple[str, str]]:
    """File and function of all calls within pnpfusion that a run makes, in order."""
    calls: list[tuple[str, str]] = []

    def look(frame, event, _argument):
        file = frame.f_globals.get("__name__", "").replace(".", "/") + ".py"
        if event == "call" and file.startswith("pnpfusion/"):
            calls.append((file.replace("pnpfusion/solvers/", "solvers/"), frame.f_code.co_name))

    before = sys.getprofile()
    sys.setprofile(look)
    try:
        with using("torch"):
            pf.simulate(cell, c0, torch.linspace(0, 0.1, 3))
    finally:
        sys.setprofile(before)
    return iter(calls)


def test_a_value_goes_the_way_that_the_guide_says() -> None:
    way = re.findall(r"^\| `([\w/]+\.py)` \| `(\w+)` \|", PAGE, re.MULTILINE)
    assert len(way) > 10
    calls = called(blocking_cell(), torch.ones(2, 32).double())
    for step in way:
        assert step in calls, f"{step} is not called, or not after the one before it in the guide"


def test_what_the_guide_names_is_there() -> None:
    named = set(re.findall(r"`((?:\w+/)*(?:\w+\.(?:py|md|bib|toml))|(?:\w+/)+)`", PAGE))
    new = {name for name, kind, _ in FILES.findall(PAGE) if kind == "python"}
    rooms = [ROOT, *(ROOT / room for room in ("solvers", "pnpfusion", "visualize", "tests"))]
    inner = [folder for room in rooms[1:] for folder in room.iterdir() if folder.is_dir()]
    gone = [
        name
        for name in named - new
        if not any((folder / name).exists() for folder in (*rooms, *inner))
    ]
    assert len(named) > 40
    assert not gone, f"docs/contributing.md names {gone}"
