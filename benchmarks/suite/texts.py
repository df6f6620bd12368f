"""What docs/performance.md says around its figures."""

TITLES = {
    "p1": "P1: one blocking cell",
    "p2": "P2: two charges in a square",
    "p3": "P3: 64 blocking cells at once",
    "p4": "P4: two charges in a cube",
    "steppers": "P1 by steppers of ours",
}

TEXTS = {
    "p1": """\
A cell between blocking electrodes at −2 and +2 thermal voltages, Debye length a twentieth of the
half width, charged for ten of its time constants. What PyBaMM ends with is limited by its faces
(means of both cells), which are the best of those here on equal cells; our central faces are the
same. On graded cells the order changes, for both. Few cells do not bound pnpfusion any more: from
20 to 64 of them a run takes nearly the same time, since checks, looking up the cell and making the
`Solution` come once for each run, and a part of the kernel's work once for each iteration.""",
    "p2": """\
Two Gaussian charges of opposite sign in an insulated square. Cosine series converge faster than
any power of the cell; the hand-written integrator is cosines, diffusion exact, Runge–Kutta of
order 4, and nothing else.""",
    "p3": """\
64 cells with Debye lengths from .05 to .1 and voltages from .5 to 3, one call. The error is that of
the worst cell.""",
    "p4": """\
P2 in three dimensions.""",
    "steppers": """\
On 256 graded cells, whose own error is 1e-5.""",
}

HEAD = """\
# Performance

Time, memory and how they grow, beside other programs that people use for these equations.
Everything on this page, numbers and pictures, is made by these commands. Under *Other
figures* each table names the script that `make bench` runs for it, which can be run alone.

```
make peers                            # once: the other programs, in an environment of their own
make bench                            # measures everything and writes this page
make bench ARGS="--only p1,startup"   # some parts, and this page
make bench ARGS="--quick --only p1"   # two rounds, into build/bench; this page stays as it is
make bench ARGS=--page                # this page anew from benchmarks/results/, nothing measured
```

*How it is measured.* One thread, processor time, which is that of the clock where nothing else
runs (the least clock times are in the JSON files beside it); waiting for a busy machine does not
count. Every program is a process of its own that answers when asked; in each round all take their
turn, in reversed order every other round. A turn repeats a quick run and counts the shortest;
times are medians over rounds, in brackets the least and the largest. Ratios are taken within a
round, so that the hour and the neighbours of a machine cancel. Importing, building a model,
compiling and one run to warm up are not counted, for anyone. Time counts at equal error only,
that is an error at most 5 % above: tolerances are the loosest that do not raise a program's error
by more than that over what its cells allow. PyBaMM's equations are compiled by the C compiler;
*as it comes* is its own tolerance of 1e-4 without. pnpfusion runs by the public `simulate` with
its checks. The problems and their references are in
[`benchmarks/peers/problems.py`](../benchmarks/peers/problems.py), the other programs' scripts
beside it. An error is the largest difference from the reference at a program's own nodes over the
largest concentration.

"""

OTHERS = """\
## Other figures

"""

TAIL = """\
### Not measured here

- Graphics cards: not yet measured; `python -m benchmarks.gpu` waits for one.

`make bench-check` compares with fixed codes in plain numpy and scipy what is quick to measure,
and fails where pnpfusion has become slower than
[`benchmarks/regression/ratios.json`](../benchmarks/regression/ratios.json) says.
"""
