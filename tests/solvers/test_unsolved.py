"""Where a solve has no answer: it is told, spares its mates, and can be kept out of gradients."""

import pytest
import torch

import pnpfusion as pf
from pnpfusion.solvers import Anderson, ConvergenceWarning, Implicit
from tests.marks import quiet
from tests.registry import f64, random

BEYOND = {"equilibrium": 1e30, "transient": 1e30}  #: features that no cell of float32 can hold


def layer_and_inputs(run, *, rows=4):
    torch.manual_seed(0)
    layer = pf.fusion.PNP({"a": 3, "b": 2}, 5, run=run, channels=3, cells=6)
    given = {"a": torch.randn(rows, 3), "b": torch.randn(rows, 2)}
    return layer, given


@pytest.mark.parametrize("run", BEYOND)
def test_a_row_without_an_answer_spares_its_mates_and_their_gradients(run):
    layer, given = layer_and_inputs(run)
    wanted = layer(given)
    given["a"] = given["a"].clone()
    given["a"][1] *= BEYOND[run]
    with pytest.warns(ConvergenceWarning, match="1 of 4 samples did not .* cells without features"):
        fused, info = layer(given, return_info=True)
    assert info.succeeded.tolist() == [True, False, True, True]
    assert fused.isfinite().all()
    kept = [0, 2, 3]
    torch.testing.assert_close(fused[kept], wanted[kept], rtol=1e-5, atol=1e-5)
    with pytest.warns(ConvergenceWarning):
        plain = layer(given)
    torch.testing.assert_close(plain, fused, rtol=1e-5, atol=1e-5)
    torch.where(info.succeeded[:, None], fused, 0).square().sum().backward()
    for name, parameter in layer.named_parameters():
        if parameter.grad is not None:
            assert parameter.grad.isfinite().all(), name


@pytest.mark.parametrize("run", BEYOND)
def test_all_rows_may_fail(run):
    layer, given = layer_and_inputs(run, rows=2)
    given["a"] = given["a"] * BEYOND[run]
    with pytest.warns(ConvergenceWarning, match="2 of 2"):
        fused, info = layer(given, return_info=True)
    assert not info.succeeded.any()
    torch.testing.assert_close(fused[0], fused[1])  # both read as cells without features


@quiet
def test_the_gradient_of_a_cell_is_kept_from_samples_without_an_answer():
    grid = pf.Grid((8,), (1.0,), ("wall",))
    salt = {"cation": 1.0, "anion": 1.0}
    epsilon = torch.tensor(0.1, requires_grad=True)
    cell = pf.PNP(
        grid,
        [pf.Species("cation", 1), pf.Species("anion", -1)],
        permittivity=epsilon,
        walls={"x-": pf.Wall(potential=0.0, concentration=salt)},
    )
    charge = torch.tensor([1.0, 1e37, 2.0], requires_grad=True)
    rest = pf.equilibrium(
        cell,
        torch.ones(3, 2, 8),
        x={"fixed_charge": charge},
        gradient=Implicit(mask_unconverged=True),
    )
    assert rest.succeeded.tolist() == [True, False, True]
    torch.where(rest.succeeded[:, None, None], rest.final, 0.0).square().sum().backward()
    assert epsilon.grad.isfinite()
    assert charge.grad.isfinite().all()
    assert charge.grad[1] == 0
    with pytest.raises(ValueError, match="its linear systems solved directly"):
        pf.equilibrium(
            cell,
            torch.ones(3, 2, 8),
            x={"fixed_charge": charge},
            gradient=Implicit(solver=Anderson()),
        )


class Growth(pf.Dynamics):
    """It never rests."""

    state_shape = (2,)

    def rate(self, t, u, x=None):
        return 1 + u**2


class Noisy(pf.Dynamics):
    random = True
    state_shape = (3,)

    def rate(self, t, u, x=None):
        return 0.1 * x + torch.randn(u.shape, dtype=u.dtype) - u


class Plain(pf.Dynamics):
    state_shape = (3,)

    def rate(self, t, u, x=None):
        return x - 2 * u


def test_coupled_laws_rest_only_if_each_of_them_does():
    growing = pf.Coupled({"law": Growth()})
    assert not pf.equilibrium(growing, torch.zeros(2, 2, dtype=f64)).succeeded.any()
    torch.manual_seed(0)
    expansive = pf.DEQ(2, 8).double()
    with torch.no_grad():
        for p in expansive.parameters():
            p *= 4
    x = random(5, 2, 8) - 0.5
    law = pf.Coupled({"deq": expansive}, {"deq": lambda states, laws, x: x})
    alone = pf.equilibrium(expansive, torch.zeros(5, 3, 8, dtype=f64), x=x)
    assert not alone.succeeded.all()
    together = pf.equilibrium(law, torch.zeros(5, 24, dtype=f64), x=x)
    assert (together.succeeded <= alone.succeeded).all()


def test_random_laws_rest_together():
    each_other = {
        "noisy": lambda states, laws, x: states["plain"],
        "plain": lambda states, laws, x: states["noisy"],
    }
    law = pf.Coupled({"noisy": Noisy(), "plain": Plain()}, each_other)
    assert pf.equilibrium(law, torch.zeros(4, 6, dtype=f64)).succeeded.all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"coupled": "no"}, "`coupled` must be True or False, got 'no'"),
        ({"run": "transient", "duration": True}, "`duration` must be a number"),
        ({"run": "transient", "duration": 1e300}, "`duration` must be a number"),
    ],
)
def test_wrong_arguments_of_a_pnp_layer(arguments, message):
    with pytest.raises(ValueError, match=message):
        pf.fusion.PNP({"a": 3}, 4, **arguments)


def test_attribution_checks_what_it_is_given():
    layer, given = layer_and_inputs("transient")
    with pytest.raises(ValueError, match="as the layer's parameters"):
        layer.attribution({name: values.double() for name, values in given.items()})


class Swinging(pf.Dynamics):
    state_shape = (2,)

    def rate(self, t, u, x=None):
        return torch.sin(t + 1)[..., None] - u


class Wrong(pf.Dynamics):
    def rate(self, t, u, x=None):
        return u[..., :1]


def test_laws_of_ones_own_are_told_what_is_wrong():
    u0 = torch.zeros(3, 2, dtype=f64)
    for law in (Swinging(), pf.Coupled({"swing": Swinging()})):
        with pytest.raises(ValueError, match="Swinging changes with time, so it has no"):
            pf.equilibrium(law, u0)
    with pytest.raises(ValueError, match=r"`rate` of Wrong must return .* \(3, 2\), got \(3, 1\)"):
        pf.unroll(Wrong(), u0, 2)
    flat = Swinging()
    flat.state_ndim = 0
    with pytest.raises(ValueError, match="`state_ndim` of Swinging must be >= 1"):
        pf.unroll(flat, u0, 2)


def test_a_width_at_which_norms_say_nothing_is_never_chosen():
    """The norm of groups of a single number is 0."""
    assert pf.fusion.DEQ({"a": 8, "b": 6}, 3, cell="paper").dynamics.width == 32
    assert pf.fusion.DEQ({"a": 4, "b": 4}, 4, cell="paper").dynamics.width == 32
    assert pf.fusion.DEQ({"a": 8, "b": 8}, 8, cell="paper").dynamics.width == 8
