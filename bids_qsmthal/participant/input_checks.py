"""The inputs of a participant, each read once and looked at before hours are spent on any."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import numpy as np

from bids_qsmthal import anatomy, qsm
from bids_qsmthal.bids import atlases, external, gre_series
from bids_qsmthal.bids.dataset import UnusableScan
from bids_qsmthal.core import nifti
from bids_qsmthal.core.affine import apply, directions
from bids_qsmthal.core.errors import (
    DataError,
    ExitCode,
    InvalidBidsError,
    MissingInputError,
)
from bids_qsmthal.core.image import Image, resample
from bids_qsmthal.participant import given_field, gre_signal, pipeline
from bids_qsmthal.participant.gre_signal import MagnitudeSignal, Signal, SignalOnDisk
from bids_qsmthal.participant.pipeline import CE_T1W, FLAIR, GRE, T1W
from bids_qsmthal.report import sentences

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from bids_qsmthal.bids.dataset import Session
    from bids_qsmthal.bids.external import External, ExternalFile
    from bids_qsmthal.bids.gre_series import MagnitudeSeries
    from bids_qsmthal.core.errors import QsmthalError
    from bids_qsmthal.participant.pipeline import Input
    from bids_qsmthal.settings import Settings

P = ParamSpec("P")
R = TypeVar("R")

log = logging.getLogger(__name__)

MAY_BE_EMPTY = frozenset({"lesion", "lesion_add", "lesion_remove", "enhancing", "vein", "rim"})
"""What a healthy participant has none of."""

HEAD_MM = (80.0, 1000.0)
"""Least and largest extent of a scan of a head, along its two longest axes."""

MAX_SHEAR = 1e-3
"""Largest cosine between two axes of a scan: what rounding of a header leaves."""

SLAB_MM = 8.0
"""Least extent along the shortest axis of any scan."""

THALAMI_MM = 23.0
"""Height of the thalami in the packaged atlas (z = -5 to 18 mm)."""

SMALLEST_HEAD = 0.85
"""Size of the smallest adult head against the atlas, which has the size of MNI. A gradient echo
that is thinner than its thalami cannot hold any."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LoadedInputs:
    """Everything that a participant is made from; what was not scanned is ``None``.

    Attributes
    ----------
    session
        The scans, without those that cannot be used.
    exit_code
        That of the first scan that cannot be used.
    signal
        The gradient echo; with phase, where it has one, it is a ``Signal``.
    external
        Results of other programs and a user's edits, by product.
    atlases
        Of the user, whose regions are measured.
    """

    session: Session
    exit_code: ExitCode = ExitCode.DONE
    signal: MagnitudeSignal | SignalOnDisk | None = None
    t1w: Image | None = None
    flair: Image | None = None
    ce_t1w: Image | None = None
    external: Mapping[str, External] = field(default_factory=dict)
    atlases: tuple[anatomy.UserAtlas, ...] = ()


def read(
    session: Session, settings: Settings, external_files: Mapping[str, ExternalFile]
) -> LoadedInputs:
    """Read every image of a participant once; a scan that cannot be used is set aside.

    Raises
    ------
    MissingInputError
        Of the only scan, a file, an echo, or a piece of metadata is missing; or the scan of an
        external file is.
    DataError
        The only scan, or an external file, is damaged or holds what cannot be a scan of a head or
        a label image.
    """
    check_enough(session)
    scans = UsableScans(session, settings)
    # Headers and sidecars first: a scan of the wrong size is refused before its voxels are read.
    series = scans.read(GRE, described, session, settings)
    t1w = scans.read(T1W, t1w_of, session)
    flair = scans.read(FLAIR, _structural_or_none, session.flair)
    ce_t1w = scans.read(CE_T1W, _structural_or_none, session.t1w_gad)
    if series is not None:
        series = scans.read(GRE, showing_a_brain, series, scans.session, external_files)
    signal: MagnitudeSignal | None = None
    if series is not None:
        by_phase = masked_by_phase(scans.session, settings, external_files)
        signal = scans.read(GRE, gradient_echo, series, settings, by_phase=by_phase)
    usable = scans.session
    # All of them now: a damaged edit that is read hours later would cost those hours.
    results = {key: external_result(key, item, usable) for key, item in external_files.items()}
    given_field.check(signal, results, settings)
    waiting: MagnitudeSignal | SignalOnDisk | None = signal
    if signal is not None and t1w is not None:
        # Without T1w the reconstruction follows at once, and there is nothing to wait for.
        waiting = SignalOnDisk(signal, settings.work_dir / session.name)
    return LoadedInputs(
        session=usable,
        exit_code=scans.exit_code,
        signal=waiting,
        t1w=t1w,
        flair=flair,
        ce_t1w=ce_t1w,
        external=results,
        atlases=atlases.read_all(settings.atlases, usable),
    )


def check_enough(session: Session) -> None:
    """Raise unless something can be made of the scans that were found.

    Raises
    ------
    InvalidBidsError
        A name is of another participant or session than its folder.
    MissingInputError
        There is a post-contrast T1w alone.
    """
    if session.wrong_name:
        raise InvalidBidsError(session.wrong_name)
    if not session.any_scan:
        raise MissingInputError(
            f"{session.name}: a post-contrast T1w alone gives nothing; add T1w, FLAIR, or a "
            "gradient echo."
        )


@dataclass(slots=True)
class UsableScans:
    """Scans that are read one after the other, and what is left of the session."""

    session: Session
    settings: Settings
    exit_code: ExitCode = ExitCode.DONE

    def read(
        self, scan: Input, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs
    ) -> R | None:
        """Return what a function reads of a scan, or ``None`` after setting the scan aside.

        Raises
        ------
        QsmthalError
            It was the last of which anything can be made.
        """
        try:
            return function(*args, **kwargs)
        except (DataError, MissingInputError, InvalidBidsError) as error:
            self.set_aside(scan, error)
            return None

    def set_aside(self, scan: Input, error: QsmthalError) -> None:
        """Go on without a scan; raise where that would leave nothing."""
        # The reason stands on the page and in the table of checks, which may be shared.
        reason = self.settings.without_folders(str(error))
        left = self.session.without(UnusableScan(scan.keys[0], scan.name, reason))
        if not left.any_scan:
            raise error
        log.error("%s", sentences.sentence(left.unusable[-1].warning))
        self.session = left
        self.exit_code = self.exit_code or error.exit_code


def described(session: Session, settings: Settings) -> MagnitudeSeries | None:
    """Return what headers and sidecars say of the gradient echo; ``None`` where there is none.

    Raises
    ------
    QsmthalError
        They lack something, disagree, or are not of a scan of a head.
    """
    if session.gre is None:
        return None
    series = gre_series.describe(session.gre, session.root, settings.b0_direction)
    check_size(series)
    return series


def _structural_or_none(path: Path | None) -> Image | None:
    return None if path is None else structural(path)


def showing_a_brain(
    series: MagnitudeSeries, session: Session, external_files: Mapping[str, ExternalFile]
) -> MagnitudeSeries:
    """Return a gradient echo in which a brain can be found, where one has to be.

    Raises
    ------
    DataError
        It is too thin a slab: it cannot be registered to T1w, or its brain is not given.
    """
    path = series.paths[0]
    shape, affine = nifti.shape_and_affine(path)
    # All echoes may be volumes of one file.
    space = shape[:3]
    grid = Image(np.broadcast_to(np.int8(0), space), affine)
    extent_mm = np.array(space) * grid.grid.voxel_size_mm
    sought = session.t1w is not None or "brain_gre" not in external_files
    if sought and extent_mm.min() < anatomy.LEAST_EXTENT_MM:
        raise DataError(
            f"{path}: the slab is {extent_mm.min():.3g} mm thick; finding the brain in it, and the "
            f"same head in T1w, takes {anatomy.LEAST_EXTENT_MM:.3g} mm or more. Plan a thicker "
            "slab. A scan without T1w can be used with masks in its own space (--derivatives)."
        )
    return series


def masked_by_phase(
    session: Session, settings: Settings, external_files: Mapping[str, ExternalFile]
) -> bool:
    """Return whether the phase of this participant decides where a map is made."""
    planned = pipeline.plan(session, external_files, pipeline.requested(settings))
    return pipeline.PHASE_MASK in planned.stages


def gradient_echo(
    series: MagnitudeSeries, settings: Settings, *, by_phase: bool = False
) -> MagnitudeSignal:
    """Read a gradient echo, and raise where it cannot be used; ``check`` and a run do the same.

    Parameters
    ----------
    by_phase
        Whether the mask asks for reliable phase (``masked_by_phase``).

    Raises
    ------
    DataError
        A file is damaged, its phase is filtered or of unknown scale, or nowhere as reliable as the
        mask asks for.
    """
    signal = gre_signal.read(series, settings)
    if by_phase and isinstance(signal, Signal):
        # Over the whole image, as the brain is not known yet: without a voxel here there is none
        # in the brain, and no hour is spent to find that out.
        qsm.reliable_mask(signal.magnitude, signal.phase_rad, None, settings.mask.reliable)
    return signal


def external_result(key: str, item: ExternalFile, session: Session) -> External:
    """Read an external file, and raise where it cannot be of this participant.

    Raises
    ------
    MissingInputError
        The scan it belongs to is missing.
    DataError
        It is damaged, or lies elsewhere than the scan.
    """
    if key in external.SEEDS and session.flair is None:
        raise MissingInputError(
            f"{item.path}: seeds are grown on FLAIR, but {session.name} has none; add the FLAIR "
            "image, or give the whole lesion mask."
        )
    given = external.read(key, item, session)
    if given.points_mm is not None:
        _check_points(given.points_mm, item, session)
    elif isinstance(given.content, Image) and key not in external.MAPS | MAY_BE_EMPTY:
        _check_overlap(given.content, item, session)
    return given


def t1w_of(session: Session) -> Image | None:
    """Read T1w; the air of a uniform image of MP2RAGE is made dark where its inversions are there.

    Raises
    ------
    DataError
        An image is damaged, not of the size of a head, or the inversions are of another scan.
    """
    if session.t1w is None:
        return None
    for warning in session.warnings:
        log.warning("%s: %s", session.name, sentences.sentence(warning))
    image = structural(session.t1w)
    if not session.inversions:
        return image
    try:
        first, second = (structural(path) for path in session.inversions)
        return anatomy.without_noise(image, first, second)
    except DataError as error:
        raise DataError(f"{session.t1w}: {error}") from error


def structural(path: Path) -> Image:
    """Read one T1w or FLAIR; voxels that hold no number become zero.

    Raises
    ------
    DataError
        It is damaged, constant, not one volume, or not of the size of a head.
    """
    image = nifti.load(path)
    if image.data.ndim != 3:
        raise DataError(
            f"{path}: shape {image.data.shape}, expected one volume; give the volume to use."
        )
    _check_size(image, path)
    _check_axes(image, path)
    missing = ~np.isfinite(image.data)
    if missing.all():
        raise DataError(f"{path}: no voxel holds a number, expected a signal; export it again.")
    # Filters and registrations spread a NaN over the whole image; 0 is background.
    data = np.where(missing, np.float32(0), image.data)
    if data.min() == data.max():
        raise DataError(
            f"{path}: every voxel is {data.flat[0]:g}, expected a signal; export the image again."
        )
    if missing.any():
        log.warning("%s: %d voxels are not numbers and were set to 0", path.name, missing.sum())
    return image.like(data)


def check_size(series: MagnitudeSeries) -> None:
    """Raise unless a gradient echo is of the size of a head; no voxel is read.

    Raises
    ------
    DataError
        It is not.
    """
    for path in series.paths:
        shape, affine = nifti.shape_and_affine(path)
        # One byte seen as a whole volume: a grid that takes no memory.
        grid = Image(np.broadcast_to(np.int8(0), shape), affine)
        _check_size(grid, path, least_mm=SMALLEST_HEAD * THALAMI_MM)
        _check_axes(grid, path)


def _check_size(image: Image, path: Path, least_mm: float = SLAB_MM) -> None:
    extent_mm = np.array(image.shape) * image.grid.voxel_size_mm
    # Sorted, because any axis may be the short one of a slab.
    shortest, middle, longest = np.sort(extent_mm)
    if min(image.shape) < 2 or shortest < least_mm or middle < HEAD_MM[0] or longest > HEAD_MM[1]:
        size = " x ".join(f"{length:.3g}" for length in extent_mm)
        raise DataError(
            f"{path}: {image.shape} voxels over {size} mm, expected a volume of a head: "
            f"{least_mm:.3g} mm thick or more, {HEAD_MM[0]:g} mm or more along two sides, "
            f"none longer than {HEAD_MM[1]:g} mm; "
            "check the header's voxel size, or give a 3-D scan."
        )


def _check_axes(image: Image, path: Path) -> None:
    """Raise where the axes are not at right angles: no registration can hold such a grid."""
    axes = directions(image.affine)
    # Off the diagonal stand the cosines between the axes, which are unit vectors.
    cosine = float(np.abs(axes.T @ axes - np.eye(3)).max())
    if cosine > MAX_SHEAR:
        raise DataError(
            f"{path}: the axes of its header are sheared (cosine {cosine:.3f} between two of them, "
            "expected 0: right angles); resample it to a grid with right angles."
        )


def _check_points(points_mm: NDArray[np.float64], item: ExternalFile, session: Session) -> None:
    grid = _grid_of(item, session)
    # Integer indices are the middles of voxels, hence rounding and not flooring.
    voxels = np.rint(apply(np.linalg.inv(grid.affine), points_mm))
    outside = ((voxels < 0) | (voxels >= grid.shape)).any(axis=1)
    if outside.any():
        raise DataError(
            f"{item.path}: the seed {points_mm[outside][0].tolist()} lies outside the scan it was "
            "set on; expected x, y, z in millimetres of its world coordinates (RAS+), not voxels; "
            "correct the row."
        )


def _check_overlap(labels: Image, item: ExternalFile, session: Session) -> None:
    if not resample(labels, _grid_of(item, session), order=0).data.any():
        raise DataError(
            f"{item.path}: no label lies within the scan of {session.name} to which it belongs; "
            "check that the file is not empty and has the world coordinates of the scan."
        )


def _grid_of(item: ExternalFile, session: Session) -> Image:
    """Return the grid an external image must overlap; its values are not read."""
    gre_first = session.gre.paths[0] if session.gre else None
    own = {"MEGRE": gre_first, "T1w": session.t1w, "FLAIR": session.flair}[item.space]
    # Where its own scan is missing, another will do: external files are taken to lie in the
    # scanner's world.
    scan = own or gre_first or session.t1w or session.flair or session.t1w_gad
    if scan is None:
        raise MissingInputError(f"{item.path}: {session.name} has no scan it could belong to.")
    shape, affine = nifti.shape_and_affine(scan)
    return Image(np.broadcast_to(np.int8(0), shape[:3]), affine)
