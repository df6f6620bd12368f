import pytest
import torch

from pnpfusion.solvers import banded
from pnpfusion.solvers.backend import backend, using
from pnpfusion.solvers.banded import solve_block_tridiagonal, solve_tridiagonal
from tests.registry import f64


def random_system(cells, size, batch=3, shared=False, seed=0):
    generator = torch.Generator().manual_seed(seed)
    matrices = 1 if shared else batch

    def random(*shape):
        return torch.randn(*shape, generator=generator, dtype=f64)

    lower, upper = random(matrices, cells, size, size), random(matrices, cells, size, size)
    diagonal = random(matrices, cells, size, size) + 6 * size * torch.eye(size, dtype=f64)
    return lower, diagonal, upper, random(batch, cells, size)


def dense(lower, diagonal, upper, periodic):
    batch, cells, size, _ = diagonal.shape
    matrix = torch.zeros(batch, cells, size, cells, size, dtype=f64)
    for i in range(cells):
        matrix[:, i, :, i] += diagonal[:, i]
        if i > 0 or periodic:
            matrix[:, i, :, i - 1] += lower[:, i]
        if i < cells - 1 or periodic:
            matrix[:, i, :, (i + 1) % cells] += upper[:, i]
    return matrix.reshape(batch, cells * size, cells * size)


@pytest.mark.parametrize("periodic", [False, True])
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("cells", [1, 2, 3, 4, 7, 8, 33])
def test_it_solves_what_the_dense_solver_solves(cells, size, shared, periodic):
    system = random_system(cells, size, shared=shared)
    x = solve_block_tridiagonal(*system, periodic=periodic)
    matrix = dense(*system[:3], periodic)
    wanted = torch.linalg.solve(matrix, system[3].flatten(1).unsqueeze(-1)).reshape(x.shape)
    torch.testing.assert_close(x, wanted, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, f64])
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("cells", [1, 2, 3, 4, 7, 8, 33])
def test_all_ways_of_solving_give_the_same(cells, shared, dtype):
    system = [part.to(dtype) for part in random_system(cells, 3, shared=shared)]
    x = banded._solve_lapack(*system)
    tolerance = 1e4 * torch.finfo(dtype).eps
    ways = [banded._solve_by_reduction]
    if backend(system[3]) == "numba":
        ways.append(banded._solve_compiled)
    for way in ways:
        torch.testing.assert_close(x, way(*system), rtol=tolerance, atol=tolerance)


def test_the_compiled_way_is_bitwise_independent_of_batch_mates():
    pytest.importorskip("numba", reason="the compiled kernels need pnpfusion[fast]")
    system = random_system(17, 3, batch=5)
    together = banded._solve_compiled(*system)
    for i in range(5):
        assert torch.equal(
            together[i : i + 1], banded._solve_compiled(*(p[i : i + 1] for p in system))
        )


def test_without_numba_lapack_solves():
    system = random_system(9, 2)
    with using("torch"):
        assert banded._solver(system[3]) is banded._solve_lapack
        assert solve_block_tridiagonal(*system).isfinite().all()


def test_a_singular_block_of_a_regular_matrix_is_no_obstacle():
    """[[0, 1], [1, 0]] twice: the first diagonal block is singular, the matrix is not."""
    zero, one = torch.zeros(1, 2, 1, 1, dtype=f64), torch.ones(1, 2, 1, 1, dtype=f64)
    rhs = torch.tensor([[[2.0], [3.0]]], dtype=f64)
    assert solve_block_tridiagonal(one, zero, one, rhs).flatten().tolist() == [3.0, 2.0]


@pytest.mark.parametrize("periodic", [False, True])
@pytest.mark.parametrize("shared", [False, True])
def test_gradients_to_second_order_in_every_argument(shared, periodic):
    system = [part.requires_grad_() for part in random_system(3, 2, batch=2, shared=shared)]

    def solve(*parts):
        return solve_block_tridiagonal(*parts, periodic=periodic)

    assert torch.autograd.gradcheck(solve, system)
    assert torch.autograd.gradgradcheck(solve, system)


def test_a_spoiled_or_singular_sample_leaves_its_mates_alone():
    lower, diagonal, upper, rhs = random_system(5, 2, batch=4)
    good = solve_block_tridiagonal(lower, diagonal, upper, rhs)
    diagonal[1, 2, 0, 0] = torch.nan
    for part in (lower, diagonal, upper):
        part[2] = 0
    x = solve_block_tridiagonal(lower, diagonal, upper, rhs)
    assert x[1].isnan().all()
    assert x[2].isnan().all()
    torch.testing.assert_close(x[[0, 3]], good[[0, 3]], rtol=1e-13, atol=1e-13)


def test_a_load_that_is_not_finite_stays_with_its_sample():
    lower, diagonal, upper, rhs = random_system(5, 2, batch=3)
    good = banded._solve_lapack(lower, diagonal, upper, rhs)
    rhs[1, 3] = torch.nan
    for way in (banded._solve_lapack, solve_block_tridiagonal):
        x = way(lower, diagonal, upper, rhs)
        assert x[1].isnan().any()
        torch.testing.assert_close(x[[0, 2]], good[[0, 2]], rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("periodic", [False, True])
def test_scalar_systems_are_blocks_of_one(periodic):
    lower, diagonal, upper, rhs = random_system(9, 1)
    x = solve_tridiagonal(
        lower[..., 0, 0], diagonal[..., 0, 0], upper[..., 0, 0], rhs[..., 0], periodic=periodic
    )
    y = solve_block_tridiagonal(lower, diagonal, upper, rhs, periodic=periodic)[..., 0]
    torch.testing.assert_close(x, y)


def test_single_precision_stays_single():
    x = solve_block_tridiagonal(*(part.float() for part in random_system(6, 2)))
    assert x.dtype == torch.float32
