"""The page of all cases: texts, tables and pictures."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence

from docs.verification import (
    ac_response,
    blocking_cell,
    constant_field,
    double_layer,
    limiting_current,
    liquid_junction,
    manufactured,
    membrane,
    pn_junction,
    poisson,
    relaxation,
    spectral_space,
    symmetries,
)
from docs.verification.case import Case, Row, Table
from pnpfusion.dynamics.resolution import ResolutionWarning
from pnpfusion.text_table import markdown

CASES: tuple[Case, ...] = (
    double_layer.CASE,
    relaxation.CASE,
    constant_field.CASE,
    liquid_junction.CASE,
    blocking_cell.CASE,
    ac_response.CASE,
    limiting_current.CASE,
    pn_junction.CASE,
    membrane.CASE,
    poisson.CASE,
    manufactured.CASE,
    spectral_space.CASE,
    symmetries.CASE,
)

HEAD = """\
# Verification

What pnpfusion computes, beside what is known: closed forms, limits, independent solutions of
high accuracy, and solutions that were made up so that they are known. Everything on this page,
numbers and pictures, is made by

```
python -m docs.verification                       # all of it, as `make verify`; writes this page
python -m docs.verification --only double-layer   # one case; prints it
```

which fails where an error is above its bound or an order is not the stated one;
`tests/docs/test_verification.py` checks both, and that this page is what the script makes. All runs
are in float64.

*How to read the tables.* $N$ is the number of cells of an axis, and the columns under it are
errors, relative ones unless the heading says otherwise. The computed value is that of the
finest grid; the order is $\\log_2$ of the last two errors' ratio, and missing where errors are
round-off or not those of a grid. The bound is that of the finest grid; coarser ones are allowed
more, as the order says, or the same where none is shown. Where a bound is not of the numerics
but of physics, such as a film that is not infinitely thick, the text says so.

"""


def results(case: Case, sizes: Sequence[int]) -> list[Table]:
    """The tables of a case; that coarse grids are coarse is meant here, and not warned of."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResolutionWarning)
        return case.tables(sizes)


def complaints(tables: Sequence[Table]) -> list[str]:
    """What in ``tables`` is not as stated."""
    return [f"{t.title}: {text}" for t in tables for row in t.rows for text in row.complaints]


def anchor(title: str) -> str:
    """Where a link to a heading points."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def number(value: float | None, form: str) -> str:
    """A number as a table shows it."""
    return "" if value is None else f"{value:{form}}"


def table_of(table: Table) -> str:
    """One line for each quantity, with an error for each size."""
    groups: dict[str, list[Row]] = {}
    for row in table.rows:
        groups.setdefault(row.what, []).append(row)
    sizes = sorted({row.cells for row in table.rows})
    valued = any(row.exact is not None for row in table.rows)
    values = ["known", "computed"] if valued else []
    heads = ["", *values, *(f"{table.size} = {n}" for n in sizes), "order", "bound"]
    lines = []
    for what, rows in groups.items():
        errors = {row.cells: row.error for row in rows}
        last = rows[-1]
        known = [number(last.exact, ".9g"), number(last.computed, ".9g")] if valued else []
        cells = [number(errors.get(n), ".1e") for n in sizes]
        ends = [number(last.order, ".2f"), number(last.bound, ".1e")]
        name = what.replace("|", "\\|")
        lines.append([name, *known, *cells, *ends])
    title = f"**{table.title}**" + (" (relative errors)" if table.relative and valued else "")
    return f"{title}\n\n{markdown(heads, lines)}\n"


def section(case: Case, tables: Sequence[Table]) -> str:
    """The part of the page that tells of one case."""
    image = f"images/verification_{case.key.replace('-', '_')}.png"
    shown = "\n".join(table_of(table) for table in tables)
    return (
        f"## {case.title}\n\n{case.text}\n\n![{case.caption}]({image})\n\n*{case.caption}*\n\n"
        f"{shown}\n"
    )


def page(found: Sequence[tuple[Case, Sequence[Table]]]) -> str:
    """The whole page."""
    lines = []
    for case, tables in found:
        rows = [row for table in tables for row in table.rows]
        worst = max(row.error / row.bound for row in rows)
        names = len({(table.title, row.what) for table in tables for row in table.rows})
        lines.append([f"[{case.title}](#{anchor(case.title)})", f"{names}", f"{worst:.2f}"])
    summary = markdown(("case", "quantities", "largest error / bound"), lines)
    return HEAD + summary + "\n\n" + "".join(section(c, t) for c, t in found)
