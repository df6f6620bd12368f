"""Boxes of two and three axes: stencils and the lines they are preconditioned by."""
