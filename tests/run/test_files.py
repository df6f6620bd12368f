"""Files are there as a whole or as they were, and what stood in the way is named."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pnpfusion.files import read_json, write_whole


def test_what_a_killed_process_left_is_taken_away_by_the_next_that_writes(tmp_path: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    mine, others = (tmp_path / f".run.{pid}.part" for pid in (os.getpid(), os.getppid()))
    left, another = tmp_path / f".run.{dead.pid}.part.gif", tmp_path / f".runs.{dead.pid}.part"
    for path in (left, others, another):
        path.touch()
    write_whole(tmp_path / "run", b"whole")
    assert {*tmp_path.iterdir()} == {tmp_path / "run", others, another}
    assert not mine.exists()


def test_an_error_names_the_file_and_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "run"
    path.write_bytes(b"before")

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"No space left on device: '.*/run'"):
        write_whole(path, b"after")
    assert [*tmp_path.iterdir()] == [path]
    assert path.read_bytes() == b"before"


def test_a_json_file_that_cannot_be_read_says_so_and_keeps_the_number_of_the_error(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match="plan cannot be read: No such") as caught:
        read_json(tmp_path / "none.json", "plan")
    assert caught.value.errno == errno.ENOENT
