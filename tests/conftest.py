"""Where there is no graphics card, Triton's interpreter stands in for one.

It must be asked for before Triton is imported for the first time.
"""

import os

import pytest
import torch
from hypothesis import settings

if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")

# The same examples in every run; others, with `make test ARGS="--hypothesis-profile explore"`.
settings.register_profile("fixed", derandomize=True)
settings.register_profile("explore", derandomize=False)
settings.load_profile("fixed")

#: Rooms with helpers that assert, and so say what they saw.
pytest.register_assert_rewrite(
    *(f"tests.{room}" for room in ("docs", "dynamics", "lab", "sweeps", "visualize"))
)
