"""Where the documents answer an error: each entry of docs/faq.md that errors point to."""

from __future__ import annotations

from enum import Enum


class Faq(Enum):
    """An entry of docs/faq.md; the value is its anchor, and ``str`` what stands in the message.

    An error says ``f"... what to do {Faq.NOT_NEUTRAL}."``; tests/docs/test_faq.py sees to it that
    every entry is there and quotes an error that points to it.
    """

    BAD_NUMBERS = "bad-numbers"
    COARSE_GRID = "coarse-grid"
    DAMAGED_FILE = "damaged-file"
    DATA_NOT_FOUND = "data-not-found"
    FILE_IS_THERE = "file-is-there"
    INTERRUPTED = "interrupted"
    LONG_EXPLICIT_STEPS = "long-explicit-steps"
    MISSING_MODALITY = "missing-modality"
    MISSING_PACKAGE = "missing-package"
    NOT_CONVERGED = "not-converged"
    NOT_FINITE = "not-finite"
    NOT_NEUTRAL = "not-neutral"
    OTHER_VERSION = "other-version"
    OUT_OF_MEMORY = "out-of-memory"
    OUT_OF_STEPS = "out-of-steps"
    SECOND_DERIVATIVES = "second-derivatives"
    STEP_TOO_SMALL = "step-too-small"
    TRAINING_NOT_FINITE = "training-not-finite"
    UNSOLVED_IN_TRAINING = "unsolved-in-training"
    WHICH_STEPPER = "which-stepper"
    WRONG_SHAPE = "wrong-shape"

    def __str__(self) -> str:
        return f"(docs/faq.md#{self.value})"
