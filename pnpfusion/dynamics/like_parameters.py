"""Whether tensors and parameters can be computed with together."""

from __future__ import annotations

from torch import Tensor, nn

from pnpfusion.solvers.faq import Faq


def floating_parameter(module: nn.Module) -> nn.Parameter | None:
    """The first parameter of ``module`` that is no whole number; None without one."""
    return next((p for p in module.parameters() if p.is_floating_point()), None)


def check_like_parameters(module: nn.Module, name: str, values: Tensor, what: str = "law") -> None:
    """Raise ValueError unless ``values`` have the dtype and device of the module's parameters.

    Whole numbers may have any dtype, and a module without parameters takes everything.

    Args:
        module: a law or a layer.
        name: of ``values`` in errors.
        values: of any shape.
        what: the module in errors.

    Raises:
        ValueError: ``values`` have another dtype or are on another device.
    """
    like = floating_parameter(module)
    if like is None:
        return
    of_another_kind = values.is_floating_point() and values.dtype != like.dtype
    if of_another_kind or values.device != like.device:
        target = like.dtype if of_another_kind else repr(str(like.device))
        raise ValueError(
            f"`{name}` must be as the {what}'s parameters, {like.dtype} on {like.device}, got "
            f"{values.dtype} on {values.device}; move one of them, e.g. by .to({target})"
            f" {Faq.WRONG_SHAPE}."
        )
