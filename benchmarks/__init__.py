"""The scripts behind every figure in the documents; none of them is installed.

Everything is measured on one thread, which must be said before numpy and torch are imported.
"""

import os

for _name in ("OMP", "OPENBLAS", "MKL", "NUMBA"):
    os.environ.setdefault(f"{_name}_NUM_THREADS", "1")
