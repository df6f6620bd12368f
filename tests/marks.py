"""Marks that tests of several rooms bear."""

import pytest

#: What is tested does not depend on whether the grid resolves every layer.
quiet = pytest.mark.filterwarnings("ignore::pnpfusion.dynamics.resolution.ResolutionWarning")
