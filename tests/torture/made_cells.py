"""PNP cells made at random: any grid, wall, face scheme, stepper and physics that there is."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, cast

import torch
from torch import Tensor

import pnpfusion as pf
from pnpfusion.solvers import IFRK4, Odeint, Stepper
from tests.registry import EXPLICIT, IMPLICIT, f64

FACES = ["scharfetter-gummel", "harmonic", "central"]
#: Valences with a reaction that makes no charge: numbers of reactants, and of products.
SALTS: list[tuple[tuple[float, ...], tuple[int, ...], tuple[int, ...]]] = [
    ((1, -1), (), ()),
    ((2, -1), (), ()),
    ((1, -1, -2), (0, 2), (1,)),
    ((1, -1, 0), (2,), (0, 1)),
    ((1, 1, -1, -1), (0,), (1,)),
    ((0, 1, -1, 0), (0, 0), (3,)),
    ((1.5, -0.5), (), ()),
    ((0,), (), ()),
]
BATCH = 2
Verb = Literal["simulate", "equilibrium"]


@dataclass(frozen=True)
class Case:
    """One cell with a state to begin from, and what is to be done with it."""

    cell: pf.PNP
    c0: Tensor  #: (B, S, *grid.shape)
    times: Tensor
    stepper: Stepper | None
    verb: Verb
    words: str  #: what is told of it where it fails


class Maker:
    """Draws one case; the same for the same seed and number, whole or one sample of it alone."""

    def __init__(self, seed: int, number: int, only: int | None = None) -> None:
        self.draw = random.Random(f"{seed}:{number}")
        self.generator = torch.Generator().manual_seed(self.draw.randrange(2**31))
        self.only = only
        self.debye = 10 ** self.draw.uniform(-5, 1)
        self.grid = self._grid()
        self.spectral = isinstance(self.grid, pf.ChebyshevGrid) or (
            self.grid.edges is None and self.chance(0.08)
        )
        self.series = self.spectral and not isinstance(self.grid, pf.ChebyshevGrid)
        self.valences, self.reactants, self.products = self.draw.choice(SALTS)
        self.names = [f"s{i}" for i in range(len(self.valences))]
        self.fastest = 10 ** self.draw.uniform(0, 4)

    def chance(self, share: float) -> bool:
        return self.draw.random() < share

    def even(self, *shape: int) -> Tensor:
        """Even between 0 and 1."""
        return torch.rand(shape, dtype=f64, generator=self.generator)

    def of_batch(self, values: Tensor) -> Tensor:
        """What is one for each sample, of the sample that is asked for."""
        return values if self.only is None else values[self.only : self.only + 1]

    def varied(self, low: float, high: float, shape: tuple[int, ...] | None = None) -> Any:
        """A number between, one for each sample, or (with ``shape``) one for each place."""
        kind = self.draw.random()
        if kind < 0.6:
            return self.draw.uniform(low, high)
        if kind < 0.8 or shape is None:
            return self.of_batch(low + (high - low) * self.even(BATCH))
        if kind < 0.9:
            return pf.Field(low + (high - low) * self.even(*shape))
        return pf.Field(self.of_batch(low + (high - low) * self.even(BATCH, *shape)))

    def scaled(self, size: float, shape: tuple[int, ...] | None = None) -> Any:
        """About ``size``, up to five times less."""
        return self.varied(0.2 * size, size, shape)

    def _grid(self) -> pf.Grid:
        if self.chance(0.06):
            return pf.ChebyshevGrid((self.draw.randint(3, 40),), (2.0,))
        axes = self.draw.choices([1, 2, 3], [70, 20, 10])[0]
        most = {1: 32, 2: 6, 3: 3}[axes]
        shape = tuple(self.draw.randint(1, most) for _ in range(axes))
        lengths = tuple(10 ** self.draw.uniform(-0.5, 0.5) for _ in shape)
        kinds = tuple(self.draw.choices(["wall", "periodic"], [3, 1], k=axes))
        edges: list[Tensor | None] = [None] * axes
        for axis, (n, length) in enumerate(zip(shape, lengths, strict=True)):
            if kinds[axis] == "wall" and n > 1 and self.chance(0.2):
                widths = 0.05 + self.even(n)
                inner = length * (widths / widths.sum()).cumsum(0)
                inner[-1] = length
                edges[axis] = torch.cat([torch.zeros(1, dtype=f64), inner])
        graded = any(one is not None for one in edges)
        return pf.Grid(shape, lengths, cast(Any, kinds), edges=edges if graded else None)

    def _condition(self, over: tuple[int, ...], floating: bool) -> pf.Wall:
        """What holds at a wall, or at a part of it."""
        kind = "nothing" if self.series else self.draw.choice(["nothing", "electrode", "charge"])
        given: dict[str, Any] = {}
        place = over or None
        if kind == "electrode" and not floating:
            voltage = 10 ** self.draw.uniform(-1, 2) * self.draw.choice([-1, 1])
            given["potential"] = self.scaled(voltage, place)
            if self.chance(0.1):
                given["potential"] = Ramp(voltage, 10 ** self.draw.uniform(-1, 3))
            if self.chance(0.3):
                given["stern"] = self.scaled(10 ** self.draw.uniform(-3, 0), place)
        elif kind == "charge":
            given["surface_charge"] = self.scaled(self.draw.uniform(-1, 1), place)
        if floating:  # nothing may cross where nothing fixes the potential
            return pf.Wall(**given)
        for name in self.names:
            if self.chance(0.1) and not self.spectral:
                given.setdefault("concentration", {})[name] = self.scaled(2.0, place)
            elif self.chance(0.04):
                given.setdefault("flux", {})[name] = self.scaled(self.draw.uniform(-0.2, 1), place)
        return pf.Wall(**given)

    def _walls(self, floating: bool) -> dict[str, Parts]:
        walls: dict[str, Parts] = {}
        for side in self.grid.sides:
            axis = "xyz".index(side[0])
            over = self.grid.shape[:axis] + self.grid.shape[axis + 1 :]
            if over and not self.series and self.chance(0.25):
                mask = self.even(*over) < 0.5
                walls[side] = [
                    replace(self._condition(over, floating), mask=where) for where in (mask, ~mask)
                ]
            else:
                walls[side] = self._condition(over, floating)
        return walls

    def _state(self, steric: float | None) -> Tensor:
        """Concentrations, rough, smooth or with places where nothing is."""
        shape = (BATCH, len(self.valences), *self.grid.shape)
        rough = self.chance(0.6)
        c = 10 ** (3 * self.even(*shape) - 2) if rough else 1 + 0.1 * self.even(*shape)
        if self.chance(0.1):
            c = torch.where(self.even(*shape) < 0.3, 0.0, c)
        if self.chance(0.75):
            c = self._neutral(c)
        if steric is not None:
            c = c * (0.8 / steric / c.sum(1).amax())
        return c

    def _neutral(self, c: Tensor) -> Tensor:
        z = torch.tensor(self.valences, dtype=f64).reshape(-1, *(1,) * self.grid.ndim)
        amounts = (z * c * self.grid.weights).flatten(2).sum(-1)
        plus, minus = amounts.clamp_min(0).sum(1), -amounts.clamp_max(0).sum(1)
        balanced = torch.where((plus > 0) & (minus > 0), plus / minus, 1.0)
        return torch.where(z < 0, c * balanced.reshape(-1, *(1,) * (c.ndim - 1)), c)

    def _balance(self, c: Tensor, walls: dict[str, Any]) -> Tensor:
        """The even charge, (B,), that leaves a cell with these walls neutral."""
        z = torch.tensor(self.valences, dtype=f64).reshape(-1, *(1,) * self.grid.ndim)
        total = (z * c * self.grid.weights).flatten(1).sum(1)
        for side, parts in walls.items():
            axis = "xyz".index(side[0])
            area = self.grid.weights.select(axis, 0) / self.grid.widths(axis)[0]
            for wall in parts if isinstance(parts, list) else [parts]:
                value = wall.surface_charge
                if value is None:
                    continue
                held = (
                    value.values
                    if isinstance(value, pf.Field)
                    else torch.as_tensor(value, dtype=f64)
                )
                if held.ndim and not isinstance(value, pf.Field):
                    held = held.reshape(-1, *(1,) * area.ndim)
                load = (held * area).expand(len(c), *area.shape)
                load = load if wall.mask is None else torch.where(wall.mask, load, 0.0)
                total = total + load.reshape(len(c), -1).sum(1)
        return -total / self.grid.weights.sum()

    def _stepper(self, c0: Tensor, driven: bool) -> tuple[Stepper | None, float]:
        """A way through time that the cell admits, and for how long."""
        span = 10 ** self.draw.uniform(-4, 1.5)
        slow = driven or self.grid.ndim > 1 or c0.dtype != f64  # steps in Python
        few = 20 if slow else 200
        kinds = ["own", "implicit", "implicit", "fixed", "robust", "explicit", "odeint"]
        kind = self.draw.choice(kinds)
        if self.series:
            made = self.draw.choice([pf.solvers.ETDRK4, IFRK4])
            kind = self.draw.choice(["adaptive", "fixed"])
            if kind == "fixed":
                return made(dt=span / 20, max_steps=few), span
            return made(rtol=10 ** self.draw.uniform(-6, -3), max_steps=few), span
        if kind == "robust" and not self.spectral:
            steps = self.draw.choice([3, 10, 30])
            return pf.solvers.AsymptoticPreserving(dt=span / steps), span
        if kind in ("explicit", "odeint"):
            h = min(float(self.grid.widths(axis).min()) for axis in range(self.grid.ndim))
            charge = float(c0.abs().sum(1).max()) * max(z * z for z in self.valences)
            quickest = 4 * self.grid.ndim / h**2 + charge / (2 * self.debye**2)
            span = 10 ** self.draw.uniform(0, 1.5) / quickest / self.fastest
            if kind == "odeint":
                return Odeint(rtol=1e-4, atol=1e-6, max_steps=few), span
            return self.draw.choice(EXPLICIT)(dt=span / 30), span
        method = self.draw.choice(IMPLICIT)
        if kind == "fixed":
            return method(dt=span / self.draw.choice([3, 10])), span
        if kind == "own" and not slow and self.debye > 1e-3:
            return None, span
        finest = -3 if c0.dtype == torch.float32 else -5  # what its numbers can tell
        return method(rtol=10 ** self.draw.uniform(finest, -2), max_steps=few), span

    def make(self) -> Case:
        """The case."""
        floating = self.series or not self.grid.sides or self.chance(0.2)
        plain = self.spectral
        steric = None if plain or not self.chance(0.15) else 10 ** self.draw.uniform(-2, 0)
        reactions = []
        if self.reactants and not plain and self.chance(0.5):
            backward = 0.0 if self.chance(0.2) else self.scaled(10 ** self.draw.uniform(-2, 3))
            forward = self.scaled(10 ** self.draw.uniform(-2, 3))
            sides = [[self.names[i] for i in side] for side in (self.reactants, self.products)]
            reactions = [pf.Reaction(*sides, forward=forward, backward=backward)]
        place = None if plain else self.grid.shape
        walls = self._walls(floating)
        if not has_electrode(walls):
            floating, walls = True, {side: _closed(parts) for side, parts in walls.items()}
        species = [
            pf.Species(name, z, self.scaled(10 ** self.draw.uniform(0, 1) * share, place))
            for name, z, share in zip(
                self.names, self.valences, [1.0, self.fastest, 1.0, 1.0], strict=False
            )
        ]
        c0 = self._state(steric)
        verb: Verb = "equilibrium" if not plain and self.chance(0.25) else "simulate"
        if verb == "equilibrium":
            walls = {side: _of_each(parts, _still) for side, parts in walls.items()}
        whole = self.of_batch(c0)
        charge: Any = 0.0
        if floating:
            charge = self._balance(whole, walls)
        elif self.chance(0.3):
            charge = self.scaled(self.draw.uniform(-1, 1), place)
        single = self.chance(0.12)
        stepper, span = self._stepper(c0.float() if single else c0, "Ramp" in repr(walls))
        scheme = "spectral" if self.spectral else self.draw.choice(FACES)
        cell = pf.PNP(
            self.grid,
            species,
            permittivity=self.scaled(2 * self.debye**2, place),
            walls=walls,
            fixed_charge=charge,
            scheme=cast(Any, scheme),
            steric=steric,
            reactions=reactions,
        )
        state = whole.float() if single else whole
        times = torch.tensor([0.0, 0.01, 0.1, 1.0], dtype=f64) * span
        words = (
            f"{verb} {self.grid.shape} {self.grid.boundaries} {scheme} debye {self.debye:.1e} "
            f"z {self.valences} {state.dtype} {stepper!r} to {span:.1e}"
        )
        return Case(cell, state, times, stepper, verb, words)


@dataclass(frozen=True)
class Ramp:
    """A potential that rises to its full height in about 1 / rate."""

    height: float
    rate: float

    def __call__(self, t: Tensor) -> Tensor:
        return self.height * torch.tanh(self.rate * t)


Parts = pf.Wall | list[pf.Wall]


def has_electrode(walls: dict[str, Parts]) -> bool:
    """Whether a wall fixes the potential."""
    every = (
        one for parts in walls.values() for one in (parts if isinstance(parts, list) else [parts])
    )
    return any(
        one.potential is not None and (one.mask is None or bool(one.mask.any())) for one in every
    )


def _of_each(parts: Parts, change: Callable[[pf.Wall], pf.Wall]) -> Parts:
    return [change(one) for one in parts] if isinstance(parts, list) else change(parts)


def _closed(parts: Parts) -> Parts:
    """The walls, closed, as where nothing fixes the potential."""
    return _of_each(parts, lambda wall: replace(wall, concentration=None, flux=None))


def _still(wall: pf.Wall) -> pf.Wall:
    """The wall with what it comes to in the end."""
    if isinstance(wall.potential, Ramp):
        return replace(wall, potential=wall.potential.height)
    return wall
