import pytest
import torch

import pnpfusion as pf


def test_cells_are_centred_between_the_faces():
    grid = pf.Grid((4,), (2.0,), ("wall",))
    torch.testing.assert_close(grid.coordinates(0), torch.tensor([0.25, 0.75, 1.25, 1.75]).double())
    torch.testing.assert_close(grid.faces(0), torch.tensor([0, 0.5, 1, 1.5, 2]).double())


def test_weights_are_cell_volumes_in_every_dimension():
    grid = pf.Grid((2, 3), (1.0, 6.0), ("wall", "periodic"), edges=((0.0, 0.2, 1.0), None))
    expected = torch.tensor([[0.4, 0.4, 0.4], [1.6, 1.6, 1.6]]).double()
    torch.testing.assert_close(grid.weights, expected)
    assert float(grid.weights.sum()) == pytest.approx(6.0)


def test_graded_axis_keeps_its_edges():
    edges = torch.tensor([-1.0, -0.5, 1.0])
    grid = pf.Grid((2,), (2.0,), ("wall",), edges=(edges,))
    torch.testing.assert_close(grid.coordinates(0), torch.tensor([-0.75, 0.25]).double())


def test_sides_are_those_of_walled_axes():
    assert pf.Grid((2, 2, 2), (1.0,) * 3, ("wall", "periodic", "wall")).sides == (
        "x-",
        "x+",
        "z-",
        "z+",
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (((0,), (1.0,), ("wall",)), "`shape` must hold whole numbers >= 1, got"),
        (((4.5,), (1.0,), ("wall",)), "`shape` must hold whole numbers"),
        ((4, (1.0,), ("wall",)), "`shape` must be a tuple"),
        (((4,), (1.0,), "wall"), r"`boundaries` must be a tuple .* write \('wall',\)"),
        (((), (), ()), "1, 2 or 3 axes"),
        (((4,), (1.0, 2.0), ("wall",)), "`lengths` must have one entry per axis"),
        (((4,), (-1.0,), ("wall",)), "`lengths` must be positive"),
        (((4,), (float("nan"),), ("wall",)), "`lengths` must be positive"),
        (((4,), (1.0,), ("open",)), "got 'open'"),
    ],
)
def test_a_wrong_grid_says_what_is_wanted(arguments, message):
    with pytest.raises(ValueError, match=message):
        pf.Grid(*arguments)


@pytest.mark.parametrize(
    ("edges", "message"),
    [
        (((0.0, 1.0),), "must hold 3 numbers, got 2"),
        (((0.0, 0.6, 0.5),), "must increase"),
        (((0.0, 0.5, 2.0),), "must span"),
        (((0.0, 0.5, 1.0), None), "one entry per axis"),
    ],
)
def test_wrong_edges_say_what_is_wanted(edges, message):
    with pytest.raises(ValueError, match=message):
        pf.Grid((2,), (1.0,), ("wall",), edges=edges)
