"""The paper's cell at rest in compiled code against its blocks in torch: same numbers."""

import pytest
import torch

import pnpfusion as pf
from pnpfusion.dynamics import deq
from pnpfusion.dynamics.deq_compiled import CompiledBlock, compiled_block
from pnpfusion.dynamics.deq_compiled_fusion import CompiledFusion, compiled_fusion
from pnpfusion.solvers import Broyden, ConvergenceWarning, Implicit, NewtonKrylov, Phantom
from tests.registry import f64, random

pytest.importorskip("numba", reason="the compiled kernels need pnpfusion[fast]")
TOLERANCE = {torch.float32: 2e-5, f64: 1e-11}


def contracting(width=20, dtype=f64, **options):
    torch.manual_seed(0)
    law = pf.DEQ(3, width, **options)
    with torch.no_grad():
        for parameter in law.parameters():
            if parameter.ndim == 1:  # no gain is 1, no shift 0
                parameter.add_(0.2 * torch.randn(parameter.shape))
        for norm in [law.fusion.norm, *(block.norm3 for block in law.unimodal)]:
            norm.weight.mul_(0.3)
    return law.to(dtype)


@pytest.fixture
def in_torch(monkeypatch):
    """A call evaluates its blocks in torch."""

    def call(function, *args):
        with monkeypatch.context() as patch:
            patch.setattr(deq, "compiled_block", lambda *_: None)
            patch.setattr(deq, "compiled_fusion", lambda *_: None)
            return function(*args)

    return call


def features_of(law, batch=7):
    dtype = next(law.parameters()).dtype
    return (2 * random(batch, 3, law.width, seed=1) - 1).to(dtype).requires_grad_()


def at_rest_with_gradient(law, x, there, gradient):
    given = x if there is None else {"features": x, "present": there}
    start = x.new_zeros(len(x), 4, law.width)
    run = pf.equilibrium(law, start, x=given, tol=TOLERANCE[x.dtype] / 10, gradient=gradient)
    weights = random(*run.final.shape, seed=2).to(x.dtype)
    found = torch.autograd.grad((run.final * weights).sum(), [x, *law.parameters()])
    return run, found


@pytest.mark.parametrize("dtype", [torch.float32, f64])
@pytest.mark.parametrize("case", ["plain", "absent", "no residual", "wide", "masked", "order"])
def test_states_and_gradients_are_those_of_torch(case, dtype, in_torch):
    width = 144 if case == "wide" else 20
    order = "norm-relu" if case == "order" else "relu-norm"
    law = contracting(width, dtype, state_residual=case != "no residual", order=order)
    x, there, gradient = features_of(law), None, None
    if case == "absent":
        there = torch.ones(7, 3, dtype=torch.bool)
        there[1, 0] = there[1, 2] = there[4, 1] = False
    if case == "masked":
        gradient = Implicit(mask_unconverged=True)
    here, own = at_rest_with_gradient(law, x, there, gradient)
    reference, by_torch = in_torch(at_rest_with_gradient, law, x, there, gradient)
    assert here.succeeded.all()
    bound = TOLERANCE[dtype]
    torch.testing.assert_close(here.final, reference.final, rtol=bound, atol=bound)
    for one, other in zip(own, by_torch, strict=True):
        scale = float(other.abs().max()) + 1
        torch.testing.assert_close(one, other, rtol=0, atol=20 * bound * scale)
    if case == "absent":
        assert not here.final[1, 0].any()
        assert not own[0][1, 0].any()
    assert here.backward.converged.all()


def test_one_product_with_the_jacobian_is_that_of_autograd():
    law = contracting()
    block, features = law.unimodal[1], features_of(law)[:, 1]
    there = torch.tensor([True, False, True, True, True, False, True])
    compiled = compiled_block(block, features, there, Broyden(), None)
    assert isinstance(compiled, CompiledBlock)
    rows = torch.tensor([0, 1, 3, 6])
    z = random(4, law.width, seed=3).requires_grad_()
    f = torch.where(there[rows, None], block(z, features[rows]), 0) - z
    w = random(4, law.width, seed=4)
    torch.testing.assert_close(compiled(z.detach(), rows), f)
    place = compiled.linearised(z, rows)
    torch.testing.assert_close(place.f, f)
    torch.testing.assert_close(place.transposed(w), torch.autograd.grad(f, z, w)[0])


@pytest.mark.parametrize("each", [False, True])
def test_one_product_with_the_jacobian_of_fusion_is_that_of_autograd(each):
    law = contracting()
    total, injected = random(7, law.width, seed=5), random(7, law.width, seed=6)
    number = torch.tensor([[3], [1], [2], [3], [1], [3], [2]]) if each else 3
    compiled = compiled_fusion(law.fusion, total, number, injected, Broyden(), None)
    assert isinstance(compiled, CompiledFusion)
    rows = torch.tensor([0, 1, 3, 6])
    z = random(4, law.width, seed=3).requires_grad_()
    own = number[rows] if each else number
    f = law.fusion(z, total[rows], own, injected[rows]) - z
    w = random(4, law.width, seed=4)
    torch.testing.assert_close(compiled(z.detach(), rows), f)
    place = compiled.linearised(z, rows)
    torch.testing.assert_close(place.f, f)
    torch.testing.assert_close(place.transposed(w), torch.autograd.grad(f, z, w)[0])


def test_a_sample_that_fails_is_masked_as_in_torch(in_torch):
    law, gradient = contracting(), Implicit(mask_unconverged=True)
    x = features_of(law)
    with torch.no_grad():
        x[2, 1] = torch.inf

    def run():
        with pytest.warns(ConvergenceWarning):
            return at_rest_with_gradient(law, x, None, gradient)

    (here, own), (reference, by_torch) = run(), in_torch(run)
    assert here.succeeded.tolist() == reference.succeeded.tolist() == [k != 2 for k in range(7)]
    for one, other in zip(own, by_torch, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-8, equal_nan=True)


def test_the_bits_do_not_depend_on_where_memory_is_found():
    law = contracting(32)
    x, z = features_of(law)[:, 0], random(7, law.width, seed=3)
    found, taken = [], []
    for k in range(12):
        taken.append(torch.empty(1 + 3 * k))
        compiled = compiled_block(law.unimodal[0], x, None, Broyden(), None)
        place = compiled.linearised(z, None)
        found.append((compiled(z, None), place.transposed(z)))
    for one in found[1:]:
        assert torch.equal(one[0], found[0][0])
        assert torch.equal(one[1], found[0][1])


def test_what_the_kernels_do_not_know_is_left_to_torch():
    law = contracting()
    block, features = law.unimodal[0], features_of(law)[:, 0]

    def known(block=block, features=features, solver=None, gradient=None):
        return compiled_block(block, features, None, solver or Broyden(), gradient) is not None

    assert known()
    assert not known(solver=NewtonKrylov())
    assert not known(gradient=Phantom())
    assert not known(features=features.float())
    assert not known(block=contracting(norm="rms").unimodal[0])
    handle = block.norm2.register_forward_hook(lambda *_: None)
    assert not known()
    handle.remove()
    torch.nn.utils.parametrizations.spectral_norm(block.linear1)
    assert not known()


def test_a_parameter_changed_before_the_backward_pass_is_noticed():
    law = contracting()
    x = features_of(law)
    final = pf.equilibrium(law, x.new_zeros(7, 4, law.width), x=x).final
    with torch.no_grad():
        law.unimodal[0].norm1.weight.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        final.sum().backward()


@pytest.mark.parametrize("part", ["linear1", "norm1", "norm3"])
def test_parameters_may_stand_in_another_order(part, in_torch):
    law = contracting()
    for one in (getattr(law.unimodal[0], part), law.fusion.out):
        one.weight = one._parameters.pop("weight")  # as where a parametrisation was taken away
    x = features_of(law)
    assert compiled_block(law.unimodal[0], x[:, 0], None, Broyden(), None) is not None
    run, found = at_rest_with_gradient(law, x, None, None)
    same, wanted = in_torch(at_rest_with_gradient, law, x, None, None)
    torch.testing.assert_close(run.final, same.final, rtol=1e-9, atol=1e-9)
    for mine, theirs in zip(found, wanted, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("change", ["groups", "forward", "backward hook", "hook of all modules"])
def test_what_is_put_into_a_block_later_is_left_to_torch(change):
    law = contracting()
    block, handles = law.unimodal[0], []
    if change == "groups":
        block.norm2 = type(block.norm2)(law.width, law.width).double()
    elif change == "forward":
        block.linear1.forward = lambda z: z
    elif change == "backward hook":
        handles.append(block.linear1.register_full_backward_pre_hook(lambda *_: None))
    else:
        handles.append(torch.nn.modules.module.register_module_forward_hook(lambda *_: None))
    try:
        features = features_of(law)[:, 0]
        assert compiled_block(block, features, None, Broyden(), None) is None
    finally:
        for handle in handles:
            handle.remove()
