"""Points, intervals, marks and names of figures are those of the rows that they are drawn of."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure as Canvas

from bids_qsmthal.core import colors
from bids_qsmthal.group import change_figure, figures, pictures, plots, study_figure
from bids_qsmthal.group.figures import Association
from bids_qsmthal.report import drawing
from bids_qsmthal.statistics import normality, regression, sensitivity
from bids_qsmthal.statistics.regression import Model


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Canvas]:
    """Canvases as they are before they become files."""
    canvases: list[Canvas] = []
    nothing = drawing.Drawing(b"", b"", b"")
    monkeypatch.setattr(drawing, "to_files", lambda canvas: canvases.append(canvas) or nothing)
    return canvases


def names_by_height(axes: Axes) -> dict[float, str]:
    """Return the first line of the name that stands at each height."""
    texts = [label.get_text().split("\n")[0] for label in axes.get_yticklabels()]
    return dict(zip(axes.get_yticks(), texts, strict=True))


def named(heights: dict[float, str], height: float) -> str:
    return heights[min(heights, key=lambda one: abs(one - height))]


def bars(axes: Axes) -> dict[tuple[str, str], tuple[float, float, float]]:
    """Return the low end, the marker and the high end of each error bar, by its side and name."""
    heights = names_by_height(axes)
    found = {}
    for container in axes.containers:
        marker, _, (ends,) = container.lines
        for x, height, segment in zip(*marker.get_data(), ends.get_segments(), strict=True):
            key = (str(container.get_label()), named(heights, height))
            found[key] = (segment[0][0], x, segment[1][0])
    return found


def test_each_interval_of_a_forest_stands_beside_its_name_and_is_its_own(
    drawn: list[Canvas],
) -> None:
    rows = [
        ("Age", "unadjusted", 0.1, 0.0, 0.3), ("Age", "adjusted", 0.2, -0.2, 0.3),
        ("Sex", "unadjusted", -0.4, -0.5, -0.1), ("Sex", "adjusted", 0.3, 0.1, 0.6),
    ]  # fmt: skip
    lines = pd.DataFrame(rows, columns=["label", "side", "estimate", "low", "high"]).assign(n=95)
    figures.forest(lines)
    found = bars(drawn[0].axes[0])
    assert set(found) == {(side, label) for label, side, *_ in rows}
    for label, side, estimate, low, high in rows:
        assert found[side, label] == pytest.approx((low, estimate, high))


def test_published_and_own_values_stand_in_their_own_lines(drawn: list[Canvas]) -> None:
    rows = [
        ("Table 1, age", "published", 0.1, 0.0, 0.3), ("Table 1, age", "here", 0.2, -0.2, 0.5),
        ("Table 2, sex", "published, sign turned", -0.4, -0.5, 0.0),
        ("Table 2, sex", "here", 0.3, 0.1, 0.4),
    ]  # fmt: skip
    lines = pd.DataFrame(rows, columns=["label", "who", "estimate", "low", "high"]).assign(n=40)
    study_figure.forest(lines)
    found = {(who, label[:12]): values for (who, label), values in bars(drawn[0].axes[0]).items()}
    for label, who, estimate, low, high in rows:
        assert found[who, label] == pytest.approx((low, estimate, high))


def test_the_comparison_takes_each_correlation_from_its_own_study() -> None:
    row = {"place": "Table 1", "reading": "as printed", "n": 40}
    row |= {"published_r": 0.1, "published_r_low": 0.0, "published_r_high": 0.2}
    row |= {"partial_r": 0.5, "partial_r_low": 0.4, "partial_r_high": 0.6}
    lines = study_figure.lines_of(pd.DataFrame([row])).set_index("who")
    assert lines.loc["published", ["low", "estimate", "high"]].tolist() == [0.0, 0.1, 0.2]
    assert lines.loc["here", ["low", "estimate", "high"]].tolist() == [0.4, 0.5, 0.6]


def test_points_of_a_partial_plot_are_without_what_the_other_terms_explain(
    drawn: list[Canvas], rng: np.random.Generator
) -> None:
    frame = pd.DataFrame({"age": rng.uniform(20, 70, 60)})
    frame["x"] = frame["age"] + rng.normal(0, 8, 60)
    frame["y"] = 2 * frame["age"] - frame["x"] + rng.normal(0, 5, 60)
    fit = regression.fit(Model(name="m", formula="y ~ x + age"), frame)
    one = Association(term="x", title="T", x_label="X", y_label="Y", adjusted=fit)
    figures.associations([one])
    x, y = np.asarray(drawn[0].axes[1].collections[0].get_offsets()).T
    # What is left goes with none of the other terms, and around the line are the residuals.
    for values in (x, y):
        assert abs(np.corrcoef(values, frame["age"])[0, 1]) < 1e-9
        assert values.mean() == pytest.approx(0, abs=1e-9)
    np.testing.assert_allclose(y - fit.row("x")["coefficient"] * x, fit.residuals, atol=1e-8)


def test_a_specification_curve_climbs_and_marks_the_row_of_the_table(
    drawn: list[Canvas],
) -> None:
    rows = pd.DataFrame(
        {
            "specification": ["robust errors", sensitivity.MAIN, "head size"],
            "partial_r": [0.5, 0.2, -0.1],
            "low": [0.4, 0.0, -0.3],
            "high": [0.7, 0.3, 0.2],
            "n": [90, 94, 95],
        }
    )
    figures.specification_curve(rows, "T")
    (axes,) = drawn[0].axes
    found = {}
    for marks in (c for c in axes.collections if isinstance(c, PathCollection)):
        for x, height in np.asarray(marks.get_offsets()):
            found[height] = (x, to_hex(marks.get_facecolor()[0]))
    blue, black = colors.BLUE.lower(), "#000000"
    assert found == {0.0: (-0.1, black), 1.0: (0.2, blue), 2.0: (0.5, black)}
    names = [label.get_text().replace("\xa0", " ") for label in axes.get_yticklabels()]
    assert names == ["head size (n = 95)", f"{sensitivity.MAIN} (n = 94)", "robust errors (n = 90)"]
    ends = {
        segment[0][1]: (segment[0][0], segment[1][0])
        for lines in axes.collections
        if isinstance(lines, LineCollection)
        for segment in lines.get_segments()
    }
    assert ends == {0.0: (-0.3, 0.2), 1.0: (0.0, 0.3), 2.0: (0.4, 0.7)}


@pytest.mark.parametrize(("low", "high"), [(0.1, 3.9), (-0.1, 4.1)])
def test_an_interval_of_a_curve_excludes_zero_where_that_of_its_coefficient_does(
    low: float, high: float
) -> None:
    row = {"coefficient": 2.0, "ci_low": low, "ci_high": high, "partial_r": 0.2}
    made = pictures.with_intervals(pd.DataFrame([row])).iloc[0]
    assert made["low"] < 0.2 < made["high"]
    assert np.sign(made["low"]) == np.sign(low)
    # Near zero the scale is straight: the end is as far from zero as that of the coefficient.
    assert made["low"] == pytest.approx(0.2 * low / 2, abs=0.002)


def test_a_panel_of_the_ladder_shows_the_power_it_names_from_bottom_to_top(
    drawn: list[Canvas],
) -> None:
    values = pd.Series(np.exp(np.random.default_rng(4).normal(0, 1, 80)))
    figures.quantile_normal(values, "V")
    (axes,) = drawn[0].axes
    assert axes.yaxis_inverted()
    straight = {}
    for rung, points in zip(normality.LADDER, axes.collections, strict=True):
        x, y = np.asarray(points.get_offsets()).T
        # Upwards is smaller; the logarithm is the power that makes these values normal.
        straight[rung] = np.corrcoef(x, -y)[0, 1]
    assert max(straight, key=straight.__getitem__) == "log"
    assert straight["log"] > 0.98
    assert straight["cubic"] < 0.8


def test_whiskers_of_large_groups_stand_at_the_5th_and_95th_percentile(
    rng: np.random.Generator,
) -> None:
    _, (axes,) = plots.grid(1, columns=1, height_inches=2.6)
    x, y = np.repeat([0.0, 1.0], 400), rng.normal(0, 1, 800)
    plots.strips(axes, x, y, {})
    ends = {float(end) for line in axes.get_lines() for end in line.get_ydata()}
    for level in (0.0, 1.0):
        values = y[x == level]
        # Whiskers reach the last participants within the percentiles, boxes the quartiles.
        inside = values[
            (values >= np.percentile(values, 5)) & (values <= np.percentile(values, 95))
        ]
        assert {inside.min(), inside.max()} <= ends
        assert min(values) not in ends
        for share in (25, 75):
            assert np.isclose(list(ends), np.percentile(values, share)).any()


def test_the_line_of_a_quantile_plot_has_mean_and_spread_of_the_values() -> None:
    _, (axes,) = plots.grid(1, columns=1, height_inches=2.6)
    values = np.random.default_rng(6).normal(30, 7, 100)
    plots.quantiles(axes, values)
    x, y = axes.get_lines()[0].get_data()
    assert (y[1] - y[0]) / (x[1] - x[0]) == pytest.approx(values.std(ddof=1))
    assert np.interp(0, x, y) == pytest.approx(values.mean())


def test_the_band_of_a_change_is_the_interval_of_its_slope(drawn: list[Canvas]) -> None:
    courses = {"a": np.array([[0.0, 1.0], [2.0, 5.0]]), "b": np.array([[0.0, 3.0], [2.0, 4.0]])}
    change_figure.draw(courses, "Y", (1.5, 1.0, 2.5))
    (axes,) = drawn[0].axes
    band = axes.collections[-1].get_paths()[0].vertices
    last = band[np.isclose(band[:, 0], 2.0)][:, 1]
    # One year after the middle of all points, (1, 3.25).
    assert [last.min(), last.max()] == pytest.approx([3.25 + 1.0, 3.25 + 2.5])


def test_the_forest_of_a_table_has_fishers_interval() -> None:
    # 95 people and no other term: atanh(.3) = .3095, its error 1 / sqrt(95 - 3) = .1043.
    assert pictures.fisher_interval(0.3, 93.0) == pytest.approx((0.1048, 0.4730), abs=1e-4)


def test_each_form_of_a_figure_is_written_under_its_own_ending() -> None:
    made = pictures.figure("A: b", "C", "D", drawing.Drawing(svg=b"s", pdf=b"p", png=b"g"))
    assert made.name == "a_b"
    assert dict(made.copies) == {"pdf": b"p", "png": b"g"}


def test_courses_since_the_first_visit_have_their_points_colours_and_the_mean_change(
    drawn: list[Canvas],
) -> None:
    courses = {
        "sub-1": np.array([[0, 0], [1, 2.0], [3, 5.0]]),
        "sub-2": np.array([[0, 0], [2, -4.0]]),
        "sub-3": np.array([[0, 0], [2, 0.5]]),
    }
    reliable = {"sub-1": "increase", "sub-2": "decrease", "sub-3": "no"}
    nothing = (np.nan, np.nan, np.nan)
    change_figure.draw_since_first(
        [("Iron (ppb)", courses, reliable), ("Volume (%)", courses, {})], [(1.5, 1.0, 2.0), nothing]
    )
    first, second = drawn[0].axes
    (lines,) = [one for one in first.collections if isinstance(one, LineCollection)]
    for segment, points in zip(lines.get_segments(), courses.values(), strict=True):
        np.testing.assert_array_equal(segment, points)
    drawn = [to_hex(one).upper() for one in lines.get_colors()]
    assert drawn == [colors.VERMILION, colors.BLUE, plots.GRAY]
    (mean,) = [line for line in first.lines if line.get_linewidth() == 2]
    np.testing.assert_array_equal(mean.get_xydata(), [[0, 0], [3, 4.5]])
    assert first.get_xlim()[1] > 3
    assert first.get_ylim()[0] < -4
    # Without an interval there is no line of the mean.
    assert not [line for line in second.lines if line.get_linewidth() == 2]
