"""Banded systems by the kernels for graphics cards, against LAPACK."""

import pytest
import torch

from pnpfusion.solvers import banded
from pnpfusion.solvers.backend import using
from pnpfusion.solvers.banded import solve_block_tridiagonal, solve_tridiagonal
from pnpfusion.solvers.device.banded import by_elimination, by_reduction, reduces
from tests.compiled.card import DEVICE, interpreted, moved
from tests.registry import f64
from tests.solvers.test_banded import random_system

pytestmark = interpreted


@pytest.mark.parametrize("way", [by_elimination, by_reduction])
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize(("cells", "size"), [(1, 3), (2, 2), (5, 1), (5, 2), (4, 3)])
def test_lines_are_solved_as_lapack_does(cells, size, shared, way):
    system = random_system(cells, size, shared=shared)
    x = way(*moved(*system)).cpu()
    torch.testing.assert_close(x, banded._solve_lapack(*system), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("way", [by_elimination, by_reduction])
def test_rows_are_exchanged_within_blocks(way):
    zero, turn = torch.zeros(1, 2, 2, 2, dtype=f64), torch.eye(2, dtype=f64).flip(0)
    diagonal = turn.expand(1, 2, 2, 2).contiguous()
    rhs = torch.tensor([[[1.0, 2.0], [3.0, 4.0]]], dtype=f64)
    x = way(*moved(zero, diagonal, zero, rhs)).cpu()
    assert x.tolist() == [[[2.0, 1.0], [4.0, 3.0]]]


@pytest.mark.parametrize("size", [2, 4])  # by reduction, by elimination
def test_a_singular_sample_is_nan_and_leaves_its_mates_alone(size):
    system = moved(*random_system(3, size, batch=3))
    with using("triton"):
        good = solve_block_tridiagonal(*system)
        for part in system[:3]:
            part[1] = 0
        x = solve_block_tridiagonal(*system)
    assert x[1].isnan().all()
    assert torch.equal(x[[0, 2]], good[[0, 2]])


def test_gradients_pass_the_kernels_to_second_order():
    system = [part.to(DEVICE).requires_grad_() for part in random_system(3, 1, batch=1)]

    def solve(*parts):
        return solve_tridiagonal(*(part.flatten(1) for part in parts))

    with using("triton"):
        assert torch.autograd.gradcheck(solve, system, fast_mode=True)
        assert torch.autograd.gradgradcheck(solve, system, fast_mode=True)


def test_long_lines_and_many_samples_are_eliminated():
    cpu = torch.device("cpu")
    assert reduces(1, 256, cpu)
    assert not reduces(1, 2048, cpu)
    assert not reduces(4096, 256, cpu)
