"""The words of the commands that take one step on plain NIfTI files; imports nothing slow."""

from __future__ import annotations

from pathlib import Path

from bids_qsmthal.app.options import Parser

SIGN = "Fields are positive where the phase grows, in Hz unless --field-units says ppm."


def unwrap_parser() -> Parser:
    """Describe ``bids_qsmthal unwrap PHASE ...``."""
    p = _parser(
        "unwrap", f"Compute the total field: unwrap the phase and fit it over the echoes. {SIGN}"
    )
    p.add_argument("phase", type=Path, nargs="+", help="wrapped phase in rad, one file per echo")
    _magnitude(p, required=True)
    _times(p)
    _field_strength(p)
    p.add_argument(
        "--mask", type=Path, metavar="FILE", help="brain mask (default: voxels with signal)"
    )
    p.add_argument(
        "--method",
        metavar="NAME",
        help="a method that --list-methods lists under --unwrap (default: as in a run)",
    )
    return _direction(p)


def background_parser() -> Parser:
    """Describe ``bids_qsmthal background FIELD``."""
    p = _parser(
        "background", f"Remove the background field, that of sources outside the mask. {SIGN}"
    )
    p.add_argument("field", type=Path, help="total field")
    _mask(p)
    _field_strength(p)
    _noise(p)
    p.add_argument(
        "--method",
        metavar="NAME",
        help="a method that --list-methods lists under --background (default: as in a run)",
    )
    return _direction(p)


def invert_parser() -> Parser:
    """Describe ``bids_qsmthal invert FIELD``."""
    p = _parser("invert", f"Compute susceptibility in ppm from the local field. {SIGN}")
    p.add_argument("field", type=Path, help="local field")
    _mask(p)
    _field_strength(p)
    _magnitude(p, required=False)
    _noise(p)
    p.add_argument(
        "--csf",
        type=Path,
        metavar="FILE",
        help="mask of CSF, whose mean susceptibility is set to zero",
    )
    p.add_argument(
        "--method",
        metavar="NAME",
        help="a method that --list-methods lists under --inversion (default: as in a run)",
    )
    return _direction(p)


def r2star_parser() -> Parser:
    """Describe ``bids_qsmthal r2star MAGNITUDE ...``."""
    p = _parser("r2star", "Fit R2* in 1/s to the magnitude of two or more echoes.")
    p.add_argument(
        "magnitude", type=Path, nargs="+", help="magnitude, one file per echo or one 4-D file"
    )
    _times(p)
    p.add_argument(
        "--mask", type=Path, metavar="FILE", help="brain mask (default: voxels with signal)"
    )
    p.add_argument(
        "--method",
        choices=("exponential", "arlo"),
        default="exponential",
        help="a weighted fit of an exponential, or ARLO (default: exponential)",
    )
    return p


def dicom_parser() -> Parser:
    """Describe ``bids_qsmthal dicom FILE ...``."""
    p = Parser(
        prog="bids_qsmthal dicom",
        description="Write maps, masks and labels (NIfTI) as DICOM series for viewers and "
        "archives: one folder for each image. The only personal data in them is the BIDS "
        "label. Needs bids_qsmthal[dicom].",
        epilog="Values are whole numbers of 16 bits times a slope: a map is rounded to 1/65534 of "
        "its range, labels are exact. For research, not for diagnosis.",
        allow_abbrev=False,
    )
    p.add_argument("images", type=Path, nargs="+", metavar="FILE", help="images of one volume each")
    p.add_argument(
        *("-o", "--out"), type=Path, required=True, metavar="DIR", help="folder for the series"
    )
    p.add_argument(
        *("--participant-label", "--participant_label"),
        default="",
        metavar="LABEL",
        help="label of the participant (default: as in the names of the files)",
    )
    p.add_argument(
        "-v", "--verbose", action="count", default=0, help="more messages; may be repeated"
    )
    p.add_argument("-q", "--quiet", action="count", default=0, help="fewer messages")
    return p


def _parser(name: str, description: str) -> Parser:
    p = Parser(prog=f"bids_qsmthal {name}", description=description, allow_abbrev=False)
    p.add_argument(
        "-o",
        "--out",
        type=Path,
        required=True,
        metavar="FILE",
        help="map to write, .nii.gz; its sidecar has the same name",
    )
    p.add_argument(
        "-v", "--verbose", action="count", default=0, help="more messages; may be repeated"
    )
    p.add_argument("-q", "--quiet", action="count", default=0, help="fewer messages")
    return p


def _magnitude(p: Parser, *, required: bool) -> None:
    p.add_argument(
        "--magnitude",
        type=Path,
        nargs="+",
        required=required,
        default=[],
        metavar="FILE",
        help="magnitude, one file per echo or one 4-D file"
        + ("" if required else "; medi needs it, for the edges"),
    )


def _times(p: Parser) -> None:
    p.add_argument(
        "--echo-times",
        type=float,
        nargs="+",
        required=True,
        metavar="S",
        help="echo times in seconds",
    )


def _field_strength(p: Parser) -> None:
    p.add_argument(
        "--field-strength", type=float, required=True, metavar="T", help="field strength in tesla"
    )
    p.add_argument(
        "--field-units",
        choices=("Hz", "ppm"),
        default="Hz",
        help="unit of the fields that are read and written; ppm of the main field (default: Hz)",
    )


def _mask(p: Parser) -> None:
    p.add_argument("--mask", type=Path, required=True, metavar="FILE", help="brain mask")


def _noise(p: Parser) -> None:
    p.add_argument(
        "--noise", type=Path, metavar="FILE", help="standard deviation of the field, in its unit"
    )


def _direction(p: Parser) -> Parser:
    p.add_argument(
        "--b0-direction",
        type=float,
        nargs=3,
        metavar=("X", "Y", "Z"),
        help="direction of the main field in voxel axes (default: the scanner's z by the header)",
    )
    return p
