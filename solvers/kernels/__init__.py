"""Hot loops compiled by Numba; each has a slower twin without it, and a test that compares them."""
