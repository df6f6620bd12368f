"""GMF against the paper: counts, exchange, what can and cannot be read back, and the options."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor, nn

import pnpfusion as pf
from pnpfusion.fusion.gmf import Stages
from tests.registry import f64

DIMS = {"audio": 5, "motion": 3, "video": 4}
NAMES = [*DIMS]


def gmf(
    dims: dict[str, int] = DIMS, out_dim: int | None = None, **choices: object
) -> pf.fusion.GMF:
    """A float64 layer with known parameters."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return pf.fusion.GMF(dims, out_dim, **choices).double()  # type: ignore[arg-type]


def features(dims: dict[str, int] = DIMS, batch: int = 6, seed: int = 0) -> dict[str, Tensor]:
    """Normal features, float64."""
    generator = torch.Generator().manual_seed(seed)
    return {k: torch.randn(batch, n, dtype=f64, generator=generator) for k, n in dims.items()}


def parameters(layer: nn.Module) -> int:
    """How many numbers a layer learns."""
    return sum(p.numel() for p in layer.parameters())


# 1: counts and shapes


@pytest.mark.parametrize(
    ("widths", "with_biases", "without"),
    [
        ([512, 512], 5_250_048, 5_242_880),
        ([128, 128], 329_472, 327_680),
        ([128, 4096], 119_202_816, 119_177_216),
        ([4096, 4096], 335_601_664, 335_544_320),
        ([128, 512], 2_199_552, 2_195_456),
        ([64, 32, 16], 43_728, 43_008),
        ([8, 8], 1_392, 1_280),
    ],
)
def test_parameter_counts_are_the_papers(widths: list[int], with_biases: int, without: int) -> None:
    dims = {f"m{j}": width for j, width in enumerate(widths)}
    with torch.device("meta"):
        assert parameters(pf.fusion.GMF(dims)) == with_biases
        assert parameters(pf.fusion.GMF(dims, bias=False)) == without


@pytest.mark.parametrize(("widths", "folded"), [([512, 512], 1_050_624), ([128, 4096], 17_338_752)])
def test_parameter_counts_without_reconstruction(widths: list[int], folded: int) -> None:
    with torch.device("meta"):
        layer = pf.fusion.GMF({f"m{j}": width for j, width in enumerate(widths)})
        assert parameters(layer.fold()) == folded
        if widths == [512, 512]:
            assert parameters(layer) - parameters(layer.reconstructions) == 4_200_448


def test_shapes_are_those_of_the_paper() -> None:
    stages = gmf().stages(features())
    for name, width in DIMS.items():
        assert stages.invariant[name].shape == (6, 3)
        assert stages.specific[name].shape == (6, width)
        assert stages.exchanged[name].shape == (6, 3 + width)
        assert stages.reconstructed[name].shape == (6, width)
    assert gmf()(features()).shape == (6, sum(DIMS.values()) + 3 * 3)


def test_stages_keep_the_axes_of_tokens() -> None:
    tokens = {name: f.reshape(2, 3, -1) for name, f in features().items()}
    found, rows = gmf().stages(tokens), gmf().stages(features())
    assert found.exchanged["audio"].shape == (2, 3, 8)
    torch.testing.assert_close(
        found.reconstructed["video"].flatten(0, 1), rows.reconstructed["video"]
    )


def test_the_bare_output_is_what_the_exchange_gives() -> None:
    exchanged = gmf().stages(features()).exchanged
    assert torch.equal(gmf()(features()), torch.cat([*exchanged.values()], 1))


# 2: the exchange


def jacobian(part: Tensor, of: Tensor) -> Tensor:
    """The derivative of one sample's part, (outputs, inputs); zeros where there is no path."""
    rows = [torch.autograd.grad(v, of, retain_graph=True, allow_unused=True)[0] for v in part[0]]
    return torch.stack([torch.zeros_like(of) if row is None else row for row in rows])[:, 0]


@pytest.mark.parametrize("width", [2, 3, 4])
def test_exchange_is_next_invariant_and_own_specific(width: int) -> None:
    """Exact zeros elsewhere, for two, three and four modalities."""
    dims = {f"m{j}": 3 + j for j in range(width)}
    given = {name: f[:1].requires_grad_() for name, f in features(dims).items()}
    exchanged = gmf(dims).stages(given).exchanged
    for j, k in itertools.product(range(width), repeat=2):
        found = jacobian(exchanged[f"m{j}"], given[f"m{k}"])
        invariant, specific = found[:3], found[3:]
        assert invariant.any() == (k == (j + 1) % width)
        assert specific.any() == (k == j)


def test_own_invariant_and_next_specific_of_the_papers_theory() -> None:
    given = {name: f[:1].requires_grad_() for name, f in features().items()}
    stages = gmf(exchange="own-invariant").stages(given)
    for j, name in enumerate(NAMES):
        after = NAMES[(j + 1) % 3]
        both = torch.cat([stages.invariant[name], stages.specific[after]], 1)
        assert torch.equal(stages.exchanged[name], both)
        assert stages.reconstructed[name].shape == given[name].shape


def test_mean_of_the_others_does_not_depend_on_their_order() -> None:
    layer, given = gmf(others="mean"), features()
    stages = layer.stages(given)
    others = (stages.invariant["motion"] + stages.invariant["video"]) / 2
    torch.testing.assert_close(stages.exchanged["audio"][:, :3], others, rtol=1e-14, atol=0)
    two = {"audio": 5, "motion": 3}
    one = gmf(two, others="mean")(features(two))
    assert torch.equal(one, gmf(two)(features(two)))


# 3, 4: what can be read back


def least_squares_residual(of: Tensor, target: Tensor) -> float:
    """The largest error of the best affine map from one to the other."""
    design = torch.cat([of, torch.ones_like(of[:, :1])], 1)
    best = torch.linalg.lstsq(design, target).solution
    return float((design @ best - target).detach().abs().max())


@pytest.mark.parametrize("name", NAMES)
def test_features_can_be_read_back_from_the_exchanged_parts(name: str) -> None:
    given = features(batch=4 * 8)
    stages = gmf().stages(given)
    assert least_squares_residual(stages.exchanged[name], given[name]) < 1e-10


def test_features_can_be_read_back_from_the_specific_part_alone() -> None:
    """So a reconstruction without error says nothing about the invariants."""
    given = features(batch=32)
    enough = gmf(magnification=2, boundary=0.5).stages(given)
    for name in NAMES:
        assert least_squares_residual(enough.specific[name], given[name]) < 1e-10
    with pytest.warns(UserWarning, match="full rank"):
        layer = gmf(magnification=2, boundary=0.75)
    assert least_squares_residual(layer.stages(given).specific["audio"], given["audio"]) > 0.1


def test_training_brings_the_reconstruction_loss_down() -> None:
    layer, given = gmf(), features(batch=32)
    adam = torch.optim.Adam(layer.parameters(), lr=1e-2)
    losses = []
    for _ in range(300):
        loss = layer(given, return_info=True)[1].losses["reconstruction"]
        adam.zero_grad()
        loss.backward()
        adam.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 1e-5 * losses[0]


def test_reconstruction_loss_is_the_sum_of_mean_squares() -> None:
    given = features()
    found = gmf().stages(given).reconstructed
    wanted = sum((found[name] - given[name]).square().mean() for name in NAMES)
    _, info = gmf()(given, return_info=True)
    torch.testing.assert_close(info.losses["reconstruction"], wanted, rtol=1e-14, atol=0)
    assert info.succeeded.all()
    assert (info.iterations == 0).all()


# 5: folding


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("out_dim", [None, 7])
def test_folding_keeps_the_output(bias: bool, out_dim: int | None) -> None:
    layer = gmf(DIMS, out_dim, bias=bias)
    folded = layer.fold()
    torch.testing.assert_close(folded(features()), layer(features()), rtol=1e-12, atol=1e-12)
    whole, short = layer.stages(features()), folded.stages(features())
    for part in ("invariant", "specific"):
        torch.testing.assert_close(
            getattr(short, part), getattr(whole, part), rtol=1e-12, atol=1e-12
        )
    assert short.reconstructed == {}
    assert folded(features(), return_info=True)[1].losses == {}
    assert "folded" in repr(folded)
    assert "folded" not in repr(layer)


def test_folding_keeps_the_back_end_and_touches_nothing() -> None:
    layer = gmf(backend=pf.fusion.Concat(DIMS, 2).double())
    before = {k: v.clone() for k, v in layer.state_dict().items()}
    folded = layer.fold()
    torch.testing.assert_close(folded(features()), layer(features()), rtol=1e-12, atol=1e-12)
    with torch.no_grad():
        for parameter in folded.parameters():
            parameter.zero_()
    assert all(torch.equal(before[k], v) for k, v in layer.state_dict().items())
    torch.testing.assert_close(folded.fold()(features()), folded(features()))


# 6: missing modalities


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("missing", NAMES)
def test_a_missing_modality_is_a_feature_of_zeros(missing: str, bias: bool) -> None:
    layer, given = gmf(bias=bias), features()
    zero = given | {missing: torch.zeros_like(given[missing])}
    wanted, told = layer(zero, return_info=True)
    absent = torch.zeros(6, dtype=torch.bool)
    unknown = given | {missing: torch.full_like(given[missing], torch.nan)}
    for found, info in (
        layer(given | {missing: None}, return_info=True),
        layer(unknown, present={missing: absent}, return_info=True),
    ):
        assert torch.equal(found, wanted)
        assert torch.equal(info.losses["reconstruction"], told.losses["reconstruction"])


def without(stages: Stages, name: str) -> dict[str, Tensor]:
    """All blocks of the exchanged parts but those that come from one modality."""
    j = NAMES.index(name)
    blocks = {}
    for k, other in enumerate(NAMES):
        if (k + 1) % 3 != j:
            blocks[f"{other} arrived"] = stages.exchanged[other][:, :3]
        if k != j:
            blocks[f"{other} own"] = stages.exchanged[other][:, 3:]
    return blocks


@pytest.mark.parametrize("missing", NAMES)
def test_what_a_missing_modality_leaves(missing: str) -> None:
    given = features()
    zero = given | {missing: torch.zeros_like(given[missing])}
    before, after = gmf(bias=False).stages(given), gmf(bias=False).stages(zero)
    previous = NAMES[NAMES.index(missing) - 1]
    assert not after.invariant[missing].any()
    assert not after.specific[missing].any()
    assert not after.exchanged[previous][:, :3].any()
    torch.testing.assert_close(without(after, missing), without(before, missing), rtol=0, atol=0)
    constant = gmf().stages(zero)
    for part in (constant.invariant[missing], constant.specific[missing]):
        assert part.any()
        assert torch.equal(part, part[:1].expand_as(part))


# 7: order of the modalities


def turned(layer: pf.fusion.GMF, order: list[str]) -> pf.fusion.GMF:
    """The same maps with the modalities in another order."""
    other = gmf({name: DIMS[name] for name in order})
    for k, name in enumerate(order):
        for mine, given in (
            (other.splits, layer.splits),
            (other.reconstructions, layer.reconstructions),
        ):
            mine[k].load_state_dict(given[NAMES.index(name)].state_dict())
    return other


def test_turning_the_ring_turns_the_outputs() -> None:
    layer, given = gmf(), features()
    wanted = layer.stages(given)
    for shift in (1, 2):
        found = turned(layer, NAMES[shift:] + NAMES[:shift]).stages(given)
        for part in ("exchanged", "reconstructed"):
            assert {k: v.tolist() for k, v in getattr(found, part).items()} == {
                k: v.tolist() for k, v in getattr(wanted, part).items()
            }


def test_another_order_pairs_modalities_anew() -> None:
    layer, given = gmf(), features()
    found = turned(layer, ["audio", "video", "motion"]).stages(given)
    assert torch.equal(found.exchanged["audio"][:, :3], found.invariant["video"])
    assert not torch.equal(found.exchanged["audio"], layer.stages(given).exchanged["audio"])


# 8: errors and warnings


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


# 9: what the loss reaches


def loss_gradients(detach: str) -> tuple[list[Tensor | None], pf.fusion.GMF, dict[str, Tensor]]:
    layer = gmf(detach=detach)
    given = {name: f.requires_grad_() for name, f in features().items()}
    loss = layer(given, return_info=True)[1].losses["reconstruction"]
    loss.backward()
    return [f.grad for f in given.values()], layer, given


def test_detached_input_keeps_the_loss_from_the_features() -> None:
    grads, layer, _ = loss_gradients("input")
    assert grads == [None] * 3
    assert all(p.grad is not None and p.grad.any() for p in layer.parameters())


def test_detached_input_leaves_the_task_alone() -> None:
    grads = {}
    for detach in ("input", "none"):
        given = {name: f.requires_grad_() for name, f in features().items()}
        fused, _ = gmf(detach=detach)(given, return_info=True)
        grads[detach] = torch.autograd.grad(fused.square().sum(), [*given.values()])
    torch.testing.assert_close(grads["input"], grads["none"], rtol=0, atol=0)


def test_detached_target_leaves_the_path_through_the_reconstruction() -> None:
    """The whole gradient is that path and the target's own, -2 (found - f) / numel."""
    target, _, _ = loss_gradients("target")
    none, layer, given = loss_gradients("none")
    found = layer.stages(given).reconstructed
    for through, whole, name in zip(target, none, NAMES, strict=True):
        error = (found[name] - given[name]).detach()
        assert through is not None
        torch.testing.assert_close(
            whole, through - 2 * error / error.numel(), rtol=1e-12, atol=1e-15
        )


# 10: back ends


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


@pytest.mark.parametrize("choices", [{}, {"others": "mean"}, {"exchange": "own-invariant"}])
def test_gradients_are_right(choices: dict[str, str]) -> None:
    dims = {"a": 2, "b": 3, "c": 2}
    layer = gmf(dims, **choices, detach="none")
    given = tuple(f.requires_grad_() for f in features(dims, batch=2).values())

    def out(*values: Tensor) -> tuple[Tensor, Tensor]:
        fused, info = layer([*values], return_info=True)
        return fused, info.losses["reconstruction"]

    assert torch.autograd.gradcheck(out, given)
