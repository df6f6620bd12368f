"""Hot loops compiled by Numba; each has a slower twin without it, and a test that compares them.

Compiled code is kept beside the sources. Numba compiles a function anew when its own file changes,
not when one that it calls does: whoever edits a kernel removes `__pycache__` here.
"""
