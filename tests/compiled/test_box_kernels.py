"""Kernels of boxes against the same in tensors."""

import itertools

import pytest
import torch

import pnpfusion as pf
from pnpfusion.solvers import elliptic, stencil
from pnpfusion.solvers.backend import using
from pnpfusion.solvers.krylov import gmres
from pnpfusion.solvers.stencil import Stencil
from tests.registry import f64

pytest.importorskip("numba")
KINDS = ("periodic", "wall")
BOXES = [
    pf.Grid(shape, (1.0,) * len(shape), boundaries)
    for shape in ((5,), (4, 7), (1, 6), (3, 4, 5))
    for boundaries in itertools.product(KINDS, repeat=len(shape))
]


def name(grid):
    return f"{grid.shape} {grid.boundaries}"


def draws(*shape, seed=0):
    return torch.rand(shape, dtype=f64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("massive", [False, True])
@pytest.mark.parametrize("grid", BOXES, ids=name)
def test_what_leaves_through_faces_is_the_same(grid, massive, batch):
    conductances = []
    for axis, n in enumerate(grid.shape):
        others = [m for other, m in enumerate(grid.shape) if other != axis]
        g = draws(batch if axis else 1, *others, n + 1, seed=axis)
        if grid.boundaries[axis] == "periodic":
            g[..., -1] = g[..., 0]
        conductances.append(g)
    mass = draws(batch, *grid.shape, seed=7) if massive else None
    x = draws(3, *grid.shape, seed=9)[:batch] - 0.5
    wanted = elliptic.apply_elliptic(grid, tuple(conductances), mass, x)
    found = elliptic._compiled(grid, tuple(conductances), mass, x)(x)
    torch.testing.assert_close(found, wanted, rtol=1e-13, atol=1e-14)


def random_stencil(grid, batch, m):
    def blocks(seed):
        return draws(batch, *grid.shape, m, m, seed=seed) - 0.5

    diagonal = blocks(0) + (2 + 2 * grid.ndim) * torch.eye(m, dtype=f64)
    lower, upper = [], []
    for axis, boundary in enumerate(grid.boundaries):
        low, up = blocks(1 + axis), blocks(5 + axis)
        if boundary == "wall":
            low.select(axis + 1, 0).zero_()
            up.select(axis + 1, -1).zero_()
        lower.append(low)
        upper.append(up)
    return Stencil(grid, diagonal, tuple(lower), tuple(upper))


@pytest.mark.parametrize("m", [2, 3, 5])
@pytest.mark.parametrize("grid", BOXES, ids=name)
def test_products_with_block_stencils_are_the_same(grid, m):
    matrix, x = random_stencil(grid, 2, m), draws(2, *grid.shape, m, seed=11)
    found = matrix.apply(x)
    with using("torch"):
        torch.testing.assert_close(found, matrix.apply(x), rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("grid", [box for box in BOXES if box.ndim > 1], ids=name)
def test_boxes_are_solved_the_same_with_and_without_kernels(grid):
    matrix, load = random_stencil(grid, 2, 3), draws(2, *grid.shape, 3, seed=13)
    found = matrix.solve(load)
    torch.testing.assert_close(matrix.apply(found), load, rtol=0, atol=1e-10)
    with using("torch"):
        torch.testing.assert_close(found, matrix.solve(load), rtol=0, atol=1e-10)


def test_a_line_with_a_singular_block_is_left_to_lapack():
    lower, upper = (draws(2, 6, 3, 3, seed=seed) for seed in (1, 2))
    diagonal, load = draws(2, 6, 3, 3, seed=3), draws(2, 6, 3, seed=4)
    diagonal[:, 0] = 0
    x = stencil._line_solver(lower, diagonal, upper, periodic=False)(load)
    left = (diagonal @ x.unsqueeze(-1)).squeeze(-1)
    left[:, 1:] += (lower[:, 1:] @ x[:, :-1].unsqueeze(-1)).squeeze(-1)
    left[:, :-1] += (upper[:, :-1] @ x[:, 1:].unsqueeze(-1)).squeeze(-1)
    torch.testing.assert_close(left, load, rtol=0, atol=1e-9)


def test_gmres_keeps_what_a_sample_had_when_it_was_done():
    generator = torch.Generator().manual_seed(0)
    spread = torch.randn(2, 30, 30, dtype=f64, generator=generator)
    matrix = torch.eye(30, dtype=f64) * 8 + torch.stack([0.01 * spread[0], spread[1]])
    load = draws(2, 30, seed=1)
    x, products, left = gmres(
        lambda v: (matrix @ v.unsqueeze(-1)).squeeze(-1), load, lambda v: v, 1e-12, restart=12
    )
    assert products[0] < products[1]
    assert float(left.max()) < 1e-11
    wanted = torch.linalg.solve(matrix, load.unsqueeze(-1)).squeeze(-1)
    torch.testing.assert_close(x, wanted, rtol=0, atol=1e-10)
