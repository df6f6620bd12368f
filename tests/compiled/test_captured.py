"""What is recorded as a CUDA graph asks nothing of the device and brings nothing from the host."""

from dataclasses import fields, is_dataclass, replace

import pytest
import torch
from torch.overrides import TorchFunctionMode

import pnpfusion as pf
from pnpfusion.solvers.device.captured import captured
from pnpfusion.solvers.device.steps import OneStep
from tests.registry import blocking_cell, f64


class NothingFromTheHost(TorchFunctionMode):
    """Refuses what copies numbers to the device, which would stop a recording."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        name = getattr(function, "__name__", "")
        if name in {"tensor", "new_tensor", "as_tensor", "cuda", "cpu", "numpy", "from_numpy"}:
            raise AssertionError(f"{name} copies between host and device")
        if name == "to" and args[0].device != (result := function(*args, **(kwargs or {}))).device:
            raise AssertionError(f"to copies from {args[0].device} to {result.device}")
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("kind", ["closed", "open", "floating"])
def test_a_semi_implicit_step_can_be_recorded(kind):
    """With tensors that have no numbers: whoever asks for one is refused."""
    walls = {
        "closed": {"x-": pf.Wall(potential=1.0, stern=0.1)},
        "open": {"x-": pf.Wall(potential=1.0, concentration={"cation": 1.0})},
        "floating": {},
    }[kind]
    cell = pf.PNP(
        pf.Grid((6,), (1.0,), ("wall",)),
        [pf.Species("cation", +1), pf.Species("anion", -1)],
        permittivity=0.2,
        walls=walls,
    )
    bound = on_meta(cell.electrolyte((3,), torch.ones(3, 2, 6, dtype=f64), None))
    step, one = OneStep(bound, judged=True), torch.ones(3, dtype=f64, device="meta")
    given = torch.ones(3, 2, 6, dtype=f64, device="meta"), one, one > 0, one.long(), one
    step(*given)  # fills caches, as it does before a recording
    with NothingFromTheHost():
        results = step(*given)
    assert [like.shape for like in results] == [like.shape for like in given]


def on_meta(value):
    """A dataclass with every tensor in it moved to the device that has no numbers."""
    if isinstance(value, torch.Tensor):
        return value.to("meta")
    if isinstance(value, tuple):
        return tuple(on_meta(one) for one in value)
    if is_dataclass(value) and not isinstance(value, pf.Grid):
        return replace(value, **{f.name: on_meta(getattr(value, f.name)) for f in fields(value)})
    return value


def test_what_it_refuses():
    one = torch.ones(2)
    with NothingFromTheHost(), pytest.raises(AssertionError, match="new_tensor copies"):
        one.new_tensor([1.0])


def test_off_the_card_a_step_is_itself():
    step = OneStep(blocking_cell().electrolyte((1,), torch.ones(1, 2, 32, dtype=f64), None), True)
    assert captured(step, [torch.ones(1)]) is step
