"""What the app writes: names, sidecars, and the description of the derivative dataset."""

from __future__ import annotations

import os.path
import platform
from dataclasses import dataclass, field
from importlib import metadata
from typing import TYPE_CHECKING, Any

from bids_qsmthal import __version__
from bids_qsmthal.bids.products import PRODUCTS, Product
from bids_qsmthal.bids.sidecars import read_json
from bids_qsmthal.core import nifti
from bids_qsmthal.core.files import write_json, write_text, write_tsv

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import pandas as pd
    from numpy.typing import DTypeLike

    from bids_qsmthal.bids.sidecars import Entities
    from bids_qsmthal.core.image import Image

BIDS_VERSION = "1.10.0"
PACKAGES = ("antspyx", "nibabel", "numba", "numpy", "onnxruntime", "pandas", "pybids", "scipy")

UNITS_RULE = (
    "The name of a parameter ends with its unit (mm, mm2, mm3, ml, s, hz, rad, deg, t, ppm, ppb, "
    "voxels; sd and spreads: standard deviations). A name without such an ending is a count, a "
    "share, a ratio or a weight."
)
"""How the parameters below ``Method`` are read."""

IGNORED = """\
# What lies beside the data, or has no name in BIDS; one pattern for each, valid at any depth.

# Pages, and the figures they show.
*.html
figures
# Tables, figures and page of the group level: BIDS has no level of the dataset for derivatives.
group
# What readers corrected and rated.
edits
# How to cite the methods: CITATION.cff is that of the dataset itself.
CITATION.*
# Tables of a participant and their dictionaries: derivatives in anat/ have no suffix for numbers.
# Every measure, and its change between visits.
*_measures.*
*_change.*
# Each lesion.
*_lesions.*
# What a scan was judged by, how it was acquired, and how the number moves with each choice.
*_quality.*
*_acquisition.*
*_sensitivity.*
# Field maps on the grid of a gradient echo: fmap/ is for maps that correct other scans, each with
# a magnitude image beside it.
*_fieldmap.*
# Cortical thickness in voxels: the specification has it for surfaces alone.
*_morph.*
# Transforms: their names are a proposal (BEP014).
*_xfm.*
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Derivatives:
    """Where the outputs of one participant and session go.

    Attributes
    ----------
    entities
        Those of participant and session; every name begins with them.
    gre_entities
        Those of the gradient echo besides (``acq``, ``run`` ...), for outputs made from it.
    references
        For each space the raw scan that defines its grid, as a BIDS URI.
    codes
        For each space the code of that scan's world in NIfTI-1; the scanner's where not given.
    made
        The files whose places were asked for so far: those that this run writes.
    """

    output_dir: Path
    entities: Entities
    gre_entities: Entities
    references: Mapping[str, str]
    codes: Mapping[str, int] = field(default_factory=dict)
    made: set[Path] = field(default_factory=set, compare=False)

    @property
    def session_name(self) -> str:
        """The participant and session, as the names of all their files begin."""
        return _joined(self.entities)

    @property
    def folder(self) -> Path:
        """The ``anat`` folder of the participant and session."""
        return self.session_folder / "anat"

    @property
    def session_folder(self) -> Path:
        """The folder of the participant, and of the session where there are any."""
        return self.output_dir.joinpath(*(f"{key}-{value}" for key, value in self.entities))

    @property
    def name(self) -> str:
        """The participant, session and scan as file names begin."""
        return _joined((*self.entities, *self.gre_entities))

    @property
    def page(self) -> Path:
        """The report of this scan."""
        return self.output_dir / f"{self.name}.html"

    def path(self, ending: str, extension: str, *, space: str = "MEGRE") -> Path:
        """Return the place where an output is written that is made from the scan of ``space``."""
        # T1w and FLAIR are shared by the scans of a session: their outputs carry no run of the
        # gradient echo, and the scans find the same file.
        begin = self.name if space == "MEGRE" else self.session_name
        place = self.folder / f"{begin}_{ending}{extension}"
        self.made.add(place)
        return place

    def save(
        self,
        key: str | Product,
        image: Image,
        *,
        sources: Sequence[str],
        method: Mapping[str, Any] | None = None,
        dtype: DTypeLike | None = None,
    ) -> Path:
        """Write an image of the catalogue and the sidecar that explains it.

        Parameters
        ----------
        key
            Its row in ``products.PRODUCTS``, or a product whose name is the user's.
        sources
            BIDS URIs of what it was made from.
        method
            How it was made, with every parameter.
        """
        product = PRODUCTS[key] if isinstance(key, str) else key
        path = self.path(product.ending, ".nii.gz", space=product.space)
        # Image before sidecar: a sidecar without image would vouch for something that is not there.
        # An output in a template's world must not pass for one in the scanner's.
        nifti.save(image, path, dtype=dtype, code=self.code(product.grid or product.space))
        sidecar = self._sidecar(product, sources, method or {})
        write_json(self.path(product.ending, ".json", space=product.space), sidecar)
        return path

    def code(self, space: str) -> int:
        """Return the code of the world that outputs of a space are in."""
        return self.codes.get(space, 1)

    def save_labels(self, key: str | Product, table: pd.DataFrame) -> None:
        """Write the look-up table that belongs to a label image."""
        product = PRODUCTS[key] if isinstance(key, str) else key
        write_tsv(self.path(product.ending, ".tsv", space=product.space), table)

    def _sidecar(
        self, product: Product, sources: Sequence[str], method: Mapping[str, Any]
    ) -> dict[str, Any]:
        content: dict[str, Any] = {"Description": product.description, **product.required}
        if product.units:
            content["Units"] = product.units
        # BIDS wants SpatialReference where a name has space-.
        if product.entities.startswith("space-"):
            content["SpatialReference"] = self.references[product.grid or product.space]
        content["Sources"] = list(sources)
        return content | ({"Method": dict(method), "MethodUnits": UNITS_RULE} if method else {})


def describe_dataset(output_dir: Path, bids_dir: Path, extra: Mapping[str, Any]) -> None:
    """Write what makes the output folder a BIDS derivative dataset.

    Whose data they are, and under which licence, goes with the results made from them.
    """
    raw = read_json(bids_dir / "dataset_description.json")
    described = {
        "Name": "bids_qsmthal: thalamic susceptibility",
        "BIDSVersion": BIDS_VERSION,
        "DatasetType": "derivative",
        "GeneratedBy": [
            {
                "Name": "bids_qsmthal",
                "Version": __version__,
                **_code_url(),
                "Packages": package_versions(),
                **extra,
            }
        ],
        "SourceDatasets": [_source_dataset(raw)],
        # Relative: the pair of folders can be moved or mounted elsewhere, as in a container.
        "DatasetLinks": {"raw": os.path.relpath(bids_dir, output_dir)},
        **_carried_over(raw),
    }
    write_json(output_dir / "dataset_description.json", described)
    write_text(output_dir / ".bidsignore", IGNORED)
    write_text(output_dir / "README", README)
    write_text(output_dir / "CHANGES", f"{__version__}\n  - made by bids_qsmthal {__version__}\n")


def _code_url() -> dict[str, str]:
    """Return where the code comes from, which a released package knows and a checkout does not."""
    urls = metadata.metadata("bids_qsmthal").get_all("Project-URL") or []
    named = dict(url.split(", ", 1) for url in urls)
    return {"CodeURL": named["Source"]} if "Source" in named else {}


def _source_dataset(raw: Mapping[str, Any]) -> dict[str, str]:
    """Return where the raw dataset is found: by its DOI, where it has one."""
    match raw.get("DatasetDOI"):
        case str(doi) if doi.strip():
            bare = doi.strip().removeprefix("https://doi.org/").removeprefix("doi:")
            return {"URL": f"https://doi.org/{bare}", "DOI": f"doi:{bare}"}
    return {"URL": "bids:raw:"}


def _carried_over(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of the raw dataset's description holds for results made from it."""
    texts = {key: raw[key] for key in ("License",) if isinstance(raw.get(key), str)}
    lists = {
        key: raw[key]
        for key in ("Authors", "Funding", "EthicsApprovals")
        if isinstance(raw.get(key), list) and all(isinstance(item, str) for item in raw[key])
    }
    return {key: value for key, value in {**texts, **lists}.items() if value}


def package_versions() -> dict[str, str]:
    """Versions of Python and of the packages that the numbers depend on."""
    return {"python": platform.python_version()} | {
        name: metadata.version(name) for name in PACKAGES
    }


def raw_uri(path: Path, bids_dir: Path) -> str:
    """Name a raw file as a BIDS URI."""
    return f"bids:raw:{path.relative_to(bids_dir).as_posix()}"


def _joined(entities: Entities) -> str:
    return "_".join(f"{key}-{value}" for key, value in entities)


README = """\
Derivatives of bids_qsmthal.

sub-*.html               a report for each participant: look at these first;
                         sub-*_failed.html says what went wrong
CITATION.md, .bib        how to cite, and the methods text of what ran
sub-*/anat/              images (BIDS names; units in each sidecar) and *_desc-qsmthal_measures.tsv
group/                   group tables, group.html, and quality.html: all scans at a glance
logs/                    one log for each participant and run, settings.json
edits/sub-*/...          put a corrected file here under the same name as the output it replaces,
                         and run the same command again: it wins, and what depends on it is remade

Relative susceptibility = mean chi(thalamus) - mean chi(CSF reference), in ppb;
larger = more paramagnetic = more iron.
"""
