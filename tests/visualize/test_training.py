"""The picture of a training."""

from typing import Any

import pytest

from pnpfusion import visualize


def epochs(*, validated: bool = True, solved: bool = True) -> list[dict[str, Any]]:
    """Rows as training makes them, best in epoch 2."""
    scores = [0.5, 0.9, 0.8]
    return [
        {
            "epoch": k + 1,
            "score": "accuracy",
            "train": {"task": 1 / (k + 1)},
            "valid": {"accuracy": scores[k], "loss": 0.5} if validated else {},
            "health": {"iterations": 4.0, "unconverged": 0.1 * k} if solved else {},
        }
        for k in range(3)
    ]


@pytest.mark.parametrize("validated", [True, False])
@pytest.mark.parametrize("solved", [True, False])
def test_training_has_a_panel_for_what_there_is(validated: bool, solved: bool) -> None:
    figure = visualize.plot_training(epochs(validated=validated, solved=solved), best_epoch=2)
    labels = [axes.get_ylabel() for axes in figure.axes]
    assert ("accuracy on validation" in labels) == validated
    assert ("unconverged samples" in labels) == solved
    heading = figure.get_suptitle()
    assert heading.startswith("Best in epoch 2 of 3: accuracy 0.9" if validated else "3 epochs")
    if solved:
        assert "20.0%" in figure.axes[-2].get_title(loc="left")
    with pytest.raises(ValueError, match="must have a row for each epoch"):
        visualize.plot_training([], best_epoch=1)
