"""Three laws, three verbs: one fixed point by three roads; and laws that drive each other."""

import copy

import pytest
import torch
from torch import nn

import pnpfusion as pf
from pnpfusion.solvers import (
    Anderson,
    ConvergenceWarning,
    Implicit,
    KenCarp4,
    NewtonKrylov,
    Phantom,
    Picard,
)
from tests.registry import FIXED_POINT_SOLVERS, Decay, Pendulum, blocking_cell, f64, random

pytestmark = pytest.mark.filterwarnings("ignore::pnpfusion.dynamics.resolution.ResolutionWarning")


def cell_of_eight():
    """A PNP cell, states on one mass shell, and a step below 2 / (its largest rate)."""
    c0 = torch.stack([1 + 0.3 * random(2, 2, 8, seed=s) for s in range(2)]).mean(0)
    return blocking_cell(8, debye=0.5), c0, None, 0.4 * 0.25**2


def deep_equilibrium():
    torch.manual_seed(0)
    law = pf.ContractiveDEQ(2, 4).double()
    return law, torch.zeros(3, 3, 4, dtype=f64), random(3, 2, 4) - 0.5, 1.0


def feedback():
    torch.manual_seed(1)
    encoders = {
        name: nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 4)) for name in ("a", "b")
    }

    class Sum(nn.Module):
        def forward(self, parts):
            return torch.tanh(parts[0] + parts[1])

    law = pf.Progressive(encoders, Sum(), width=4, at={"a": "0", "b": "0"}).double()
    x = {"a": random(3, 3, seed=2) - 0.5, "b": random(3, 3, seed=3) - 0.5}
    return law, torch.zeros(3, 4, dtype=f64), x, 1.0


LAWS = {"PNP": cell_of_eight, "DEQ": deep_equilibrium, "Progressive": feedback}
every_law = pytest.mark.parametrize("name", LAWS)


@every_law
def test_one_fixed_point_by_three_roads(name):
    law, u0, x, step = LAWS[name]()
    rest = pf.equilibrium(law, u0, x=x, tol=1e-12).require_success()
    path = pf.simulate(law, u0, torch.tensor([0.0, 60.0], dtype=f64), x=x, rtol=1e-9)
    rounds = pf.unroll(law, u0, 1000 if name == "PNP" else 120, x=x, step=step)
    for run in (path.require_success(), rounds.require_success()):
        torch.testing.assert_close(run.final, rest.final, rtol=1e-8, atol=1e-8)
        assert run.states.shape[1:] == u0.shape
        assert run.succeeded.shape == u0.shape[: u0.ndim - law.state_ndim]
    assert rest.outcome is pf.Outcome.CONVERGED
    assert rest.choice
    totals = law.conserved(u0)
    if totals is not None:
        for run in (path, rounds, rest):
            torch.testing.assert_close(law.conserved(run.final), totals, rtol=1e-12, atol=1e-12)


@every_law
@pytest.mark.parametrize("solver", FIXED_POINT_SOLVERS, ids=lambda one: type(one).__name__)
def test_every_solver_ends_there_with_the_same_gradient(name, solver):
    law, u0, x, step = LAWS[name]()
    if not isinstance(solver, NewtonKrylov):
        solver = type(solver)(damping=step, max_evaluations=4000)
    u0 = u0.requires_grad_()
    found = pf.equilibrium(law, u0, x=x, solver=solver, tol=1e-12).require_success()
    own = pf.equilibrium(law, u0, x=x, tol=1e-12)
    torch.testing.assert_close(found.final, own.final, rtol=1e-8, atol=1e-8)
    y = random(*u0.shape, seed=7)
    wanted = [u0] if name == "PNP" else [*law.parameters()]
    for one, other in zip(
        torch.autograd.grad((y * found.final).sum(), wanted, materialize_grads=True),
        torch.autograd.grad((y * own.final).sum(), wanted, materialize_grads=True),
        strict=True,
    ):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-8)
    assert found.history.shape == (found.work.rate_calls.max(), len(u0)) or isinstance(
        solver, NewtonKrylov
    )
    assert found.backward.converged.all()
    assert "as asked" in found.choice


@every_law
def test_gradients_of_all_three_verbs_agree_at_rest(name):
    law, u0, x, step = LAWS[name]()
    if name == "PNP":
        debye = torch.tensor(0.5, dtype=f64, requires_grad=True)
        law = pf.PNP(law.grid, law.species, permittivity=2 * debye**2, walls=law.walls)
        wanted = [debye]
    else:
        wanted = [p for p in law.parameters() if p.requires_grad]
    rest = pf.equilibrium(law, u0, x=x, tol=1e-12)
    rounds = pf.unroll(law, u0, 800 if name == "PNP" else 80, x=x, step=step)
    y = random(*u0.shape, seed=7)
    for one, other in zip(
        torch.autograd.grad(
            (y * rest.final).sum(), wanted, retain_graph=True, materialize_grads=True
        ),
        torch.autograd.grad((y * rounds.final).sum(), wanted, materialize_grads=True),
        strict=True,
    ):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-8)


def test_a_step_above_the_limit_does_not_end_there():
    law, u0, x, step = cell_of_eight()
    assert not pf.unroll(law, u0, 300, x=x, step=5 * step).succeeded.any()


# ---- what conserves


class Exchange(pf.Dynamics):
    """Two pools that exchange what they hold, at a rate k: only the sum is conserved."""

    def __init__(self, k):
        super().__init__()
        self.k = k

    def rate(self, t, u, x=None):
        flow = self.k * (u[..., 0].exp() - 1 - u[..., 1])
        return torch.stack([-flow, flow, torch.ones_like(flow) - u[..., 2]], -1)

    def conserved(self, u):
        return u[..., :2].sum(-1, keepdim=True)


@pytest.mark.parametrize("solver", [None, *FIXED_POINT_SOLVERS], ids=str)
def test_the_bordered_solve_keeps_totals_and_passes_their_gradient(solver):
    if solver is not None and not isinstance(solver, NewtonKrylov):
        solver = type(solver)(damping=0.3, max_evaluations=400)
    k = torch.tensor(0.7, dtype=f64, requires_grad=True)
    u0 = (random(4, 3) + 0.5).requires_grad_()

    def rest(u0, k):
        return pf.equilibrium(Exchange(k), u0, solver=solver, tol=1e-13).require_success().final

    final = rest(u0, k)
    torch.testing.assert_close(final[:, :2].sum(1), u0[:, :2].sum(1), rtol=1e-12, atol=1e-12)
    assert torch.autograd.gradcheck(rest, (u0, k))


# ---- laws of which nothing is known


@pytest.mark.parametrize(
    ("law", "u0"),
    [(Decay(), torch.ones(2, 3, dtype=f64)), (Pendulum(), torch.tensor([[0.5, 0.3]], dtype=f64))],
    ids=["Decay", "Pendulum"],
)
def test_any_law_has_all_verbs(law, u0):
    rest = pf.equilibrium(law, u0).require_success()
    torch.testing.assert_close(rest.final, torch.zeros_like(u0), rtol=0, atol=1e-8)
    assert "NewtonKrylov" in rest.choice


def test_a_law_without_rest_says_so():
    class Growth(pf.Dynamics):
        def rate(self, t, u, x=None):
            return 1 + u**2

    run = pf.equilibrium(Growth(), torch.zeros(2, 3, dtype=f64))
    assert not run.succeeded.any()
    assert run.outcome is pf.Outcome.NOT_CONVERGED
    assert run.final.isfinite().all()
    with pytest.raises(pf.SolveError, match=r"2 of 2 samples .* there may be none"):
        run.require_success()


def test_a_batch_without_samples():
    for name in ("DEQ", "Progressive"):
        law, u0, x, _ = LAWS[name]()
        none = {k: v[:0] for k, v in x.items()} if isinstance(x, dict) else x[:0]
        assert pf.equilibrium(law, u0[:0], x=none).final.shape == u0[:0].shape


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"solver": "anderson"}, r"`solver` must be None or e\.g\. pnpfusion\.solvers\.Anderson"),
        ({"gradient": "phantom"}, "`gradient` must be None or e.g"),
        ({"tol": -1.0}, "`tol` must be a number > 0"),
    ],
)
def test_wrong_arguments_say_what_is_wanted(arguments, message):
    with pytest.raises(ValueError, match=message):
        pf.equilibrium(Decay(), torch.ones(2, dtype=f64), **arguments)


def test_a_cell_has_one_gradient_of_its_own():
    law, c0, _, step = cell_of_eight()
    assert pf.equilibrium(law, c0, gradient=Implicit()).succeeded.all()
    with pytest.raises(ValueError, match="`gradient` of a cell's own way"):
        pf.equilibrium(law, c0, gradient=Phantom())
    solver = Picard(damping=step, max_evaluations=4000)
    assert pf.equilibrium(law, c0, solver=solver, gradient=Phantom()).succeeded.all()


# ---- noise


class Noisy(pf.Dynamics):
    """Its rest is what it drew."""

    random = True

    def rate(self, t, u, x=None):
        return torch.randn(u.shape, dtype=u.dtype) - u


def test_noise_is_drawn_once_per_run_and_anew_in_every_round():
    torch.manual_seed(0)
    u0 = torch.zeros(4, 3, dtype=f64)
    for solver in (None, Anderson()):
        rest = pf.equilibrium(Noisy(), u0, solver=solver).require_success()
        assert (rest.final.std() > 0.3).item()
    assert not torch.equal(rest.final, pf.equilibrium(Noisy(), u0, solver=solver).final)
    run = pf.simulate(Noisy(), u0, torch.tensor([0.0, 30.0, 40.0], dtype=f64))
    torch.testing.assert_close(run.states[1], run.states[2], rtol=1e-6, atol=1e-6)
    rounds = pf.unroll(Noisy(), u0, 3).states
    assert not torch.allclose(rounds[1], rounds[2])
    before = torch.random.get_rng_state()
    seeded = torch.randint(2**62, ())
    torch.random.set_rng_state(before)
    pf.equilibrium(Noisy(), u0)
    after = torch.randint(2**62, ())
    torch.random.set_rng_state(before)
    torch.randint(2**62, ())
    assert torch.equal(after, torch.randint(2**62, ()))  # one number was drawn, and no more
    assert not torch.equal(after, seeded)


# ---- laws that drive each other


class Charging(nn.Module):
    """A feedback law's state as the potential of a cell's electrode."""

    def forward(self, states, laws, x):
        return {"potential:x-": states["feedback"][..., 0]}


def cell_and_deq():
    """The potential of a cell feeds a deep equilibrium, whose answer charges an electrode."""
    torch.manual_seed(0)
    cell = blocking_cell(4, debye=1.0, voltage=0.5)
    deq = pf.ContractiveDEQ(1, 4).double()
    law = pf.Coupled(
        {"cell": cell, "deq": deq},
        {
            "deq": lambda s, laws, x: laws["cell"].potential(s["cell"]).unsqueeze(-2),
            "cell": lambda s, laws, x: {"potential:x+": 0.5 + 0.2 * s["deq"][..., -1, 0]},
        },
    )
    start = {"cell": 1 + torch.zeros(2, 2, 4, dtype=f64), "deq": torch.zeros(2, 2, 4, dtype=f64)}
    start["cell"][1] *= 1.3
    return law, law.join(start)


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
