"""The same on a graphics card: Triton's kernels (`solvers/kernels/gpu`), or torch alone."""
