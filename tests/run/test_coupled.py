"""Laws that drive each other: every verb, gradients round the loop, and totals."""

import copy

import pytest
import torch
from torch import nn

import pnpfusion as pf
from pnpfusion.solvers import Anderson, ConvergenceWarning, Implicit, KenCarp4, NewtonKrylov, Picard
from tests.marks import quiet
from tests.registry import Decay, blocking_cell, f64, random
from tests.run.three_laws import LAWS, Exchange, cell_and_deq

pytestmark = quiet


class Charging(nn.Module):
    """A feedback law's state as the potential of a cell's electrode."""

    def forward(self, states, laws, x):
        return {"potential:x-": states["feedback"][..., 0]}


def cell_and_progressive():
    torch.manual_seed(3)
    cell = blocking_cell(4, debye=1.0, voltage=0.5)
    encoders = {"phi": nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3))}
    head = nn.Sequential(Only(), nn.Linear(3, 2), nn.Tanh())
    feedback = pf.Progressive(encoders, head, width=2, at={"phi": "0"}, context=3).double()
    law = pf.Coupled(
        {"cell": cell, "feedback": feedback},
        {
            "feedback": lambda s, laws, x: {"phi": laws["cell"].potential(s["cell"])},
            "cell": Charging(),
        },
    )
    start = {"cell": torch.ones(2, 2, 4, dtype=f64), "feedback": torch.zeros(2, 2, dtype=f64)}
    return law, law.join(start)


class Only(nn.Module):
    def forward(self, parts):
        return parts[0]


COUPLED = {"PNP+DEQ": cell_and_deq, "PNP+Progressive": cell_and_progressive}


@pytest.mark.parametrize("name", COUPLED)
def test_coupled_laws_by_three_roads(name):
    law, u0 = COUPLED[name]()
    rest = pf.equilibrium(law, u0, tol=1e-12).require_success()
    with torch.no_grad():
        path = pf.simulate(law, u0, torch.tensor([0.0, 40.0], dtype=f64), rtol=1e-6)
    rounds = pf.unroll(law, u0, 500, step=0.3 * 0.5**2)
    for run in (path, rounds):
        torch.testing.assert_close(run.require_success().final, rest.final, rtol=1e-6, atol=1e-7)
        torch.testing.assert_close(law.conserved(run.final), law.conserved(u0), rtol=1e-9, atol=0)
    # Each law rests under what the other tells it:
    states = law.split(rest.final)
    under = law.inputs_at(states)
    for part, one in states.items():
        own = pf.equilibrium(law.laws[part], one, x=under[part], tol=1e-12)
        torch.testing.assert_close(own.final, one, rtol=1e-8, atol=1e-9)
    # and the other does tell it something:
    alone = pf.equilibrium(law.laws["cell"], law.split(u0)["cell"])
    assert (alone.final - states["cell"]).abs().max() > 1e-3


@pytest.mark.parametrize("name", COUPLED)
def test_gradients_go_round_the_loop(name):
    law, u0 = COUPLED[name]()
    other = next(p for n, p in law.named_parameters() if p.ndim == 2 or "weight" in n)

    def moved(by):
        twin = copy.deepcopy(law)
        one = dict(twin.named_parameters())[names[id(other)]]
        with torch.no_grad():
            one[(0,) * one.ndim] += by
        return pf.equilibrium(twin, u0, tol=1e-13).final[0, 0]

    names = {id(p): n for n, p in law.named_parameters()}
    (exact,) = torch.autograd.grad(pf.equilibrium(law, u0, tol=1e-13).final[0, 0], other)
    difference = (moved(1e-5) - moved(-1e-5)) / 2e-5
    assert exact[(0,) * exact.ndim].item() == pytest.approx(difference.item(), rel=1e-5, abs=1e-10)


def test_join_and_split():
    law, u0 = cell_and_deq()
    states = law.split(u0)
    assert {name: tuple(one.shape) for name, one in states.items()} == {
        "cell": (2, 2, 4),
        "deq": (2, 2, 4),
    }
    torch.testing.assert_close(law.join(states), u0)
    many = law.split(torch.stack([u0, u0, u0]))
    assert many["cell"].shape == (3, 2, 2, 4)
    assert "driven=['deq', 'cell']" in repr(law)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: pf.Coupled({}), "`laws` must map names to laws"),
        (lambda: pf.Coupled({"a": "PNP"}), r"`laws\['a'\]` must be a Dynamics, got str"),
        (lambda: pf.Coupled({"a": Decay()}), r"`shapes\['a'\]` is needed: Decay does not know"),
        (lambda: pf.Coupled({"a": Decay()}, shapes={"a": (2, 2)}), "must have 1 axes"),
        (
            lambda: pf.Coupled({"a": blocking_cell(6)}, {"b": print}),
            r"`inputs` has unknown laws \['b'\]",
        ),
        (lambda: pf.Coupled({"a": blocking_cell(6)}, {"a": 1}), "must be a function, got 1"),
        (
            lambda: pf.Coupled({"a": blocking_cell(6)}).join({"b": torch.ones(2, 6)}),
            r"`states` must name \['a'\]",
        ),
        (
            lambda: pf.Coupled({"a": blocking_cell(6)}).join({"a": torch.ones(2, 5)}),
            r"must end in \(2, 6\)",
        ),
        (
            lambda: pf.equilibrium(pf.Coupled({"a": blocking_cell(6)}), torch.ones(11)),
            "make it with `join`",
        ),
        (
            lambda: pf.equilibrium(pf.Coupled({"a": blocking_cell(6)}), -torch.ones(12)),
            r"`u0 of 'a'` holds concentrations and must be >= 0",
        ),
    ],
)
def test_what_does_not_fit_is_said(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_steppers_of_coupled_laws():
    law, u0 = cell_and_deq()
    with torch.no_grad():
        run = pf.simulate(law, u0, torch.tensor([0.0, 0.5], dtype=f64), rtol=1e-4)
    assert isinstance(law.choose_stepper(law.bind(u0), u0, None, None)[0], KenCarp4)
    assert "may be stiff" in run.choice


def test_coupled_cells_of_an_ordinary_size():
    """However stiff the cell, what is iterated is the coupling; gradients go round it."""
    torch.manual_seed(0)
    cell = blocking_cell(96, debye=0.1, voltage=2.0)
    law = pf.Coupled(
        {"cell": cell, "deq": pf.ContractiveDEQ(1, 96).double()},
        {
            "deq": lambda s, laws, x: laws["cell"].potential(s["cell"]).unsqueeze(-2),
            "cell": lambda s, laws, x: {"potential:x+": 2 + 0.5 * s["deq"][..., -1, 0]},
        },
    )
    u0 = law.join({"cell": torch.ones(3, 2, 96).double(), "deq": torch.zeros(3, 2, 96).double()})
    rest = pf.equilibrium(law, u0).require_success()
    assert rest.work.rate_calls.max() <= 20
    assert (rest.residuals < 1e-8).all()
    rest.final.square().sum().backward()
    assert rest.backward.converged.all()
    twin = copy.deepcopy(law)
    with torch.no_grad():
        law.laws["deq"].sum_bias += 3
    same, other = pf.equilibrium(twin, u0), pf.equilibrium(law, u0)
    torch.testing.assert_close(same.final, rest.final)
    assert (other.final - rest.final).abs().max() > 1e-3


def test_without_gradients_in_inference_mode():
    for name in LAWS:
        law, u0, x, _ = LAWS[name]()
        wanted = pf.equilibrium(law, u0, x=x).final
        with torch.inference_mode():
            for solver in (None, NewtonKrylov()):
                rest = pf.equilibrium(law, u0, x=x, solver=solver).require_success()
                torch.testing.assert_close(rest.final, wanted, rtol=1e-6, atol=1e-7)
    law, u0 = cell_and_progressive()
    with torch.inference_mode():
        assert pf.equilibrium(law, u0).succeeded.all()


def test_what_changes_with_time_has_no_rest():
    swinging = pf.PNP(
        pf.Grid((4,), (1.0,), ("wall",)),
        [pf.Species("ion", 1)],
        permittivity=1.0,
        walls={"x-": pf.Wall(potential=torch.sin)},
    )
    c0 = torch.ones(1, 4, dtype=f64)
    for law, u0, solver in (
        (swinging, c0, None),
        (swinging, c0, NewtonKrylov()),
        (pf.Coupled({"laws": swinging}), c0.reshape(4), None),
    ):
        with pytest.raises(ValueError, match="change with time has no equilibrium"):
            pf.equilibrium(law, u0, solver=solver)


def test_totals_that_say_the_same_twice():
    class Twice(Exchange):
        def conserved(self, u):
            total = super().conserved(u)
            return torch.cat([total, 2 * total], -1)

    u0 = random(4, 3) + 0.5
    wanted = pf.equilibrium(Exchange(0.7), u0).final
    torch.testing.assert_close(pf.equilibrium(Twice(0.7), u0).final, wanted, rtol=1e-8, atol=1e-8)
    assert pf.equilibrium(Twice(0.7), u0[:0]).final.shape == (0, 3)


def test_masks_hold_through_blocks_that_rest_on_each_other():
    torch.manual_seed(0)
    law = pf.DEQ(2, 8).double()
    with torch.no_grad():
        for p in law.unimodal.parameters():
            p *= 2
        law.fusion.out.weight *= 1e-3
    x = torch.randn(64, 2, 8, dtype=f64, requires_grad=True)
    rest = pf.equilibrium(
        law,
        torch.zeros(64, 3, 8, dtype=f64),
        x=x,
        solver=Picard(max_evaluations=30),
        tol=1e-6,
        gradient=Implicit(mask_unconverged=True, solver=Anderson(max_evaluations=200)),
    )
    failed = ~rest.succeeded
    assert failed.any()
    with pytest.warns(ConvergenceWarning):
        (by_x,) = torch.autograd.grad(rest.final.sum(), x, materialize_grads=True)
    assert (by_x[failed] == 0).all()
