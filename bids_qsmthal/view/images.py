"""Maps and labels of a scan: which there are, and as what a browser gets them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from bids_qsmthal.bids.external import EDITS
from bids_qsmthal.bids.products import PRODUCTS
from bids_qsmthal.bids.reader_versions import FILE, VERSIONS
from bids_qsmthal.core import colors
from bids_qsmthal.core.errors import DataError, MissingInputError
from bids_qsmthal.core.image import Image, resample
from bids_qsmthal.report import gre_figures
from bids_qsmthal.view import raw, shown, voxels

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from bids_qsmthal.view.participants import ParticipantRow

SCALES: Final = {"ppm": 1000.0}
"""From the unit of a file to that on the screen: susceptibility is shown in ppb."""


@dataclass(frozen=True, slots=True)
class Map:
    """A map to look at; ``limits`` are black and white, ``None`` by its values."""

    key: str
    title: str
    unit: str = ""
    limits: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Label:
    """A mask to look at and to correct.

    Attributes
    ----------
    values
        What its numbers are called; the first one is 1.
    may_be_empty
        Whether a head can have none of it.
    pieces
        Whether its pieces are confirmed and rejected one by one.
    among
        The product whose numbered lesions are what is confirmed and rejected, as a whole each.
    """

    key: str
    title: str
    color: str
    values: tuple[str, ...] = ("inside",)
    may_be_empty: bool = False
    pieces: bool = False
    among: str = ""

    @property
    def shades(self) -> tuple[str, ...]:
        """The colour of each of its values."""
        return (self.color, colors.PURPLE, colors.SKY, colors.ORANGE)[: len(self.values)]


_CHI, _R2STAR = gre_figures.CHI_WINDOW, gre_figures.R2STAR_WINDOW

MAPS: Final = (
    Map("chi", "QSM", "ppb", (_CHI.low, _CHI.high)),
    Map("r2star", "R2*", "1/s", (_R2STAR.low, _R2STAR.high)),
    Map("t1w", "T1w"),
)

LABELS: Final = (
    Label("thalamus", "thalamus", colors.THALAMI[1], ("left", "right")),
    Label("csf_reference", "CSF reference", colors.CSF_REFERENCE),
    Label("vein", "veins", colors.VEINS, may_be_empty=True),
    Label("brain_gre", "brain (gradient echo)", colors.PURPLE),
    Label("lesion", "T2 lesions", colors.LESIONS, may_be_empty=True, pieces=True),
    Label("enhancing", "enhancing lesions", colors.ENHANCING, may_be_empty=True, pieces=True),
    Label("brain", "brain (T1w)", colors.PURPLE),
    Label(
        *("rim", "lesions with a rim", colors.RIMS),
        may_be_empty=True,
        pieces=True,
        among="lesion_labels_gre",
    ),
    Label(
        *(
            "lesion_change",
            "lesion changes",
            colors.LIME,
            ("new", "enlarged", "shrunk", "vanished"),
        ),
        may_be_empty=True,
        pieces=True,
        among="lesion_labels",
    ),
)
"""What can be corrected, each on the grid of its own scan."""

BACKGROUNDS: Final[Mapping[str, str]] = {"MEGRE": "chi", "T1w": "t1w"}
"""The map whose grid the labels of a space have."""


@dataclass(frozen=True, slots=True)
class ScanMaps:
    """The files of one scan.

    Attributes
    ----------
    output_dir
        The root of all.
    bids_dir
        Where its raw images are; ``None`` where nobody said it.
    """

    output_dir: Path
    row: ParticipantRow
    bids_dir: Path | None = None

    def output(self, key: str) -> Path:
        """Return the place of a product of the run."""
        return self.output_dir / self.row.folder / self._file(key)

    def edit(self, key: str) -> Path:
        """Return the place where a reader's correction of it counts."""
        return self.output_dir / EDITS / self.row.folder / self._file(key)

    def versions(self, key: str) -> Path:
        """Return the folder of every correction of it that was saved here."""
        name = self._file(key).removesuffix(".nii.gz")
        return self.output_dir / EDITS / VERSIONS / self.row.folder / name

    def current(self, key: str) -> Path:
        """Return the file that counts: the correction, else the product.

        Raises
        ------
        DataError
            A correction lies under another name, where a run takes it and this page would not.
        """
        place = self.edit(key)
        beside = [
            path
            for path in (self.output_dir / EDITS / self.row.participant_id).rglob(
                f"{place.name.removesuffix('.gz')}*"
            )
            if path != place
        ]
        if beside:
            raise DataError(f"{beside[0]}: expected at {place}; move the file there.")
        return place if place.is_file() else self.output(key)

    def transform(self, source: str, target: str) -> Path:
        """Return the file that resamples an image of one scan onto another."""
        begin = self._begin("MEGRE" if "MEGRE" in {source, target} else "T1w")
        name = f"{begin}_from-{source}_to-{target}_mode-image_xfm.txt"
        return self.output_dir / self.row.folder / name

    def sidecar(self, key: str) -> Path:
        """Return the place of what the run says about a product."""
        image = self.output(key)
        return image.with_name(f"{image.name.removesuffix('.nii.gz')}.json")

    def raw(self) -> tuple[raw.RawImage, ...]:
        """Return the raw images that can be shown: FLAIR, and the magnitude of each echo."""
        if self.bids_dir is None:
            return ()
        flair = raw.flair(self.sidecar("lesion"), self.bids_dir)
        registered = self.transform("FLAIR", "T1w").is_file()
        magnitudes = raw.magnitudes(self.sidecar("chi"), self.bids_dir)
        return (*(flair if registered else ()), *magnitudes)

    def _file(self, key: str) -> str:
        product = PRODUCTS[key]
        return f"{self._begin(product.space)}_{product.ending}.nii.gz"

    def _begin(self, space: str) -> str:
        # Outputs of T1w are shared by the scans of a session, and carry no run of theirs.
        ids = (self.row.participant_id, self.row.session_id)
        session = "_".join(part for part in ids if part != "n/a")
        return self.row.name if space == "MEGRE" else session


def label(key: str) -> Label:
    """Return a label by its key.

    Raises
    ------
    MissingInputError
        There is none.
    """
    for one in LABELS:
        if one.key == key:
            return one
    raise MissingInputError(f"{key}: no label that can be corrected here.")


def version(path: Path) -> str:
    """Return what tells one content of a file from another."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:32]


def overview(scan: ScanMaps) -> dict[str, Any]:
    """Return which maps and labels there are."""
    maps = [one for one in MAPS if scan.output(one.key).is_file()]
    present = {one.key for one in maps}
    labels = [
        {
            "key": one.key,
            "title": one.title,
            "color": one.color,
            "values": one.values,
            "shades": one.shades,
            "space": PRODUCTS[one.key].space,
            "edited": scan.edit(one.key).is_file(),
            "pieces": one.pieces,
            "whole": bool(one.among),
        }
        for one in LABELS
        if scan.output(one.key).is_file() and BACKGROUNDS[PRODUCTS[one.key].space] in present
    ]
    described: list[dict[str, Any]] = [
        {
            "key": one.key,
            "title": one.title,
            "unit": one.unit,
            "space": PRODUCTS[one.key].space,
        }
        for one in maps
    ]
    described += [
        {"key": one.key, "title": one.title, "unit": "", "space": one.space} for one in scan.raw()
    ]
    return {
        "maps": described,
        "labels": labels,
        "backgrounds": BACKGROUNDS,
        "colors": [{"color": one.color, "title": one.title} for one in LABELS],
    }


BRAINS: Final[Mapping[str, str]] = {"MEGRE": "brain_gre", "T1w": "brain"}
"""The label whose box is shown of the scans of a space."""


def shown_box(scan: ScanMaps, key: str, of: str = "") -> shown.Box:
    """Return the part of a label's grid that the page shows: the brain, and all of the label.

    The whole one where the brain is the label, or is not known.
    """
    brain = _brain(scan, label(key).key)
    if key in BRAINS.values() or brain is None:
        return shown.WHOLE
    boxes = (voxels.extent(brain, shown.MARGIN_MM), voxels.extent(version_file(scan, key, of)))
    known = [box for box in boxes if box is not None]
    return shown.around(known) if known else shown.WHOLE


def map_on(scan: ScanMaps, key: str, below: str, of: str = "") -> bytes:
    """Return a map as it is seen below a label, as a gzipped NIfTI file in the unit of the screen.

    Parameters
    ----------
    below, of
        The label, and which version of it (``label_of``).

    Raises
    ------
    MissingInputError
        There is no such map, or nothing that relates the two scans.
    """
    box = shown_box(scan, below, of)
    found = resampled(scan, key, PRODUCTS[below].space, box)
    limits = {one.key: one.limits for one in MAPS}.get(key)
    if limits is None:
        brain = _brain(scan, below)
        inside = None if brain is None else shown.part(voxels.mask(brain), box).data > 0
        limits = shown.window(found.data, inside)
    return shown.packed_map(found, limits, scale(key))


def _brain(scan: ScanMaps, below: str) -> Path | None:
    """Return the mask of the brain on the grid of a label, where there is one."""
    key = BRAINS[PRODUCTS[below].space]
    return scan.current(key) if scan.output(key).is_file() else None


def map_version(scan: ScanMaps, key: str, below: str, of: str = "") -> str:
    """Return what changes with a map below a label: its files and the part that is shown.

    Raises
    ------
    MissingInputError
        There is no such map.
    """
    below_it = scan.output(BACKGROUNDS[PRODUCTS[label(below).key].space])
    transforms = sorted((scan.output_dir / scan.row.folder).glob("*_xfm.txt"))
    brain = _brain(scan, below)
    files = (*_files(scan, key), below_it, *transforms, *([] if brain is None else [brain]))
    state = (shown_box(scan, below, of), [(str(path), *voxels.state(path)) for path in files])
    return hashlib.sha256(repr(state).encode()).hexdigest()[:32]


def _files(scan: ScanMaps, key: str) -> tuple[Path, ...]:
    """Return the files that a map or a raw image is made of."""
    if key in PRODUCTS:
        return (scan.output(_map(key)),)
    return tuple(part.path for one in scan.raw() if one.key == key for part in one.parts)


def resampled(scan: ScanMaps, key: str, space: str, box: shown.Box = shown.WHOLE) -> Image:
    """Return a map on a box of the grid of a space, axes to R, A and S, in the unit of its file.

    Raises
    ------
    MissingInputError
        There is no such map, or nothing that relates the two scans.
    """
    image, own = _found(scan, key)
    shape, affine = voxels.grid(scan.output(BACKGROUNDS[space]))
    if own == space and image.shape == shape and np.allclose(image.affine, affine, atol=1e-3):
        return shown.part(image, box)
    # Of no size: nothing of it is read but its grid.
    onto = shown.part(Image(np.broadcast_to(np.float32(0), shape), affine), box)
    return resample(image, onto, world=between(scan, own, space))


def _found(scan: ScanMaps, key: str) -> tuple[Image, str]:
    """Return a map or a raw image, and the scan whose world it is in."""
    if key in PRODUCTS:
        return voxels.volume(scan.output(_map(key))), PRODUCTS[key].space
    for one in scan.raw():
        if one.key == key:
            return raw.image(one), one.space
    raise MissingInputError(f"{key}: no such map.")


def between(scan: ScanMaps, source: str, target: str) -> NDArray[np.float64]:
    """Return the matrix for points in RAS, of the world of one scan to that of another.

    Parameters
    ----------
    source, target
        The scan that is resampled, and the one whose points are taken there.

    Raises
    ------
    MissingInputError
        Nothing relates the two.
    """
    if source == target:
        return np.eye(4)
    if "T1w" in {source, target}:
        return world(scan.transform(source, target))
    # Both are registered to T1w, not to each other.
    chained: NDArray[np.float64] = between(scan, source, "T1w") @ between(scan, "T1w", target)
    return chained


def scale(key: str) -> float:
    """Return what a value of the file of a map is multiplied with on the screen."""
    return SCALES.get(PRODUCTS[_map(key)].units or "", 1.0) if key in PRODUCTS else 1.0


def _map(key: str) -> str:
    """Return the key of a map that can be looked at."""
    if key not in {one.key for one in MAPS}:
        raise MissingInputError(f"{key}: no such map.")
    return key


OF_RUN: Final = "run"
"""Stands for a label as the run made it, among the names of versions."""


def label_of(scan: ScanMaps, key: str, of: str = "") -> tuple[bytes, str]:
    """Return a label as a NIfTI file of whole numbers, and the version that counts now.

    Parameters
    ----------
    of
        Which one: ``OF_RUN``, the name of a version, or empty for the one that counts.
    """
    # The version first: where the file is replaced in between, a save is refused, not taken.
    state = version(scan.current(label(key).key))
    seen = shown.part(voxels.mask(version_file(scan, key, of)), shown_box(scan, key, of))
    return shown.packed_label(seen), state


def version_file(scan: ScanMaps, key: str, of: str) -> Path:
    """Return the file of a label, ``of`` as in ``label_of``."""
    if not of:
        return scan.current(key)
    return scan.output(key) if of == OF_RUN else scan.versions(key) / f"{of}.nii.gz"


def versions_of(scan: ScanMaps, key: str) -> list[dict[str, str]]:
    """Return what a reader can begin with, beside what counts: the run's own, and each version."""
    names = sorted(path.name for path in scan.versions(label(key).key).glob("[0-9]*.nii.gz"))
    known = (FILE.fullmatch(name) for name in names)
    saved = [{"key": f"{one[1]}_{one[2]}", "reader": one[2]} for one in known if one]
    return [{"key": OF_RUN, "reader": ""}, *saved]


def world(path: Path) -> NDArray[np.float64]:
    """Return the matrix of an ITK text file for points in RAS: of the target, to the source.

    Raises
    ------
    MissingInputError
        There is no file.
    DataError
        It is not one that the run wrote.
    """
    if not path.is_file():
        raise MissingInputError(f"{path.name}: the scans are not registered to each other.")
    lines = dict(line.partition(":")[::2] for line in path.read_text(encoding="utf-8").splitlines())
    numbers = np.array(lines.get("Parameters", "").split(), dtype=np.float64)
    center = np.array(lines.get("FixedParameters", "").split(), dtype=np.float64)
    if numbers.shape != (12,) or center.any():
        raise DataError(
            f"{path.name}: not an affine that bids_qsmthal wrote; run the participant again."
        )
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = numbers[:9].reshape(3, 3), numbers[9:]
    # ITK's points are LPS: x and y change their signs on both sides.
    turn = np.diag([-1.0, -1.0, 1.0, 1.0])
    turned: NDArray[np.float64] = turn @ matrix @ turn
    return turned
