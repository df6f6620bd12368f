"""Which code runs, and how to ask for another."""

from types import SimpleNamespace

import pytest
import torch

from pnpfusion.solvers import backend as choice
from pnpfusion.solvers.backend import backend, using
from tests.registry import f64


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
    wanted = r"`choice` is 'triton', which is not installed; `pip install pnpfusion\[gpu\]`"
    with pytest.raises(ValueError, match=wanted), using("triton"):
        pass
