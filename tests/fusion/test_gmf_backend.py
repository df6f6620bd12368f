"""GMF: back ends, and options that do not fit."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import pnpfusion as pf
from tests.fusion.gmf_layers import DIMS, NAMES, features, gmf, parameters

# back ends


class Spy(pf.fusion.FusionLayer):
    """A back end that keeps what it is given and reports a run that failed for one row."""

    dynamics = None

    def fuse(self, batch, return_info):  # type: ignore[no-untyped-def]
        self.seen = dict(batch.features)
        fused = batch.features["video"][:, :2] * batch.features["audio"][:, :2]
        rows = torch.arange(batch.rows)
        losses = {"penalty": fused.square().mean()}
        return fused, pf.fusion.FusionInfo(rows != 1, rows, losses) if return_info else None


def test_only_specifics_enter_the_back_end() -> None:
    """Its output has no derivative by the invariants' maps; the head sees both."""
    spy = Spy({name: DIMS[name] for name in reversed(NAMES)}, 2)
    layer = gmf(backend=spy)
    given = features()
    fused = layer(given)
    stages = layer.stages(given)
    assert spy.seen.keys() == DIMS.keys()
    assert all(torch.equal(spy.seen[name], stages.specific[name]) for name in NAMES)
    assert torch.equal(fused[:, 2:], torch.cat([*stages.invariant.values()], 1))
    assert layer.out_dim == fused.shape[1] == 2 + 3 * 3
    maps = [p for split in layer.splits for p in split.invariant.parameters()]
    grads = torch.autograd.grad(fused[:, :2].sum(), maps, retain_graph=True)
    assert not any(g.any() for g in grads)
    assert all(g.any() for g in torch.autograd.grad(fused[:, 2:].sum(), maps))
    given["audio"].requires_grad_()
    assert torch.autograd.grad(layer(given)[:, :2].sum(), given["audio"])[0].any()


def test_what_the_back_end_tells_passes_on() -> None:
    layer = gmf(DIMS, 4, backend=Spy(DIMS, 2))
    fused, info = layer({k: f.reshape(2, 3, -1) for k, f in features().items()}, return_info=True)
    assert fused.shape == (2, 3, 4)
    assert info.succeeded.tolist() == [[True, False, True], [True] * 3]
    assert info.iterations.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert set(info.losses) == {"penalty", "reconstruction"}
    assert info.solution is None
    assert layer.dynamics is None


def around(names: tuple[str, ...]) -> pf.fusion.Progressive:
    """A layer around encoders, which tells names but no widths."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return pf.fusion.Progressive.around(
            {name: nn.Linear(DIMS[name], 7) for name in names},
            pf.fusion.Concat(dict.fromkeys(names, 7), 4),
            width=4,
            at=dict.fromkeys(names, ""),
        ).double()


def test_a_layer_around_encoders_is_a_back_end() -> None:
    backend = around(("video", "audio", "motion"))
    layer = gmf(backend=backend)
    fused, info = layer(features(), return_info=True)
    specific = layer.stages(features()).specific
    assert torch.equal(fused[:, :4], backend(specific))
    assert info.iterations.tolist() == [2] * 6
    tokens = {name: f.reshape(2, 3, -1) for name, f in features().items()}
    torch.testing.assert_close(layer(tokens).flatten(0, 1), fused, rtol=1e-12, atol=1e-12)
    with pytest.raises(ValueError, match=r"takes the modalities \['audio', 'motion'\]"):
        gmf(backend=around(("audio", "motion")))


def test_a_gmf_solves_where_its_back_end_does() -> None:
    assert not gmf().solves
    assert not gmf(backend=around((*NAMES,))).solves
    assert gmf(backend=pf.fusion.DEQ(DIMS, 4).double()).solves


def test_parameters_of_a_back_end_add_up() -> None:
    backend = pf.fusion.Concat(DIMS, 4)
    layer = pf.fusion.GMF(DIMS, backend=backend)
    assert parameters(layer) == parameters(pf.fusion.GMF(DIMS)) + parameters(backend)
    head = pf.fusion.GMF(DIMS, 7, backend=backend)
    assert parameters(head) == parameters(layer) + (4 + 3 * 3 + 1) * 7


def test_a_gmf_in_a_gmf_keeps_all_losses() -> None:
    layer = gmf(backend=gmf())
    _, info = layer(features(), return_info=True)
    assert set(info.losses) == {"reconstruction", "backend reconstruction"}
    specifics = layer.stages(features()).specific
    inner = gmf()(specifics, return_info=True)[1].losses["reconstruction"]
    torch.testing.assert_close(info.losses["backend reconstruction"], inner)
    _, info = gmf(backend=layer)(features(), return_info=True)
    assert len(info.losses) == 3


# errors and warnings


def test_the_boundary_is_floored() -> None:
    layer = gmf({"a": 5, "b": 3}, magnification=3, boundary=0.5)
    assert [split.boundary for split in layer.splits] == [7, 4]
    exact = pf.fusion.GMF({"a": 10, "b": 10}, magnification=10, boundary=0.29)  # 28.999999999999996
    assert exact.splits[0].boundary == 29


@pytest.mark.parametrize(
    ("dims", "choices", "message"),
    [
        ({"a": 3}, {}, "two modalities or more"),
        ({"a": 3, "b": 2}, {"boundary": 0.1}, "0 of 8 units of 'b' to the invariant part"),
        ({"a": 3, "b": 2}, {"boundary": 1.0}, "12 of 12 units of 'a' to the invariant part"),
        ({"a": 3, "b": 2}, {"boundary": "x"}, "`boundary` must be a number, got 'x'"),
        ({"a": 3, "b": 2}, {"boundary": float("nan")}, "must leave units on both sides, got nan"),
        ({"a": 3, "b": 2}, {"magnification": 2.5}, "`magnification` must be a whole number >= 1"),
        ({"a": 3, "b": 2}, {"magnification": 0}, "`magnification` must be a whole number >= 1"),
        ({"a": 3, "b": 2}, {"detach": "all"}, "`detach` must be one of .*'input'.* got 'all'"),
        ({"a": 3, "b": 2}, {"exchange": "swap"}, "`exchange` must be one of .*'next-invariant'"),
        ({"a": 3, "b": 2}, {"others": "sum"}, "`others` must be one of .*'mean'.* got 'sum'"),
        (
            {"a": 3, "b": 2},
            {"exchange": "own-invariant", "others": "mean"},
            "specifics of one width",
        ),
        ({"a": 3, "b": 2}, {"backend": nn.Linear(5, 2)}, "must be a fusion layer .* got Linear"),
        (
            {"a": 3, "b": 2},
            {"backend": pf.fusion.Concat({"a": 3, "c": 2}, 4)},
            "of widths {'a': 3, 'b': 2}; it takes {'a': 3, 'c': 2}",
        ),
        ({"a": 3, "b": 2}, {"out_dim": 0}, "`out_dim` must be a whole number >= 1"),
    ],
)
def test_errors_say_what_is_wrong(
    dims: dict[str, int], choices: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        pf.fusion.GMF(dims, **choices)  # type: ignore[arg-type]


@pytest.mark.parametrize("boundary", [0.1, 0.9])
def test_too_few_units_on_one_side_are_warned_of(boundary: float) -> None:
    with pytest.warns(
        UserWarning, match="'a' of 40 units into .*'b' of 40 units into .* of full rank"
    ):
        pf.fusion.GMF({"a": 10, "b": 10}, boundary=boundary)
