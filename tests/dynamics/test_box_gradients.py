"""Gradients through runs in two axes, in everything at once, against finite differences."""

import pytest
import torch

import pnpfusion as pf
from pnpfusion.solvers import TRBDF2, AsymptoticPreserving, BackwardEuler, KenCarp4
from tests.marks import quiet
from tests.registry import ALL_SCHEMES, FIXED_STEP, f64, random, times

STEPPERS = [*(method(dt=2e-3) for method in FIXED_STEP), AsymptoticPreserving(dt=2e-3)]
SHAPE = (3, 3)
LOW = torch.tensor([True, True, False])


def run_of_everything(stepper, scheme, second="wall", steric=(0.1, 0.15)):
    """A run as a function of the initial state and every parameter, and values for them."""
    values = {
        "c0": 0.6 + 0.6 * random(2, 3, *SHAPE),
        "d": 0.6 + random(*SHAPE, seed=1),
        "z": torch.tensor([1.0, 2.0], dtype=f64),
        "epsilon": 0.5 + random(*SHAPE, seed=2),
        "charge": 0.2 * random(*SHAPE, seed=3),
        "u": 2 * random(3, seed=4),
        "stern": 0.1 + 0.2 * random(3, seed=5),
        "sigma": random(3, seed=6),
        "reservoir": 0.8 + random(3, seed=7),
        "inflow": random(2, seed=8),
        "forward": 1 + random(*SHAPE, seed=9),
        "backward": torch.tensor(0.7, dtype=f64),
        "steric": torch.tensor(steric, dtype=f64),
        "frequency": torch.tensor(300.0, dtype=f64),
    }

    def run(c0, d, z, epsilon, charge, u, stern, sigma, held, inflow, kf, kb, steric, frequency):
        def wave(t):
            return pf.Field(u * torch.cos(frequency * t)[..., None])

        cell = pf.PNP(
            pf.Grid(SHAPE, (0.5, 0.4), ("wall", second)),
            [
                pf.Species("cation", z, pf.Field(d)),
                pf.Species("anion", -z, 0.7),
                pf.Species("salt", 0),
            ],
            permittivity=pf.Field(epsilon),
            fixed_charge=pf.Field(charge),
            walls={
                "x-": [
                    pf.Wall(
                        potential=wave,
                        stern=pf.Field(stern),
                        concentration={"cation": pf.Field(held)},
                        mask=LOW,
                    ),
                    pf.Wall(surface_charge=pf.Field(sigma), flux={"anion": inflow}, mask=~LOW),
                ],
                "x+": pf.Wall(potential=0.3),
            },
            scheme=scheme,
            steric=steric,
            reactions=[pf.Reaction(["salt"], ["cation", "anion"], pf.Field(kf), kb)],
        )
        return pf.simulate(cell, c0, times(0, 4e-3), stepper=stepper).final

    return run, [value.requires_grad_() for value in values.values()]


#: Every pair; those that are dear beside what they add are left to the long tests.
PAIRS = [
    pytest.param(
        stepper,
        scheme,
        marks=[pytest.mark.long] if stepper.order > 1 and scheme != "scharfetter-gummel" else [],
        id=f"{type(stepper).__name__}-{scheme}",
    )
    for stepper in STEPPERS
    for scheme in ALL_SCHEMES
    if not isinstance(stepper, AsymptoticPreserving) or scheme != "central"  # it has none
]


@quiet
@pytest.mark.parametrize(("stepper", "scheme"), PAIRS)
def test_gradcheck_in_every_parameter(stepper, scheme):
    run, inputs = run_of_everything(stepper, scheme)
    assert torch.autograd.gradcheck(run, inputs, rtol=1e-4, atol=1e-6, fast_mode=True)


@quiet
@pytest.mark.parametrize(
    "stepper", [BackwardEuler(dt=4e-3), AsymptoticPreserving(dt=4e-3)], ids=str
)
def test_gradcheck_beside_a_ring(stepper):
    run, inputs = run_of_everything(stepper, "scharfetter-gummel", "periodic")
    assert torch.autograd.gradcheck(run, inputs, rtol=1e-4, atol=1e-6, fast_mode=True)


@quiet
@pytest.mark.long
@pytest.mark.parametrize("stepper", [TRBDF2(dt=4e-3), AsymptoticPreserving(dt=4e-3)], ids=str)
def test_gradcheck_of_every_single_entry(stepper):
    run, inputs = run_of_everything(stepper, "scharfetter-gummel")
    assert torch.autograd.gradcheck(run, inputs, rtol=1e-4, atol=1e-6)


@quiet
@pytest.mark.parametrize("stepper", [KenCarp4(), TRBDF2(), BackwardEuler(rtol=1e-3)], ids=str)
def test_adaptive_runs_have_gradients_close_to_finite_differences(stepper):
    run, inputs = run_of_everything(stepper, "scharfetter-gummel", steric=0.1)
    direction = [random(*value.shape, seed=20 + i) for i, value in enumerate(inputs)]
    weights = random(2, 3, *SHAPE, seed=40) - 0.5

    def loss(step):
        moved = (v.detach() + step * d for v, d in zip(inputs, direction, strict=True))
        return float((weights * run(*moved)).sum())

    gradients = torch.autograd.grad((weights * run(*inputs)).sum(), inputs)
    slope = sum(float((g * d).sum()) for g, d in zip(gradients, direction, strict=True))
    assert slope == pytest.approx((loss(1e-3) - loss(-1e-3)) / 2e-3, rel=5e-3)
