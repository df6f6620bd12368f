"""Where there is no graphics card, Triton's interpreter stands in for one.

It must be asked for before Triton is imported for the first time.
"""

import os

import pytest
import torch

if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")

#: Rooms with helpers that assert, and so say what they saw.
pytest.register_assert_rewrite(
    *(f"tests.{room}" for room in ("docs", "dynamics", "lab", "sweeps", "visualize"))
)
