"""The short form of what is done to files, commands and processes; docs/torture.md has the long."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest

from tests.torture import bad_input, disk, fuzz, kills
from tests.torture.victims import VICTIMS

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="it forks and kills")
TRIES = bad_input.tries()


@pytest.mark.parametrize("one", [one for _, one in TRIES], ids=[title for title, _ in TRIES])
def test_bad_input_is_answered_in_words(one: bad_input.Try) -> None:
    assert not bad_input.attempt(one)


def test_damaged_files_are_refused() -> None:
    assert fuzz.main(["--count", "57", "--seed", "1"]) == 0


@pytest.mark.parametrize("name", ["sweep", "runs", "train gmf"])
def test_killed_work_ends_as_if_nothing_had_happened(name: str) -> None:
    case = [victim.name for victim in VICTIMS].index(name)
    assert kills.main(["--case", str(case), "--seed", "1"]) == 0


@pytest.mark.parametrize("way", disk.WAYS)
def test_full_and_shared_disks(way: str) -> None:
    sweep = [victim.name for victim in VICTIMS].index("sweep")
    case = len(disk.WAYS) * sweep + disk.WAYS.index(way)
    assert disk.main(["--case", str(case), "--seed", "1"]) == 0


@pytest.mark.long
@pytest.mark.parametrize("torture", [fuzz, kills, disk])
def test_some_of_every_kind(torture: ModuleType) -> None:
    assert torture.main(["--count", "60", "--seed", "2"]) == 0
