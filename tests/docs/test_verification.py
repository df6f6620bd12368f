"""Every case of docs/verification keeps its bounds, and the page is what the cases say."""

import re
from collections.abc import Sequence

import pytest
import torch

from docs.verification.case import SIZES, Case, Table, profile, series
from docs.verification.page import CASES, complaints, page, results, table_of
from tests.source_tree import ROOT

# PyTorch itself warns so, at its first forward derivative (rates of change at driven walls).
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")

PAGE = ROOT / "docs" / "verification.md"
Cells = dict[tuple[str, str, str], str]  # heading of the table, quantity, heading of the column


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def cells(text: str) -> Cells:
    """All cells of the tables in ``text``."""
    found: Cells = {}
    title, heads = "", []
    for line in text.splitlines():
        if line.startswith("**"):
            title, heads = line.split("**")[1], []
        elif line.startswith("|") and title:
            row = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
            if not heads:
                heads = row
            elif set(line) != {"|", "-"}:
                for head, cell in zip(heads[1:], row[1:], strict=True):
                    found[title, row[0], head] = cell
        elif not line.startswith("|") and line:
            title = ""
    return found


def alike(shown: str, made: str, head: str) -> bool:
    """Whether two cells agree; errors below 1e-7 are those of round-off and of Newton's method."""
    if not shown or not made:
        return shown == made
    a, b = float(shown), float(made)
    if head.startswith(("N =", "L =")):
        return abs(a - b) <= 0.06 * max(a, b) + 1e-7
    return abs(a - b) <= (0.06 if head == "order" else 1e-6 * abs(a) + 1e-12)


def differences(made: Sequence[Table], heads: Sequence[str] | None = None) -> list[str]:
    """Where ``made`` and the page differ; in what these columns have, if named."""
    shown = cells(PAGE.read_text(encoding="utf-8"))
    found = []
    for table in made:
        for key, value in cells(table_of(table)).items():
            if heads is not None and (key[2] not in heads or not value):
                continue
            if key not in shown or not alike(shown[key], value, key[2]):
                found.append(f"{key}: the page has {shown.get(key)!r}, now it is {value!r}")
    return found


def check(case: Case, sizes: Sequence[int], heads: Sequence[str] | None = None) -> None:
    made = results(case, sizes)
    assert complaints(made) == []
    assert differences(made, heads) == [], "run: python -m docs.verification"


@pytest.mark.parametrize("case", [c for c in CASES if c.cheap], ids=lambda case: case.key)
def test_a_case_on_its_coarsest_grids(case: Case):
    heads = [f"N = {n // part}" for n in case.cheap for part in (1, 2, 4, 8)]
    check(case, case.cheap, heads)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.key)
def test_a_case_on_all_its_grids(case: Case):
    check(case, SIZES)


def test_the_page_has_every_case_and_its_picture():
    text = PAGE.read_text(encoding="utf-8")
    for case in CASES:
        assert f"## {case.title}\n" in text
        picture = ROOT / "docs" / "images" / f"verification_{case.key.replace('-', '_')}.png"
        assert picture.relative_to(ROOT / "docs").as_posix() in text
        assert picture.stat().st_size < 60_000


def test_the_texts_of_the_page_are_those_of_the_cases():
    """Everything but tables, which the other tests compare with a tolerance."""

    def prose(text: str) -> list[str]:
        return [line for line in text.splitlines() if line and not line.startswith("|")]

    none = [Table("none", profile("none", [64], [0.0], bound=1.0))]
    made = page([(case, none) for case in CASES])
    without = [line for line in prose(PAGE.read_text(encoding="utf-8")) if line[:2] != "**"]
    assert [line for line in prose(made) if line[:2] != "**"] == without


def test_an_error_above_its_bound_and_a_wrong_order_are_told():
    rows = series("too far", [64, 128], [1.1, 1.05], 1.0, bound=0.06, wanted=(1.9, 2.1))
    told = complaints([Table("table", rows)])
    assert [re.sub(r".*N = ", "", text) for text in told] == [
        "64: error 1.00e-01 > 6.0e-02",
        "128: error 5.00e-02 > 1.5e-02",
        "128: order 1.00, not 1.9 to 2.1",
    ]
    assert complaints([Table("table", series("nan", [64], [float("nan")], 1.0, bound=1.0))])
