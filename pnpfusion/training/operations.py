"""What an answer costs in floating point operations, whatever code computes it."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from pnpfusion.data.feature_set import Features
from pnpfusion.fusion.pnp import PNP
from pnpfusion.solvers.backend import using
from pnpfusion.solvers.fixed_point.base import ConvergenceWarning
from pnpfusion.training.model import FusionModel

SAMPLES = 32  #: of which the mean is taken
REST = (8, 34)  #: operations of each cell in an iteration: for each species, and for all of them
TRANSIENT = (58, 28)  #: likewise in a semi-implicit step


def operations(model: FusionModel, data: Features) -> float:
    """Floating point operations of one answer, the mean over the first :data:`SAMPLES` samples.

    Products of matrices are torch's own count, with compiled and fused kernels put aside, for it
    does not see into these; what PNP cells do is :func:`cell_operations`. What is done element by
    element outside of cells (activations, norms, Anderson's sums) is left out.

    Args:
        model: a trained one: how many iterations its solves take depends on what it learned.
        data: samples with its modalities.
    """
    part = data.samples(slice(0, SAMPLES))
    weight, before = model.head.weight, model.training
    inputs = {name: values.to(weight) for name, values in part.modalities.items()}
    flags = {name: one.to(weight.device) for name, one in (part.present or {}).items()}
    calls: list[tuple[PNP, Any, Any]] = []

    def hear(layer: nn.Module, given: Any, named: Any, _: Any) -> None:
        if isinstance(layer, PNP):
            calls.append((layer, given, named))

    hooks = [
        layer.register_forward_hook(hear, with_kwargs=True)
        for layer in model.modules()
        if isinstance(layer, PNP)
    ]
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore", ConvergenceWarning)
        try:
            model.eval()
            with using("torch"), _unfused(), FlopCounterMode(display=False) as counter:
                model(inputs, flags or None)
            solved = sum(_of_layer(*call) for call in tuple(calls))  # which calls the layers again
        finally:
            for hook in hooks:
                hook.remove()
            model.train(before)
    return float(counter.get_total_flops() + solved) / len(part)


def cell_operations(
    cells: int, species: int, sweeps: float, *, per_cell: tuple[int, int] = REST
) -> float:
    r"""Floating point operations of the run of one PNP cell on one axis.

    .. math:: N \, I \, (a S + b)

    for N cells, S species and I sweeps, which are iterations of Newton's method at rest, steps of a
    transient run. An exponential counts as one. At rest a species takes 8: its exponent (2), the
    exponential, its part in charge (2), screening (2) and free energy (1). All together take 34:
    gradient (8), free energy (8), pivots (7), both substitutions (6), size and slope of the step
    (3), the new potential (2). In a semi-implicit step a species takes 58: charge (2), two
    Bernoulli functions and a slope (12), fluxes and their derivative (13), currents (6), its
    tridiagonal system (20) and mass (5); all together 28, for the potential before and after. A
    second try of a line search is not counted, nor are reactions.

    Args:
        cells: N.
        species: S.
        sweeps: I, in all.
        per_cell: (a, b), :data:`REST` or :data:`TRANSIENT`.
    """
    return cells * sweeps * (per_cell[0] * species + per_cell[1])


@contextmanager
def _unfused() -> Iterator[None]:
    """Within it attention is products of matrices, as the counter knows them."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def _of_layer(layer: PNP, given: Any, named: Any) -> float:
    """Those of all cells in a call of a layer, for all of its rows."""
    _, info = layer(*given, **{**named, "return_info": True})
    run = info.solution
    if run is None:
        return 0.0
    law, at_rest = layer.cells.law, layer.run == "equilibrium"
    sweeps = float((run.work.iterations if at_rest else run.work.steps).sum())
    n, per_cell = law.grid.shape[-1], REST if at_rest else TRANSIENT
    return cell_operations(n, len(law.species), sweeps, per_cell=per_cell)
