"""Kernels for graphics cards in Triton, imported when first used; see `solvers/backend.py`.

Samples lie side by side in memory ("batch last"), one in each lane of a warp, and every program is
one warp: neighbours read neighbouring numbers, no lane waits for another but at the end of a loop,
and a number is read by the lane that wrote it. Small vectors and blocks are tuples of lanes, which
Triton keeps in registers. ``TRITON_INTERPRET=1``, set before the first use, runs them on the CPU.
"""
