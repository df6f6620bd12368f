"""Every fusion layer in single, half and mixed precision, and without gradients."""

from __future__ import annotations

import pytest
import torch

from tests.fusion.every_layer import every_layer, features, made, make, same
from tests.registry import f64


@every_layer
def test_float32_is_float64_to_its_round_off(name: str) -> None:
    single = make(name, dtype=torch.float32)(features(3, dtype=torch.float32))
    assert single.dtype == torch.float32
    double = make(name)(features(3))
    assert double.dtype == f64
    same(single.double(), double, 1e-3)


@every_layer
def test_no_grad_and_eval_give_the_same(name: str) -> None:
    layer, given = make(name), features(3)
    flags = {"video": torch.tensor([True, True, False])}
    for present in (None, flags):
        wanted = layer.train()(given, present=present)
        assert wanted.requires_grad
        with torch.no_grad():
            same(layer(given, present=present), wanted)
            same(layer.eval()(given, present=present), wanted)
        same(layer(given, present=present), wanted)
        with torch.inference_mode():
            found, info = layer.train()(given, present=present, return_info=True)
            assert found.is_inference()
            assert info.succeeded.all()
            same(found.clone(), wanted.detach())


@every_layer
def test_features_of_another_dtype_are_an_error_in_words(name: str) -> None:
    with pytest.raises(ValueError, match=r"as the layer's parameters, torch.float64 on cpu, got"):
        made(name)(features(2, dtype=torch.float32))


@every_layer
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_refused_in_words_where_a_law_runs(name: str, dtype: torch.dtype) -> None:
    layer, given = make(name, dtype=dtype), features(2, dtype=dtype)
    if made(name).dynamics is None:
        assert layer(given).dtype == dtype
        return
    with pytest.raises(ValueError, match=rf"float32 or float64, got {dtype}; take layer.float\("):
        layer(given)


@every_layer
def test_mixed_precision_keeps_solves_in_the_parameters_dtype(name: str) -> None:
    layer = make(name, dtype=torch.float32)
    given = features(4, dtype=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = {k: values.bfloat16() for k, values in given.items()}
        fused, info = layer(half, return_info=True)
        fused.float().square().sum().backward()
    if layer.solves:
        assert fused.dtype == torch.float32
        same(fused.detach(), layer({k: v.float() for k, v in half.items()}).detach(), 1e-5)
    assert info.succeeded.all()
    assert all(p.grad.isfinite().all() for p in layer.parameters() if p.grad is not None)
