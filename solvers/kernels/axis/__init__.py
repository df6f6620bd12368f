"""Cells of one axis, one after the other: Newton's iteration, runs, rest, and their gradients."""
