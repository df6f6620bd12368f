"""Where in an encoder a context enters."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from pnpfusion.solvers.arguments import check_whole

#: Attributes that tell how wide a module's output is, and the axis along which it is.
_WIDTHS = {
    "out_features": -1,  # Linear
    "embedding_dim": -1,  # Embedding
    "normalized_shape": -1,  # LayerNorm
    "out_channels": 1,  # convolutions
    "num_features": 1,  # batch and instance norm
    "num_channels": 1,  # GroupNorm
}


@dataclass(frozen=True)
class Place:
    """A submodule of an encoder, at whose output a context is added.

    Width and axis need to be given only where the module does not tell: linear layers, embeddings,
    convolutions and norms do, activations and modules of your own do not.

    Raises:
        ValueError: a width that is no whole number >= 1, no axis, or the batch as the axis.
    """

    name: str  #: as in the encoder's ``named_modules()``; "" is the encoder itself
    width: int | None = None  #: of its output along ``axis``; None: read off the module
    axis: int | None = None  #: None: 1 (channels) for what lies in space, else -1 (the last)

    def __post_init__(self) -> None:
        check_whole("width", self.width, or_none=True)
        if self.axis is not None and type(self.axis) is not int:
            raise ValueError(f"`axis` of a place must be a whole number, got {self.axis!r}.")
        if self.axis == 0:
            raise ValueError("`axis` of a place must not be 0, the batch; 1 is that of channels.")

    def within(self, encoder: nn.Module, what: str) -> Place:
        """This place with its width and axis known; ``what`` is the encoder's name in errors.

        Raises:
            ValueError: the encoder has no such module, or the width is not given and not known.
        """
        modules = dict(encoder.named_modules())
        if self.name not in modules:
            raise ValueError(
                f"`at[{what!r}]` names no module of that encoder, got {self.name!r}; it has "
                f"{[*modules]}."
            )
        width, axis = self.width, self.axis
        for attribute, usual in _WIDTHS.items():
            told = getattr(modules[self.name], attribute, None)
            told = told[-1] if isinstance(told, tuple) and told else told
            if isinstance(told, int):
                width = told if width is None else width
                axis = usual if axis is None else axis
        if width is None:
            raise ValueError(
                f"`at[{what!r}]` is a {type(modules[self.name]).__name__}, which does not tell how "
                f"wide its output is; say it: Place({self.name!r}, width=...)."
            )
        return Place(self.name, width, -1 if axis is None else axis)

    def add(self, output: object, extra: Tensor) -> Tensor:
        """The module's output with ``extra`` (batch, width) added along the axis.

        Over all other axes (time, tokens, space) it is the same.

        Raises:
            ValueError: the output is no tensor, or not of this width, or not one of this batch.
        """
        if not isinstance(output, Tensor):
            raise ValueError(
                f"the place {self.name!r} must give a tensor, got {type(output).__name__}; take a "
                f"module before or after it."
            )
        axis, axes = self.axis or -1, output.ndim
        fits = axes > 1 and -axes < axis < axes
        if not fits or (output.shape[0], output.shape[axis]) != tuple(extra.shape):
            raise ValueError(
                f"the place {self.name!r} must give {len(extra)} samples of width "
                f"{extra.shape[1]} along axis {axis}, got {tuple(output.shape)}; say its width and "
                f"axis: Place({self.name!r}, width=..., axis=...)."
            )
        others = [1] * (axes - 1)  # all but the batch
        others[axis - 1 if axis > 0 else axis] = extra.shape[1]
        return output + extra.reshape(len(extra), *others)
