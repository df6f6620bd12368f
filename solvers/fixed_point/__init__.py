"""Where a map rests: solvers for fixed points, and gradients through what they find."""
