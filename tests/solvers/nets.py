"""A small network with a fixed point, and its solution to round-off."""

import dataclasses

import pytest
import torch

from pnpfusion.solvers import Anderson, solve_fixed_point
from tests.registry import FIXED_POINT_SOLVERS, f64, random

every_solver = pytest.mark.parametrize(
    "solver", FIXED_POINT_SOLVERS, ids=lambda one: type(one).__name__
)


class Net:
    """g(u) = tanh(W u + x), a contraction for |W| < 1."""

    def __init__(self, batch=6, width=10, norm=0.8, seed=0):
        matrix = random(width, width, seed=seed) - 0.5
        self.w = (matrix * norm / torch.linalg.matrix_norm(matrix, 2)).requires_grad_()
        self.x = (2 * random(batch, width, seed=seed + 1) - 1).requires_grad_()
        self.u0 = torch.zeros(batch, width, dtype=f64)
        self.calls = []

    def __call__(self, u, which):
        self.calls.append(len(u))
        x = self.x if which is None else self.x[which]
        return torch.tanh(u @ self.w.T + x) - u

    def jacobian(self, u):
        slope = 1 - torch.tanh(u @ self.w.T + self.x) ** 2
        return (slope[:, :, None] * self.w).detach()

    def gradient(self, u, y):
        """What u passes on of its gradient y, by dense algebra: to x and to W."""
        slope = (1 - torch.tanh(u @ self.w.T + self.x) ** 2).detach()
        matrix = torch.eye(u.shape[1], dtype=f64) - self.jacobian(u)
        back = torch.linalg.solve(matrix.mT, y.unsqueeze(-1)).squeeze(-1) * slope
        return back, back.T @ u


def solve(net, solver=None, tolerance=1e-11, gradient=None, u0=None):
    u0 = net.u0 if u0 is None else u0
    solver = Anderson() if solver is None else solver
    return solve_fixed_point(net, u0, solver=solver, tolerance=tolerance, gradient=gradient)


def long(solver):
    return dataclasses.replace(solver, max_evaluations=500)
