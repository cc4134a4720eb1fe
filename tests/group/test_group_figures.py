import itertools

import numpy as np
import pytest
from matplotlib.axes import Axes

from bids_qsmthal.group import figures


def boxes(axes: Axes, which: str):
    labels = getattr(axes, f"get_{which}ticklabels")()
    low, high = sorted(getattr(axes, f"get_{which}lim")())
    places = getattr(axes, f"get_{which}ticks")()
    shown = [label for label, place in zip(labels, places, strict=True) if low <= place <= high]
    return [label.get_window_extent() for label in shown if label.get_text()]


@pytest.mark.parametrize("scale", [1.0, 1e-3, 1e3, 6.5e5, 1.4e6])
def test_labels_of_small_panels_do_not_overlap(scale: float, rng: np.random.Generator) -> None:
    canvas, panels = figures._grid(6, width=3.4, height=2.6, columns=2)
    for axes in panels:
        values = scale * (1 + 0.08 * rng.standard_normal(40))
        figures._cloud(axes, values, values - values.mean())
    canvas.draw_without_rendering()
    for axes, which in itertools.product(panels, "xy"):
        found = boxes(axes, which)
        assert len(found) >= 2
        assert not any(one.overlaps(other) for one, other in itertools.pairwise(found))
