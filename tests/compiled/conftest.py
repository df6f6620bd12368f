"""Steps in torch, where the kernels would take them."""

import pytest

from pnpfusion.dynamics import pnp_bound
from pnpfusion.dynamics.pnp_bound import BoundPNP
from pnpfusion.solvers.asymptotic_preserving import asymptotic_preserving_step


@pytest.fixture
def in_torch(monkeypatch):
    """A call makes its runs with steps in torch."""

    def call(function, *args):
        with monkeypatch.context() as patch:
            patch.setattr(BoundPNP, "semi_implicit_steps", lambda *_: None)
            patch.setattr(
                pnp_bound,
                "semi_implicit_step",
                lambda *given: (asymptotic_preserving_step(*given[:3]), ()),
            )
            return function(*args)

    return call
