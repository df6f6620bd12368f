"""The graphics card that kernels run on, or Triton's interpreter, which stands in for one.

Where neither can be had, the tests that import this are skipped.
"""

import pytest
import torch

triton = pytest.importorskip("triton", reason="the kernels for graphics cards need pnpfusion[gpu]")

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
if DEVICE == "cpu" and tuple(map(int, triton.__version__.split(".")[:2])) < (3, 9):
    pytest.skip("the interpreters before 3.9 stumble over new NumPy", allow_module_level=True)
#: The interpreter divides by zero where a card would, and says so.
interpreted = pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning")


def moved(*values):
    return [value.to(DEVICE) for value in values]
