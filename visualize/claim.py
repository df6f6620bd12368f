"""What a run shows, in a sentence with its numbers."""

from __future__ import annotations

import numpy as np

from pnpfusion.visualize.style import number
from pnpfusion.visualize.trace import Array, Trace


def gathering(trace: Trace, index: int) -> str:
    """Where a species ends up: "audio cation gathers at the right wall: 3.4× its mean"."""
    name, first, last = trace.names[index], trace.c[0, index], trace.c[trace.good - 1, index]
    before, after = (max(float(trace.mean(c)), 1e-300) for c in (first, last))
    start, peak = float(first.max()) / before, float(last.max()) / after
    at = int(last.argmax())
    if peak < 1.05 and start < 1.05:
        return f"{name} stays even"
    if np.abs(last - first).max() < 0.02 * max(float(first.max()), float(last.max())):
        return f"{name} stays as it was"
    place = _place(trace, last, at)
    if trace.open:  # what is there came through a wall, and nothing may have moved to it
        return f"{name} is highest {place}: {peak:.2g}× its mean"
    if "wall" in place and peak > 1.05 and last[at] > 1.05 * first[at]:
        return f"{name} gathers {place}: {peak:.2g}× its mean"
    if peak < start:
        return f"{name} evens out: its peak falls from {start:.3g}× to {peak:.3g}× its mean"
    return f"{name} gathers {place}: {peak:.2g}× its mean"


def _place(trace: Trace, c: Array, at: int) -> str:
    share = (trace.x[at] - trace.faces[0]) / (trace.faces[-1] - trace.faces[0])
    if trace.periodic or 0.05 < share < 0.95:
        return f"at x = {trace.x[at]:.2g}"
    if abs(c[0] - c[-1]) < 0.02 * c[at]:
        return "at both walls"
    return "at the left wall" if share < 0.5 else "at the right wall"


def separation(trace: Trace) -> str:
    """How far the charges are apart: the mean of |rho| at the start and at the end."""
    size = trace.mean(np.abs(trace.rho[: trace.good]))
    before, after = float(size[0]), float(size[-1])
    scale = float(trace.mean(trace.c[0].sum(0)))
    if max(before, after) < 1e-9 * scale:
        return "No charge separates: the cell is neutral everywhere"
    numbers = f"the mean of |ρ| {{}} from {number(_zero(before, scale))} to {number(after)}"
    if trace.open:
        return f"With open walls {numbers.format('goes')}"
    if after > 1.05 * before:
        return f"Charges separate: {numbers.format('grows')}"
    if after < 0.8 * before:
        return f"Charges neutralise one another: {numbers.format('falls')}"
    if after < 0.95 * before:
        return f"Charges move and stay apart: {numbers.format('goes')}"
    return f"The charges stay apart: the mean of |ρ| is {number(after)}"


def screening(trace: Trace) -> str:
    """What the charges do to the potential of the middle half of the cell, or of all of a ring."""
    share = (trace.x - trace.faces[0]) / (trace.faces[-1] - trace.faces[0])
    part = np.full_like(share, True) if trace.periodic else (share > 0.25) & (share < 0.75)
    phi = np.compress(part, trace.phi[[0, trace.good - 1]], axis=-1)
    before, after = (float(np.ptp(one)) if phi.size else 0.0 for one in phi)
    where = "ring" if trace.periodic else "middle half"
    if max(before, after) < 1e-9:
        return f"No field in the {where}"
    numbers = f"potential differences {{}} from {number(_zero(before, 1))} to {number(after)} kT/e"
    if trace.open:
        return f"In the {where} {numbers.format('go')}"
    if after < 0.9 * before:
        done, begun = "is screened", "begins to be screened"
        if trace.periodic:
            done, begun = "loses its field", "begins to lose its field"
        verb = done if after < 0.2 * before else begun
        return f"The {where} {verb}: {numbers.format('fall')}"
    if after > 1.1 * before:
        return f"A field builds up in the {where}: {numbers.format('grow')}"
    return f"The {where} keeps its field: {numbers.format('go')}"


def headline(trace: Trace, text: str) -> str:
    """The claim of a figure: what went wrong, or else ``text``; then whose it is."""
    lines = trace.trouble or text
    return f"{lines}\n({trace.who})" if trace.who else lines


def sentence(text: str) -> str:
    """The text with a capital letter."""
    return text[:1].upper() + text[1:]


def _zero(value: float, scale: float) -> float:
    return 0.0 if abs(value) < 1e-12 * scale else value
