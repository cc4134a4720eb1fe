"""The methods text says what ran: each sentence against the object it is about."""

import itertools
import re
from collections.abc import Iterator
from dataclasses import replace

import pytest

from bids_qsmthal import qsm
from bids_qsmthal.bids.protocol import AcquisitionProtocol
from bids_qsmthal.core.grid import Grid
from bids_qsmthal.core.scan_warnings import PhaseSignUnknown
from bids_qsmthal.core.sources import EDITED, OURS, SEEDED, Program, ProgramName, Source, dataset
from bids_qsmthal.qsm import (
    BACKGROUNDS,
    INVERSIONS,
    RELAXATIONS,
    UNWRAPPINGS,
    Acquisition,
    Reconstruction,
)
from bids_qsmthal.qsm.inversion import Medi, TotalVariation
from bids_qsmthal.qsm.medi import GaussNewton, SplitBregman
from bids_qsmthal.qsm.phase import PhaseReport
from bids_qsmthal.qsm.scaling import Scale
from bids_qsmthal.qsm.separation import BrokenLine, Proportional, R2StarSeparation
from bids_qsmthal.report import (
    AnatomyRun,
    AtlasRun,
    ExternalNumbers,
    LesionIronRun,
    MethodsRun,
    RegionsRun,
    ScanRun,
    methods,
    steps,
)
from bids_qsmthal.report.methods_run import MagnitudeRun, Uniform
from bids_qsmthal.roi import ReferenceLevel, ReferenceRegion

PHASE = PhaseReport(
    sign=1,
    sign_source="data",
    sign_evidence=0.4,
    chopped=False,
    chop_source="data",
    overflowed=0,
    not_finite=0,
)

SCALE = Scale(turn=4096.0, lowest=0.0, highest=4096.0, shift_rad=0.0, source="units")

SCAN = ScanRun(
    acquisition=Acquisition(echo_times_s=(0.005, 0.010, 0.015), field_strength_t=3),
    grid=Grid((256, 256, 90), (0.7, 0.7, 1.5), (0.0, 0.0, 1.0)),
    phase=PHASE,
    scale=SCALE,
    reconstruction=Reconstruction(),
    offset="polynomial",
    csf_held=True,
)

MAGNITUDE = MagnitudeRun(
    acquisition=SCAN.acquisition, grid=SCAN.grid, relaxation=Reconstruction().relaxation
)

THEIRS = {
    name: dataset("fs", Program(name, f"{name} 1.2"))
    for name in ProgramName
    if name is not ProgramName.LST_AI
}
LST_AI = dataset("deep", Program(ProgramName.LST_AI, "LST-AI"))
PLAIN = dataset("mine")


def inversions() -> list[object]:
    """Return every inversion, MEDI with and without the term of CSF, and both solvers."""
    own = [method() for method in INVERSIONS.values()]
    return [
        *own,
        Medi(csf_regularisation=0.0),
        Medi(solver=GaussNewton()),
        Medi(csf_regularisation=0.0, solver=GaussNewton()),
    ]


def reconstructions() -> Iterator[Reconstruction]:
    for inversion, background, unwrapping, relaxation in itertools.product(
        inversions(), BACKGROUNDS.values(), UNWRAPPINGS.values(), RELAXATIONS.values()
    ):
        default = Reconstruction()
        yield replace(
            default,
            fitting=replace(default.fitting, unwrapping=unwrapping()),
            background=background(),
            relaxation=relaxation(),
            inversion=inversion,
        )


def reports() -> Iterator[PhaseReport]:
    """Return every combination of sign, chopped slices and alternating readouts."""
    signs = [(sign, source) for source in ("data", "user", "manufacturer") for sign in (1, -1)]
    for (sign, source), (chopped, by), bipolar_rad in itertools.product(
        [*signs, (1, "assumed")], [(False, "data"), (True, "data"), (True, "user")], [0.0, 0.31]
    ):
        yield PHASE._replace(
            sign=sign,
            sign_source=source,
            chopped=chopped,
            chop_source=by,
            bipolar_rad=bipolar_rad,
            warnings=(PhaseSignUnknown(),) if source == "assumed" else (),
        )


def scans() -> Iterator[ScanRun]:
    """Return scans with every method, then every phase, then what the echoes and files decide."""
    for reconstruction in reconstructions():
        for csf_held in (True, False):
            yield replace(SCAN, reconstruction=reconstruction, csf_held=csf_held)
    for report in reports():
        yield replace(SCAN, phase=report)
    for source in ("units", "manufacturer", "range", "user"):
        yield replace(SCAN, scale=SCALE._replace(source=source))
    yield replace(SCAN, scale=None)
    yield from (replace(SCAN, mask=qsm.MaskChoice(name=name)) for name in qsm.MASKS)
    yield replace(SCAN, total_field=PLAIN)
    yield replace(SCAN, total_field=PLAIN, phase=None, scale=None, offset="external")
    alone = replace(SCAN.acquisition, echo_times_s=(0.02,))
    yield replace(SCAN, total_field=PLAIN, acquisition=alone, offset="external", csf_held=False)
    yield replace(SCAN, phase=PHASE._replace(echo_constant_rad=0.4))
    yield replace(SCAN, phase=PHASE._replace(slice_step_rad=0.3))
    for rate, dimensions, r2 in itertools.product(
        (BrokenLine(), Proportional()), ("2D", "3D"), (None, PLAIN)
    ):
        yield replace(
            SCAN,
            separation=R2StarSeparation(irreversible=rate),
            protocol=AcquisitionProtocol(dimensions=dimensions),
            r2=r2,
        )
    several = SCAN.acquisition
    one = replace(several, echo_times_s=(0.02,))
    uneven = replace(several, echo_times_s=(0.004, 0.009, 0.020))
    for acquisition, offsets in (
        (several, ("polynomial", "local", "mcpc-3d-s", "voxel")),
        (uneven, ("polynomial",)),
        (one, ("none",)),
    ):
        for offset, chi, r2star, relaxation in itertools.product(
            offsets, (OURS, EDITED, PLAIN), (OURS, PLAIN), RELAXATIONS.values()
        ):
            yield replace(
                SCAN,
                acquisition=acquisition,
                offset=offset,
                chi=chi,
                r2star=r2star,
                csf_held=acquisition is not one,
                reconstruction=replace(Reconstruction(), relaxation=relaxation()),
            )


LEVELS = [
    ReferenceLevel(region=ReferenceRegion.CIRCLES, radius_mm=2.0, step=1),
    ReferenceLevel(region=ReferenceRegion.ATRIA, erosion_mm=2.0, step=0),
    ReferenceLevel(region=ReferenceRegion.VENTRICLES, erosion_mm=1.0, step=3),
    ReferenceLevel(region=ReferenceRegion.GLOBAL_CSF, step=0),
    ReferenceLevel(region=ReferenceRegion.GLOBAL_CSF, step=5),
    ReferenceLevel(region=ReferenceRegion.BRAIN, step=0),
    ReferenceLevel(region=ReferenceRegion.BRAIN, step=6),
    ReferenceLevel(region=ReferenceRegion.EXTERNAL, step=0),
]


def regions() -> Iterator[RegionsRun]:
    choices = [region for region in ReferenceRegion if region is not ReferenceRegion.EXTERNAL]
    for level, first, thalamus, veins, rim, lesions in itertools.product(
        LEVELS, choices, (OURS, EDITED, PLAIN), (OURS, PLAIN), (True, False), (True, False)
    ):
        yield RegionsRun(
            reference=level,
            first_choice=first,
            thalamus=thalamus,
            veins=veins,
            reference_mask=PLAIN if level.region is ReferenceRegion.EXTERNAL else OURS,
            rim_removed=rim,
            lesions_removed=lesions,
        )


def anatomies() -> Iterator[MethodsRun]:
    """Return every combination of scans present and external results."""
    numbers = [
        None,
        *(
            ExternalNumbers(source=source, thickness=name is not ProgramName.SYNTHSEG)
            for name, source in THEIRS.items()
        ),
    ]
    labels = [{}, {"tissues": EDITED}, *({"deep gray matter": it} for it in THEIRS.values())]
    labels += [{"deep gray matter": PLAIN, "tissues": PLAIN, "thalamic nuclei": EDITED}]
    brains = [{}, {"T1w": OURS}, {"T1w": EDITED, "gradient echo": OURS}, {"gradient echo": PLAIN}]
    runs = [None]
    runs += [
        AnatomyRun(
            atlas="MNI",
            classified=classified,
            lesions_filled=filled,
            thalamus_refined=refined,
            thickness=thickness,
        )
        for classified, filled, refined, thickness in itertools.product((True, False), repeat=4)
    ]
    runs += [AnatomyRun(atlas="MNI", uniform=uniform) for uniform in Uniform]
    runs += [AnatomyRun(atlas="MNI", session="mri")]
    for anatomy, own, registered, theirs, table in itertools.product(
        runs, brains, (True, False), labels, numbers
    ):
        yield MethodsRun(
            anatomy=anatomy,
            brains=own,
            scans_registered=registered,
            external_labels=theirs,
            external_numbers=table,
        )


def lesions() -> Iterator[MethodsRun]:
    makers = [None, OURS, EDITED, SEEDED, LST_AI, PLAIN]
    corrected = [replace(maker, corrected=True) for maker in makers if maker]
    for mask, enhancement in itertools.product([*makers, *corrected], [None, OURS, EDITED, PLAIN]):
        yield MethodsRun(lesions=mask, enhancement=enhancement)
    for source in (OURS, EDITED, PLAIN):
        yield MethodsRun(
            lesions=OURS, lesion_iron=LesionIronRun(least_mm=7.43, threshold=0.5, rims=source)
        )


LABELS = AtlasRun(name="nuclei", space="MNI152NLin2009cAsym", in_template=True)
TRACTS = AtlasRun(name="tracts", space="T1w", in_template=False, threshold=0.25)


def atlases() -> Iterator[MethodsRun]:
    yield from (
        MethodsRun(atlases=(replace(one, in_template=carried),))
        for one in (LABELS, TRACTS)
        for carried in (True, False)
    )


def all_runs() -> Iterator[MethodsRun]:
    yield from (MethodsRun(scan=scan) for scan in scans())
    yield from (MethodsRun(scan=SCAN, regions=run) for run in regions())
    yield from anatomies()
    yield from lesions()
    yield from atlases()
    yield MethodsRun(magnitude=MAGNITUDE)
    yield from (MethodsRun(analysis=name) for name in ("chiang2018", "my own"))


@pytest.fixture(scope="module")
def used() -> set[tuple[str, str]]:
    return {(step.name, step.choice) for run in all_runs() for step in steps.steps(run)}


def test_every_combination_has_its_sentences_and_every_sentence_a_combination(used) -> None:
    assert used == set(methods.sentences())


def test_every_sentence_can_be_written_with_the_values_of_its_step(used) -> None:
    written = set()
    for run in all_runs():
        for step in steps.steps(run):
            text = methods._sentence(step)  # a missing value is an error
            assert "{{" not in text
            assert "None" not in text, step
            assert re.search(r"[.\]]$", text), text
            written.add((step.name, step.choice))
    assert written == used


def test_every_work_cited_is_in_the_bibliography_with_an_identifier_and_no_other() -> None:
    works = methods._bibliography()
    cited = set(re.findall(r"@(\w+)", " ".join(methods.sentences().values())))
    assert cited == set(works)
    for work in works.values():
        assert re.search(r"https://doi\.org/10\.\d{4,}/\S+$", work.formatted), work.formatted
        assert "{" not in work.formatted


INVERSION_WORKS = {
    "MEDI+0": ({"liu2012", "liu2018"}, "MEDI+0"),
    "MEDI": ({"liu2012", "liu2013"}, "morphology enabled dipole inversion (lambda"),
    "TotalVariation": ({"bilgic2014"}, "total variation"),
    "ClosedFormL2": ({"bilgic2014jmri"}, "in closed form"),
    "ThresholdedDivision": ({"shmueli2009"}, "thresholded division"),
}
BACKGROUND_WORKS = {
    "JointDipoleFields": ({"liu2011", "liu2017"}, "projection onto dipole fields"),
    "ProjectionOntoDipoleFields": ({"liu2011"}, "projection onto dipole fields"),
    "SphericalMean": ({"schweser2011", "wu2012"}, "V-SHARP"),
    "RegularisedSphericalMean": ({"sun2014"}, "RESHARP"),
    "IteratedSphericalMean": ({"wen2014"}, "iterative spherical mean"),
    "LaplacianBoundaryValues": ({"zhou2014"}, "Laplacian boundary value"),
}
UNWRAPPING_WORKS = {"Romeo": ({"dymerska2021"}, "ROMEO"), "Laplacian": ({"schofield2003"}, "Lapl")}
SOLVER_WORKS = {"SplitBregman": {"bilgic2014", "milovic2018"}, "GaussNewton": set()}


def said(run: MethodsRun, step: str) -> tuple[str, set[str]]:
    """Return what is said of a step, and what is cited for it."""
    text = " ".join(methods._sentence(one) for one in steps.steps(run) if one.name == step)
    return text, set(re.findall(r"@(\w+)", text))


def kind_of(inversion: object, *, csf_held: bool) -> str:
    if not isinstance(inversion, Medi):
        return type(inversion).__name__
    return "MEDI+0" if inversion.csf_regularisation > 0 and csf_held else "MEDI"


def test_methods_are_named_and_cited_as_the_objects_that_ran() -> None:
    for reconstruction in reconstructions():
        for csf_held in (True, False):
            run = MethodsRun(scan=replace(SCAN, reconstruction=reconstruction, csf_held=csf_held))
            for step, (works, words) in (
                (
                    "inversion",
                    INVERSION_WORKS[kind_of(reconstruction.inversion, csf_held=csf_held)],
                ),
                ("background", BACKGROUND_WORKS[type(reconstruction.background).__name__]),
                ("unwrapping", UNWRAPPING_WORKS[type(reconstruction.fitting.unwrapping).__name__]),
            ):
                text, cited = said(run, step)
                assert cited == works
                assert words in text
            solver = getattr(reconstruction.inversion, "solver", None)
            _, cited = said(run, "solver")
            assert cited == (SOLVER_WORKS[type(solver).__name__] if solver else set())


def test_medi_without_a_fluid_to_hold_is_not_medi0() -> None:
    text, cited = said(MethodsRun(scan=SCAN), "inversion")
    assert "MEDI+0; lambda 1200, lambda of the fluid 100" in text
    assert cited == {"liu2012", "liu2018"}
    for plain in (
        replace(SCAN, csf_held=False),
        replace(SCAN, reconstruction=Reconstruction(inversion=Medi(csf_regularisation=0.0))),
    ):
        text, cited = said(MethodsRun(scan=plain), "inversion")
        assert "MEDI+0" not in text
        assert "uniform" not in text
        assert cited == {"liu2012", "liu2013"}


def test_every_setting_of_an_inversion_that_is_said_is_that_of_the_object() -> None:
    for inversion, value in (
        (Medi(regularisation=777.0), "lambda 777"),
        (Medi(csf_regularisation=55.0), "fluid 55"),
        (TotalVariation(regularisation=88.0), "lambda 88"),
        (qsm.INVERSIONS["l2"](weight_mm2=0.5), "lambda 0.5 mm2"),
        (qsm.INVERSIONS["tkd"](threshold=0.15), "threshold 0.15"),
    ):
        scan = replace(SCAN, reconstruction=Reconstruction(inversion=inversion))
        assert value in said(MethodsRun(scan=scan), "inversion")[0]
    assert isinstance(Medi().solver, SplitBregman)


def test_the_phase_is_said_as_its_report_has_it() -> None:
    for report in reports():
        run = MethodsRun(scan=replace(SCAN, phase=report))
        sign = said(run, "phase_sign")[0]
        assert ("negated" in sign) is (report.sign < 0)
        assert bool(re.search(r"f[ea]ll", sign)) is (report.sign < 0)
        for source, words in (
            ("data", "quick susceptibility map"),
            ("user", "the user stated"),
            ("manufacturer", "usual for the scanner's manufacturer"),
            ("assumed", "neither the data nor the manufacturer"),
        ):
            assert (words in sign) is (report.sign_source == source)
        chop = said(run, "chop")[0]
        assert ("Every other slice" in chop) is report.chopped
        assert ("user stated" in chop) is (report.chopped and report.chop_source == "user")
        assert ("up to 0.62 rad" in said(run, "bipolar")[0]) is (report.bipolar_rad > 0)


@pytest.mark.parametrize(
    ("offset", "words"),
    [
        ("polynomial", "low-order polynomial"),
        ("local", "the smoothed rest"),
        ("mcpc-3d-s", "MCPC-3D-S"),
        ("voxel", "in each voxel by itself"),
    ],
)
def test_the_phase_offset_is_that_of_the_field_map(offset: str, words: str) -> None:
    assert words in said(MethodsRun(scan=replace(SCAN, offset=offset)), "phase_offset")[0]


def test_one_echo_claims_no_fit_over_echoes_and_no_r2star() -> None:
    one = replace(
        SCAN,
        acquisition=Acquisition(echo_times_s=(0.02,), field_strength_t=7),
        offset="none",
        csf_held=False,
    )
    text = methods.describe(MethodsRun(scan=one)).markdown
    assert "had 1 echo (TE 20 ms) at 7 T, voxel size 0.7 x 0.7 x 1.5 mm." in text
    assert "R2*" not in text
    assert "over the echoes" not in text
    assert "MEDI+0" not in text


def test_external_maps_are_not_said_to_be_computed() -> None:
    text = methods.describe(MethodsRun(scan=replace(SCAN, chi=PLAIN, r2star=PLAIN))).markdown
    assert "The susceptibility map was not computed but taken from mine" in text
    assert "R2* was taken from mine." in text
    assert "Susceptibility was reconstructed" not in text
    assert "was fitted" not in text


REFERENCE_WORDS = {
    ReferenceRegion.CIRCLES: "in one circle of radius 2 mm",
    ReferenceRegion.ATRIA: "in the atria of both lateral ventricles",
    ReferenceRegion.VENTRICLES: "in the lateral ventricles",
    ReferenceRegion.GLOBAL_CSF: "in the middle of the brain",
    ReferenceRegion.BRAIN: "to the whole brain",
    ReferenceRegion.EXTERNAL: "of a mask taken from mine",
}


def test_the_reference_and_why_are_said_as_the_ladder_went() -> None:
    for run in regions():
        text = said(MethodsRun(scan=SCAN, regions=run), "csf_reference")[0]
        region = run.reference.region
        assert REFERENCE_WORDS[region] in text
        lower = region not in (run.first_choice, ReferenceRegion.EXTERNAL)
        best = (ReferenceRegion.CIRCLES, ReferenceRegion.ATRIA)
        gave_way = region not in best and lower and run.reference.step > 0
        assert bool(re.search("too little|could be used", text)) is gave_way
        number = said(MethodsRun(scan=SCAN, regions=run), "relative_susceptibility")[0]
        assert ("mean chi(whole brain)" in number) is (region is ReferenceRegion.BRAIN)


def test_what_is_left_out_of_the_thalamus_is_what_was() -> None:
    for run in regions():
        text = said(MethodsRun(scan=SCAN, regions=run), "thalamus")[0]
        ours = run.thalamus == OURS
        assert ("at its rim" in text) is (ours and run.rim_removed)
        assert ("in lesions" in text) is (ours and run.lesions_removed)
        assert ("measured as it is" in text) is not ours
        veins = said(MethodsRun(scan=SCAN, regions=run), "veins")[0]
        assert ("mine" in veins) is (run.veins != OURS)


def test_anatomy_claims_only_what_was_computed_here() -> None:
    for run in anatomies():
        text, own = methods.describe(run).markdown, run.anatomy
        assert ("N4" in text) is (own is not None)
        assert ("Gaussian mixture" in text) is (own is not None and own.classified)
        assert ("Lesions were filled" in text) is (
            own is not None and own.lesions_filled and own.classified
        )
        assert ("refined by intensity" in text) is (own is not None and own.thalamus_refined)
        assert ("CIT168" in text) is (own is not None and own.thalamus_refined)
        assert ("distance transforms" in text) is (own is not None and own.thickness)
        assert ("rigid transforms" in text) is (own is not None and run.scans_registered)
        assert ("deepbet" in text) is (OURS in run.brains.values())
        for scan, source in run.brains.items():
            assert (f"The brain mask of the {scan} was taken from" in text) is (source != OURS)


WORKS_OF_PROGRAMS = {
    ProgramName.FREESURFER: "fischl2012",
    ProgramName.FASTSURFER: "henschel2020",
    ProgramName.SYNTHSEG: "billot2023",
}


@pytest.mark.parametrize("name", WORKS_OF_PROGRAMS)
@pytest.mark.parametrize("thickness", [True, False])
def test_external_programs_are_named_with_their_work(name: ProgramName, *, thickness: bool) -> None:
    numbers = ExternalNumbers(source=THEIRS[name], thickness=thickness)
    run = MethodsRun(external_numbers=numbers, external_labels={"tissues": THEIRS[name]})
    text, cited = said(run, "external_numbers")
    assert f"an existing {name} 1.2 result (fs)" in text
    assert ("thickness" in text) is (thickness and name is not ProgramName.SYNTHSEG)
    assert cited == {WORKS_OF_PROGRAMS[name]}
    text, cited = said(run, "external_labels")
    assert text.startswith(f"Labels of tissues were taken from an existing {name} 1.2 result")
    assert cited == {WORKS_OF_PROGRAMS[name]}


def test_labels_of_one_source_share_a_sentence() -> None:
    labels = {"deep gray matter": PLAIN, "tissues": PLAIN, "thalamic nuclei": EDITED}
    text = said(MethodsRun(external_labels=labels), "external_labels")[0]
    assert "Labels of deep gray matter and tissues were taken from mine." in text
    assert "Labels of thalamic nuclei were taken from a file that a reader drew" in text


@pytest.mark.parametrize(
    ("source", "words", "works"),
    [
        (OURS, "segmented on FLAIR", set()),
        (EDITED, "supplied by the user", set()),
        (SEEDED, "the sharpest outline", set()),
        (LST_AI, "existing LST-AI result (deep)", {"wiltgen2024"}),
        (PLAIN, "taken from mine", set()),
    ],
)
@pytest.mark.parametrize("corrected", [True, False])
def test_lesions_are_said_to_be_of_their_maker(
    source: Source, words: str, works: set[str], *, corrected: bool
) -> None:
    run = MethodsRun(lesions=replace(source, corrected=corrected))
    text, cited = said(run, "lesions")
    assert words in text
    assert "quarter" not in text
    assert cited == works
    assert bool(said(run, "lesion_correction")[0]) is corrected


def test_references_are_numbered_as_first_cited_and_not_twice() -> None:
    described = methods.describe(MethodsRun(scan=SCAN))
    keys = [work.key for work in described.references]
    assert len(keys) == len(set(keys))
    text = " ".join(paragraph.text for paragraph in described.paragraphs)
    numbers = [int(n) for group in re.findall(r"\[([\d, ]+)\]", text) for n in group.split(", ")]
    assert list(dict.fromkeys(numbers)) == list(range(1, len(keys) + 1))
    assert re.findall(r"@\w+\{(\w+),", described.bibtex) == keys


def test_a_method_without_a_sentence_is_named_without_a_citation() -> None:
    class Mine:
        """An inversion that somebody has just written."""

    scan = replace(SCAN, reconstruction=replace(Reconstruction(), inversion=Mine()))
    assert said(MethodsRun(scan=scan), "inversion") == ("Inversion: Mine.", set())


def test_nothing_ran_claims_nothing_but_the_program() -> None:
    (paragraph,) = methods.describe(MethodsRun(version="1.2")).paragraphs
    assert "bids_qsmthal 1.2" in paragraph.text


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("units", "by its unit"),
        ("manufacturer", "usual for the scanner's manufacturer"),
        ("range", "by its range"),
        ("user", "as the user stated"),
    ],
)
def test_the_scale_of_the_phase_is_said_with_what_told_it(source: str, words: str) -> None:
    scan = replace(SCAN, scale=SCALE._replace(source=source))
    text = said(MethodsRun(scan=scan), "phase_scale")[0]
    assert words in text
    assert "4096" in text
    parts = said(MethodsRun(scan=replace(SCAN, scale=None)), "phase_scale")[0]
    assert "real and the imaginary part" in parts


def test_constants_of_single_echoes_are_said_where_they_were_removed() -> None:
    scan = replace(SCAN, phase=PHASE._replace(echo_constant_rad=0.4))
    assert "up to 0.40 rad" in said(MethodsRun(scan=scan), "echo_constants")[0]
    assert said(MethodsRun(scan=SCAN), "echo_constants")[0] == ""


@pytest.mark.parametrize("source", ["units", "manufacturer"])
def test_a_scale_that_nothing_confirms_is_not_said_to_be_confirmed(source: str) -> None:
    for warning, confirmed in ((None, True), (PhaseSignUnknown(), False)):
        scale = SCALE._replace(source=source, warning=warning)
        text = said(MethodsRun(scan=replace(SCAN, scale=scale)), "phase_scale")[0]
        assert ("confirms" in text) is confirmed


def test_what_was_kept_as_in_the_study_is_said() -> None:
    circle = ReferenceLevel(region=ReferenceRegion.CIRCLES, radius_mm=3.0, step=0)
    run = RegionsRun(
        reference=circle,
        first_choice=ReferenceRegion.CIRCLES,
        rim_removed=False,
        rim_kept=True,
        lesions_kept=True,
        large_veins_only=True,
    )
    text, cited = said(MethodsRun(scan=SCAN, regions=run), "thalamus")
    assert text.endswith(
        "voxels in large veins along its border, in fluid and outside the map were left out, "
        "its rim and lesions kept as in [@chiang2018]."
    )
    assert cited == {"chiang2018"}
    assert "circle of radius 3 mm" in said(MethodsRun(scan=SCAN, regions=run), "csf_reference")[0]
    atria = replace(run, reference=LEVELS[1], rim_kept=False, lesions_kept=False)
    run_without = MethodsRun(scan=SCAN, regions=atria)
    assert "as no circle of fluid fitted" not in said(run_without, "csf_reference")[0]
    fell = replace(run, reference=replace(LEVELS[1], step=3))
    assert (
        "as no circle of fluid fitted"
        in said(MethodsRun(scan=SCAN, regions=fell), "csf_reference")[0]
    )
    assert "kept" not in said(run_without, "thalamus")[0]


def test_the_fluid_of_medi_is_named_where_it_is_that_of_the_ventricles_alone() -> None:
    for name, named in (("ventricles", True), ("global", False)):
        chosen = replace(Reconstruction(), csf=qsm.CSF_REFERENCES[name]())
        text, _ = said(MethodsRun(scan=replace(SCAN, reconstruction=chosen)), "inversion")
        assert ("fluid of the ventricles kept uniform" in text) is named


def test_what_separation_takes_for_granted_is_said() -> None:
    in_slices = AcquisitionProtocol(dimensions="2D")
    text = {}
    for rate in (BrokenLine(), Proportional(ratio=2.25)):
        method = R2StarSeparation(irreversible=rate, relaxivity_hz_per_ppm=114.0)
        scan = replace(SCAN, separation=method, protocol=in_slices)
        text[type(rate)] = methods.describe(MethodsRun(scan=scan)).markdown
        assert "a relaxivity of 114 Hz/ppm at 3 T" in text[type(rate)]
        assert "corrected for the field gradient across slices" in text[type(rate)]
    assert "2.25 times R2'" in text[Proportional]
    assert "times R2'" not in text[BrokenLine]
    measured = replace(SCAN, separation=R2StarSeparation(), r2=PLAIN)
    text_measured = methods.describe(MethodsRun(scan=measured)).markdown
    assert f"R2 was taken from {PLAIN}" in text_measured
    assert "not measured" not in text_measured
    volume = replace(SCAN, separation=R2StarSeparation(), protocol=AcquisitionProtocol())
    assert "across slices" not in methods.describe(MethodsRun(scan=volume)).markdown
    assert "told apart" not in methods.describe(MethodsRun(scan=SCAN)).markdown


def test_a_step_between_slices_that_was_removed_is_said() -> None:
    scan = replace(SCAN, phase=PHASE._replace(slice_step_rad=0.314))
    text = methods.describe(MethodsRun(scan=scan)).markdown
    assert "differed in phase by 0.31 rad in the last echo, which was removed" in text


def test_an_atlas_of_the_user_is_named_with_how_its_regions_were_made() -> None:
    text = said(MethodsRun(atlases=(LABELS, TRACTS)), "user_atlas")[0]
    labels, tracts = text.split(" Volume, ")
    assert "atlas nuclei, given in the space MNI152NLin2009cAsym" in labels
    assert "deformable registration" in labels
    assert "nearest voxel" in labels
    assert "atlas tracts, given in the space T1w" in tracts
    assert "above 0.25" in tracts
    assert "deformable registration" not in tracts
    assert not said(MethodsRun(), "user_atlas")[0]


def test_a_field_without_phase_claims_nothing_of_a_phase() -> None:
    run = replace(SCAN, total_field=PLAIN, phase=None, scale=None, offset="external")
    names = {step.name for step in steps.steps(MethodsRun(scan=run))}
    assert names.isdisjoint({"phase_scale", "phase_sign", "phase_offset", "unwrapping", "chop"})
    (field,) = (step for step in steps.steps(MethodsRun(scan=run)) if step.name == "field_fit")
    assert field.choice == "external_alone"


def test_the_mask_is_said_where_the_phase_has_a_say() -> None:
    text = {}
    for name in qsm.MASKS:
        scan = replace(SCAN, mask=qsm.MaskChoice(name=name))
        text[name] = methods.describe(MethodsRun(scan=scan)).markdown
        lone = methods.describe(MethodsRun(scan=replace(scan, phase=None))).markdown
        assert "a quality of at least" not in lone
    assert "the part of the brain where the phase is reliable" in text["brain+phase"]
    assert "whatever the tissue" in text["phase"]
    for name in ("brain", "magnitude"):
        assert "a quality of at least" not in text[name]
