"""Three laws, three verbs: one fixed point by three roads."""

import pytest
import torch

import pnpfusion as pf
from pnpfusion.solvers import Anderson, Implicit, NewtonKrylov, Phantom, Picard
from tests.marks import quiet
from tests.registry import FIXED_POINT_SOLVERS, Decay, Pendulum, f64, random
from tests.run.three_laws import LAWS, Exchange, cell_of_eight

pytestmark = quiet
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
        ({"tol": -1.0}, "`tol` must be a finite number > 0"),
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
