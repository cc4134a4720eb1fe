"""The words of the command line, and nothing else: imports nothing that takes time."""

from __future__ import annotations

import argparse
import re
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from bids_qsmthal import __version__
from bids_qsmthal.core.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

LEVELS = ("participant", "group")
EXECUTORS = ("local", "dask", "slurm")
PRINTING = ("list_methods", "bids_exec_spec", "print_analysis", "print_config")
"""Options that print something instead of running, by the names of the parser's results."""

OTHER_COMMANDS = """\
other commands:
  bids_qsmthal check BIDS_DIR
                            list what a dataset has, what it lacks, which results are then
                            missing, and what would stop a run (see bids_qsmthal check --help)
  bids_qsmthal demo DIR     make a small simulated dataset with known truth, process it, and
                            print truth beside estimate (see bids_qsmthal demo --help)
  bids_qsmthal simulate DIR only make a simulated dataset with known truth, for a protocol,
                            vendor and kind of scan (see bids_qsmthal simulate --help)
  bids_qsmthal verify OUT [OTHER]
                            compare an output folder with its manifests, or with another one, and
                            name the first difference (see bids_qsmthal verify --help)
  bids_qsmthal remake OUT --participant-label LABEL
                            process a participant again after a correction, with the options of
                            the last run on an output folder (see bids_qsmthal remake --help)
  bids_qsmthal view OUT     view, correct and rate the participants of an output folder in the
                            browser (see bids_qsmthal view --help)
  bids_qsmthal {unwrap,background,invert,r2star} FILE ... --out FILE
                            run one step of the reconstruction on plain NIfTI files (see
                            bids_qsmthal invert --help)
  bids_qsmthal dicom FILE ... --out DIR
                            write maps, masks and labels as DICOM series (see bids_qsmthal dicom
                            --help)
"""

PRESETS: Mapping[str, Mapping[str, str]] = {
    "chiang2018": {
        "medi_csf": "none",
        "csf_reference": "circles",
        "thalamus_rim": "keep",
        "thalamus_lesions": "keep",
        "veins": "large",
    },
}
"""What each preset sets, by the names of the parser's results; what a user names wins."""

PRESET_SOURCES = {
    "chiang2018": "Chiang et al. (2018). AJNR 39(3), 467-472. doi:10.3174/ajnr.A5537 "
    "(docs/roi.md has each difference)",
}
"""Where each preset comes from."""


def presets() -> str:
    """Return each preset with its source and the options it stands for, for --list-methods."""
    lines = ["--preset NAME"]
    for name, values in PRESETS.items():
        words = " ".join(f"--{key.replace('_', '-')} {value}" for key, value in values.items())
        lines += [f"  {name}", f"      {PRESET_SOURCES[name]}", f"      The same as {words}", ""]
    return "\n".join(lines)


SAME_FAILURE = "When every participant fails in the same way, the status is that of the failure."


def exit_statuses() -> str:
    """Return every exit status with its meaning and what to do, a line each, for ``--help``."""
    lines = [f"  {code:>3}  {code.meaning}: {code.advice}" for code in ExitCode]
    return "\n".join(["exit status:", *lines, SAME_FAILURE, ""])


def exit_status_sentence(width: int = 100) -> str:
    """Return the exit statuses as the sentence that the README has, broken into lines."""
    codes = "; ".join(f"{code} {code.meaning}" for code in ExitCode)
    return textwrap.fill(f"Exit status: {codes}. {SAME_FAILURE}", width)


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line and carry our exit status."""

    def error(self, message: str) -> NoReturn:
        """Raise instead of leaving the process."""
        # argparse itself would end with 2; wrong usage is 64 (sysexits.h) here.
        raise UsageError(f"{message}; see {self.prog} --help")


def main_parser() -> Parser:
    """Describe ``bids_qsmthal BIDS_DIR OUTPUT_DIR {participant,group}``."""
    p = Parser(
        prog="bids_qsmthal",
        description="Thalamic iron in multiple sclerosis: from raw MRI to tables, as a BIDS App.",
        epilog=f"{OTHER_COMMANDS}\n{exit_statuses()}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    p.add_argument("bids_dir", type=Path, help="root of the BIDS dataset")
    p.add_argument(
        "output_dir", type=Path, help="where results are written (a BIDS derivative dataset)"
    )
    p.add_argument(
        "analysis_level", nargs="+", choices=LEVELS, help="level to run; both may be given"
    )
    p.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    p.add_argument(
        *("--bids-exec-spec", "--bids_exec_spec"),
        action="store_true",
        help="print the Boutiques descriptor",
    )
    p.add_argument(
        *("--print-analysis", "--print_analysis"),
        action="store_true",
        help="print the analysis file that the group level uses without --analysis",
    )
    p.add_argument(
        *("--print-config", "--print_config"),
        action="store_true",
        help="print a template for --config with every option, its meaning and its default",
    )
    _selection(p)
    _inputs(p)
    _resources(p)
    _placement(p)
    _methods(p)
    _behaviour(p)
    return p


def demo_parser() -> Parser:
    """Describe ``bids_qsmthal demo DIR``."""
    p = Parser(
        prog="bids_qsmthal demo",
        description="Make a small simulated BIDS dataset with known truth, run both levels on it, "
        "and print truth beside estimate.",
        allow_abbrev=False,
    )
    p.add_argument("directory", type=Path, help="where dataset, truth and results are written")
    _option(p, "--participants", type=count, default=3, help="how many to simulate (default 3)")
    _add_given_heads(p)
    _resources(p)
    _option(p, "--seed", type=int, default=0, help="seed of the simulation (default 0)")
    p.add_argument("-v", "--verbose", action="count", default=0, help="say more")
    p.add_argument("-q", "--quiet", action="count", default=0, help="say less")
    return p


def simulate_parser() -> Parser:
    """Describe ``bids_qsmthal simulate DIR``."""
    p = Parser(
        prog="bids_qsmthal simulate",
        description="Make a BIDS dataset of digital participants in DIR/bids and what is true of "
        "them in DIR/truth.",
        epilog="The participants of one seed are the same people whatever else is asked for. "
        "Wrong names of protocols, vendors and kinds of scan are answered with the right ones.",
        allow_abbrev=False,
    )
    p.add_argument("directory", type=Path, help="where dataset and truth are written")
    _option(p, "--participants", type=count, default=3, help="how many (default 3)")
    _option(
        p,
        "--visits",
        type=count,
        default=1,
        metavar="N",
        help="number of scans of each, as sessions: the same person in another position with "
        "other noise (default 1)",
    )
    _option(p, "--seed", type=int, default=0, help="seed of the simulation (default 0)")
    _add_given_heads(p)
    _add_simulated_scan(p)
    p.add_argument("-v", "--verbose", action="count", default=0, help="say more")
    p.add_argument("-q", "--quiet", action="count", default=0, help="say less")
    return p


def _add_given_heads(p: Parser) -> None:
    _option(
        p,
        "--labels",
        type=Path,
        nargs="+",
        default=[],
        metavar="FILE",
        help="heads to simulate, in turn: label maps of FreeSurfer (aseg.mgz), SynthSeg or charm "
        "(default: a warped atlas)",
    )
    _option(
        p,
        "--lesion-masks",
        type=Path,
        nargs="+",
        default=[],
        metavar="FILE",
        help="masks whose lesion shapes are used for the simulated lesions (default: blobs)",
    )


def _add_simulated_scan(p: Parser) -> None:
    _option(
        p,
        "--protocol",
        default="coarse",
        metavar="NAME",
        help="resolution and echoes of the gradient echo: coarse (default), clinical, study",
    )
    _option(
        p,
        "--voxel-size",
        type=float,
        nargs=3,
        metavar="MM",
        help="of the gradient echo, instead of the protocol's; slice direction last",
    )
    _option(
        p,
        "--echo-times",
        type=float,
        nargs="+",
        metavar="S",
        help="in seconds, instead of the protocol's",
    )
    _option(p, "--field-strength", type=float, metavar="T", help="in tesla (default 3)")
    _option(
        p,
        "--snr",
        type=float,
        metavar="RATIO",
        help="of white matter in the first echo (default 60)",
    )
    _option(
        p,
        "--vendor",
        nargs="+",
        default=["siemens"],
        metavar="NAME",
        help="how images are stored, in turn: siemens (default), philips, ge, ge-chopped",
    )
    _option(
        p,
        "--scenario",
        default="plain",
        metavar="NAME",
        help="effects of the scanner on the gradient echo, such as flow, eight-channel, 7t "
        "(default: plain; all of them: --scenario list)",
    )


def check_parser() -> Parser:
    """Describe ``bids_qsmthal check BIDS_DIR``."""
    p = Parser(
        prog="bids_qsmthal check",
        description="Say of each participant what there is, what is missing and what that costs, "
        "and what would stop a run. Every image is read; nothing is written. The exit status is "
        "that of a run that would fail in the same way, 0 where everything is ready.",
        allow_abbrev=False,
    )
    p.add_argument("bids_dir", type=Path, help="root of the BIDS dataset")
    _option(p, "--quick", action="store_true", help="read headers and sidecars only")
    _option(p, "--tsv", type=Path, metavar="FILE", help="also write the table to a file")
    _selection(p, dry_run=False)
    _inputs(p)
    _conventions(p.add_argument_group("conventions of the scanner"))
    _mask(p.add_argument_group("where susceptibility is reconstructed"))
    p.add_argument("-v", "--verbose", action="count", default=0, help="say more")
    p.add_argument("-q", "--quiet", action="count", default=0, help="say less")
    return p


def verify_parser() -> Parser:
    """Describe ``bids_qsmthal verify OUT [OTHER]``."""
    p = Parser(
        prog="bids_qsmthal verify",
        description="Compare an output folder with the manifests written beside it, or with "
        "another output folder, and name the first difference: the cell of a table, the voxel of "
        "an image. Logs, manual edits and command lines are left out. The exit status is 0 where "
        "nothing differs, 1 where something does.",
        allow_abbrev=False,
    )
    p.add_argument("output_dir", type=Path, metavar="OUT", help="output folder of a run")
    p.add_argument("other", type=Path, nargs="?", metavar="OTHER", help="another to compare with")
    return p


def remake_parser() -> Parser:
    """Describe ``bids_qsmthal remake OUT --participant-label LABEL``."""
    p = Parser(
        prog="bids_qsmthal remake",
        description="Run a participant again with the folders and options of the last run on an "
        "output folder, as logs/settings.json has them. What a correction in OUT/edits does not "
        "change is taken from the work folder.",
        allow_abbrev=False,
    )
    p.add_argument("output_dir", type=Path, metavar="OUT", help="output folder of a run")
    for what in ("participant", "session"):
        _option(
            p,
            f"--{what}-label",
            nargs="+",
            default=[],
            required=what == "participant",
            metavar="LABEL",
            help=f"{what}s to process",
        )
    _option(p, "--group", action="store_true", help="then run the group level on all participants")
    p.add_argument("-v", "--verbose", action="count", default=0, help="say more")
    p.add_argument("-q", "--quiet", action="count", default=0, help="say less")
    return p


def view_parser() -> Parser:
    """Describe ``bids_qsmthal view OUT [BIDS]``."""
    p = Parser(
        prog="bids_qsmthal view",
        description="Serve a page of this machine to look at the participants of an output "
        "folder, to correct their labels and to rate them. Corrections and ratings go into "
        "OUT/edits, nothing else is written. The address that is printed holds a token; nobody "
        "without it is answered.",
        allow_abbrev=False,
    )
    p.add_argument("output_dir", type=Path, metavar="OUT", help="output folder of a run")
    p.add_argument(
        "bids_dir",
        type=Path,
        nargs="?",
        metavar="BIDS",
        help="BIDS folder of the run, to show FLAIR and magnitude as well; it is only read",
    )
    _option(
        p,
        "--host",
        default=None,
        metavar="ADDRESS",
        help="address to listen on (default: 127.0.0.1; in a container with its own network, all "
        "of its addresses, so that a port published with docker run -p works)",
    )
    _option(p, "--port", type=int, default=8765, metavar="N", help="default 8765; 0: a free one")
    _option(p, "--no-browser", action="store_true", help="print the address, do not open a browser")
    return p


def _option(parser: argparse._ActionsContainer, *names: str, **kwargs: object) -> None:
    """Add an option in both spellings: ``--participant-label`` and ``--participant_label``.

    The first name is the one that results and configuration files have; others are those of other
    BIDS Apps.
    """
    every = (spelt for name in names for spelt in (name, "--" + name[2:].replace("-", "_")))
    parser.add_argument(*dict.fromkeys(every), **kwargs)  # type: ignore[arg-type]


def _selection(parser: Parser, *, dry_run: bool = True) -> None:
    group = parser.add_argument_group("what to process")
    for what, prefix in (("participant", "sub-"), ("session", "ses-"), ("run", "run-")):
        _option(
            group,
            f"--{what}-label",
            nargs="+",
            default=[],
            metavar="LABEL",
            help=f"{what}s to process, with or without {prefix} (default: all)",
        )
    _option(
        group,
        "--bids-filter-file",
        type=Path,
        metavar="FILE",
        help="JSON with pybids filters for gre, t1w, t1w_gad, flair",
    )
    _option(
        group,
        "--t1w-session",
        default="",
        metavar="LABEL",
        help="session whose T1w is used for the sessions of the same participant that have none "
        "(default: none; a session without T1w has no segmentation)",
    )
    _only(group)
    if dry_run:
        _option(
            group,
            "--dry-run",
            action="store_true",
            help="list what would run on which files, and stop",
        )


def _only(group: argparse._ArgumentGroup) -> None:
    either = group.add_mutually_exclusive_group()
    _option(
        either,
        "--anat-only",
        action="store_true",
        help="without the gradient echo: only volumes, lesions and cortical thickness",
    )
    _option(
        either,
        "--qsm-only",
        action="store_true",
        help="only the gradient echo: maps of susceptibility and R2*, without T1w and FLAIR",
    )


LEAVING_OUT = {"anat_only": ("gre",), "qsm_only": ("t1w", "t1w_gad", "flair")}
"""Roles of scans that an option leaves out, by the name of the parser's result."""


def leaving_out(chosen: argparse.Namespace) -> frozenset[str]:
    """Return the roles of scans that are not wanted.

    Raises
    ------
    UsageError
        Nothing is left: one option is on the command line, the other in a configuration file.
    """
    asked = [roles for name, roles in LEAVING_OUT.items() if getattr(chosen, name)]
    if len(asked) > 1:
        raise UsageError("--anat-only and --qsm-only together leave nothing to do; choose one.")
    return frozenset(role for roles in asked for role in roles)


def _inputs(parser: Parser) -> None:
    group = parser.add_argument_group("inputs")
    group.add_argument(
        "-d",
        "--derivatives",
        nargs="+",
        default=[],
        metavar="NAME=PATH",
        help="datasets with segmentations, masks or maps that replace a stage",
    )
    _atlases(group)
    _output_spaces(group)
    _option(group, "--analysis", type=Path, metavar="FILE", help="YAML with group-level models")
    _option(
        group,
        "--config",
        type=Path,
        metavar="FILE",
        help="YAML or TOML with any option, or logs/settings.json of an earlier run",
    )
    _option(
        group,
        "--skip-bids-validation",
        action="store_true",
        help="do not check the names of the files that are used",
    )
    _option(
        group,
        "--bids-database-dir",
        type=Path,
        metavar="DIR",
        help="keep pybids' index here and use it again",
    )


def _atlases(group: argparse._ArgumentGroup) -> None:
    _option(
        group,
        "--atlas",
        nargs="+",
        default=[],
        metavar="NAME=FILE",
        help="your own atlases, whose regions are measured: labels, or 4-D probabilities; names "
        "and colours from the .tsv (index, name, color) beside the file",
    )
    _option(
        group,
        "--atlas-space",
        choices=("MNI152NLin2009cAsym", "T1w"),
        default="",
        help="space of atlases whose file name and sidecar do not give it; with T1w, write "
        "{subject} (and {session}) in the path",
    )
    _option(
        group,
        "--atlas-threshold",
        type=float,
        metavar="X",
        help="probability above which a voxel belongs to a region, in the unit of the file "
        "(default: 0.5, which keeps volumes)",
    )


def _output_spaces(group: argparse._ArgumentGroup) -> None:
    _option(
        group,
        "--output-spaces",
        nargs="+",
        default=[],
        metavar="SPACE",
        help="also write maps and masks in these spaces: T1w (or anat), MNI152NLin2009cAsym "
        "(1 mm), MNI152NLin2009cAsym:res-2 to :res-4 (2 to 4 mm); each is interpolated once",
    )


def _resources(parser: Parser) -> None:
    group = parser.add_argument_group("resources")
    group.add_argument(
        "-w",
        "--work-dir",
        "--work_dir",
        type=Path,
        metavar="DIR",
        help="folder of intermediate results, from which a stopped run continues (default: "
        "OUTPUT_DIR/../work)",
    )
    _option(
        group,
        "--clean-workdir",
        action="store_true",
        help="delete a participant's work folder when the participant is finished",
    )
    _option(
        group,
        *("--nprocs", "--nthreads", "--n-cpus"),
        type=count,
        metavar="N",
        help="cores of the whole run (default: all)",
    )
    _option(
        group,
        "--omp-nthreads",
        type=count,
        metavar="N",
        help="threads of one participant (default: cores divided by the participants that run in "
        "parallel)",
    )
    _option(
        group,
        *("--mem", "--mem-mb"),
        type=size_bytes,
        metavar="SIZE",
        help="memory of the whole run, such as 8G; a number alone is in MB (default: what is "
        "available)",
    )


def _placement(parser: Parser) -> None:
    group = parser.add_argument_group("where participants run")
    _option(
        group,
        "--executor",
        choices=EXECUTORS,
        default="local",
        help="processes of this machine, workers of Dask, or a job array of Slurm (default: local)",
    )
    _option(
        group,
        "--scheduler-address",
        default="",
        metavar="ADDRESS",
        help="running Dask scheduler: tcp://HOST:PORT, or a scheduler file "
        "(default: workers on this machine)",
    )
    _option(
        group,
        "--slurm-args",
        default="",
        metavar="OPTIONS",
        help="long options for sbatch, such as --slurm-args='--partition=long --mem=6G'; "
        "--mem here is the memory of one participant",
    )


def _methods(parser: Parser) -> None:
    group = parser.add_argument_group("methods (--list-methods explains each)")
    _option(
        group,
        "--preset",
        choices=tuple(PRESETS),
        help="use the methods of this published study where they differ from the defaults; other "
        "options override them, and the number by the default methods is reported as well "
        "(default: none)",
    )
    group.add_argument(
        "--list-methods", "--list_methods", action="store_true", help="list, with citations"
    )
    _option(group, "--unwrap", metavar="NAME", help="phase unwrapping")
    _option(group, "--background", metavar="NAME", help="background field removal")
    _option(group, "--inversion", metavar="NAME", help="dipole inversion")
    _option(
        group,
        "--phase-offset",
        choices=("auto", "polynomial", "mcpc-3d-s", "voxel"),
        default="auto",
        help="how the phase of the receive coils, at echo time zero, is modelled (default: auto)",
    )
    _option(
        group,
        "--medi-csf",
        choices=("global", "ventricles", "none"),
        help="which CSF MEDI+0 keeps uniform: all except at the rim of the brain, that of the "
        "ventricles, or none, which is plain MEDI (default: global)",
    )
    _mask(group)
    _regions(group)
    _conventions(group)
    _option(
        group,
        "--device",
        choices=("cpu", "cuda"),
        default="cpu",
        help="where background removal and inversion run; cuda needs bids_qsmthal[cuda] and a GPU "
        "(default: cpu)",
    )
    _separation(group)
    _option(
        group,
        "--longitudinal",
        choices=("auto", "off"),
        default="off",
        help="auto: measure the change of volumes and susceptibility between the sessions of each "
        "participant, in one common space (default: off)",
    )
    _option(
        group,
        *("--seed", "--random-seed"),
        type=int,
        default=20180301,
        help="seed of all random numbers (default: 20180301)",
    )


def _mask(group: argparse._ArgumentGroup) -> None:
    _option(
        group,
        "--mask",
        choices=("brain", "magnitude", "phase", "brain+phase"),
        default="brain",
        help="where susceptibility is reconstructed: in the brain that a network finds on T1w (on "
        "the magnitude without T1w, or with magnitude), where the phase is reliable, or both "
        "(default: brain; voxels whose echoes disagree are always left out at the rim)",
    )
    _option(
        group,
        "--mask-threshold",
        type=float,
        metavar="Q",
        help="lowest accepted quality of the phase, from 0.5 (noise) to 1 (smooth), for phase and "
        "brain+phase (default: 0.75)",
    )


def _separation(group: argparse._ArgumentGroup) -> None:
    _option(
        group,
        "--separation",
        choices=("none", "r2star", "proportional"),
        default="none",
        help="separate paramagnetic and diamagnetic susceptibility, from QSM and R2*: with R2 "
        "estimated from R2* of tissue at 3 T, or as a fixed share of R2* (default: none)",
    )


def _regions(group: argparse._ArgumentGroup) -> None:
    _option(
        group,
        "--csf-reference",
        choices=("circles", "atria", "ventricles", "csf", "brain"),
        default="atria",
        help="reference of the relative susceptibility, if there is enough of it: CSF in a small "
        "circle in each atrium, in the atria, in the lateral ventricles, all CSF in the middle of "
        "the brain, or the whole brain (default: atria; the values for the others, except the "
        "circles, are always in the table as well)",
    )
    for name, what in (("rim", "the partial-volume rim of"), ("lesions", "the T2 lesions in")):
        _option(
            group,
            f"--thalamus-{name}",
            choices=("remove", "keep"),
            default="remove",
            help=f"whether to leave {what} the thalamus out of its mean (default: remove)",
        )
    _option(
        group,
        "--veins",
        choices=("all", "large"),
        default="all",
        help="veins that are left out of the thalamus: all that are found, or only the large ones "
        "along its border, such as internal cerebral and basal veins (default: all)",
    )


def _conventions(group: argparse._ArgumentGroup) -> None:
    _option(
        group,
        "--phase-sign",
        choices=("auto", "+1", "-1"),
        default="auto",
        help="sign with which phase increases with the field (default: from the data)",
    )
    _option(
        group,
        "--phase-units",
        choices=("auto", "rad", "mrad", "deg", "siemens", "range"),
        default="auto",
        help="unit of the phase images; range: their range is one turn (default: by Units and "
        "vendor, confirmed by the range)",
    )
    _option(
        group,
        "--phase-filter",
        choices=("auto", "no"),
        default="auto",
        help="no: the phase was not high-pass filtered, even if it looks so; the verdict is then "
        "check (default: detected, and filtered phase is refused)",
    )
    _option(
        group,
        "--gre-chop",
        choices=("auto", "yes", "no"),
        default="auto",
        help="whether alternate slices are negated, as on GE (default: from the data)",
    )
    _option(
        group,
        "--b0-direction",
        type=float,
        nargs=3,
        metavar=("X", "Y", "Z"),
        help="direction of the main field along the voxel axes of the gradient echo, for images "
        "whose header does not give it (default: from the scanner's affine)",
    )


def _behaviour(parser: Parser) -> None:
    group = parser.add_argument_group("behaviour")
    _option(
        group,
        "--deface",
        action="store_true",
        help="show only the brain in reports and their viewer (images are not changed)",
    )
    _option(
        group,
        "--reports-only",
        action="store_true",
        help="remake pages and figures from the results in the work folder; compute nothing",
    )
    _option(
        group,
        "--stop-on-first-crash",
        action="store_true",
        help="start no further participant after a failure",
    )
    _option(
        group,
        "--notrack",
        action="store_true",
        help="accepted for compatibility with other BIDS Apps; nothing is ever sent anywhere",
    )
    group.add_argument("-v", "--verbose", action="count", default=0, help="say more")
    group.add_argument("-q", "--quiet", action="count", default=0, help="say less")


SIZE = re.compile(r"([0-9]{1,9}(?:\.[0-9]{0,9})?)(?:([KMGTkmgt])[Bb]?)?")
"""A number, and a unit where it is not MB."""


def count(word: str) -> int:
    """Return a number of things, one at least."""
    number = int(word) if word.isdigit() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{word!r} is not a positive whole number")
    return number


def size_bytes(word: str) -> int:
    """Return the bytes of a size such as 8G or 8GB, in powers of 1024; of 8000, that many MB."""
    units = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
    found = SIZE.fullmatch(word)
    if found is None or not float(found[1]):
        raise argparse.ArgumentTypeError(f"{word!r} is not a size; write 800M, 8G, 1.5T or 8000")
    return int(float(found[1]) * units[(found[2] or "M").upper()])
