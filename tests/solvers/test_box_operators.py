"""What a box of cells is stepped by: the matrix of Newton's method and the fluxes."""

import math

import pytest
import torch

import pnpfusion as pf
from pnpfusion.solvers.coupled_newton import jacobian, residual
from tests.registry import ALL_SCHEMES, box_of_everything, f64, random, slope


@pytest.mark.parametrize("scheme", ALL_SCHEMES)
@pytest.mark.parametrize("steric", [None, 0.15])
@pytest.mark.parametrize(
    ("shape", "boundaries"),
    [
        ((4,), ("wall",)),
        ((3,), ("periodic",)),
        ((2,), ("periodic",)),
        ((1,), ("wall",)),
        ((3, 2), ("wall", "wall")),
        ((3, 4), ("periodic", "wall")),
        ((2, 3), ("periodic", "wall")),
        ((1, 3), ("periodic", "wall")),
        ((2, 2), ("periodic", "periodic")),
        ((2, 3, 2), ("wall", "periodic", "wall")),
    ],
)
def test_the_matrix_is_the_derivative_of_what_is_wrong(shape, boundaries, steric, scheme):
    cell = box_of_everything(shape, boundaries, steric=steric, scheme=scheme)
    c = 0.5 + random(2, 3, *shape, seed=5)
    phi, step = 2 * random(2, *shape, seed=6), torch.tensor([0.3, 2.0], dtype=f64)
    if "wall" not in boundaries:  # then species cannot pass, and the charge is not neutral
        cell.fixed_charge = 0.0
    bound = cell.bind(c).cell
    faces = bound.faces(c, phi)

    def wrong(both):
        phi, c = both[..., 0], both[..., 1:].movedim(-1, 1)
        return residual(bound, bound.faces(c, phi), c, phi, c.detach() + 0.1, step)

    def wrong_of_all(both):
        phi, c = both[..., 0], both[..., 1:].movedim(-1, 1)
        return residual(bound, bound.faces(c, phi), c, phi, 0 * c.detach(), step)

    matrix = jacobian(bound, faces, c, step)
    both = torch.cat([phi.unsqueeze(1), c], 1).movedim(1, -1)
    along = torch.randn(both.shape, dtype=f64, generator=torch.Generator().manual_seed(7))
    _, wanted = torch.autograd.functional.jvp(wrong_of_all, both.clone(), along)
    found = matrix.apply(along)
    if bound.dielectric.floating:  # grounded in one place, which only picks one potential
        grounded = along[..., 0].flatten(1)[:, 0] * bound.dielectric.grounding
        found.flatten(1, -2)[:, 0, 0] -= grounded
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)
    other = torch.randn(both.shape, dtype=f64, generator=torch.Generator().manual_seed(8))
    left = (other * matrix.apply(along)).sum()
    right = (matrix.transposed().apply(other) * along).sum()
    torch.testing.assert_close(left, right, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(matrix.apply(matrix.solve(other)), other, rtol=1e-9, atol=1e-9)
    back = matrix.transposed()
    torch.testing.assert_close(back.apply(back.solve(other)), other, rtol=1e-9, atol=1e-9)


def manufactured(n, ndim):
    """c+ = 1 + a, c- = 1 + b, a = .5 prod cos kx, b = -.3 cos 2kx prod cos ky, k = 2 pi.

    phi solves Poisson with permittivity .1; also the divergence of the cation flux.
    """
    grid = pf.Grid((n,) * ndim, (1.0,) * ndim, ("periodic",) * ndim)
    k, epsilon = 2 * math.pi, 0.1

    def at(*x):
        rest = math.prod((torch.cos(k * y) for y in x[1:]), start=torch.ones_like(x[0]))
        a, b = 0.5 * torch.cos(k * x[0]) * rest, -0.3 * torch.cos(2 * k * x[0]) * rest
        return 1 + a, 1 + b, (a / (ndim * k**2) - b / ((ndim + 3) * k**2)) / epsilon

    points = torch.meshgrid(*(grid.coordinates(i) for i in range(ndim)), indexing="ij")
    points = [p.clone().requires_grad_() for p in points]
    cation, anion, phi = at(*points)
    by_c = torch.autograd.grad(cation.sum(), points, create_graph=True)
    by_phi = torch.autograd.grad(phi.sum(), points, create_graph=True)
    divergence = 0.0
    for point, c_slope, phi_slope in zip(points, by_c, by_phi, strict=True):
        flux = -(c_slope + cation * phi_slope)
        divergence = divergence + torch.autograd.grad(flux.sum(), point, retain_graph=True)[0]
    c = torch.stack([cation, anion]).detach()
    return grid, epsilon, c, phi.detach(), divergence


@pytest.mark.parametrize("scheme", ALL_SCHEMES)
@pytest.mark.parametrize(("ndim", "sizes"), [(2, [16, 32, 64]), (3, [8, 16, 32])])
def test_order_in_space_of_the_flux_divergence(ndim, sizes, scheme):
    errors, potentials = [], []
    for n in sizes:
        grid, epsilon, c, phi, divergence = manufactured(n, ndim)
        cell = pf.PNP(
            grid,
            [pf.Species("cation", +1), pf.Species("anion", -1)],
            permittivity=epsilon,
            scheme=scheme,
        )
        bound = cell.bind(c).cell
        leaving = bound.dielectric.leaving(bound.fluxes(bound.faces(c[None], phi[None])))[0, 0]
        found = leaving / grid.weights
        errors.append(float((found - divergence).abs().max() / divergence.abs().max()))
        potentials.append(float((cell.potential(c) - phi).abs().max()))
    assert slope([float(n) for n in sizes[1:]], errors[1:]) == pytest.approx(-2, abs=0.1)
    assert slope([float(n) for n in sizes[1:]], potentials[1:]) == pytest.approx(-2, abs=0.1)
    if ndim == 2 and scheme == "scharfetter-gummel":
        assert errors[-1] == pytest.approx(1.15598e-3, rel=1e-4)
