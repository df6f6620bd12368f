"""Rounds of fixed-point iterations, each row of a batch by itself."""
