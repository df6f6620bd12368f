"""Seconds of a training step of deep equilibrium fusion, ours against the paper's algorithm.

usage: python -m benchmarks.deq_training [--batch 32 128] [--turns 7] [--tol 3e-6/1e-4 ...]

One JSON line per case, then a table. A step is forward, cross-entropy on a linear head, backward
and Adam, of N = 3 modalities of width 500, float32, one thread, in milliseconds of the processor;
the cell is the paper's, the same weights in all. `contracting`: the gains of the last norms are
0.3, so that the cell contracts and there is one gradient; `error` is that of all its parameters'
gradients against a solve to round-off in float64. `initial`: as the cell is initialised, where not
every sample has an equilibrium, and nothing to compare gradients with.

"faithful" is the published algorithm, written from its description: Anderson's method (m = 6,
lambda = 1e-4, beta = 1) on the whole state from 0 until the residual of the whole batch is below
1e-5, absolute forward, relative backward, at most 105 + 106 evaluations, the best iterate counts;
then one evaluation with a graph, whose gradient a hook replaces by the solve of the transposed
equation, by products with that graph. "faithful*" is the same with our products and norms. "ours"
is `pnpfusion.fusion.DEQ` at tolerances forward/backward (one number: both), "plain" the last of
them with products by `torch.nn.functional.linear` alone. `contractive` is `ContractiveDEQ` instead,
as initialised, at the layer's own tolerances, and the part of its step that the bound of its
weights' spectral norms takes, forward and backward. `faster` is the median
over the turns of faithful's time by that of the method, of the same turn.
"""

from __future__ import annotations

import statistics
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial

import torch
from torch import Tensor, nn

import pnpfusion as pf
from benchmarks import count
from benchmarks.clock import in_turns, seconds
from benchmarks.faithful_deq import Faithful, set_gain
from benchmarks.script import options, say, show, significant
from pnpfusion.solvers import ConvergenceWarning, products

N, CLASSES = 3, 5  # modalities of the timed steps


@contextmanager
def plain_products() -> Iterator[None]:
    """Within it all products are those of PyTorch."""
    smallest = products.SMALLEST
    products.SMALLEST = sys.maxsize
    try:
        yield
    finally:
        products.SMALLEST = smallest


class Ours(nn.Module):
    """`pnpfusion.fusion.DEQ` around ``law``."""

    def __init__(self, law: pf.DEQ, tol: float, linear: float) -> None:
        super().__init__()
        dims = {str(i): law.width for i in range(N)}
        gradient = pf.solvers.Implicit(tolerance=linear)
        self.layer = pf.fusion.DEQ(
            dims, law.width, cell=law, tol=tol, gradient=gradient, jacobian_probes=0
        )

    def forward(self, x: Tensor) -> Tensor:
        """z_f, (B, d), of features (B, N, d)."""
        fused: Tensor = self.layer([*x.unbind(1)])
        return fused


class Task:
    """Weights, features and labels, from which every method starts."""

    def __init__(self, gain: float, batch: int, width: int) -> None:
        torch.manual_seed(0)
        self.law, self.head = pf.DEQ(N, width), nn.Linear(width, CLASSES)
        set_gain(self.law, gain)
        generator = torch.Generator().manual_seed(1)
        self.x = torch.randn(batch, N, width, generator=generator)
        self.y = torch.randint(CLASSES, (batch,), generator=generator)

    def fresh(self, dtype: torch.dtype = torch.float32) -> tuple[pf.DEQ, nn.Linear, Tensor]:
        """Copies."""
        law = pf.DEQ(N, self.law.width)
        law.load_state_dict(self.law.state_dict())
        head = nn.Linear(self.law.width, CLASSES)
        head.load_state_dict(self.head.state_dict())
        return law.to(dtype), head.to(dtype), self.x.to(dtype)

    def loss(self, layer: nn.Module, head: nn.Module, x: Tensor) -> Tensor:
        """Cross-entropy."""
        return nn.functional.cross_entropy(head(layer(x)), self.y)


class Runner:
    """One method on one task."""

    def __init__(
        self, task: Task, make: Callable[[pf.DEQ], nn.Module], *, plain: bool = False
    ) -> None:
        self.plain = plain
        law, self.head, self.x = task.fresh()
        self.task, self.layer, self.law = task, make(law), law
        self.seconds: list[float] = []
        self.optimiser = torch.optim.Adam(
            [*law.parameters(), *self.head.parameters()], lr=1e-4, weight_decay=1e-4, fused=True
        )

    def gradient(self) -> Tensor:
        """Of all the cell's parameters."""
        loss = self.task.loss(self.layer, self.head, self.x)
        grads = torch.autograd.grad(loss, [*self.law.parameters()])
        return torch.cat([g.reshape(-1) for g in grads]).double()

    def step(self) -> None:
        """One training step, timed; its weights are then as before, so that all steps are alike."""
        with plain_products() if self.plain else nullcontext():
            self.seconds.append(seconds(self._learn))
        self.law.load_state_dict(self.task.law.state_dict())
        self.head.load_state_dict(self.task.head.state_dict())

    def _learn(self) -> None:
        self.optimiser.zero_grad()
        self.task.loss(self.layer, self.head, self.x).backward()
        self.optimiser.step()


def exact_gradient(task: Task) -> Tensor:
    """The same in float64, solved to round-off."""
    law, head, x = task.fresh(torch.float64)
    loss = task.loss(Ours(law, 1e-12, 1e-12), head, x)
    grads = torch.autograd.grad(loss, [*law.parameters()])
    return torch.cat([g.reshape(-1) for g in grads])


def contractive(batch: int, width: int, turns: int) -> Iterator[dict[str, object]]:
    """Times of the cell that contracts, and of the bound within them."""
    torch.manual_seed(0)
    layer = pf.fusion.DEQ({str(i): width for i in range(N)}, width, cell="contractive")
    law, features = layer.dynamics, [torch.randn(batch, width) for _ in range(N)]
    if not isinstance(law, pf.ContractiveDEQ):
        raise TypeError(f"the layer's law must be the contractive one, got {law!r}.")

    def bound() -> Tensor:
        weights = law.scaled_weights()
        return weights.recurrent.sum() + weights.out.sum()

    def backward(loss: Callable[[], Tensor]) -> None:
        layer.zero_grad()
        loss().backward()

    losses = {"step": lambda: layer(features).square().sum(), "bound": bound}
    parts = {name: partial(backward, loss) for name, loss in losses.items()}
    for name, taken in in_turns(parts, turns).items():
        row: dict[str, object] = {"case": "contractive", "batch": batch, "method": name}
        yield row | milliseconds(taken)


def milliseconds(taken: Sequence[float]) -> dict[str, float]:
    """Median and least of some seconds."""
    return {
        "median_ms": round(1e3 * statistics.median(taken), 1),
        "least_ms": round(1e3 * min(taken), 1),
    }


def main() -> None:
    """Time everything and print it."""
    parser = options(__doc__)
    parser.add_argument("--width", type=count, default=500)
    parser.add_argument("--batch", type=count, nargs="+", default=[32, 128])
    parser.add_argument("--turns", type=count, default=7)
    parser.add_argument("--tol", nargs="+", default=["1e-3", "1e-4", "1e-4/1e-3", "3e-6/1e-4"])
    parser.add_argument("--cases", nargs="+", default=["contracting", "initial", "contractive"])
    args = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", ConvergenceWarning)
    rows: list[dict[str, object]] = []
    for case in args.cases:
        for batch in args.batch:
            if case == "contractive":
                for row in contractive(batch, args.width, args.turns):
                    say(row)
                    rows.append(row)
                continue
            task = Task(0.3 if case == "contracting" else 1.0, batch, args.width)
            exact = exact_gradient(task) if case == "contracting" else None
            runners = {
                "faithful": Runner(task, Faithful),
                "faithful*": Runner(task, partial(Faithful, like_ours=True)),
            }
            for tol in args.tol:
                both = [float(one) for one in tol.split("/")]
                runners[f"ours {tol}"] = Runner(task, partial(Ours, tol=both[0], linear=both[-1]))
            both = [float(one) for one in args.tol[-1].split("/")]
            plain = partial(Ours, tol=both[0], linear=both[-1])
            runners[f"plain {args.tol[-1]}"] = Runner(task, plain, plain=True)
            for _ in range(args.turns + 1):
                for runner in runners.values():
                    runner.step()
            reference = runners["faithful"]
            for name, runner in runners.items():
                taken = runner.seconds[1:]  # the first warms up
                pairs = zip(reference.seconds[1:], taken, strict=True)
                row = {"case": case, "batch": batch, "method": name, **milliseconds(taken)}
                row["faster"] = round(statistics.median(a / b for a, b in pairs), 2)
                if exact is not None:
                    error = (runner.gradient() - exact).norm() / exact.norm()
                    row["error"] = significant(float(error))
                if isinstance(runner.layer, Faithful):
                    row["evaluations"] = sum(runner.layer.evaluations)
                say(row)
                rows.append(row)
    show(rows)


if __name__ == "__main__":
    main()
