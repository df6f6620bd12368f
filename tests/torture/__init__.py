"""Attempts to break the toolkit: cases made at random, each with a seed and a number.

Every module runs by itself, ``python -m tests.torture.cells --count 1000 --seed 7``, ends in one
line of counts, and names what failed with the command that runs that case alone. A short form
stands among the normal tests.
"""
