"""The short form of what is done to files, commands and processes; docs/torture.md has the long."""

from __future__ import annotations

import random
import sys
from pathlib import Path
from types import ModuleType

import pytest
from safetensors import safe_open

from tests.torture import bad_input, disk, fuzz, kills
from tests.torture.damage import nest_deeply
from tests.torture.errors import why_not_ours
from tests.torture.good_files import KINDS
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
    if way != "at once" and not disk.may_mount():
        pytest.skip("nothing may be mounted here")
    sweep = [victim.name for victim in VICTIMS].index("sweep")
    case = len(disk.WAYS) * sweep + disk.WAYS.index(way)
    assert disk.main(["--case", str(case), "--seed", "1"]) == 0


def test_a_disk_that_cannot_be_made_is_not_counted_as_tried(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(*how: str) -> None:
        raise disk.NotMounted("mount: permission denied")

    monkeypatch.setattr(disk, "_mount", refused)
    monkeypatch.setattr(disk, "undisturbed", lambda victim, folder: ({}, 0.0))
    assert disk.main(["--case", "0"]) == 1
    assert "disk: 0 tried, 0 failed, 1 full left out" in capsys.readouterr().out
    assert not disk.may_mount()


@pytest.mark.parametrize("name", ["run", "sweep", "weights"])
def test_a_deep_header_of_right_length_is_refused_in_words(name: str, tmp_path: Path) -> None:
    kind = next(kind for kind in KINDS if kind.name == name)
    path = kind.make(tmp_path)
    path.write_bytes(nest_deeply(path.read_bytes(), random.Random(5)))
    with safe_open(path, framework="pt") as file:
        assert "[" * 2000 in str(file.metadata())
    with pytest.raises(ValueError, match="damaged") as told:
        kind.read(path)
    assert not why_not_ours(told.value)


@pytest.mark.long
@pytest.mark.parametrize("torture", [fuzz, kills, disk])
def test_some_of_every_kind(torture: ModuleType) -> None:
    assert torture.main(["--count", "60", "--seed", "2"]) == 0
