"""The figures of the group level show what they say, and are the same bytes every time."""

import io
import itertools
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection, PolyCollection
from matplotlib.figure import Figure as Canvas
from PIL import Image

from bids_qsmthal.group import change_figure, figures, flow_figure, plots
from bids_qsmthal.group.figures import Association
from bids_qsmthal.group.flow import FlowStep, Line
from bids_qsmthal.report import drawing
from bids_qsmthal.statistics import regression
from bids_qsmthal.statistics.regression import Fit, Model
from tests import pictures


def boxes(axes: Axes, which: str):
    labels = getattr(axes, f"get_{which}ticklabels")()
    low, high = sorted(getattr(axes, f"get_{which}lim")())
    places = getattr(axes, f"get_{which}ticks")()
    shown = [label for label, place in zip(labels, places, strict=True) if low <= place <= high]
    return [label.get_window_extent() for label in shown if label.get_text()]


@pytest.mark.slow
@pytest.mark.parametrize("scale", [1.0, 1e-3, 1e3, 6.5e5, 1.4e6])
def test_labels_of_small_panels_do_not_overlap(scale: float, rng: np.random.Generator) -> None:
    canvas, panels = plots.grid(6, columns=2, height_inches=2.6)
    for axes in panels:
        values = scale * (1 + 0.08 * rng.standard_normal(40))
        plots.cloud(axes, values, values - values.mean())
    canvas.draw_without_rendering()
    for axes, which in itertools.product(panels, "xy"):
        found = boxes(axes, which)
        assert len(found) >= 2
        assert not any(one.overlaps(other) for one, other in itertools.pairwise(found))


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Canvas]:
    """Canvases as they are before they become files."""
    canvases: list[Canvas] = []
    nothing = drawing.Drawing(b"", b"", b"")
    monkeypatch.setattr(drawing, "to_files", lambda canvas: canvases.append(canvas) or nothing)
    return canvases


def fitted(formula: str, frame: pd.DataFrame, **how: str) -> Fit:
    return regression.fit(Model(name="m", formula=formula, **how), frame)  # type: ignore[arg-type]


def people(n: int, rng: np.random.Generator) -> pd.DataFrame:
    age = rng.uniform(20, 70, n)
    sex = rng.integers(0, 2, n).astype(float)
    x = 0.2 * age + rng.normal(0, 3, n)
    y = 100 + 2.0 * x - 1.5 * age + 4 * sex + rng.normal(0, 5, n)
    return pd.DataFrame({"age": age, "sex": sex, "x": x, "y": y, "z": np.exp(y / 50)})


def slope_of_line(axes: Axes) -> float:
    x, y = axes.get_lines()[0].get_data()
    return float((y[-1] - y[0]) / (x[-1] - x[0]))


def association(term: str, unadjusted: Fit | None, adjusted: Fit | None, **more) -> Association:
    return Association(
        term=term, title="T", x_label="X", y_label="Y", unadjusted=unadjusted, adjusted=adjusted,
        **more,
    )  # fmt: skip


def test_the_left_line_is_the_unadjusted_slope_and_the_right_one_the_adjusted(
    drawn: list[Canvas], rng: np.random.Generator
) -> None:
    frame = people(80, rng)
    raw, whole = fitted("y ~ x", frame), fitted("y ~ x + age + sex", frame)
    figures.associations([association("x", raw, whole)])
    left, right = drawn[0].axes
    assert slope_of_line(left) == pytest.approx(raw.row("x")["coefficient"])
    assert slope_of_line(right) == pytest.approx(whole.row("x")["coefficient"])
    assert slope_of_line(left) * slope_of_line(right) < 0  # the confounder turns the sign
    assert left.get_lines()[0].get_xdata()[[0, -1]] == pytest.approx(
        [frame["x"].min(), frame["x"].max()]
    )
    points = np.asarray(left.collections[0].get_offsets())
    np.testing.assert_allclose(points, frame[["x", "y"]])


def test_the_band_of_the_mean_is_that_of_the_model(
    drawn: list[Canvas], rng: np.random.Generator
) -> None:
    frame = people(40, rng)
    raw = fitted("y ~ x", frame)
    figures.associations([association("x", raw, None)])
    (band,) = [c for c in drawn[0].axes[0].collections if not isinstance(c, PathCollection)]
    corners = band.get_paths()[0].vertices
    x = float(np.median(corners[:, 0]))
    middle = corners[np.isclose(corners[:, 0], x)][:, 1]
    # Interval of the mean of y at x in a model whose predictor is centred there.
    centred = fitted("y ~ d", frame.assign(d=frame["x"] - x)).row("Intercept")
    assert [middle.min(), middle.max()] == pytest.approx(
        [centred["ci_low"], centred["ci_high"]], rel=1e-6
    )


def test_the_logarithm_of_an_outcome_is_drawn_as_the_outcome_on_a_logarithmic_axis(
    drawn: list[Canvas], rng: np.random.Generator
) -> None:
    frame = people(30, rng)
    raw = fitted("log(z) ~ x", frame)
    figures.associations(
        [association("x", raw, raw, logged_outcome=True, plain_y_label="Lesion volume (mL)")]
    )
    left, _ = drawn[0].axes
    assert (left.get_yscale(), left.get_ylabel()) == ("log", "Lesion volume (mL)")
    np.testing.assert_allclose(np.asarray(left.collections[0].get_offsets())[:, 1], frame["z"])
    x, y = left.get_lines()[0].get_data()
    slope = np.log(y[-1] / y[0]) / (x[-1] - x[0])
    assert slope == pytest.approx(raw.row("x")["coefficient"])


def test_a_logistic_model_is_drawn_as_a_probability_and_has_no_partial_plot(
    drawn: list[Canvas], rng: np.random.Generator
) -> None:
    frame = people(60, rng)
    fit = fitted("sex ~ x", frame, family="binomial")
    figures.associations([association("x", fit, fit)])
    left, right = drawn[0].axes
    chance = left.get_lines()[0].get_ydata()
    assert 0 < np.min(chance) < np.max(chance) < 1
    assert not right.axison


@pytest.mark.parametrize(
    ("family", "outcome", "fitted_title"),
    [
        ("gaussian", "y", "Fitted value of\nY"),
        ("binomial", "sex", "Fitted probability of\nY"),
        ("poisson", "lesions", "Fitted count of\nY"),
        ("ordinal", "level", "Linear predictor (log odds) of\nY"),
    ],
)
def test_residuals_of_every_family_lie_along_the_line_of_a_normal_distribution(
    family: str, outcome: str, fitted_title: str, drawn: list[Canvas]
) -> None:
    rng = np.random.default_rng(8)
    frame = people(300, rng)
    frame["lesions"] = rng.poisson(np.exp(0.1 * frame["x"])).astype(float)
    frame["level"] = np.digitize(frame["x"] + rng.logistic(0, 3, 300), [5.0, 9.0, 14.0])
    figures.residuals([(fitted(f"{outcome} ~ x + age", frame, family=family), "Y")])
    left, right = drawn[0].axes
    normal, found = np.asarray(left.collections[0].get_offsets()).T
    assert len(found) == 300
    assert np.corrcoef(normal, found)[0, 1] > 0.99
    assert right.get_xlabel() == fitted_title
    shown = np.asarray(right.collections[0].get_offsets())
    np.testing.assert_allclose(np.sort(shown[:, 1]), found)
    assert np.isfinite(shown).all()


@pytest.mark.parametrize(("n", "kind"), [(499, PathCollection), (500, PolyCollection)])
def test_from_500_participants_on_hexagons_count_everybody(
    n: int, kind: type, drawn: list[Canvas], rng: np.random.Generator
) -> None:
    frame = people(n, rng)
    figures.associations([association("x", fitted("y ~ x", frame), None)])
    cloud = drawn[0].axes[0].collections[0]
    assert isinstance(cloud, kind)
    if kind is PolyCollection:
        assert cloud.get_array().sum() == n


def test_levels_stand_in_words_with_how_many_have_them(
    drawn: list[Canvas], rng: np.random.Generator
) -> None:
    frame = people(40, rng)
    words = {0.0: "female", 1.0: "male"}
    one = association("sex", fitted("y ~ sex", frame), None, words=words, strip_label="Sex")
    figures.associations([one])
    axes = drawn[0].axes[0]
    counts = frame["sex"].value_counts()
    assert [label.get_text() for label in axes.get_xticklabels()] == [
        f"female\n(n = {counts[0.0]})", f"male\n(n = {counts[1.0]})"
    ]  # fmt: skip
    assert axes.get_xlabel() == "Sex"


def test_a_thinned_quantile_plot_keeps_both_tails(rng: np.random.Generator) -> None:
    values = rng.standard_normal(10_000)
    normal, found = plots.normal_quantiles(values)
    assert len(found) <= plots.MOST_QUANTILES
    ordered = np.sort(values)
    np.testing.assert_array_equal(found[[0, 1, 2, -2, -1]], ordered[[0, 1, 2, -2, -1]])
    assert np.interp(0.0, normal, found) == pytest.approx(np.median(values), abs=0.02)


FLOW = (
    Line(step=FlowStep.LISTED, n=100),
    Line(step=FlowStep.WITHOUT_RESULTS, n=3, detail="sub-01"),
    Line(step=FlowStep.WITH_RESULTS, n=97),
    Line(step=FlowStep.EXCLUDED, n=2, about="the last run failed"),
    Line(step=FlowStep.ANALYSED, n=95),
    Line(step=FlowStep.MODEL, n=95, about="a"),
    Line(step=FlowStep.MODEL, n=74, about="b"),
    Line(step=FlowStep.MODEL, n=95, about="c"),
)


def test_the_flow_drawing_has_every_count_and_no_box_on_another() -> None:
    words = pictures.read(flow_figure.draw(FLOW).svg).words()
    for text in (
        "Participants in participants.tsv (n = 100)", "No results (n = 3)",
        "Participants with results (n = 97)", "Excluded: the last run failed (n = 2)",
        "Participants analysed (n = 95)", "n = 95: a, c", "n = 74: b",
    ):  # fmt: skip
        assert text in words
    stem, side = flow_figure.boxes(FLOW)
    ordered = sorted([*stem, *side], key=lambda box: box.top)
    assert all(one.bottom < two.top for one, two in itertools.pairwise(ordered))
    # Those who leave stand between the counts before and after.
    assert stem[0].bottom < side[0].top < stem[1].top < side[1].top < stem[2].top


def test_each_course_joins_the_sessions_of_one_participant_in_time_order(
    drawn: list[Canvas],
) -> None:
    frame = pd.DataFrame(
        {
            "participant_id": ["a", "b", "a", "b", "c", "d"],
            "years": [2.0, 0.0, 0.0, 1.0, 0.0, np.nan],
            "chi": [5.0, 3.0, 1.0, 4.0, 9.0, 9.0],
        }
    )
    courses = change_figure.courses(frame, "chi")
    assert {who: course.tolist() for who, course in courses.items()} == {
        "a": [[0.0, 1.0], [2.0, 5.0]], "b": [[0.0, 3.0], [1.0, 4.0]],
    }  # fmt: skip
    change_figure.draw(courses, "Susceptibility (ppb)", (1.5, 1.0, 2.0))
    axes = drawn[0].axes[0]
    assert slope_of_line(axes) == pytest.approx(1.5)
    assert axes.get_title(loc="left") == "2 participants with two sessions or more"


def test_a_figure_comes_as_svg_with_text_as_pdf_and_as_png_of_300_dpi() -> None:
    files = flow_figure.draw(FLOW)
    assert b">Participants analysed (n = 95)</text>" in files.svg
    assert files.pdf.startswith(b"%PDF")
    assert b"CreationDate" not in files.pdf
    with Image.open(io.BytesIO(files.png)) as picture:
        assert picture.info["dpi"] == pytest.approx((300, 300), abs=0.1)
        assert picture.width == pytest.approx(300 * plots.WIDTH_INCHES, abs=1)


@pytest.mark.slow
def test_a_png_has_every_pixel_that_was_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(2)
    # Noise: every value follows every other in a column, so that differences pass 0 and 255.
    drawn = rng.integers(0, 256, (61, 47, 4), dtype=np.uint8)
    drawn[..., 3] = 255
    monkeypatch.setattr(drawing.FigureCanvasAgg, "draw", lambda _: None)
    monkeypatch.setattr(drawing.FigureCanvasAgg, "buffer_rgba", lambda _: drawn)
    files = drawing.to_files(Canvas(figsize=(1, 1)))
    with Image.open(io.BytesIO(files.png)) as picture:
        picture.verify()
    with Image.open(io.BytesIO(files.png)) as picture:
        assert picture.mode == "RGB"
        np.testing.assert_array_equal(np.asarray(picture), drawn[..., :3])


def test_figures_are_the_same_bytes_in_every_process() -> None:
    code = (
        "import hashlib; from tests.group.test_group_figures import FLOW, flow_figure;"
        "d = flow_figure.draw(FLOW); print(hashlib.sha256(d.svg + d.pdf + d.png).hexdigest())"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True,
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
        ).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    assert len(found) == 1


@pytest.mark.parametrize(
    ("value", "text"),
    [(15000.0, "15,000"), (-0.25, "\u22120.25"), (0.1 + 0.2, "0.3"), (-0.0, "0"), (2.16, "2.16")],
)
def test_ticks_are_whole_numbers_to_read(value: float, text: str) -> None:
    assert plots.tick_text(value) == text


def test_ticks_of_one_axis_have_the_same_decimals() -> None:
    canvas, (axes,) = plots.grid(1, columns=1, height_inches=2.6)
    axes.plot([-0.3, 0.4], [2.1, 2.9])
    axes.set_xticks([-0.25, 0, 0.25])
    axes.set_yticks([2.25, 2.5, 2.75])
    canvas.draw_without_rendering()
    assert [t.get_text() for t in axes.get_xticklabels()] == ["\u22120.25", "0.00", "0.25"]
    assert [t.get_text() for t in axes.get_yticklabels()] == ["2.25", "2.50", "2.75"]
    axes.set_yticks([14_000, 15_000])
    assert [t.get_text() for t in axes.get_yticklabels()] == ["14,000", "15,000"]


@pytest.mark.parametrize("longest", [5, 40, 120])
def test_names_and_title_of_a_specification_curve_are_inside_the_figure(
    longest: int, drawn: list[Canvas]
) -> None:
    names = ["as in the table", "W" + "mean of what is wide " * 8]
    rows = pd.DataFrame({
        "specification": [name[:longest] for name in names], "partial_r": [0.1, 0.2],
        "low": [0.0, 0.1], "high": [0.2, 0.3], "n": [9999, 10_000],
    })  # fmt: skip
    figures.specification_curve(rows, ("Relative susceptibility of the thalami by " * 4)[:longest])
    (canvas,) = drawn
    canvas.draw_without_rendering()
    (axes,) = canvas.axes
    texts = [*canvas.texts, *axes.texts, *axes.get_yticklabels(), axes.xaxis.label]
    assert len(texts) >= 4
    boxes_of_text = [*boxes(axes, "x"), *(text.get_window_extent() for text in texts)]
    for box in boxes_of_text:
        assert 0 <= box.x0 < box.x1 <= canvas.bbox.width
        assert 0 <= box.y0 < box.y1 <= canvas.bbox.height
    assert axes.get_position().width > 0.45
    lower, upper = (label.get_window_extent() for label in axes.get_yticklabels())
    assert not lower.overlaps(upper)


def test_the_fonts_of_a_pdf_are_truetype_whatever_letters_it_has() -> None:
    canvas, (axes,) = plots.grid(1, columns=1, height_inches=2.6)
    axes.set_title(
        "Volume (mm\N{SUPERSCRIPT THREE}) \N{MINUS SIGN}5 \u00e9 \u0416"
    )  # the last: Cyrillic
    pdf = drawing.to_files(canvas).pdf
    # One copy of each of the two fonts; a minus sign once brought another one.
    assert pdf.count(b"/FontFile2") == 2
    assert b"/Type3" not in pdf
    assert b"FiguresOfBidsQsmthal" in pdf
    assert b"+DejaVuSans" in pdf  # the letter that the small font lacks


def test_ticks_of_many_participants_on_a_logarithmic_axis_are_plain_numbers() -> None:
    rng = np.random.default_rng(3)
    canvas, (axes,) = plots.grid(1, columns=1, height_inches=2.6)
    axes.set_yscale("log")
    plots.cloud(axes, rng.normal(size=600), np.exp(rng.normal(1, 3, 600)))
    canvas.draw_without_rendering()
    texts = [label.get_text() for label in axes.get_yticklabels()]
    assert "10,000" in texts
    assert not any("10^" in text for text in texts)


def test_each_line_of_a_forest_has_its_participants(drawn: list[Canvas]) -> None:
    lines = pd.DataFrame(
        {"label": ["Age", "Age", "Sex"], "side": ["unadjusted", "adjusted", "adjusted"],
         "estimate": [0.1, 0.2, 0.3], "low": [0.0, 0.1, 0.2], "high": [0.2, 0.3, 0.4],
         "n": [1200, 95, 95]}
    )  # fmt: skip
    figures.forest(lines)
    names = [label.get_text() for label in drawn[0].axes[0].get_yticklabels()]
    assert names == ["Sex\n(n = 95)", "Age\n(n = 1200 and 95)"]


@pytest.mark.parametrize("largest", [650_000.0, 42_000.0, 15_000.0])
def test_the_number_at_the_end_of_an_axis_is_inside_the_figure(largest: float) -> None:
    canvas, panels = plots.grid(2, columns=2, height_inches=2.9)
    for axes in panels:
        axes.set_xlim(0.9 * largest, largest)
    canvas.draw_without_rendering()
    last = max(box.x1 for axes in panels for box in boxes(axes, "x"))
    assert last <= canvas.bbox.width
