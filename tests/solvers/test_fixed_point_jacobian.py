"""What is told of a Jacobian without writing it down: its norm and its spectral radius."""

import pytest
import torch

from pnpfusion.solvers import jacobian_penalty, spectral_radius
from tests.registry import random
from tests.solvers.nets import Net, solve


def test_the_penalty_is_unbiased_and_has_a_gradient():
    net = Net(batch=3, width=5)
    u = solve(net).u.detach()
    dense = net.jacobian(u).square().sum() / 15
    with torch.no_grad():  # as in an evaluation loop that still wants the number
        many = jacobian_penalty(net, u, probes=4000, generator=torch.Generator().manual_seed(0))
    assert many.item() == pytest.approx(dense.item(), rel=0.05)
    assert many.requires_grad

    def penalty(w):
        net.w = w
        return jacobian_penalty(net, u, probes=2, generator=torch.Generator().manual_seed(1))

    assert torch.autograd.gradcheck(penalty, (net.w,))


def test_the_spectral_radius_is_that_of_dense_algebra():
    net = Net(width=12)
    u = solve(net).u.detach()
    dense = torch.linalg.eigvals(net.jacobian(u)).abs().amax(1)
    exact = spectral_radius(net, u, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(exact, dense, rtol=1e-8, atol=1e-8)
    net.w = torch.outer(random(12, seed=3), random(12, seed=4)) / 6  # of rank 1: Arnoldi ends early
    dense = torch.linalg.eigvals(net.jacobian(u)).abs().amax(1)
    ended = spectral_radius(net, u, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(ended, dense, rtol=1e-8, atol=1e-8)
    wide = Net(width=80, norm=5.0)
    dense = torch.linalg.eigvals(wide.jacobian(wide.u0)).abs().amax(1)
    some = spectral_radius(wide, wide.u0, generator=torch.Generator().manual_seed(0))
    assert (some <= dense * 1.05).all()
    assert (some >= dense * 0.9).all()
