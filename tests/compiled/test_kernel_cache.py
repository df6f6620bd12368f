"""Compiled kernels are kept among the user's caches, safely, and compiling them is said."""

import errno
import logging
import os
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.source_tree import ROOT

pytest.importorskip("numba", reason="the compiled kernels need pnpfusion[fast]")

from pnpfusion.solvers.kernels import cache
from pnpfusion.solvers.kernels.decorators import free_kernel, inner, inner_sums, kernel

TRIAL = """
import sys
import numpy as np
from pnpfusion.solvers.kernels.decorators import kernel

@kernel
def total(values):
    result = values.dtype.type(0)
    for value in values:
        result += value
    return result

if __name__ == "__main__":
    print("ready", flush=True)
    sys.stdin.readline()
    for kind in sys.argv[1:]:
        assert total(np.arange(5).astype(kind)) == 10, kind
    stats = total.stats
    print(stats.cache_path, sum(stats.cache_hits.values()), sum(stats.cache_misses.values()))
"""
KINDS = ["float64", "float32", "int64", "complex128"]


def started(script: Path, caches: Path, *kinds: str) -> subprocess.Popen[str]:
    """A process about to add up numbers of these kinds, which waits for a line."""
    keep = {name: value for name, value in os.environ.items() if name != "NUMBA_CACHE_DIR"}
    process = subprocess.Popen(
        [sys.executable, str(script), *kinds],
        env={**keep, "PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(caches)},
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def answers(processes: list[subprocess.Popen[str]]) -> list[list[str]]:
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    found = []
    for process in processes:
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        found.append(out.split())
    return found


def test_processes_that_compile_at_once_keep_what_each_has_made(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    script, caches = tmp_path / "trial.py", tmp_path / "caches"
    script.write_text(TRIAL)
    halves = [started(script, caches, *kinds) for kinds in (KINDS[:2], KINDS[:1:-1])]
    for path, hits, misses in answers(halves):
        assert Path(path).is_relative_to(caches / "pnpfusion" / "numba")
        assert (hits, misses) == ("0", "2")
    assert not list(Path(path).glob("*.tmp.*"))
    monkeypatch.setattr(cache, "kernel_folder", lambda: Path(path).parent)
    total = runpy.run_path(str(script))["total"]
    for kind in KINDS:
        assert total(np.arange(5).astype(kind)) == 10
    assert sum(total.stats.cache_hits.values()) == 4


def twice(value: float) -> float:
    return 2 * value


def test_where_nothing_can_be_written_kernels_stay_in_memory_and_that_is_said_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    caplog.set_level(logging.WARNING, logger="pnpfusion")  # the command line may have raised it
    monkeypatch.setattr(cache._CONFIG, "CACHE_DIR", "")
    monkeypatch.setattr(cache, "kernel_folder", lambda: tmp_path / "file" / "folder")
    compiled: Any = kernel(twice)
    kernel(lambda value: value)
    assert compiled(2.0) == 4.0
    (record,) = caplog.records
    assert "compiled kernels cannot be kept in" in record.getMessage()
    assert str(tmp_path / "file" / "folder") in record.getMessage()
    assert compiled.stats.cache_path is None


def test_a_disk_that_is_full_is_not_the_end(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(cache, "kernel_folder", lambda: tmp_path)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("numba.core.caching.IndexDataCacheFile.save", full)
    compiled: Any = kernel(twice)
    assert compiled(2.0) == 4.0
    assert Path(compiled.stats.cache_path).is_relative_to(tmp_path)


def test_numbas_own_setting_goes_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("numba.config.CACHE_DIR", str(tmp_path))
    compiled: Any = kernel(twice)
    assert Path(compiled.stats.cache_path).is_relative_to(tmp_path)


def test_a_changed_source_has_another_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    found = []
    for text in ("a = 1", "a = 2", "a = 1"):
        (tmp_path / "source.py").write_text(text)
        monkeypatch.setattr(cache, "__file__", str(tmp_path / "cache.py"))
        found.append(cache.kernel_folder.__wrapped__())
    assert found[0] == found[2] != found[1]
    assert found[0].parent == tmp_path / "pnpfusion" / "numba"


@pytest.mark.parametrize(("patience", "told"), [(0.0, 1), (600.0, 0)])
def test_what_takes_long_to_compile_is_told_once(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
    patience: float,
    told: int,
) -> None:
    monkeypatch.setattr(cache, "PATIENCE", patience)
    monkeypatch.setattr(cache, "kernel_folder", lambda: tmp_path)  # where nothing is compiled yet

    def inside(value: float) -> float:
        return value + 1

    def outside(value: float) -> float:
        return called(value) ** 2

    for function in (inside, outside):
        function.__module__ = "pnpfusion.solvers.kernels.trial"
    called = kernel(inside)
    with caplog.at_level(logging.INFO, logger="pnpfusion"):
        assert kernel(outside)(2.0) == 9.0
    assert len(caplog.records) == told
    if told:
        assert "compiling outside for this machine, once" in caplog.text


def test_other_kernels_than_ours_are_not_told_of(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from numba import njit

    monkeypatch.setattr(cache, "PATIENCE", 0.0)
    assert njit(lambda value: value * 2)(2.0) == 4.0
    assert not caplog.records


@pytest.mark.parametrize("decorator", [kernel, free_kernel, inner, inner_sums])
def test_every_kind_of_kernel_is_kept_under_the_digest_of_all_sources(decorator, monkeypatch):
    monkeypatch.setattr(cache._CONFIG, "CACHE_DIR", "")
    kept = decorator(lambda x: x + 1)._cache
    assert isinstance(kept, cache.KernelCache)
    assert Path(kept.cache_path).is_relative_to(cache.kernel_folder())


def test_without_a_home_kernels_stay_in_memory(monkeypatch):
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(cache._CONFIG, "CACHE_DIR", "")
    monkeypatch.setattr(cache, "kernel_folder", homeless)
    more = kernel(lambda x: x + 1)
    assert more(1.0) == 2
    assert not isinstance(more._cache, cache.KernelCache)
