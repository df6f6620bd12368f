"""Training that is really killed, many times and anywhere, and ends as if nothing had happened."""

from __future__ import annotations

import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
import torch

from pnpfusion.training import FusionModel, Recipe, TrainingError, checkpoint, files, train
from tests.tiny_sets import tiny

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL there")
#: Processes that are forked from one that has all loaded, so that none spends seconds on it.
SPAWN = multiprocessing.get_context("forkserver") if sys.platform != "win32" else None
STEPS = 120  #: of a training, each with a checkpoint


def learn(name: str, folder: Path, every: float = 0.0) -> None:
    """What is killed: six steps an epoch, a checkpoint after each."""
    torch.set_num_threads(1)
    data = tiny("classes")
    model = FusionModel.build(data, name, hidden=8, width=8)
    recipe = Recipe(epochs=STEPS // 6, batch=4, modality_dropout=0.2, patience=None)
    train(model, data, recipe, folder=folder, checkpoint_every=every)


def learn_and_die(name: str, folder: Path, call: str, count: int) -> None:
    """Die by SIGKILL at a certain call of what writes files."""
    home: object = Path if hasattr(Path, call) else os
    plain: Callable[..., object] = getattr(home, call)
    calls: list[int] = []

    def last(*given: object) -> object:
        calls.append(1)
        if len(calls) == count:
            os.kill(os.getpid(), signal.SIGKILL)
        return plain(*given)

    setattr(home, call, last)
    learn(name, folder)


def started(work: Callable[..., None], *given: object) -> BaseProcess:
    assert SPAWN is not None
    SPAWN.set_forkserver_preload(["tests.training.test_killed", "torch._dynamo", "numba"])
    process = SPAWN.Process(target=work, args=given)
    process.start()
    return process


def standing(folder: Path) -> tuple[int, ...]:
    """Which files are there, so that a new checkpoint is seen."""
    path = folder / checkpoint.NAME
    try:
        return (path.stat().st_ino, path.stat().st_mtime_ns)
    except FileNotFoundError:
        return ()


def same(first: Path, second: Path) -> bool:
    """Whether two folders hold the same model, and checkpoints that say the same."""
    if any(
        (first / name).read_bytes() != (second / name).read_bytes()
        for name in ("model.safetensors", "config.json", "metrics.jsonl")
    ):
        return False
    one, other = (files.unpack(one / checkpoint.NAME, checkpoint.KEY) for one in (first, second))
    for _, header in (one, other):
        del header["standing"]["seconds"]
    return one[1] == other[1] and all(torch.equal(one[0][key], other[0][key]) for key in one[0])


def kill_many_times(name: str, folder: Path, kills: int, seed: int) -> None:
    """Kill a training at random moments, and let it end at last."""
    pick = random.Random(seed)
    learn(name, folder / "whole", every=1e9)
    cut, killed = folder / "cut", 0
    while killed < kills:
        before = standing(cut)
        process = started(learn, name, cut)
        deadline = time.monotonic() + 60
        if pick.random() < 0.75:  # the others may die before they have done anything
            while standing(cut) == before and process.is_alive() and time.monotonic() < deadline:
                time.sleep(0.001)
        time.sleep(pick.uniform(0, 0.06))
        assert process.pid is not None
        assert process.is_alive(), "it ended before it was killed often enough; make it longer"
        os.kill(process.pid, signal.SIGKILL)
        process.join(30)
        assert process.exitcode == -signal.SIGKILL
        killed += 1
    last = started(learn, name, cut)
    last.join(120)
    assert last.exitcode == 0
    assert same(cut, folder / "whole")
    assert not [*cut.glob("*.part"), *cut.glob(".*.part"), *cut.glob("*.new")]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What an undisturbed training leaves."""
    folder = tmp_path_factory.mktemp("whole")
    learn("concat", folder, every=1e9)
    return folder


def test_killed_at_random_moments(tmp_path: Path) -> None:
    kill_many_times("gmf", tmp_path, kills=8, seed=0)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["pnp", "deq", "pnp-transient", "pnp+deq"])
def test_killed_many_times(name: str, tmp_path: Path) -> None:
    kill_many_times(name, tmp_path, kills=15, seed=1)


@pytest.mark.parametrize(
    ("call", "count"),
    [*(("fsync", k) for k in (1, 3, 5, 6, 7, 8)), *(("replace", k) for k in range(1, 7))],
)
def test_killed_at_each_step_of_writing(call: str, count: int, whole: Path, tmp_path: Path) -> None:
    """Of metrics.jsonl and of the first two checkpoints; half-written files go."""
    dying = started(learn_and_die, "concat", tmp_path, call, count)
    dying.join(60)
    assert dying.exitcode == -signal.SIGKILL
    learn("concat", tmp_path, every=1e9)
    assert same(tmp_path, whole)
    assert {path.name for path in tmp_path.iterdir()} <= {
        *(path.name for path in whole.iterdir()),
        checkpoint.BEFORE,
    }


@pytest.mark.slow
def test_a_disk_that_is_really_full(whole: Path, tmp_path: Path) -> None:
    """A file system of 96 KiB: some checkpoints fit in it, beside another file they do not."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=96k", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a file system may not be mounted here")
    try:
        dying = started(learn_and_die, "concat", disk / "cut", "fsync", 9)
        dying.join(60)
        ballast = disk / "ballast"
        while shutil.disk_usage(disk).free:
            with suppress(OSError), ballast.open("ab") as file:
                file.write(bytes(shutil.disk_usage(disk).free))
        with pytest.raises(TrainingError, match=r"cannot be written.*No space left on device"):
            learn("concat", disk / "cut")
        ballast.unlink()
        learn("concat", disk / "cut")
        assert same(disk / "cut", whole)
    finally:
        subprocess.run(["umount", str(disk)], check=True)
