"""A head whose face is known: with ``defaced`` no picture shows it, in millimetres."""

from __future__ import annotations

import numpy as np
import pytest

from bids_qsmthal.core.image import Image
from bids_qsmthal.report import (
    AnatomyMaps,
    GreMaps,
    LesionMaps,
    ParticipantReport,
    Registration,
    defaced,
    write_participant,
)
from tests import pictures
from tests.report.test_sides import LAS, OBLIQUE, STEP_MM, ball

BRAIN_MM = 26.0
FACE_MM = 12.0
"""Skull, fat and skin are at least this thick before the brain (eyes begin at about 15 mm)."""

RIM_MM = 2.5
"""What of the surroundings must stay, so that the outline of the brain can be judged."""


def report(gre: Image, t1w: Image) -> ParticipantReport:
    """Everything within 60 mm shines, and the face shines brightest."""

    def head(on: Image) -> Image:
        face = ball(on, (0, 0, 0), 60) & ~ball(on, (0, 0, 0), BRAIN_MM + FACE_MM)
        return on.like((100.0 * ball(on, (0, 0, 0), 60) + 100 * face).astype(np.float32))

    brain_gre, brain = (
        on.like(ball(on, (0, 0, 0), BRAIN_MM).astype(np.uint8)) for on in (gre, t1w)
    )
    echoes = gre.like(np.stack([head(gre).data] * 2, -1))
    away = np.eye(4)
    away[:3, 3] = (11.0, -6.0, 7.0)  # moving world -> fixed world
    moving = Image(head(t1w).data, np.linalg.inv(away) @ t1w.affine)
    return ParticipantReport(
        participant_id="sub-01",
        gre=GreMaps(magnitude=echoes, phase_rad=echoes, echo_times_s=(0.01, 0.02), brain=brain_gre),
        anatomy=AnatomyMaps(t1w=head(t1w), brain=brain),
        lesions=LesionMaps(flair=head(t1w), t1w=head(t1w), ce_t1w=head(t1w)),
        registrations=(
            Registration(name="FLAIR to T1w", fixed=head(t1w), moving=moving, matrix=away),
        ),
    )


def distance_mm(image: Image, world: np.ndarray) -> np.ndarray:
    """Return how far each voxel lies from the middle of the brain."""
    voxels = np.stack(np.meshgrid(*map(np.arange, image.shape), indexing="ij"), -1)
    affine = world @ image.affine
    return np.linalg.norm(voxels @ affine[:3, :3].T + affine[:3, 3], axis=-1)


@pytest.mark.parametrize(("gre", "t1w"), [(LAS, OBLIQUE)], ids=["oblique"])
def test_nothing_of_the_face_is_left_and_the_rim_of_the_brain_is(gre: Image, t1w: Image) -> None:
    found = defaced(report(gre, t1w))
    (pair,) = found.registrations
    images = {
        "magnitude": (found.gre.magnitude, np.eye(4)),
        "phase": (found.gre.phase_rad, np.eye(4)),
        "T1w": (found.anatomy.t1w, np.eye(4)),
        "FLAIR": (found.lesions.flair, np.eye(4)),
        "before contrast": (found.lesions.t1w, np.eye(4)),
        "after contrast": (found.lesions.ce_t1w, np.eye(4)),
        "fixed": (pair.fixed, np.eye(4)),
        "moving": (pair.moving, pair.matrix),
    }
    for name, (image, world) in images.items():
        assert image is not None, name
        away_mm = distance_mm(image, world) - BRAIN_MM
        shown = image.data.reshape(*image.shape, -1).any(axis=-1)
        assert shown[away_mm < RIM_MM - STEP_MM].all(), name
        assert away_mm[shown].max() < FACE_MM - STEP_MM, name


@pytest.mark.slow
def test_no_picture_shows_the_face(tmp_path) -> None:
    """The face shines twice as bright as the rest: it would be the brightest of every picture."""
    shown, hidden = (tmp_path / name for name in ("shown", "hidden"))
    whole = report(LAS, OBLIQUE)
    for folder, content in ((shown, whole), (hidden, defaced(whole))):
        write_participant(content, folder / "sub-01.html", folder / "figures")
    names = {path.name for path in (shown / "figures").glob("*.svg")}
    assert names == {path.name for path in (hidden / "figures").glob("*.svg")}
    for name in names:
        before, after = (
            pictures.read_file(folder / "figures" / name) for folder in (shown, hidden)
        )
        dark = 128 if "phase" in name else 0  # the gray of a phase of zero
        assert (corners(after) == dark).all(), name
        if "phase" in name:
            continue
        assert furthest(after) < BRAIN_MM + FACE_MM, name
        if "reg" in name:  # not cut to the brain: half a head is seen
            assert furthest(before) > BRAIN_MM + FACE_MM, name
        else:
            assert corners(before).any(), name


def blocks(figure: pictures.Figure) -> list[np.ndarray]:
    """Return the brightness of the blocks of slices, without the colour bars."""
    return [raster.brightness for raster in figure.rasters if raster.pixels.shape[1] > 20]


def corners(figure: pictures.Figure) -> np.ndarray:
    """Return the outermost corners of the blocks: there the face begins in every slice."""
    return np.array([[b[y, x] for y in (2, -3) for x in (2, -3)] for b in blocks(figure)])


def furthest(figure: pictures.Figure) -> float:
    """Return half of the longest row of pixels (mm) that shine."""
    found = 0.0
    for block in blocks(figure):
        for row in block > 0:
            runs = np.split(
                np.flatnonzero(row), np.flatnonzero(np.diff(np.flatnonzero(row)) > 1) + 1
            )
            found = max(found, max(map(len, runs)) * STEP_MM / 2)
    return found
