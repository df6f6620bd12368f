"""A run as a moving picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.animation import PillowWriter
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PolyCollection
from matplotlib.lines import Line2D
from tqdm import tqdm

from pnpfusion.files import whole
from pnpfusion.solution import Solution
from pnpfusion.solvers.arguments import check_whole
from pnpfusion.visualize.claim import headline, separation
from pnpfusion.visualize.palette import colors
from pnpfusion.visualize.samples import Sample
from pnpfusion.visualize.space_axis import space_axis
from pnpfusion.visualize.style import (
    CONCENTRATION,
    POTENTIAL,
    SPECK,
    TIME,
    Look,
    looks,
    new_figure,
    sign,
    styled,
)
from pnpfusion.visualize.trace import Array, Trace, trace

DPI = 100
HOLD = 1.0  #: seconds that the last frame stays before the loop begins again


def animate(
    solution: Solution,
    path: str | Path,
    *,
    sample: Sample = 0,
    frames: int = 60,
    fps: int = 15,
    progress: bool = False,
) -> Path:
    """Write a GIF of all species over the potential, and return its path; as a whole or not at all.

    About equally much happens between any two frames, so the clock runs slowly at first. Between
    saved times the states are interpolated linearly, which keeps masses and Poisson's equation.
    A run that fails ends with the first state that is no solution.

    Args:
        solution: a run of a PNP cell.
        path: where to, a name that ends in ".gif"; what is there is replaced.
        sample: which of the flattened batch; ``(2, None)`` is the mean over row 2 of a batch of two
            axes, None that over the whole batch.
        frames: how many, at least 2.
        fps: frames per second.
        progress: whether to show a progress bar.

    Raises:
        ValueError: no PNP cell, no such sample, no ".gif", too few frames, or no speed.
    """
    path = Path(path)
    if path.suffix.lower() != ".gif":
        raise ValueError(f"`path` must end in .gif, got {str(path)!r}.")
    check_whole("frames", frames, 2)
    if not 1 <= fps <= 50:
        raise ValueError(f"`fps` must be 1 to 50, got {fps}; viewers slow down faster GIFs.")
    shown = trace(solution, sample)
    with styled():
        scene = _Scene(shown)
        writer = PillowWriter(fps=fps)
        with whole(path, ".gif") as part, writer.saving(scene.figure, str(part), DPI):
            for place in tqdm(frame_places(shown, frames), desc="animate", disable=not progress):
                scene.draw(float(place))
                writer.grab_frame()
            for _ in range(round(HOLD * fps)):  # Pillow makes one long frame of equal ones
                writer.grab_frame()
    return path


def frame_places(shown: Trace, frames: int) -> Array:
    """Where in the run each frame stands: 2.5 is halfway from saved time 2 to saved time 3."""
    if shown.failed:
        return np.append(frame_places(shown.until_failure, frames - 1), shown.good)
    if shown.good == 1:
        return np.zeros(1)
    times = shown.times[: shown.good]
    clock = (times - times[0]) / (times[-1] - times[0])
    done = 0.85 * shown.changes + 0.15 * clock  # some of the clock, so that rest is seen too
    done = done / done[-1]
    return np.interp(np.linspace(0, 1, frames), done, np.arange(shown.good))


class _Scene:
    """A figure whose lines follow the run, with all axes fixed."""

    def __init__(self, shown: Trace) -> None:
        self.shown, self.looks = shown, looks(shown.species)
        groups = _groups(shown)
        self.figure = new_figure(6.4, 1.9 * len(groups) + 2.9, headline(shown, separation(shown)))
        FigureCanvasAgg(self.figure)
        panels = self.figure.subplots(len(groups) + 1, 1, sharex=True)
        self.lines: dict[str, tuple[Line2D, PolyCollection]] = {}
        top = 1.05 * float(shown.c[: shown.good].max())
        for axes, (title, names) in zip(panels, groups.items(), strict=False):
            axes.set_title(title)
            axes.set(ylim=(0, top), ylabel=f"$c$  ({CONCENTRATION})")
            for name in names:
                self.lines[name] = _filled_line(axes, shown.x, self.looks[name], name)
            axes.legend(
                loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=len(names), borderaxespad=0.2
            )
        self.clock = panels[0].set_title(" ", fontsize=11)  # in the place of the first panel's name
        below = panels[-1]
        below.set_title("potential")
        reach = 1.08 * max(float(np.abs(shown.phi[: shown.good]).max()), SPECK)
        below.set(ylim=(-reach, reach), ylabel=rf"$\phi$  ({POTENTIAL})")
        below.axhline(0, color=colors().faint, linewidth=0.6)
        (self.potential,) = below.plot(shown.x, shown.x, color=colors().ink, linewidth=1.3)
        self.fills = [
            below.fill_between(shown.x, 0, 0, color=color, alpha=0.3, linewidth=0)
            for color in (colors().positive, colors().negative)
        ]
        for axes in panels:
            space_axis(axes, shown, labels=axes is below)
        self.draw(0.0)
        self.figure.draw_without_rendering()
        self.figure.set_layout_engine("none")  # or axes would jitter from frame to frame

    def draw(self, place: float) -> None:
        """Show the state at a place of :func:`frame_places`."""
        shown = self.shown
        low = min(int(place), len(shown.times) - 1)
        high, share = min(low + 1, len(shown.times) - 1), place - low

        def between(values: Array) -> Array:
            if share == 0:
                return np.asarray(values[low])
            return np.asarray((1 - share) * values[low] + share * values[high])

        c, phi = np.clip(between(shown.c), -1e9, 1e9), np.clip(between(shown.phi), -1e9, 1e9)
        for name, values in zip(shown.names, c, strict=True):
            line, fill = self.lines[name]
            line.set_ydata(values)
            fill.set_verts([_outline(shown.x, values)])
        self.potential.set_ydata(phi)
        self.fills[0].set_verts([_outline(shown.x, phi.clip(min=0))])
        self.fills[1].set_verts([_outline(shown.x, phi.clip(max=0))])
        failed = place >= shown.good
        digits = max(0, 3 - int(np.floor(np.log10(max(float(shown.times[-1]), 1e-300)))))
        now = float(between(shown.times))
        time = f"t = {now:.{digits}f} {TIME}"
        if shown.clock.kind == "rounds":
            time = f"after {int(now)} rounds"
        elif shown.clock.kind == "rest":  # not a course in time: nobody knows that
            time = f"{place:.0%} of the way to rest" if place < 1 else "at rest"
        self.clock.set_text(time + (": no solution" if failed else ""))
        self.clock.set_color(colors().alarm if failed else colors().ink)


def _groups(shown: Trace) -> dict[str, list[str]]:
    """Which species share a panel: all of up to two, and else those of one sign."""
    if len(shown.species) <= 2:
        return {"concentrations": shown.names}
    found: dict[str, list[str]] = {}
    for value, title in ((1.0, "cations"), (-1.0, "anions"), (0.0, "without charge")):
        names = [one.name for one in shown.species if sign(one) == value]
        found |= {title: names} if names else {}
    return found


def _filled_line(axes: Axes, x: Array, look: Look, name: str) -> tuple[Line2D, PolyCollection]:
    (line,) = axes.plot(x, x, color=look.color, linestyle=look.dashes, label=name)
    return line, axes.fill_between(x, 0, x, color=look.color, alpha=0.15, linewidth=0)


def _outline(x: Array, values: Array) -> Array:
    """The corners of the area between the values and 0, (2N, 2)."""
    return np.column_stack([np.append(x, x[::-1]), np.append(values, np.zeros_like(values))])
