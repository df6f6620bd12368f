"""Other programs on the problems that pnpfusion is measured by, each a process of its own.

What follows must be set before any of them is imported.
"""

import os

os.environ.setdefault("PYBAMM_DISABLE_TELEMETRY", "true")
os.environ.setdefault("FIPY_SOLVERS", "scipy")
