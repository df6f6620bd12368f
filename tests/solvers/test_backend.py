"""Which code runs, and how to ask for another."""

import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

from pnpfusion.solvers import backend as choice
from pnpfusion.solvers.backend import backend, using
from tests.registry import f64
from tests.source_tree import ROOT, environment

SOLVES = """
import torch
import pnpfusion as pf
from pnpfusion.solvers.backend import backend, is_installed
from tests.registry import blocking_cell, times

c0 = torch.ones(2, 32, dtype=torch.float64)
assert backend(c0) == "torch" and not is_installed("numba")
assert pf.simulate(blocking_cell(), c0, times(0, 0.1)).succeeded
assert pf.equilibrium(blocking_cell(), c0).succeeded
one = torch.ones(1, 4, dtype=torch.float64)
assert pf.solvers.solve_tridiagonal(0 * one, 2 * one, 0 * one, one).eq(0.5).all()
"""


def fake(device, dtype=f64):
    """What `backend` asks of a tensor, without the device."""
    return SimpleNamespace(device=torch.device(device), dtype=dtype)


@pytest.mark.parametrize(
    ("device", "installed", "wanted"),
    [
        ("cpu", {"numba", "triton"}, "numba"),
        ("cpu", {"triton"}, "torch"),
        ("cuda", {"numba", "triton"}, "triton"),
        ("cuda", {"numba"}, "torch"),
        ("meta", {"numba", "triton"}, "torch"),
    ],
)
def test_it_follows_the_device_and_what_is_installed(device, installed, wanted, monkeypatch):
    monkeypatch.setattr(choice, "is_installed", installed.__contains__)
    assert backend(fake(device)) == wanted


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_torch_can_be_asked_for_and_serves_half_precision(device, monkeypatch):
    monkeypatch.setattr(choice, "is_installed", lambda _: True)
    before = backend(fake(device))
    with using("torch"):
        assert backend(fake(device)) == "torch"
    assert backend(fake(device)) == before != "torch"
    assert backend(fake(device, torch.float16)) == "torch"


def test_triton_reaches_the_processor_only_where_it_is_interpreted(monkeypatch):
    monkeypatch.setattr(choice, "is_installed", lambda _: True)
    for interpreted, wanted in (("1", "triton"), ("0", "numba")):
        monkeypatch.setenv("TRITON_INTERPRET", interpreted)
        with using("triton"):
            assert backend(fake("cpu")) == wanted


def test_what_there_is_not_is_said(monkeypatch):
    with pytest.raises(ValueError, match=r"`choice` must be one of .*, got 'cuda'"), using("cuda"):
        pass
    monkeypatch.setattr(choice, "is_installed", lambda _: False)
    wanted = r"`choice` is 'triton', which cannot be imported; `pip install pnpfusion\[gpu\]`"
    with pytest.raises(ValueError, match=wanted), using("triton"):
        pass


def test_a_numba_that_cannot_be_imported_leaves_all_to_torch(tmp_path):
    (tmp_path / "numba.py").write_text("raise ImportError('Numba needs NumPy 2.2 or less')")
    done = subprocess.run(
        [sys.executable, "-c", SOLVES],
        cwd=ROOT,
        env=environment(PYTHONPATH=f"{tmp_path}{os.pathsep}{ROOT}"),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
