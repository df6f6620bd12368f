"""What is trained: encoders, a fusion layer and a head, with the scale of its inputs inside."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pnpfusion.data.feature_set import Features
from pnpfusion.data.scales import FeatureScales
from pnpfusion.fusion.inputs import Inputs, Present
from pnpfusion.fusion.layer import FusionInfo, FusionLayer
from pnpfusion.solvers.arguments import check_known
from pnpfusion.training.config import OWN, ModelConfig
from pnpfusion.training.models import ONLY, layer_of, modalities_of
from pnpfusion.training.pretrained import WEIGHTS, check_weights, read_model, write_model


class FusionModel(nn.Module):
    r"""Standardised features, an encoder each, a fusion layer, and a linear head.

    .. math:: \hat y = W F\big(E_1((x_1 - \mu_1) / s_1), \dots\big) + b

    with ReLU encoders :math:`E_m(x) = \max(0, A_m x + a_m)` unless they are yours, and mean and
    deviation of the training samples. Tokens of a modality, (batch, tokens, d), are encoded one
    by one and averaged. Numbers are told in the target's own units.

    Args:
        config: what it is made of.
        encoders: your own, by modality, from (batch, d) or (batch, tokens, d) to (batch,
            ``config.hidden``), where the config says ``encoders="own"``.
        fusion: your own fusion layer of encodings, where the config says ``model="own"``.

    Raises:
        ValueError: own parts that the config does not speak of, or that are missing.
    """

    def __init__(
        self,
        config: ModelConfig,
        *,
        encoders: Mapping[str, nn.Module] | None = None,
        fusion: FusionLayer | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        for what, given, wanted in (
            ("encoders", encoders, config.encoders == OWN),
            ("fusion", fusion, config.model == OWN),
        ):
            if (given is not None) != wanted:
                need = "must be given: the config calls them" if wanted else "are not: it names"
                entry = config.encoders if what == "encoders" else config.model
                raise ValueError(f"`{what}` {need} {entry!r}.")
        seen = tuple(config.dims) if fusion else modalities_of(config.model, config.dims)
        self.is_alone = config.model.startswith(ONLY)  #: whether it sees one modality only
        if encoders is None:
            encoders = {
                name: nn.Sequential(nn.Linear(config.dims[name], config.hidden), nn.ReLU())
                for name in seen
            }
        if {*encoders} != {*seen}:
            raise ValueError(f"`encoders` must be those of {[*seen]}, got {[*encoders]}.")
        # By number: a modality may have a name that no attribute can have.
        self.encoders = nn.ModuleList(encoders[name] for name in seen)
        self.modalities = seen
        hidden = dict.fromkeys(config.dims, config.hidden)
        self.fusion = fusion or layer_of(config.model, hidden, config.width)
        self.head = nn.Linear(self.fusion.out_dim, config.outputs)
        for place, name in enumerate(seen):
            self.register_buffer(f"mean_{place}", torch.zeros(config.dims[name]))
            self.register_buffer(f"scale_{place}", torch.ones(config.dims[name]))
        self.register_buffer("target_mean", torch.zeros(config.outputs))
        self.register_buffer("target_scale", torch.ones(config.outputs))
        self.register_buffer("fitted", torch.tensor(False))  # whether the above are the data's
        self.to(getattr(torch, config.dtype))

    @classmethod
    def build(
        cls, data: Features, model: str = "pnp", *, seed: int = 0, hidden: int = 64, width: int = 64
    ) -> FusionModel:
        """A new model of this name for these data, with the weights that belong to the seed.

        Args:
            data: a set with a target.
            model: a name of :data:`~pnpfusion.training.MODELS`.
            seed: of the weights.
            hidden: the width of each modality's encoding.
            width: of the fused feature.

        Raises:
            ValueError: see :class:`ModelConfig`.
        """
        config = ModelConfig.of(data, model, hidden=hidden, width=width)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return cls(config)

    def fit_scales(self, data: Features) -> None:
        """Take mean and deviation of features, and of numbers to be told, from these samples.

        Args:
            data: samples to train with.

        Raises:
            ValueError: a modality that none of them has.
        """
        scales = FeatureScales.of(data, self.modalities)
        for place, name in enumerate(self.modalities):
            spread = scales.deviations[name]
            self.get_buffer(f"mean_{place}").copy_(scales.means[name])
            # What is the same in all samples is 0, in a sample where it is not too.
            self.get_buffer(f"scale_{place}").copy_(torch.where(spread > 0, spread, torch.inf))
        if self.config.task == "numbers" and data.target is not None:
            target = data.target.reshape(len(data), -1).double()
            spread = target.std(0, correction=0)
            self.get_buffer("target_mean").copy_(target.mean(0))
            self.get_buffer("target_scale").copy_(torch.where(spread > 0, spread, 1))
        self.get_buffer("fitted").fill_(True)

    def forward(
        self,
        inputs: Inputs,
        present: Present = None,
        *,
        return_info: bool = False,
        keep: Mapping[str, Tensor] | None = None,
    ) -> Tensor | tuple[Tensor, FusionInfo]:
        """Logits of classes or labels, or numbers in their own units: (batch, outputs).

        Args:
            inputs: features (batch, d) or (batch, tokens, d) by modality; None where it is missing.
            present: which samples have a modality: bool (batch,), by modality.
            return_info: whether to return the fusion layer's info beside.
            keep: what standardised features are multiplied by, for dropout, in their shape.

        Raises:
            ValueError: inputs that do not fit, see the fusion layer.
            FloatingPointError: encodings that are not finite, of inputs that are.
        """
        given, flags = self._by_name(inputs), _checked_flags(present)
        encoded: dict[str, Tensor | None] = {}
        for place, name in enumerate(self.modalities):
            values = given[name]
            encoded[name] = None
            if values is not None:
                encoded[name] = self._encode(place, name, values, flags.get(name), keep)
        if self.is_alone:  # where its modality is missing it says what it says of the mean
            encoded, flags = self._alone(encoded, given), {}
        info: FusionInfo | None = None
        fused = self.fusion(encoded, present=flags or None, return_info=return_info)
        if return_info:
            fused, info = fused
        told: Tensor = self.head(fused) * self.target_scale + self.target_mean
        return told if info is None else (told, info)

    def _encode(
        self,
        place: int,
        name: str,
        values: Tensor,
        there: Tensor | None,
        keep: Mapping[str, Tensor] | None,
    ) -> Tensor:
        width = self.config.dims[name]
        if values.ndim not in (2, 3) or values.shape[-1] != width:
            raise ValueError(
                f"`inputs[{name!r}]` must be (batch, {width}) or (batch, tokens, {width}), got "
                f"{tuple(values.shape)}."
            )
        mean = self.get_buffer(f"mean_{place}")
        x = (values.to(mean.dtype) - mean) / self.get_buffer(f"scale_{place}")
        if there is not None:
            x = torch.where(there.reshape(-1, *(1,) * (x.ndim - 1)), x, 0)
        if keep is not None:
            x = x * keep[name]
        encoding: Tensor = self.encoders[place](x)
        if encoding.ndim == 3:
            encoding = encoding.mean(1)
        if not torch.compiler.is_compiling() and not encoding.detach().isfinite().all():
            if not x.detach().isfinite().all():
                raise ValueError(
                    f"`inputs[{name!r}]` must be finite, got NaN or infinity; impute it, or say "
                    f"that it is missing: present={{{name!r}: flags}}."
                )
            raise FloatingPointError(f"the encoding of {name!r} is not finite")
        return encoding

    def _by_name(self, inputs: Inputs) -> dict[str, Tensor | None]:
        names = [*self.config.dims]
        if not isinstance(inputs, Mapping):
            if len(inputs) != len(names):
                raise ValueError(f"`inputs` must have one entry for each of {names}.")
            return dict(zip(names, inputs, strict=True))
        check_known("inputs", inputs, names, "modalities")
        if lacking := [name for name in self.modalities if name not in inputs]:
            raise ValueError(
                f"`inputs` lacks {lacking}; give None where a modality is missing on purpose."
            )
        return dict(inputs)

    def _alone(
        self, encoded: dict[str, Tensor | None], given: Mapping[str, Tensor | None]
    ) -> dict[str, Tensor | None]:
        """The one encoding, of the mean where its modality is missing."""
        (name,) = self.modalities
        if encoded[name] is not None:
            return encoded
        others = [values for values in given.values() if values is not None]
        if not others:
            raise ValueError("`inputs` lacks every modality; at least one must be there.")
        mean = self.get_buffer("mean_0")
        nothing = others[0].new_zeros(len(others[0]), self.config.dims[name], dtype=mean.dtype)
        return {name: self.encoders[0](nothing)}

    def save_pretrained(self, folder: str | Path) -> Path:
        """Write config.json and model.safetensors into a folder, which is made if need be.

        Raises:
            OSError: the folder cannot be made or written to.
        """
        place = Path(folder)
        dtype: Any = str(self.head.weight.dtype).removeprefix("torch.")
        write_model(place, replace(self.config, dtype=dtype), self.state_dict())
        return place

    @classmethod
    def from_pretrained(
        cls,
        folder: str | Path,
        *,
        encoders: Mapping[str, nn.Module] | None = None,
        fusion: FusionLayer | None = None,
    ) -> FusionModel:
        """The model that :meth:`save_pretrained` wrote; nothing in its files is executed.

        Args:
            folder: where they are.
            encoders: those of your own, if it has such.
            fusion: likewise.

        Raises:
            FileNotFoundError: a file is not there.
            ValueError: damaged files, unknown entries or versions, or weights of other shapes.
        """
        config, weights = read_model(Path(folder))
        with torch.random.fork_rng(devices=[]):  # what is drawn here is replaced
            model = cls(config, encoders=encoders, fusion=fusion)
        check_weights(model.state_dict(), weights, str(Path(folder) / WEIGHTS))
        model.load_state_dict(weights)
        return model.eval()


def _checked_flags(present: Present) -> dict[str, Tensor]:
    """What is told of presence, as far as it is.

    Raises:
        ValueError: flags that are not bool (batch,).
    """
    told = {name: flags for name, flags in (present or {}).items() if flags is not None}
    for name, flags in told.items():
        if not isinstance(flags, Tensor) or flags.dtype != torch.bool or flags.ndim != 1:
            got = f"{flags.dtype} {tuple(flags.shape)}" if isinstance(flags, Tensor) else flags
            raise ValueError(
                f"`present[{name!r}]` must be a bool tensor of shape (batch,), got {got}."
            )
    return told
