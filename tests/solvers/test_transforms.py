"""Transforms against the matrices they stand for, on every combination of bases."""

import itertools
import math

import pytest
import torch

import pnpfusion as pf
from pnpfusion.solvers.bases import Basis, cut, extended, insulating_bases, lowest, transform_matrix
from pnpfusion.solvers.transforms import (
    _by_torch,
    from_modes,
    laplacian_symbols,
    solve_by_transform,
    to_modes,
)
from tests.registry import f64

ALL_BASES: tuple[Basis, ...] = ("fourier", "cosine", "sine", "cosine-sine", "sine-cosine")
#: Every basis alone with odd, even and single cells; every mixture in 2-D, of the first in 3-D.
CASES = [
    *(((n,), (basis,)) for n in (1, 2, 6, 7) for basis in ALL_BASES),
    *(((4, 5), bases) for bases in itertools.product(ALL_BASES, repeat=2)),
    *(((3, 4, 5), bases) for bases in itertools.product(ALL_BASES[:3], repeat=3)),
]


def random(*shape, seed=0, dtype=f64):
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def box(shape, bases):
    lengths = (1.5, 0.7, 2.0)[: len(shape)]
    return pf.Grid(shape, lengths, tuple("periodic" if b == "fourier" else "wall" for b in bases))


def second_difference(n, width, basis):
    """Minus the finite-volume second difference of one axis, dense."""
    matrix = 2 * torch.eye(n, dtype=f64)
    for i in range(n - 1):
        matrix[i, i + 1] -= 1
        matrix[i + 1, i] -= 1
    if basis == "fourier":
        matrix[0, -1] -= 1
        matrix[-1, 0] -= 1
    else:  # a wall at half a cell's distance: nothing flows, or the value there is zero
        first, *_, last = basis.split("-") * 2
        for end, kind in ((0, first), (-1, last)):
            matrix[end, end] += -1 if kind == "cosine" else 1
    return matrix / width**2


def dense_operator(grid, bases):
    """The sum over the axes, as a matrix on the flattened cells."""
    total = torch.zeros(math.prod(grid.shape), math.prod(grid.shape), dtype=f64)
    for axis, basis in enumerate(bases):
        term = torch.eye(1, dtype=f64)
        for other, n in enumerate(grid.shape):
            width = grid.lengths[other] / n
            own = second_difference(n, width, basis) if other == axis else torch.eye(n, dtype=f64)
            term = torch.kron(term, own)
        total += term
    return total


@pytest.mark.parametrize(("shape", "bases"), CASES)
def test_there_and_back_keeps_values_and_their_squares(shape, bases):
    values = random(2, 3, *shape)
    modes = to_modes(values, bases)
    torch.testing.assert_close(from_modes(modes, bases), values, rtol=0, atol=1e-13)
    torch.testing.assert_close(modes.square().sum(), values.square().sum())
    other = random(2, 3, *shape, seed=1)
    torch.testing.assert_close((modes * other).sum(), (values * from_modes(other, bases)).sum())


@pytest.mark.parametrize(("shape", "bases"), CASES)
def test_solve_inverts_the_finite_volume_operator(shape, bases):
    grid, eps, screening = box(shape, bases), torch.tensor([0.3, 2.0]), torch.tensor([1.7, 0.1])
    load = random(2, *shape)
    matrices = eps.double()[:, None, None] * dense_operator(grid, bases)
    matrices = matrices + screening.double()[:, None, None] * torch.eye(load[0].numel(), dtype=f64)
    wanted = torch.linalg.solve(matrices, load.flatten(1).unsqueeze(-1)).reshape(load.shape)
    phi = solve_by_transform(load, grid, bases, eps.double(), screening.double())
    torch.testing.assert_close(phi, wanted, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("shape", "bases"), CASES)
def test_a_singular_operator_leaves_the_mean_out(shape, bases):
    grid = box(shape, bases)
    load = random(2, *shape)
    phi = solve_by_transform(load, grid, bases, 0.3)
    left = 0.3 * (dense_operator(grid, bases) @ phi.flatten(1).mT).mT.reshape(load.shape)
    if set(bases) <= {"fourier", "cosine"}:
        space = tuple(range(1, load.ndim))
        load = load - load.mean(space, keepdim=True)
        torch.testing.assert_close(phi.mean(space), torch.zeros(2, dtype=f64), rtol=0, atol=1e-14)
    torch.testing.assert_close(left, load, rtol=0, atol=1e-11)


@pytest.mark.parametrize("n", [1, 2, 3, 8, 9])
@pytest.mark.parametrize("basis", ALL_BASES)
def test_the_matrix_of_a_transform_is_the_transform(basis, n):
    matrix = transform_matrix(basis, n, f64, torch.device("cpu"))
    torch.testing.assert_close(matrix @ matrix.mT, torch.eye(n, dtype=f64), rtol=0, atol=1e-14)
    torch.testing.assert_close(to_modes(torch.eye(n, dtype=f64), (basis,)).mT, matrix)


@pytest.mark.parametrize("bases", list(itertools.product(ALL_BASES, repeat=2)))
@pytest.mark.parametrize("shape", [(8, 6), (7, 8), (12, 16), (33, 20)])
@pytest.mark.parametrize("largest", [0, 64], ids=["fft", "matrices"])
def test_the_ways_of_other_devices_agree(shape, bases, largest):
    values = random(3, 2, *shape)
    for wanted in (shape, (5, 3), (3, 5)):
        modes = to_modes(values, bases, wanted)
        torch.testing.assert_close(_by_torch(values, bases, wanted, False, largest), modes)
        back = from_modes(modes, bases, shape)
        torch.testing.assert_close(_by_torch(modes, bases, shape, True, largest), back)


@pytest.mark.parametrize("dtype", [torch.float32, f64])
@pytest.mark.parametrize("basis", ALL_BASES)
@pytest.mark.parametrize("n", [1, 2, 3, 1000])
def test_the_fft_of_other_devices_is_accurate_to_round_off(n, basis, dtype):
    values, shape, bases = random(2, n, dtype=dtype), (n,), (basis,)
    modes = _by_torch(values, bases, shape, False, 0)
    assert modes.dtype == dtype
    eps = 8 * torch.finfo(dtype).eps
    wanted = to_modes(values.double(), bases)
    torch.testing.assert_close(modes.double(), wanted, rtol=0, atol=float(eps * wanted.abs().max()))
    back = _by_torch(modes, bases, shape, True, 0)
    torch.testing.assert_close(back, values, rtol=0, atol=float(eps * values.abs().max()))


@pytest.mark.parametrize("bases", list(itertools.product(ALL_BASES, repeat=2)))
def test_fewer_modes_are_the_lowest(bases):
    values = random(2, 7, 8)
    modes = to_modes(values, bases)
    few = to_modes(values, bases, (3, 5))
    rows, columns = (lowest(b, k, n) for b, k, n in zip(bases, (3, 5), (7, 8), strict=True))
    torch.testing.assert_close(few, modes[:, rows][:, :, columns])
    padded = torch.zeros_like(modes)
    padded[:, torch.tensor(rows)[:, None], torch.tensor(columns)] = few
    torch.testing.assert_close(from_modes(few, bases, (7, 8)), from_modes(padded, bases))
    assert torch.equal(cut(modes, bases, (3, 5)), modes[:, rows][:, :, columns])
    assert torch.equal(extended(few, bases, (7, 8)), padded)
    assert torch.autograd.gradcheck(
        lambda v: to_modes(v, bases, (3, 5)), values[:1].requires_grad_()
    )


@pytest.mark.parametrize("n", [8, 9])
@pytest.mark.parametrize(
    ("basis", "function", "square"),
    [
        ("fourier", lambda s: (4 * math.pi * s).sin(), (4 * math.pi) ** 2),
        ("cosine", lambda s: (3 * math.pi * s).cos(), (3 * math.pi) ** 2),
        ("sine", lambda s: (3 * math.pi * s).sin(), (3 * math.pi) ** 2),
        ("cosine-sine", lambda s: (2.5 * math.pi * s).cos(), (2.5 * math.pi) ** 2),
        ("sine-cosine", lambda s: (2.5 * math.pi * s).sin(), (2.5 * math.pi) ** 2),
    ],
)
def test_the_spectral_symbol_is_exact_on_functions_of_the_basis(basis, function, square, n):
    grid = pf.Grid((n,), (2.0,), ("periodic" if basis == "fourier" else "wall",))
    wave = function(grid.coordinates(0) / 2.0).unsqueeze(0)
    (symbol,) = laplacian_symbols(grid, (basis,), spectral=True)
    phi = from_modes(to_modes(wave, (basis,)) / (0.5 * symbol + 1), (basis,))
    torch.testing.assert_close(phi, wave / (0.5 * square / 4 + 1), rtol=0, atol=1e-14)


@pytest.mark.parametrize("bases", [("fourier", "cosine"), ("sine", "sine-cosine")])
def test_gradients_of_every_order(bases):
    values = random(2, 3, 4).requires_grad_()
    for way in (to_modes, from_modes):
        assert torch.autograd.gradcheck(lambda v, way=way: way(v, bases), values)
        assert torch.autograd.gradgradcheck(lambda v, way=way: way(v, bases).square(), values)
    eps = torch.tensor([0.5, 2.0], dtype=f64, requires_grad=True)
    screening = torch.tensor([1.0, 0.3], dtype=f64, requires_grad=True)

    def solve(load, eps, screening):
        return solve_by_transform(load, box((3, 4), bases), bases, eps, screening)

    assert torch.autograd.gradcheck(solve, (values, eps, screening))
    assert torch.autograd.gradgradcheck(solve, (values, eps, screening))


def test_gradients_past_a_singular_mean_are_finite():
    load = random(2, 6).requires_grad_()
    eps = torch.tensor([0.5], dtype=f64, requires_grad=True)
    grid = box((6,), ("cosine",))
    assert torch.autograd.gradcheck(
        lambda f, e: solve_by_transform(f, grid, ("cosine",), e), (load, eps)
    )


@pytest.mark.parametrize("bases", [("fourier", "cosine"), ("sine", "fourier")])
def test_single_precision_stays_single(bases):
    values = random(2, 6, 5, dtype=torch.float32)
    modes = to_modes(values, bases)
    phi = solve_by_transform(values, box((6, 5), bases), bases, torch.tensor([0.3]), 0.5)
    assert modes.dtype == phi.dtype == from_modes(modes, bases).dtype == torch.float32
    wanted = solve_by_transform(values.double(), box((6, 5), bases), bases, 0.3, 0.5)
    torch.testing.assert_close(phi.double(), wanted, rtol=1e-5, atol=1e-6)


def test_an_empty_batch_and_a_transposed_one_pass():
    bases: tuple[Basis, ...] = ("fourier", "cosine")
    assert to_modes(torch.zeros(0, 4, 3), bases).shape == (0, 4, 3)
    values = random(4, 3, 2).permute(2, 0, 1)
    torch.testing.assert_close(to_modes(values, bases), to_modes(values.contiguous(), bases))


def test_insulated_boxes_take_cosines_and_rings_take_fourier():
    assert insulating_bases(pf.Grid((2, 2), (1.0, 1.0), ("wall", "periodic"))) == (
        "cosine",
        "fourier",
    )


@pytest.mark.parametrize(
    ("bases", "message"),
    [
        (("cosine",), "`bases` must have one entry per axis, 2"),
        (("cosine", "cosine"), "axis 1 is \"periodic\", which the basis 'cosine' does not"),
        (("fourier", "fourier"), 'axis 0 is "wall"'),
        (("chebyshev", "fourier"), "`bases` must be among"),
    ],
)
def test_bases_that_do_not_fit_say_so(bases, message):
    with pytest.raises(ValueError, match=message):
        laplacian_symbols(pf.Grid((4, 4), (1.0, 1.0), ("wall", "periodic")), bases)


def test_a_graded_axis_is_refused():
    grid = pf.Grid((2,), (1.0,), ("wall",), edges=((0.0, 0.3, 1.0),))
    with pytest.raises(ValueError, match=r"`edges\[0\]` grades them"):
        laplacian_symbols(grid, ("cosine",))
