"""GMF against the paper: counts, the exchange, missing modalities and their order."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

import pnpfusion as pf
from pnpfusion.fusion.gmf import Stages
from tests.fusion.gmf_layers import DIMS, NAMES, features, gmf, parameters

# counts and shapes


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


# the exchange


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


# missing modalities


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


# order of the modalities


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


# gradients


@pytest.mark.parametrize("choices", [{}, {"others": "mean"}, {"exchange": "own-invariant"}])
def test_gradients_are_right(choices: dict[str, str]) -> None:
    dims = {"a": 2, "b": 3, "c": 2}
    layer = gmf(dims, **choices, detach="none")
    given = tuple(f.requires_grad_() for f in features(dims, batch=2).values())

    def out(*values: Tensor) -> tuple[Tensor, Tensor]:
        fused, info = layer([*values], return_info=True)
        return fused, info.losses["reconstruction"]

    assert torch.autograd.gradcheck(out, given)
