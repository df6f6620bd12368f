"""INDEX: late fusion stays below a proven bound, feedback into the encoders does not."""

import pytest
import torch
from torch import nn

from benchmarks.index_task import accuracy, after_the_channel, late, progressive, silent, train
from pnpfusion.data import IndexTask, late_fusion_bound
from tests.registry import ALL_LAYERS

SLACK = 0.005  # three standard deviations of the accuracy on 100,000 samples


def trained(make, task, seed, *, steps, rate, batch):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = train(make(task), task, steps=steps, rate=rate, batch=batch, seed=seed)
        return accuracy(model, task)


def quickly(make, task, seed=0):
    return trained(make, task, seed, steps=800, rate=5e-3, batch=256)


def fully(make, task, seed=0):
    return trained(make, task, seed, steps=4000, rate=2e-3, batch=512)


@pytest.mark.parametrize(
    ("messages", "wanted"),
    [
        (1, [0.7884, 0.7072, 0.6477, 0.6048]),
        (2, [0.8936, 0.7884, 0.7072, 0.6477]),
        (3, [0.9619, 0.8472, 0.7518, 0.6802]),
    ],
)
def test_the_bounds_are_known_ones(messages, wanted):
    found = [IndexTask(bits).bound(messages) for bits in (8, 16, 32, 64)]
    assert [round(bound, 4) for bound in found] == wanted


def test_a_channel_that_carries_all_bits_bounds_nothing():
    assert late_fusion_bound(2, 0.25) == 1.0
    assert 0.5 < late_fusion_bound(16, 100.0) < 0.51
    assert late_fusion_bound(16, 0.25, channels=2) == late_fusion_bound(16, 0.25, messages=2)


def test_samples_are_what_they_are_said_to_be():
    task = IndexTask(5)
    x, label = task.draw(4000, torch.Generator().manual_seed(0))
    assert x["bits"].unique().tolist() == [-1, 1]
    assert (x["index"].sum(1) == 1).all()
    assert torch.equal((x["bits"] * x["index"]).sum(1) > 0, label > 0)
    for share in (label.mean(), *x["index"].mean(0) * 2.5, *(x["bits"] > 0).float().mean(0)):
        assert float(share) == pytest.approx(0.5, abs=0.07)
    again, _ = task.draw(4000, torch.Generator().manual_seed(0))
    assert torch.equal(again["bits"], x["bits"])


@pytest.mark.parametrize(("bits", "wanted"), [(8, 16418), (16, 17954), (32, 21026)])
def test_the_model_has_as_many_parameters_as_the_formula(bits, wanted):
    head = nn.Linear(32, 1)
    for rounds in (1, 2, 3):
        layer = progressive(IndexTask(bits), rounds)
        assert sum(p.numel() for p in (*layer.parameters(), *head.parameters())) == wanted


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: IndexTask(0), "`bits` must be a whole number >= 1, got 0"),
        (lambda: IndexTask(channels=1.5), "`channels` must be a whole number >= 1, got 1.5"),
        (lambda: IndexTask(sigma=0.0), "`sigma` must be > 0, got 0.0; without noise no bound"),
    ],
)
def test_a_task_without_bound_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_feedback_passes_the_bound_of_late_fusion():
    """From at most two starts: of 24 tried, one ended at 0.885, all others above 0.999."""
    task = IndexTask(8)
    assert any(quickly(lambda task: progressive(task, 2), task, seed) >= 0.98 for seed in (1, 2))


#: What tells the encoder of the bits nothing: its channels, and how often it sends. The frozen one
#: sends twice, but learns nothing in between.
WITHOUT_FEEDBACK = pytest.mark.parametrize(
    ("make", "channels", "messages"),
    [
        (lambda task: progressive(task, 1), 1, 1),
        (lambda task: progressive(task, 1), 2, 1),
        (lambda task: silent(task, 2), 1, 1),
        (lambda task: after_the_channel(task, 2), 1, 2),
    ],
    ids=["one round", "two channels", "no context", "context after the channel"],
)


@WITHOUT_FEEDBACK
def test_without_feedback_the_bound_holds(make, channels, messages):
    task = IndexTask(8, channels=channels)
    assert 0.53 < quickly(make, task) <= task.bound(messages) + SLACK


@pytest.mark.long
def test_feedback_passes_the_bound_of_two_messages_by_far():
    task = IndexTask(16)
    assert fully(lambda task: progressive(task, 2), task) >= 0.98
    assert task.bound(2) < 0.79


@pytest.mark.long
@WITHOUT_FEEDBACK
def test_bounds_hold_whatever_is_trained(make, channels, messages):
    task = IndexTask(16, channels=channels)
    assert 0.51 < fully(make, task) <= task.bound(messages) + SLACK


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in ALL_LAYERS if " " not in name])  # no variants
def test_no_head_recovers_what_encoders_dropped(name):
    """One that does better sees the bits without the noise, or told their encoder the index."""
    task = IndexTask(16)
    assert 0.51 < quickly(lambda task: late(task, ALL_LAYERS[name]), task) <= task.bound() + SLACK
