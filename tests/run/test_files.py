"""Files are there as a whole or as they were, and what stood in the way is named."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pnpfusion.files import read_json, whole, write_whole


def test_what_a_killed_process_left_is_taken_away_by_the_next_that_writes(tmp_path: Path) -> None:
    mine = tmp_path / f".run.{os.getpid()}.part"
    left, another = tmp_path / ".run.4000000.part", tmp_path / ".runs.4000000.part"
    for path in (left, another):
        path.touch()
    write_whole(tmp_path / "run", b"whole")
    assert {*tmp_path.iterdir()} == {tmp_path / "run", another}
    assert not mine.exists()


def test_what_another_writer_holds_stays(tmp_path: Path) -> None:
    """Whatever its number and its file are called: it may be at work on another machine."""
    fcntl = pytest.importorskip("fcntl")
    number = subprocess.Popen([sys.executable, "-c", ""])  # that of no process here
    number.wait()
    held = tmp_path / f".run.{number.pid}.part"
    with held.open("wb") as file:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX)
        with whole(tmp_path / "run.4000000") as part:
            part.write_bytes(b"other")
            write_whole(tmp_path / "run", b"whole")
            assert {*tmp_path.iterdir()} == {tmp_path / "run", held, part}
    assert (tmp_path / "run.4000000").read_bytes() == b"other"


@pytest.mark.parametrize("name", [".run.4000000.part.gif", ".run.20261122091407.123.part"])
def test_what_is_of_no_writer_of_this_file_stays(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    write_whole(tmp_path / "run", b"whole")
    assert {*tmp_path.iterdir()} == {tmp_path / "run", tmp_path / name}


def test_a_place_of_a_number_beyond_all_processes_is_taken_away(tmp_path: Path) -> None:
    (tmp_path / ".run.20261122091407.part").touch()
    write_whole(tmp_path / "run", b"whole")
    assert [*tmp_path.iterdir()] == [tmp_path / "run"]


def test_an_error_names_the_file_and_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "run"
    path.write_bytes(b"before")

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space") as told:
        write_whole(path, b"after")
    assert str(told.value) == f"[Errno 28] No space left on device: '{path}'"
    assert [*tmp_path.iterdir()] == [path]
    assert path.read_bytes() == b"before"


def test_a_folder_in_the_place_of_the_file_is_named_once(tmp_path: Path) -> None:
    path = tmp_path / "run"
    path.mkdir()
    with pytest.raises(IsADirectoryError) as told:
        write_whole(path, b"content")
    assert str(told.value) == f"[Errno 21] Is a directory: '{path}'"
    assert [*tmp_path.iterdir()] == [path]


@pytest.mark.parametrize(
    "error",
    [OSError("encoder error -2 when writing image file"), FileNotFoundError(2, "none", "font.ttf")],
)
def test_an_error_of_another_kind_or_file_keeps_its_words(tmp_path: Path, error: OSError) -> None:
    words = str(error)
    with pytest.raises(type(error), match=r"encoder|none") as told, whole(tmp_path / "run"):
        raise error
    assert told.value is error
    assert str(error) == words
    assert not [*tmp_path.iterdir()]


def test_a_json_file_that_cannot_be_read_says_so_and_keeps_the_number_of_the_error(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match="plan cannot be read: No such") as caught:
        read_json(tmp_path / "none.json", "plan")
    assert caught.value.errno == errno.ENOENT
