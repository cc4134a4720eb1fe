"""Every image the app makes: its BIDS name, its unit, and what it means. Adding one adds a row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Space = Literal["MEGRE", "T1w", "FLAIR"]


MASK_TYPES = {"brain": "Brain", "lesion": "Lesion", "enhancing": "Lesion", "rim": "Lesion"}
"""What BIDS calls a mask by the last label of its name; all others are regions of interest."""


@dataclass(frozen=True, slots=True)
class Product:
    """One kind of output image.

    Attributes
    ----------
    space
        The scan it is made from, whose grid it is on.
    entities
        Entities between those of the participant and the suffix; empty for native maps.
    suffix
        BIDS suffix.
    units
        Unit of the voxel values, as BIDS writes it; ``None`` for masks and labels.
    description
        One sentence for the sidecar.
    grid
        The space whose grid it is on, where that is not the one of the scan.
    resolution
        Of that grid, in words; empty where the space has one only.
    """

    space: Space
    entities: str
    suffix: str
    units: str | None
    description: str
    grid: str = ""
    resolution: str = ""

    @property
    def required(self) -> dict[str, str | bool]:
        """Metadata that BIDS asks of this kind of image."""
        return self._of_suffix | ({"Resolution": self.resolution} if self.resolution else {})

    @property
    def _of_suffix(self) -> dict[str, str | bool]:
        if self.suffix == "mask":
            return {"Type": MASK_TYPES.get(self.entities.rsplit("-", 1)[-1], "ROI")}
        # BIDS asks for SkullStripped of derivatives of anatomical images; maps are zero outside the
        # brain.
        if self.suffix in {"T1w", "Chimap", "R2starmap", "T2starmap"}:
            return {"SkullStripped": self.suffix != "T1w"}
        return {}

    @property
    def ending(self) -> str:
        """What follows the participant in the file name, without extension."""
        return f"{self.entities}_{self.suffix}" if self.entities else self.suffix


PRODUCTS: dict[str, Product] = {
    "chi": Product("MEGRE", "", "Chimap", "ppm", "Magnetic susceptibility."),
    "r2star": Product("MEGRE", "", "R2starmap", "1/s", "Effective transverse relaxation rate."),
    "paramagnetic": Product(
        "MEGRE", "desc-paramagnetic", "Chimap", "ppm", "Paramagnetic part of the susceptibility."
    ),
    "diamagnetic": Product(
        "MEGRE", "desc-diamagnetic", "Chimap", "ppm", "Diamagnetic part of the susceptibility."
    ),
    "t2star": Product("MEGRE", "", "T2starmap", "s", "Effective transverse relaxation time."),
    "local_field": Product(
        "MEGRE", "desc-local", "fieldmap", "Hz", "Field offset made by sources inside the brain."
    ),
    "total_field": Product(
        "MEGRE", "desc-total", "fieldmap", "Hz", "Field offset before background removal."
    ),
    "noise": Product(
        "MEGRE",
        "desc-noise",
        "fieldmap",
        "Hz",
        "Standard deviation of the total field, from the fit.",
    ),
    "brain_gre": Product("MEGRE", "space-MEGRE_desc-brain", "mask", None, "Brain."),
    "qsm_mask": Product(
        "MEGRE", "space-MEGRE_desc-qsm", "mask", None, "Where susceptibility was reconstructed."
    ),
    "deepgray_gre": Product(
        "MEGRE", "space-MEGRE_desc-deepgray", "dseg", None, "Deep gray nuclei and ventricles."
    ),
    "nuclei_gre": Product(
        "MEGRE", "space-MEGRE_desc-thalamicnuclei", "dseg", None, "Groups of thalamic nuclei."
    ),
    "small_nuclei_gre": Product(
        "MEGRE",
        "space-MEGRE_desc-smallnuclei",
        "dseg",
        None,
        "Parts of the pallidum; red and subthalamic nucleus and substantia nigra, moved to where "
        "the susceptibility map shows them.",
    ),
    "thalamus": Product(
        "MEGRE",
        "space-MEGRE_desc-thalamus",
        "dseg",
        None,
        "Thalami as measured (1 left, 2 right): rim, veins and lost voxels removed.",
    ),
    "thalamus_mask": Product(
        "MEGRE",
        "space-MEGRE_label-thalamus_desc-final",
        "mask",
        None,
        "Both thalami as measured; left and right are in desc-thalamus_dseg.",
    ),
    "csf_reference": Product(
        "MEGRE",
        "space-MEGRE_label-CSF_desc-reference",
        "mask",
        None,
        "Cerebrospinal fluid used as zero of the relative susceptibility.",
    ),
    "vein": Product("MEGRE", "space-MEGRE_label-vein", "mask", None, "Veins near the thalami."),
    "lesion_gre": Product("MEGRE", "space-MEGRE_label-lesion", "mask", None, "T2 lesions."),
    "lesion_labels_gre": Product(
        "MEGRE",
        "space-MEGRE_desc-lesions",
        "dseg",
        None,
        "T2 lesions, confluent ones separated; numbers as in the table of lesions.",
    ),
    "rim": Product(
        "MEGRE",
        "space-MEGRE_label-rim",
        "mask",
        None,
        "T2 lesions with a paramagnetic rim, each as a whole.",
    ),
    "t1w": Product("T1w", "desc-preproc", "T1w", None, "T1w corrected for the bias field."),
    "brain": Product("T1w", "space-T1w_desc-brain", "mask", None, "Brain."),
    "tissue": Product(
        "T1w", "space-T1w", "dseg", None, "Tissue: 1 gray matter, 2 white matter, 3 CSF."
    ),
    "gm": Product("T1w", "space-T1w_label-GM", "probseg", None, "Probability of gray matter."),
    "wm": Product("T1w", "space-T1w_label-WM", "probseg", None, "Probability of white matter."),
    "csf": Product("T1w", "space-T1w_label-CSF", "probseg", None, "Probability of CSF."),
    "deepgray": Product(
        "T1w", "space-T1w_desc-deepgray", "dseg", None, "Deep gray nuclei and ventricles."
    ),
    "nuclei": Product(
        "T1w", "space-T1w_desc-thalamicnuclei", "dseg", None, "Groups of thalamic nuclei."
    ),
    "small_nuclei": Product(
        "T1w",
        "space-T1w_desc-smallnuclei",
        "dseg",
        None,
        "Parts of the pallidum, red and subthalamic nucleus, substantia nigra.",
    ),
    "thickness": Product(
        "T1w", "space-T1w_desc-thickness", "morph", "mm", "Thickness of the cortex at each voxel."
    ),
    "lesion": Product("T1w", "space-T1w_label-lesion", "mask", None, "T2 lesions."),
    "lesion_probability": Product(
        "T1w", "space-T1w_label-lesion", "probseg", None, "Probability of a T2 lesion."
    ),
    "lesion_labels": Product(
        "T1w",
        "space-T1w_desc-lesions",
        "dseg",
        None,
        "T2 lesions, confluent ones separated; numbers as in the table of lesions.",
    ),
    "enhancing": Product(
        "T1w", "space-T1w_label-enhancing", "mask", None, "Gadolinium-enhancing lesions."
    ),
    "lesion_change": Product(
        "T1w",
        "space-T1w_desc-lesionchange",
        "dseg",
        None,
        "Whole lesions: new since the previous visit (1), called larger (2) or smaller (3) by a "
        "reader, or vanished (4, at their earlier place).",
    ),
    "lesion_flair": Product(
        "FLAIR", "space-FLAIR_label-lesion", "mask", None, "T2 lesions on the FLAIR grid."
    ),
}


def of_atlas(name: str) -> Product:
    """Return the label image of a user's atlas in a participant, by the user's name for it."""
    return Product(
        *("T1w", f"space-T1w_desc-atlas{name}", "dseg", None),
        f"Regions of the atlas {name}; where regions overlap, the most probable one.",
    )


def in_space(key: str, space: str, entities: str, resolution_mm: int | None) -> Product:
    """Return an image of the catalogue as it is on the grid of another space.

    Parameters
    ----------
    key
        Its row in ``PRODUCTS``.
    space, entities
        The space, and how names of files say it: ``space-MNI152NLin2009cAsym_res-2``.
    resolution_mm
        Voxel size of its grid, where there are several.
    """
    native = PRODUCTS[key]
    others = [one for one in native.entities.split("_") if one and not one.startswith("space-")]
    named = "_".join((entities, *others))
    said = f"{native.description} Carried to {space}."
    resolution = "" if resolution_mm is None else f"{resolution_mm} mm, isotropic"
    return Product(native.space, named, native.suffix, native.units, said, space, resolution)


OF_VISITS = ("lesion_change",)
"""What is made of a session when it is compared with the visit before it, after its own run."""

REPLACEABLE = (
    *(
        "chi",
        "r2star",
        "total_field",
        "brain_gre",
        "deepgray_gre",
        "thalamus",
        "csf_reference",
        "vein",
        "rim",
    ),
    *("brain", "tissue", "deepgray", "nuclei", "lesion", "enhancing"),
)
"""What a derivative dataset or a manual edit may replace."""

CORRECTABLE = (*REPLACEABLE, *OF_VISITS)
"""What a reader's edit may replace."""
