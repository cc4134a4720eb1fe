"""What the sidecar of an image says of how it was made."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from bids_qsmthal.bids.products import PRODUCTS
from bids_qsmthal.bids.provenance import NAMES
from bids_qsmthal.core.sources import Maker, Source
from bids_qsmthal.participant import image_methods
from bids_qsmthal.settings import Resources, Settings
from tests.seam import Study


@pytest.fixture(scope="module")
def settings() -> Settings:
    folder = Path("study")
    budget = Resources(cores=1, threads=1, memory_bytes=1)
    return Settings(bids_dir=folder, output_dir=folder, work_dir=folder, resources=budget)


def texts(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from texts(item)
    elif isinstance(value, str):
        yield value


def test_every_key_is_an_image_of_the_catalogue(settings: Settings) -> None:
    made = (image_methods.structural, image_methods.gradient_echo, image_methods.regions)
    keys = [key for methods in made for key in methods(settings)]
    assert len(keys) == len(set(keys))
    assert set(keys) <= set(PRODUCTS)


def test_an_image_names_what_it_went_through_and_nothing_else(settings: Settings) -> None:
    structural, maps = image_methods.structural(settings), image_methods.gradient_echo(settings)
    assert set(structural["brain"]) == {"BiasCorrection", "BrainExtraction"}
    assert structural["thickness"]["Thickness"]["largest_mm"] == pytest.approx(5)
    assert set(maps["r2star"]) == {"Relaxation"}
    assert "Inversion" not in maps["local_field"]
    assert maps["chi"]["Inversion"]["Name"] == "MEDI"
    assert set(image_methods.regions(settings)["csf_reference"]) == {"Reference"}


def test_an_external_image_has_its_source_and_a_corrected_one_both(settings: Settings) -> None:
    methods = image_methods.structural(settings)
    external = Source(Maker.DATASET, "fs")
    corrected = Source(Maker.OURS, corrected=True)
    found = image_methods.with_makers(methods, {"brain": external, "tissue": corrected})
    assert found["brain"] == {"Source": "fs"}
    assert found["tissue"] == methods["tissue"] | {"Source": "manual edit of ours"}
    assert found["gm"] == methods["gm"]


@pytest.mark.slow
def test_no_sidecar_of_a_finished_participant_speaks_of_classes(tiny_study: Study) -> None:
    classes = {one.__name__ for one in NAMES} | {"Reconstruction", "RegionSettings", "Limit"}
    sidecars = sorted(tiny_study.anat.glob("*.json"))
    assert len(sidecars) > 10
    for path in sidecars:
        said = json.loads(path.read_text())
        method = said.get("Method", {})
        # Keys say what a method is for, and a class may have the same word for a name.
        named = {one["Name"] for one in method.values() if isinstance(one, dict) and "Name" in one}
        assert named <= set(NAMES.values()), path.name
        for text in texts(said):
            assert text not in classes - set(method), f"{path.name}: {text}"
            assert not text.startswith("<"), f"{path.name}: {text}"
            assert " object at 0x" not in text, f"{path.name}: {text}"


@pytest.mark.slow
def test_sidecars_of_external_masks_do_not_claim_our_methods(tiny_study: Study) -> None:
    brain = json.loads((tiny_study.anat / "sub-01_space-MEGRE_desc-brain_mask.json").read_text())
    assert "Mask" not in brain["Method"]
    assert brain["Method"]["Source"]
