"""What a training step of deep equilibrium fusion costs: evaluations of the paper's cell.

usage: python -m benchmarks.deq_solver [--seeds 6]

One JSON line per instance and method, then a table. A step is one solve and one gradient of a
random linear loss in z_f, of 64 samples, N = 3, d = 32, gains of the last norms 0.3, and features
for which the cell contracts: every round from z = 0 changes the state by less than 0.95 of what the
round before did. (For others there may be several equilibria, and no gradient to compare with.)
`forward` and `backward` are evaluations of the cell, and products with its
transposed Jacobian, as they were done: rows that passed through each block, over the samples and
the N + 1 blocks, which all cost the same. `error` is that of the gradient, all parameters and the
features, relative to the one by dense (I - J)^-T solves in float64.

"batch Anderson" is how the paper's code does it, written from its description: Anderson's method
(m = 6, lambda = 1e-4) on the whole state until the residual of the whole batch is below eps,
absolute forward, relative backward, at most 105 + 106 evaluations; the best iterate counts. "ours"
is `pnpfusion.equilibrium` with its own choices at several tolerances. `fewer` is the cost of batch
Anderson over that of the cheapest of ours whose error is no larger.
"""

from __future__ import annotations

import statistics
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

import pnpfusion as pf
from benchmarks import count
from benchmarks.faithful_deq import set_gain
from benchmarks.script import options, say, show
from pnpfusion.solvers import ConvergenceWarning

SAMPLES, N, D = 64, 3, 32
SHRINKS = 0.95  #: every round of the cell changes a state by less than this share of the last one
TOLERANCES = (1e-2, 3e-3, 1e-3, 1e-4, 1e-5, 1e-6, 1e-8, 1e-10)
REFERENCE = (1e-3, 1e-5)  #: eps of the published runs
MEMORY, RIDGE, FORWARD, BACKWARD = 6, 1e-4, 105, 106


def instance(seed: int) -> tuple[pf.DEQ, Tensor, Tensor]:
    """A law that contracts, features, and the loss's weights, in float64."""
    torch.manual_seed(seed)
    law = pf.DEQ(N, D).double()
    set_gain(law, 0.3)
    drawn = torch.randn(4 * SAMPLES, N, D, dtype=torch.float64)
    with torch.no_grad():
        path = pf.unroll(law, drawn.new_zeros(4 * SAMPLES, N + 1, D), 200, x=drawn)
    changes = path.residuals
    shrink = (changes[1:] < SHRINKS * changes[:-1]) | (changes[1:] < 1e-13)
    x = drawn[shrink.all(0)][:SAMPLES]
    if len(x) < SAMPLES:
        raise RuntimeError(f"instance {seed} has only {len(x)} samples on which the cell contracts")
    return law, x.requires_grad_(), torch.randn(SAMPLES, D, dtype=torch.float64)


@contextmanager
def counting(law: pf.DEQ) -> Iterator[dict[str, float]]:
    """Rows through the blocks, forward and backward, as evaluations of the cell per sample."""
    spent = {"forward": 0.0, "backward": 0.0}
    share = 1 / (SAMPLES * (N + 1))

    def forward(module: object, inputs: object, output: Tensor) -> None:
        spent["forward"] += share * len(output)
        if output.requires_grad:
            output.register_hook(backward)

    def backward(grad: Tensor) -> None:
        spent["backward"] += share * len(grad)

    hooks = [block.register_forward_hook(forward) for block in [*law.unimodal, law.fusion]]
    yield spent
    for hook in hooks:
        hook.remove()


def cell(law: pf.DEQ, z: Tensor, x: Tensor) -> Tensor:
    """f(z; x)."""
    return law.rate(z.new_zeros(()), z, x) + z


def batch_anderson(
    f: Callable[[Tensor], Tensor], start: Tensor, evaluations: int, eps: float, *, relative: bool
) -> Tensor:
    """The iterate with the smallest residual of the whole batch; (B, n)."""
    iterates, values = [start], [f(start)]
    best, smallest = start, float("inf")
    for k in range(1, evaluations + 1):
        residual = float((values[-1] - iterates[-1]).norm())
        size = residual / (1e-5 + float(values[-1].norm())) if relative else residual
        if size < smallest:
            best, smallest = iterates[-1], size
        if size < eps or k == evaluations:
            break
        if k == 1:
            iterates.append(values[0])
        else:
            recent_x = torch.stack(iterates[-MEMORY:], 1)
            recent_f = torch.stack(values[-MEMORY:], 1)
            g = recent_f - recent_x
            n = g.shape[1]
            bordered = g.new_zeros(len(g), n + 1, n + 1)
            bordered[:, 0, 1:] = bordered[:, 1:, 0] = 1
            bordered[:, 1:, 1:] = g @ g.mT + RIDGE * torch.eye(n, dtype=g.dtype)
            load = g.new_zeros(len(g), n + 1)
            load[:, 0] = 1
            alpha = torch.linalg.solve(bordered, load)[:, 1:]
            iterates.append((alpha.unsqueeze(1) @ recent_f).squeeze(1))
        values.append(f(iterates[-1]))
    return best


def reference_step(law: pf.DEQ, x: Tensor, y: Tensor, eps: float) -> list[Tensor]:
    """The gradients of sum(y z_f), as batch Anderson finds them."""
    shape = (SAMPLES, N + 1, D)
    with torch.no_grad():
        start = x.new_zeros(SAMPLES, (N + 1) * D)
        z = batch_anderson(
            lambda v: cell(law, v.reshape(shape), x).flatten(1), start, FORWARD, eps, relative=False
        )
    z = z.reshape(shape).requires_grad_()
    f = cell(law, z, x)
    load = torch.zeros_like(z)
    load[:, -1] = y

    def transposed(w: Tensor) -> Tensor:
        (product,) = torch.autograd.grad(f, z, w.reshape(shape), retain_graph=True)
        return (product + load).flatten(1)

    w = batch_anderson(transposed, torch.zeros_like(start), BACKWARD, eps, relative=True)
    return [*torch.autograd.grad(f, [x, *law.parameters()], w.reshape(shape))]


def our_step(law: pf.DEQ, x: Tensor, y: Tensor, tol: float) -> list[Tensor]:
    """The gradients of sum(y z_f), as `equilibrium` finds them."""
    start = x.new_zeros(SAMPLES, N + 1, D)
    run = pf.equilibrium(law, start, x=x, tol=tol)
    return [*torch.autograd.grad((y * run.final[:, -1]).sum(), [x, *law.parameters()])]


def dense_step(law: pf.DEQ, x: Tensor, y: Tensor) -> list[Tensor]:
    """The same with every Jacobian written out, at equilibria to round-off."""
    with torch.no_grad():
        start = x.new_zeros(SAMPLES, N + 1, D)
        z = pf.unroll(law, start, 1500, x=x).final
    size = (N + 1) * D
    rows = []
    for k in range(SAMPLES):
        own = x[k].detach()
        blocks = torch.func.jacrev(lambda v, own=own: cell(law, v, own))(z[k]).reshape(size, size)
        load = torch.zeros_like(z[k])
        load[-1] = y[k]
        system = torch.eye(size, dtype=z.dtype) - blocks.detach()
        rows.append(torch.linalg.solve(system.mT, load.reshape(-1)).reshape(N + 1, D))
    return [*torch.autograd.grad(cell(law, z, x), [x, *law.parameters()], torch.stack(rows))]


def error(got: list[Tensor], exact: list[Tensor]) -> float:
    """Relative, of all gradients together."""
    difference = sum(
        float((a.double() - b).square().sum()) for a, b in zip(got, exact, strict=True)
    )
    return float((difference / sum(float(b.square().sum()) for b in exact)) ** 0.5)


def measure(seed: int, dtype: torch.dtype) -> list[dict[str, Any]]:
    """All methods on one instance."""
    law, x, y = instance(seed)
    exact = dense_step(law, x, y)
    law, x, y = law.to(dtype), x.detach().to(dtype).requires_grad_(), y.to(dtype)
    rows: list[dict[str, Any]] = []
    for name, step, settings in (
        ("batch Anderson", reference_step, REFERENCE),
        ("ours", our_step, TOLERANCES),
    ):
        for setting in settings:
            with counting(law) as spent, warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                got = step(law, x, y, setting)
            told = any(issubclass(w.category, ConvergenceWarning) for w in caught)
            rows.append(
                {"dtype": str(dtype)[6:], "seed": seed, "method": name, "setting": setting}
                | {side: round(count, 1) for side, count in spent.items()}
                | {"cost": round(sum(spent.values()), 1), "error": error(got, exact)}
                | {"warned": told}
            )
    for row in rows[: len(REFERENCE)]:
        as_good = [r["cost"] for r in rows[len(REFERENCE) :] if r["error"] <= row["error"]]
        row["fewer"] = round(row["cost"] / min(as_good), 1) if as_good else None
    return rows


def main() -> None:
    """Run everything and print it."""
    parser = options(__doc__)
    parser.add_argument("--seeds", type=count, default=6)
    seeds = parser.parse_args().seeds
    torch.set_num_threads(1)
    rows = []
    for dtype in (torch.float32, torch.float64):
        for seed in range(seeds):
            for row in measure(seed, dtype):
                say(row)
                rows.append(row)
    columns = ("forward", "backward", "cost", "error", "fewer")
    groups: dict[tuple[object, ...], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["dtype"], row["method"], row["setting"]), []).append(row)
    medians = []
    for names, members in groups.items():
        medians.append(dict(zip(("dtype", "method", "setting"), names, strict=True)))
        for column in columns:
            found = [one[column] for one in members if one.get(column) is not None]
            medians[-1][column] = statistics.median(found) if found else None
    print("\nmedians over the instances")
    show(medians)


if __name__ == "__main__":
    main()
