"""Pictures are read back: what lies on the participant's left must stand beside the letter L."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest

from bids_qsmthal.core.image import Image
from bids_qsmthal.report import (
    AnatomyMaps,
    GreMaps,
    LesionMaps,
    ParticipantReport,
    RegionMasks,
    Registration,
    write_participant,
)
from tests import pictures

pytestmark = pytest.mark.slow

BLOB_MM, BLOB_RADIUS_MM = (-15.0, 13.0, 5.0), 9.0
"""Left, in front and above the middle of the brain: the only thing that is bright or coloured."""

THALAMI_MM = {"left thalamus": (-11.0, -6.0, 0.0), "right thalamus": (11.0, -6.0, 0.0)}
SHAPE = (34, 36, 32)
STEP_MM = 2.5
LARGEST_DISC = 1.2 * np.pi * (BLOB_RADIUS_MM / STEP_MM) ** 2
COORDINATE = re.compile(r"([xyz]) = (\u2212?\d+) mm")


def grid(columns: list[list[float]], tilt_deg: tuple[float, float, float] = (0, 0, 0)) -> Image:
    """A grid around the origin whose axes run along world directions, tilted about x, y, z."""
    turn = np.eye(3)
    for axis, angle in enumerate(np.radians(tilt_deg)):
        first, second = (n for n in range(3) if n != axis)
        step = np.eye(3)
        step[first, first] = step[second, second] = np.cos(angle)
        step[first, second], step[second, first] = -np.sin(angle), np.sin(angle)
        turn = turn @ step
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.array(columns, float).T * STEP_MM
    affine[:3, 3] = -affine[:3, :3] @ (np.array(SHAPE) // 2)
    return Image(np.zeros(SHAPE, np.float32), affine)


RAS = grid([[1, 0, 0], [0, 1, 0], [0, 0, 1]])
LAS = grid([[-1, 0, 0], [0, 1, 0], [0, 0, 1]])
LPI = grid([[-1, 0, 0], [0, -1, 0], [0, 0, -1]])
SAGITTAL = grid([[0, -1, 0], [0, 0, 1], [-1, 0, 0]])
OBLIQUE = grid([[-1, 0, 0], [0, 1, 0], [0, 0, 1]], (14, -9, 6))
OBLIQUE_SAGITTAL = grid([[0, 1, 0], [0, 0, -1], [1, 0, 0]], (-12, 8, 5))
SCANS = {
    "RAS": (RAS, RAS),
    "LAS": (LAS, RAS),
    "LPI": (LPI, LAS),
    "oblique": (OBLIQUE, OBLIQUE_SAGITTAL),
    "sagittal": (SAGITTAL, OBLIQUE),
}
"""Grid of the gradient echo, and of the anatomical scans."""


def ball(on: Image, middle_mm: tuple[float, float, float], radius_mm: float) -> np.ndarray:
    voxels = np.stack(np.meshgrid(*map(np.arange, on.shape), indexing="ij"), -1)
    world = voxels @ on.affine[:3, :3].T + on.affine[:3, 3]
    return np.linalg.norm(world - middle_mm, axis=-1) < radius_mm


def report(gre: Image, t1w: Image) -> ParticipantReport:
    """A report of every picture there is, of a phantom that is bright in its left front alone."""
    brain_gre, brain = (on.like(ball(on, (0, 0, 0), 30).astype(np.uint8)) for on in (gre, t1w))
    blob_gre, blob = (ball(on, BLOB_MM, BLOB_RADIUS_MM) for on in (gre, t1w))

    def sides(on: Image, left: int, right: int) -> Image:
        places = [ball(on, middle, 5) for middle in THALAMI_MM.values()]
        return on.like(left * places[0] + right * places[1].astype(np.int16))

    def bright(on: Image, base: float, top: float) -> Image:
        head = (brain_gre if on is gre else brain).data > 0
        return on.like(
            (base * head + (top - base) * ball(on, BLOB_MM, BLOB_RADIUS_MM)).astype(np.float32)
        )

    echoes = gre.like(np.stack([bright(gre, 90.0 / n, 300.0 / n).data for n in (1, 2, 3)], -1))
    phase = gre.like(np.stack([bright(gre, 0.0, 3.0).data] * 3, -1))
    moved = np.eye(4)
    moved[:3, 3] = (9.0, -7.0, 6.0)  # moving world -> fixed world
    moving = Image(bright(t1w, 90, 300).data, np.linalg.inv(moved) @ t1w.affine)
    return ParticipantReport(
        participant_id="sub-01",
        gre=GreMaps(
            magnitude=echoes,
            phase_rad=phase,
            echo_times_s=(0.005, 0.01, 0.015),
            brain=brain_gre,
            qsm_mask=brain_gre,
            total_field_hz=bright(gre, 0, 8),
            local_field_hz=bright(gre, 0, 8),
            chi_ppm=bright(gre, 0, 0.09),
            r2star_per_s=bright(gre, 10, 55),
        ),
        regions=RegionMasks(
            thalamus=sides(gre, 1, 2),
            thalamus_label=sides(gre, 1, 2),
            veins=gre.like(blob_gre.astype(np.uint8)),
            csf_reference=gre.like(blob_gre.astype(np.uint8)),
            lesions=gre.like(blob_gre.astype(np.uint8)),
        ),
        anatomy=AnatomyMaps(
            t1w=bright(t1w, 90, 300),
            brain=brain,
            tissue=t1w.like(blob.astype(np.uint8)),
            deep_gray=t1w.like(sides(t1w, 10, 49).data + np.int16(11) * blob),
            nuclei=t1w.like(blob + np.int16(2) * ball(t1w, (15, -13, 5), 6)),
            nuclei_names={1: "AV_L", 2: "PUL_R"},
            thickness_mm=t1w.like(4.0 * blob.astype(np.float32)),
        ),
        lesions=LesionMaps(
            flair=bright(t1w, 90, 300),
            lesions=t1w.like(blob.astype(np.uint8)),
            t1w=bright(t1w, 90, 300),
            ce_t1w=bright(t1w, 90, 300),
            enhancing=t1w.like(blob.astype(np.uint8)),
        ),
        registrations=(
            Registration(
                name="FLAIR to T1w",
                fixed=bright(t1w, 90, 300),
                moving=moving,
                matrix=moved,
                outlines={"brain": brain},
            ),
        ),
    )


@dataclass(frozen=True)
class Tile:
    """One slice of a mosaic: where its letters stand, and which slice it says it is."""

    first: pictures.Text
    last: pictures.Text
    axis: str
    coordinate_mm: float
    top: float
    bottom: float


def tiles(figure: pictures.Figure) -> list[Tile]:
    """Pair the letters at the left and right edge of each slice."""
    letters = [text for text in figure.texts if text.text in {*"LRAPSI"}]
    labels = [text for text in figure.texts if COORDINATE.fullmatch(text.text)]
    rows: dict[int, list[pictures.Text]] = {}
    for letter in letters:
        rows.setdefault(round(letter.y), []).append(letter)
    found = []
    for row in rows.values():
        row.sort(key=lambda letter: letter.x)
        for first, last in zip(row[::2], row[1::2], strict=True):
            below = [text for text in labels if first.x - 3 < text.x < last.x and text.y > first.y]
            label = min(below, key=lambda text: text.y)
            named = COORDINATE.fullmatch(label.text)
            assert named
            half = label.y - first.y
            value = float(named.group(2).replace("\u2212", "-"))
            ends = (first.y - half - 6, label.y + 3)
            found.append(Tile(first, last, named.group(1), value, *ends))
    return found


TINTED = {
    "sub-01_desc-deepgray_dseg": ("caudate", "thalamus"),
    "sub-01_desc-nuclei_dseg": ("AV: anteroventral", "Pul: pulvinar"),
}
"""Pictures with more than one tint: that of the blob, and the other."""


def marks(name: str, figure: pictures.Figure) -> np.ndarray:
    """Return where a reader sees the blob: colour if there is any, else what is brightest."""
    shown = [raster for raster in figure.rasters if raster.pixels.shape[1] > 20]
    coloured = [raster.places(raster.colourful) for raster in shown]
    if name in TINTED:
        color, other = map(figure.named_color, TINTED[name])
        coloured = [raster.places(raster.tinted(color, [other])) for raster in shown]
    if sum(map(len, coloured)):
        return np.concatenate(coloured)
    return np.concatenate(
        [raster.places(raster.brightness > 0.8 * raster.brightness.max()) for raster in shown]
    )


def holding(figure: pictures.Figure, points: np.ndarray) -> Iterator[tuple[Tile, np.ndarray]]:
    """Yield each slice with the points that lie in it."""
    taken = np.zeros(len(points), bool)
    for tile in tiles(figure):
        inside = (points[:, 0] >= tile.first.x - 2) & (points[:, 0] <= tile.last.x + 8)
        inside &= (points[:, 1] >= tile.top) & (points[:, 1] <= tile.bottom) & ~taken
        taken |= inside
        if inside.any():
            yield tile, points[inside]
    assert taken.all(), "a mark lies in no slice"


STRAIGHT = ("LAS", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("RAS", "LPI")))
ALL = (*STRAIGHT, "oblique", pytest.param("sagittal", marks=pytest.mark.slow))
"""Each takes some seconds to draw."""


@pytest.fixture(scope="module", params=ALL)
def figures(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, pictures.Figure]:
    folder = tmp_path_factory.mktemp("sides")
    write_participant(report(*SCANS[request.param]), folder / "sub-01.html", folder / "figures")
    drawn = sorted((folder / "figures").glob("*.svg"))
    return {place.stem: pictures.read_file(place) for place in drawn}


def test_every_picture_of_slices_has_letters(figures) -> None:
    assert len(figures) == 17
    for name, figure in figures.items():
        assert tiles(figure), name


def test_what_is_left_in_front_and_above_is_seen_there(figures) -> None:
    for name, figure in figures.items():
        seen = 0
        for tile, points in holding(figure, marks(name, figure)):
            pair = (tile.first.text, tile.last.text)
            assert {*pair} == ({"P", "A"} if tile.axis == "x" else {"L", "R"}), name
            wanted = "A" if tile.axis == "x" else "L"
            near = tile.first if tile.first.text == wanted else tile.last
            far = tile.last if near is tile.first else tile.first
            middle = points.mean(axis=0)
            assert abs(middle[0] - near.x) < abs(middle[0] - far.x), (name, tile)
            assert middle[1] < near.y, (name, tile)  # y runs down; letters stand half way up
            assert len(points) <= LARGEST_DISC, (name, tile)
            seen += len(points)
        assert seen >= 20, name


@pytest.mark.parametrize("figures", STRAIGHT, indirect=True)
def test_a_slice_shows_what_is_at_the_coordinate_it_names(figures) -> None:
    """On straight grids to the voxel: a slice that is off by one holds another disc."""
    for name, figure in figures.items():
        for tile, points in holding(figure, marks(name, figure)):
            expected = disc(tile)
            assert len(points) == expected, (name, tile)


def disc(tile: Tile) -> int:
    """Return how many voxels of the blob a slice through a straight grid has."""
    inside = ball(RAS, BLOB_MM, BLOB_RADIUS_MM)
    axis = "xyz".index(tile.axis)
    index = round((tile.coordinate_mm - RAS.affine[axis, 3]) / STEP_MM)
    return int(np.take(inside, index, axis=axis).sum())


@pytest.mark.parametrize("name", ["desc-thalamus_Chimap", "desc-thalamus_T1w"])
def test_the_outline_that_is_named_left_is_on_the_left(figures, name) -> None:
    figure = figures[f"sub-01_{name}"]
    slices = tiles(figure)
    for side, letter in (("left thalamus", "L"), ("right thalamus", "R")):
        color = figure.named_color(side)
        drawn = [line.points for line in figure.lines if line.color == color]
        outlines = [points for points in drawn if np.ptp(points[:, 1]) > 1]
        assert outlines, side
        for points in outlines:
            middle = points.mean(axis=0)
            (tile,) = (
                tile
                for tile in slices
                if tile.first.x <= middle[0] <= tile.last.x and tile.top <= middle[1] <= tile.bottom
            )
            distance = {end.text: abs(middle[0] - end.x) for end in (tile.first, tile.last)}
            assert min(distance, key=distance.get) == letter, (side, tile)


OUTLINED = {
    "desc-thalamus_Chimap": ("CSF reference", "lesions"),
    "desc-lesion_FLAIR": ("lesion",),
    "desc-enhancing_T1w": ("enhancing",),
}


@pytest.mark.parametrize("name", OUTLINED)
def test_an_outline_lies_round_what_it_outlines(figures, name) -> None:
    figure = figures[f"sub-01_{name}"]
    shown = [raster for raster in figure.rasters if raster.pixels.shape[1] > 20]
    bright = [raster.places(raster.brightness > 0.8 * raster.brightness.max()) for raster in shown]
    blobs = dict(holding(figure, np.concatenate(bright)))
    pixel = shown[0].pixel[0]
    for mark in OUTLINED[name]:
        color = figure.named_color(mark)
        drawn = [line.points for line in figure.lines if line.color == color]
        outlines = [points for points in drawn if np.ptp(points[:, 1]) > 15]
        assert outlines, mark
        for points in outlines:
            low, high = points.min(axis=0), points.max(axis=0)
            (inside,) = (blobs[tile] for tile, _ in holding(figure, points))
            np.testing.assert_allclose(inside.min(axis=0), low, atol=1.1 * pixel)
            np.testing.assert_allclose(inside.max(axis=0), high, atol=1.1 * pixel)
