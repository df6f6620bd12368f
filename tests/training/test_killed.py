"""Training that is killed at each step of writing its files, and ends as if nothing had happened.

Kills at random moments are those of :mod:`tests.torture.kills`.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pnpfusion.training import checkpoint
from tests.torture.kills import started
from tests.torture.victims import learn, learnt

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL there")


def learn_and_die(folder: Path, call: str, count: int) -> None:
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
    learn("concat", folder)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What an undisturbed training leaves."""
    folder = tmp_path_factory.mktemp("whole")
    learn("concat", folder, every=1e9)
    return folder


@pytest.mark.parametrize(
    ("call", "count"),
    [*(("fsync", k) for k in (1, 3, 5, 6, 7, 8)), *(("replace", k) for k in range(1, 7))],
)
def test_killed_at_each_step_of_writing(call: str, count: int, whole: Path, tmp_path: Path) -> None:
    """Of metrics.jsonl and of the first two checkpoints; half-written files go."""
    dying = started(learn_and_die, tmp_path, call, count)
    dying.join(60)
    assert dying.exitcode == -signal.SIGKILL
    learn("concat", tmp_path, every=1e9)
    assert learnt(tmp_path) == learnt(whole)
    assert {path.name for path in tmp_path.iterdir()} <= {
        *(path.name for path in whole.iterdir()),
        checkpoint.BEFORE,
    }
