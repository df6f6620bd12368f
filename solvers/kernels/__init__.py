"""Hot loops compiled by Numba; each has a slower twin without it, and a test that compares them.

Compiled code is kept among the user's caches, see `cache`; where any source here has changed, all
of it is compiled anew.
"""
