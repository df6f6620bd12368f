"""Progressive fusion as a law of motion: what is fused informs the encoders that are fused."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import cast

from torch import Tensor, nn

from pnpfusion.dynamics.at_rest import AtRest
from pnpfusion.dynamics.base import Dynamics
from pnpfusion.dynamics.context_encoder import ContextEncoder
from pnpfusion.dynamics.input import Input, rows_of
from pnpfusion.dynamics.like_parameters import check_like_parameters
from pnpfusion.dynamics.place import Place
from pnpfusion.solvers.arguments import check_known, check_whole
from pnpfusion.solvers.faq import Faq
from pnpfusion.solvers.fixed_point.anderson import Anderson
from pnpfusion.solvers.fixed_point.base import FixedPointSolver, Tolerance
from pnpfusion.solvers.fixed_point.gradient import Gradient
from pnpfusion.solvers.steppers.base import Law

#: In the names of an input: what an encoder has made of a modality up to its place.
BEGUN = "begun:"
_DROPOUTS = (
    nn.Dropout,
    nn.Dropout1d,
    nn.Dropout2d,
    nn.Dropout3d,
    nn.AlphaDropout,
    nn.FeatureAlphaDropout,
)


class Progressive(Dynamics):
    r"""Feedback from the fused feature into the encoders [STF22].

    .. math::
        \dot z = G(h_1, \dots, h_M) - z, \qquad h_i = F_i(x_i;\, C_i W_i z)

    with any encoders :math:`F_i` and any fusion G of the list of encodings. The context
    :math:`C_i W_i z` is added to the output of one module inside the encoder, over all time steps,
    tokens or pixels alike (see :class:`ContextEncoder`). At z = 0 this is the base model, late
    fusion; :func:`pnpfusion.unroll` of R rounds from there is progressive fusion with R passes, and
    its limit, :func:`pnpfusion.equilibrium`, a deep equilibrium whose cell holds the encoders.
    For feedback to help, the place must come before whatever the encoder loses.

    Without biases, :math:`\sum_i k_i q + k_i v_i` parameters are added to the base model, for any
    number of rounds. The input ``x`` maps the modalities to features ``(*batch, ...)``; an absent
    modality is zero there, and its encoder still hears the context.

    Args:
        encoders: one per modality, batch first.
        fuse: G, from the list of encodings, in the order of ``encoders``, to (batch, q).
        width: q.
        at: where the context enters each encoder: a name in its ``named_modules()``, or a
            :class:`Place` where that module does not tell how wide it is.
        context: k_i, one for all or one for each.
        detach: cut the gradient from the context back to z: then only the last pass and the
            :math:`W_i, C_i` learn.

    Raises:
        ValueError: names that do not fit together, a place that is not there or not known in width,
            or a size that is no whole number >= 1.
    """

    def __init__(
        self,
        encoders: Mapping[str, nn.Module],
        fuse: nn.Module,
        *,
        width: int,
        at: Mapping[str, str | Place],
        context: int | Mapping[str, int] = 32,
        detach: bool = False,
    ) -> None:
        super().__init__()
        if not isinstance(encoders, Mapping) or not encoders:
            raise ValueError(
                f"`encoders` must map modalities to modules, got {type(encoders).__name__} "
                f"{'of none' if isinstance(encoders, Mapping) else ''}."
            )
        self.modalities = tuple(encoders)
        sizes = context if isinstance(context, Mapping) else dict.fromkeys(encoders, context)
        for what, named in (("at", at), ("context", sizes)):
            if {*named} != {*encoders}:
                raise ValueError(
                    f"`{what}` must name the modalities {[*encoders]}, got {[*named]}."
                )
        for what, size in [("width", width), *((f"context[{n!r}]", k) for n, k in sizes.items())]:
            check_whole(what, size)
        self.width = width
        self.detach = detach
        self.encoders = nn.ModuleList()
        for name, encoder in encoders.items():
            place = at[name]
            place = place if isinstance(place, Place) else Place(place)
            self.encoders.append(
                ContextEncoder(encoder, place.within(encoder, name), width, sizes[name])
            )
        self.fuse = fuse

    @property
    def state_shape(self) -> tuple[int, ...]:
        """Of one sample: (q,)."""
        return (self.width,)

    @property
    def random(self) -> bool:
        """Whether a module inside now draws random numbers: dropout in training, noise.

        A module of your own that does should have an attribute ``random = True``.
        """
        return any(_draws(module) for module in self.modules() if module is not self)

    def start(self, *batch: int) -> Tensor:
        """Zero, shape ``(*batch, q)``, with dtype and device of the context's weights."""
        first = next(iter(self._encoders().values()))
        return first.context.weight.new_zeros(*batch, self.width)

    def rate(self, t: Tensor, u: Tensor, x: Input = None) -> Tensor:
        """G(h_1, ..., h_M) - z, like ``u`` ``(*batch, q)``.

        Raises:
            ValueError: the fusion's output is not of the shape of the state.
        """
        encodings = self.encode(u, x)
        fused = self.fuse(encodings)
        wanted = (u[..., 0].numel(), self.width)
        if not isinstance(fused, Tensor) or tuple(fused.shape) != wanted:
            got = tuple(fused.shape) if isinstance(fused, Tensor) else type(fused).__name__
            raise ValueError(f"`fuse` must give (batch, width) = {wanted}, got {got}.")
        return fused.reshape(u.shape) - u

    def encode(self, u: Tensor, x: Input) -> list[Tensor]:
        """The encodings h_i of ``x`` under z = ``u`` ``(*batch, q)``, over the flat batch."""
        axes = u.ndim - 1
        z = u.reshape(-1, self.width)
        if self.detach:
            z = z.detach()
        encodings = []
        for name, encoder in self._encoders().items():
            values, begun = _features(x, name)
            encodings.append(encoder(values.reshape(-1, *values.shape[axes:]), z, begun))
        return encodings

    def begin(self, x: Input, batch: tuple[int, ...]) -> Input:
        """``x`` with what comes before the places done, so that it is done once in many rounds.

        Such a modality is then called "begun:" and its name, and may stand for it in any ``x``. The
        verbs do this by themselves, `unroll` in every round if the law is :attr:`random`.

        Args:
            x: features by modality.
            batch: the batch axes.
        """
        ready: dict[str, Tensor] = {}
        for name, encoder in self._encoders().items():
            values, begun = _features(x, name)
            if begun or not encoder.entry:
                ready[BEGUN + name if begun else name] = values
                continue
            made = encoder.before(values.reshape(-1, *values.shape[len(batch) :]))
            if isinstance(made, Tensor):
                ready[BEGUN + name] = made.reshape(*batch, *made.shape[1:])
            else:  # no tensor can pass for the rows of a batch: done in every round
                ready[name] = values
        return ready

    def bind(self, u0: Tensor, x: Input = None, t: float = 0.0) -> Law:
        """See :meth:`Dynamics.bind`; what comes before the places is done here."""
        return super().bind(u0, self.begin(x, tuple(u0.shape[:-1])), t)

    def solve_equilibrium(
        self,
        u0: Tensor,
        x: Input,
        tolerance: Tolerance | float,
        solver: FixedPointSolver | None = None,
        gradient: Gradient | None = None,
    ) -> AtRest:
        """See :meth:`Dynamics.solve_equilibrium`; what comes before the places is done here."""
        x = self.begin(x, tuple(u0.shape[:-1]))
        return super().solve_equilibrium(u0, x, tolerance, solver, gradient)

    def check_rest(self, u0: Tensor, x: Input) -> None:
        """See :meth:`Dynamics.check_rest`; this law does not know the time."""

    def choose_solver(self, u0: Tensor, x: Input) -> tuple[FixedPointSolver, str]:
        """See :meth:`Dynamics.choose_solver`."""
        return Anderson(), "one call of the encoders an iteration"

    def rows(self, x: Input, batch: tuple[int, ...], which: Tensor) -> Input:
        """See :meth:`Dynamics.rows`; encoders treat each sample by itself."""
        return rows_of(x, batch, which)

    def check_state(self, name: str, u: Tensor, x: Input = None, t: float = 0.0) -> None:
        """Raise ValueError unless ``u`` ends in (q,) and ``x`` has all modalities for its batch.

        Both must be as the law's parameters.
        """
        super().check_state(name, u, x, t)
        if u.shape[-1] != self.width:
            raise ValueError(
                f"`{name}` must end in ({self.width},), got {tuple(u.shape)} {Faq.WRONG_SHAPE}."
            )
        check_like_parameters(self, name, u)
        for modality in self.modalities:
            values, begun = _features(x, modality)
            if values.shape[: u.ndim - 1] != u.shape[:-1]:
                raise ValueError(
                    f"`x[{modality!r}]` must begin with the batch {tuple(u.shape[:-1])} of "
                    f"`{name}`, got {tuple(values.shape)} {Faq.WRONG_SHAPE}."
                )
            if not begun:  # an encoder may go on in any dtype
                check_like_parameters(self, f"x[{modality!r}]", values)
        if isinstance(x, Mapping):
            given = [str(key).removeprefix(BEGUN) for key in x]
            check_known("x", given, self.modalities, "modalities")

    def _encoders(self) -> dict[str, ContextEncoder]:
        encoders = cast(Iterable[ContextEncoder], self.encoders)
        return dict(zip(self.modalities, encoders, strict=True))


def _features(x: Input, name: str) -> tuple[Tensor, bool]:
    """What ``x`` holds of a modality, and whether its encoder has begun with it."""
    if isinstance(x, Mapping):
        for key in (name, BEGUN + name):
            values = x.get(key)
            if isinstance(values, Tensor):
                return values, key != name
    got = [*x] if isinstance(x, Mapping) else type(x).__name__
    raise ValueError(
        f"`x` must map every modality to a tensor, lacks {name!r}, got {got}"
        f" {Faq.MISSING_MODALITY}."
    )


def _draws(module: nn.Module) -> bool:
    own = vars(module)
    if "random" in own or hasattr(type(module), "random"):
        told: object = module.random
        return told is True
    share = own.get("p" if isinstance(module, _DROPOUTS) else "dropout", 0.0)  # nn.GRU's, e.g.
    if isinstance(module, nn.RReLU):
        share = module.upper - module.lower
    return module.training and isinstance(share, float | int) and share > 0
