"""The results of a comparison to be read: Markdown for people, CSV for programs."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence

from pnpfusion.comparison.plan import Plan
from pnpfusion.comparison.statistics import Interval
from pnpfusion.comparison.summary import SetSummary
from pnpfusion.text_table import markdown

#: Columns after the score and its difference: what they are called, of which measure, how written.
COLUMNS: tuple[tuple[str, str, Callable[[float], str]], ...] = (
    ("F1, macro", "f1_macro", "{:.3f}".format),
    ("F1, weighted", "f1_weighted", "{:.3f}".format),
    ("one modality missing", "without one", "{:.3f}".format),
    ("under noise", "noise all", "{:.3f}".format),
    ("Brier", "brier", "{:.3f}".format),
    ("calibration error", "calibration_error", "{:.3f}".format),
    ("mean square error", "mse", "{:.4g}".format),
    ("iterations", "iterations", "{:.1f}".format),
    ("unconverged", "unconverged", "{:.1%}".format),
    ("parameters", "parameters", "{:.0f}".format),
    ("kFLOP/sample", "operations", lambda value: f"{value / 1000:.3g}"),
    ("ms/sample", "ms_per_sample", "{:.3g}".format),
    ("training, s", "training_seconds", "{:.3g}".format),
    ("epochs", "epochs", "{:.0f}".format),
)
NOTHING = "–"


def report(plan: Plan, summaries: Sequence[SetSummary]) -> str:
    """A table for each set in Markdown, and what its numbers are."""
    parts = [f"{_title(one)}\n\n{table_of(one)}" for one in summaries]
    return "\n\n".join([*parts, _notes(plan, summaries)]) + "\n"


def table_of(one: SetSummary) -> str:
    """A line for each model."""
    shown = [column for column in COLUMNS if any(column[1] in row.measures for row in one.rows)]
    head = ["model", one.score or "score", f"minus {one.reference}", "p"]
    lines = []
    for row in one.rows:
        lines.append(
            [
                row.model + (f" ({row.done} of {row.of})" if row.done < row.of else ""),
                span(row.measures.get(one.score)),
                span(None if row.difference is None else row.difference.interval, sign="+"),
                NOTHING if row.p_holm is None else _p(row.p_holm),
                *(
                    write(row.measures[name].mean) if name in row.measures else NOTHING
                    for _, name, write in shown
                ),
            ]
        )
    return markdown([*head, *(title for title, _, _ in shown)], lines, padded=True)


def span(one: Interval | None, digits: int = 3, sign: str = "") -> str:
    """A mean and its interval."""
    if one is None:
        return NOTHING
    text = f"{one.mean:{sign}.{digits}f}"
    if one.low is None or one.high is None:
        return text
    return f"{text} [{one.low:{sign}.{digits}f}, {one.high:{sign}.{digits}f}]"


def csv_text(summaries: Sequence[SetSummary]) -> str:
    """A row for each set, model and measure: mean, interval, and number of seeds."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    head = ("set", "model", "measure", "mean", "low", "high", "seeds", "p", "p_holm")
    writer.writerow(head)
    for one in summaries:
        for row in one.rows:
            for name, value in row.measures.items():
                writer.writerow([one.data, row.model, name, *_numbers(value), value.seeds, "", ""])
            if row.difference is not None:
                value = row.difference.interval
                ps = (row.difference.p, row.p_holm)
                what = f"{one.score} minus {one.reference}"
                writer.writerow([one.data, row.model, what, *_numbers(value), value.seeds, *ps])
    return out.getvalue()


def _title(one: SetSummary) -> str:
    parts = ", ".join(f"{name} {count}" for name, count in one.samples.items())
    folds = f", {one.folds} folds of contiguous blocks" if one.folds > 1 else ""
    return f"**{one.name}** (`{one.data}`; {one.seeds} seeds{folds}; samples: {parts})"


def _notes(plan: Plan, summaries: Sequence[SetSummary]) -> str:
    noise = ", ".join(f"{level:g}" for level in (0, *plan.noise))
    variations = "; ".join(
        ", ".join(f"{name} {value}" for name, value in one.items()) or "the recipe as it is"
        for one in plan.tuning
    )
    number = len(plan.tuning)
    sets = [one for one in summaries if one.rows]
    tests = ""
    if sets:
        least = min(
            (row.difference.least_p for one in sets for row in one.rows if row.difference),
            default=1.0,
        )
        tests = f" The smallest p that so many differences can give is {_p(least)}."
    few = ""
    if any(value.seeds == 2 for one in sets for row in one.rows for value in row.measures.values()):
        few = (
            " Of two seeds such an interval is 18 times as wide as their standard deviation (with "
            "five 2.5 times) and tells next to nothing: take five."
        )
    return (
        f"Scores are of test samples: mean and, in brackets, the 95 % interval over means of seeds "
        f"(Student), which ends where a score can go no further.{few} The difference is paired by "
        f"seed and fold, its p by flipping signs, corrected for all models on the set (Holm)."
        f"{tests} Selected on validation alone: the epoch, and of "
        f"each trained model, for each seed and fold, one of {number} "
        f"variation{'s' if number > 1 else ''} ({variations}); of classical models, fitted to the "
        f"same samples, the strength of regularisation. One modality missing: the mean score where "
        f"each in turn is absent, of samples that have another. Under noise: the mean score over "
        f"noise of all features from 0 to its largest level ({noise} deviations). Iterations "
        f"and the unconverged share are of the solves on validation samples. FLOP are those of an "
        f"answer: products of matrices, and of PNP cells the count of their equations, cells x "
        f"iterations x (8 or 58 a species + 34 or 28, at rest or in time), since compiled solves "
        f"are not seen by a counter; other work element by element is left out. Times are of one "
        f"thread of the processor."
    )


def _p(value: float) -> str:
    return f"{value:.2g}" if value >= 0.001 else f"{value:.0e}"


def _numbers(one: Interval) -> list[float | str]:
    return ["" if value is None else value for value in (one.mean, one.low, one.high)]
