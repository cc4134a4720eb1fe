"""The command line: words in, ``Settings`` out, an exit status back."""

from __future__ import annotations

import logging
import os
import signal
import sys
import tempfile
import threading
from contextlib import chdir, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

from bids_qsmthal.app import options, progress
from bids_qsmthal.core.errors import (
    DataError,
    ExitCode,
    MissingInputError,
    OutputError,
    QsmthalError,
    Terminated,
    UsageError,
    of_system,
)
from bids_qsmthal.execution import caches

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable, Iterator, Sequence

    from bids_qsmthal.settings import Placement, Resources, Settings

log = logging.getLogger("bids_qsmthal")

# Modules that take time to import are imported where they are needed: --help answers at once.


def main(argv: Sequence[str] | None = None) -> int:
    """Run the app and return its exit status."""
    words = list(sys.argv[1:] if argv is None else argv)
    # Until the options are read; what goes wrong before that is shown.
    log.setLevel(logging.INFO)
    # The progress is the outer one: it still shows what is said when the run is stopped.
    with progress.shown(log, sys.stderr), _stopped_by_signal():
        try:
            return run(words)
        except (KeyboardInterrupt, Terminated) as stop:
            return _stopped(stop)
        except (QsmthalError, OSError, MemoryError) as error:
            return _failed(error)


def _failed(error: QsmthalError | OSError | MemoryError) -> ExitCode:
    """Say what was wrong, in one line."""
    said = error if isinstance(error, QsmthalError) else of_system(error)
    if said is not error:
        log.debug("the system failed", exc_info=error)
    log.error("bids_qsmthal: %s", said)
    return said.exit_code


def _stopped(stop: KeyboardInterrupt | Terminated) -> ExitCode:
    code = ExitCode.TERMINATED if isinstance(stop, Terminated) else ExitCode.INTERRUPTED
    log.error("bids_qsmthal: %s; %s", code.meaning, code.advice)
    return code


@contextmanager
def _stopped_by_signal() -> Iterator[None]:
    """Let SIGTERM end the run as Ctrl-C does: what was started is stopped, locks are given back."""

    def stop(*_: object) -> NoReturn:
        raise Terminated

    if threading.current_thread() is not threading.main_thread():  # signals are the main thread's
        yield
        return
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def run(words: Sequence[str]) -> int:
    """Do what the words ask for and return the exit status."""
    for name in options.PRINTING:
        if f"--{name}" in words or f"--{name.replace('_', '-')}" in words:
            return PRINTERS[name]()
    # Before the parser. A dataset in a folder of that name is ./demo.
    command = COMMANDS.get(words[0]) if words else None
    if command is not None:
        return command(words)
    settings = settings_from(parse(words), words)
    log.setLevel(settings.log_level)
    return process(settings)


def _list_methods() -> int:
    with tempfile.TemporaryDirectory() as folder:
        caches.use(Path(folder))
        from bids_qsmthal.choices import describe_all  # noqa: PLC0415

        sys.stdout.write(f"{describe_all()}\n{options.presets()}")
    return 0


def _print_analysis() -> int:
    with tempfile.TemporaryDirectory() as folder:
        caches.use(Path(folder))
        from bids_qsmthal.group import analysis_file  # noqa: PLC0415

        sys.stdout.write(analysis_file.printed())
    return 0


def _print_config() -> int:
    from bids_qsmthal.app import configuration  # noqa: PLC0415

    sys.stdout.write(configuration.template())
    return 0


def _print_descriptor() -> int:
    from bids_qsmthal.app.descriptor import describe  # noqa: PLC0415

    sys.stdout.write(describe(options.main_parser()))
    return 0


PRINTERS: dict[str, Callable[[], int]] = {
    "list_methods": _list_methods,
    "bids_exec_spec": _print_descriptor,
    "print_analysis": _print_analysis,
    "print_config": _print_config,
}
"""What each of ``options.PRINTING`` does; they need no folders."""


def process(settings: Settings) -> int:
    """Run the levels that the settings name and return the exit status."""
    from bids_qsmthal.app import levels  # noqa: PLC0415

    return levels.run(settings)


def parse(words: Sequence[str], parser: options.Parser | None = None) -> Namespace:
    """Turn words into options; a configuration file gives defaults, the command line wins."""
    parser = parser or options.main_parser()
    chosen = parser.parse_args(words)
    configured: dict[str, Any] = {}
    if chosen.config is not None:
        from bids_qsmthal.app import configuration  # noqa: PLC0415

        configured = configuration.read(chosen.config, parser)
    # ``check`` has no methods, and so no preset.
    preset = getattr(chosen, "preset", None) or configured.get("preset")
    # Parsed again with these values as defaults, those of the file after those of the preset, so
    # that what says more wins. argparse turns defaults that are text into values as it does with
    # words.
    parser.set_defaults(**options.PRESETS.get(preset or "", {}))
    parser.set_defaults(**configured)
    return parser.parse_args(words)


def settings_from(chosen: Namespace, words: Sequence[str]) -> Settings:
    """Turn options into settings, checking the folders."""
    bids_dir, output_dir = chosen.bids_dir.resolve(), chosen.output_dir.resolve()
    _check_output(bids_dir, output_dir)
    # Before the imports below: numba and matplotlib read their folders when they are imported.
    work_dir = _work_dir(chosen.work_dir, bids_dir, output_dir)
    caches.use(work_dir)

    from bids_qsmthal import choices  # noqa: PLC0415
    from bids_qsmthal.bids import atlases, external  # noqa: PLC0415
    from bids_qsmthal.qsm.separation import SEPARATIONS  # noqa: PLC0415
    from bids_qsmthal.settings import Selection, Settings  # noqa: PLC0415

    return Settings(
        bids_dir=bids_dir,
        output_dir=output_dir,
        work_dir=work_dir,
        resources=resources_from(chosen),
        placement=placement_from(chosen),
        levels=tuple(level for level in options.LEVELS if level in chosen.analysis_level),
        selection=Selection(
            participants=tuple(chosen.participant_label),
            sessions=tuple(chosen.session_label),
            runs=tuple(chosen.run_label),
            filters=_filters(chosen.bids_filter_file),
            t1w_session=chosen.t1w_session,
            leaving_out=options.leaving_out(chosen),
        ),
        datasets=external.parse(chosen.derivatives),
        reconstruction=choices.reconstruction(
            *(chosen.unwrap, chosen.background, chosen.inversion),
            offset=chosen.phase_offset,
            medi_csf=chosen.medi_csf,
            device=chosen.device,
        ),
        mask=choices.mask(chosen.mask, chosen.mask_threshold),
        regions=choices.regions(
            chosen.csf_reference,
            rim=chosen.thalamus_rim,
            lesions=chosen.thalamus_lesions,
            veins=chosen.veins,
        ),
        separation=SEPARATIONS[chosen.separation],
        atlases=atlases.parse(chosen.atlas, chosen.atlas_space, chosen.atlas_threshold),
        longitudinal=chosen.longitudinal == "auto",
        output_spaces=choices.output_spaces(chosen.output_spaces),
        analysis=chosen.analysis,
        database=chosen.bids_database_dir,
        phase_sign=chosen.phase_sign,
        phase_units=chosen.phase_units,
        phase_filter=chosen.phase_filter,
        gre_chop=chosen.gre_chop,
        b0_direction=_direction(chosen.b0_direction),
        seed=chosen.seed,
        check_names=not chosen.skip_bids_validation,
        clean_work=chosen.clean_workdir,
        stop_on_first_crash=chosen.stop_on_first_crash,
        deface=chosen.deface,
        dry_run=chosen.dry_run,
        reports_only=chosen.reports_only,
        log_level=log_level(chosen),
        started=datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ"),
        command_line=("bids_qsmthal", *words),
    )


def _direction(given: Sequence[float] | None) -> tuple[float, float, float] | None:
    """Return a direction that is one: three finite numbers, not all zero."""
    if given is None:
        return None
    x, y, z = (float(value) for value in given)
    # NaN fails both comparisons.
    if not 0 < abs(x) + abs(y) + abs(z) < float("inf"):
        raise UsageError(f"--b0-direction {x:g} {y:g} {z:g}: expected a direction, not all zero.")
    return x, y, z


def resources_from(chosen: Namespace) -> Resources:
    """Return the budget of the run: what was asked for, or what this process may use."""
    from bids_qsmthal.execution import limits  # noqa: PLC0415
    from bids_qsmthal.settings import Resources  # noqa: PLC0415

    cores = chosen.nprocs or limits.cores()
    if chosen.omp_nthreads and chosen.omp_nthreads > cores:
        raise UsageError(
            f"--omp-nthreads {chosen.omp_nthreads} is more than the {cores} cores of the run."
        )
    return Resources(
        cores=cores,
        threads=chosen.omp_nthreads or 0,
        memory_bytes=chosen.mem or limits.memory_bytes(),
    )


def placement_from(chosen: Namespace) -> Placement:
    """Return where participants run."""
    from bids_qsmthal.settings import Placement  # noqa: PLC0415

    if chosen.executor not in options.EXECUTORS:
        raise UsageError(
            f"executor {chosen.executor!r}: expected one of {', '.join(options.EXECUTORS)}."
        )
    for name, executor in (("scheduler_address", "dask"), ("slurm_args", "slurm")):
        if getattr(chosen, name) and chosen.executor != executor:
            raise UsageError(
                f"--{name.replace('_', '-')} goes with --executor {executor}, "
                f"not with {chosen.executor}."
            )
    return Placement(
        executor=chosen.executor,
        scheduler_address=chosen.scheduler_address,
        slurm_options=_slurm_options(chosen.slurm_args),
    )


def _slurm_options(words: str) -> tuple[tuple[str, str], ...]:
    """Turn ``--mem=4G --exclusive`` into names and values."""
    import shlex  # noqa: PLC0415

    found: dict[str, str] = {}
    try:
        given = shlex.split(words)
    except ValueError as error:
        raise UsageError(f"--slurm-args {words!r}: {error}.") from error
    for word in given:
        name, _, value = word.removeprefix("--").partition("=")
        if not word.startswith("--") or not name:
            raise UsageError(
                f"--slurm-args: {word!r} is not understood; "
                "write long options with =, such as --partition=long."
            )
        found[name] = value
    return tuple(found.items())


def log_level(chosen: Namespace) -> int:
    """Turn ``-v`` and ``-q`` into a level of the logging module."""
    wanted: int = logging.INFO - 10 * chosen.verbose + 10 * chosen.quiet
    return max(logging.DEBUG, min(logging.ERROR, wanted))


def _check(words: Sequence[str]) -> int:
    """Look at a dataset with the settings that a run with the same words has."""
    asked = parse(words[1:], options.check_parser())
    # Nothing is kept: the output folder is only where manual edits are looked for.
    output_dir = asked.bids_dir / "derivatives" / "bids_qsmthal"
    with tempfile.TemporaryDirectory() as scratch:
        usual = options.main_parser().parse_args(
            [str(asked.bids_dir), str(output_dir), "participant", "-w", scratch]
        )
        # What check has no option for is as in a run without options.
        settings = settings_from(type(usual)(**vars(usual) | vars(asked)), words)
        log.setLevel(settings.log_level)
        from bids_qsmthal.app import levels  # noqa: PLC0415

        return levels.check_dataset(settings, voxels=not asked.quick, table=asked.tsv)


def _verify(words: Sequence[str]) -> int:
    chosen = options.verify_parser().parse_args(words[1:])
    from bids_qsmthal.app import verify  # noqa: PLC0415

    if chosen.other is None:
        found = verify.with_manifest(chosen.output_dir)
    else:
        found = verify.of_trees(chosen.output_dir, chosen.other)
    sys.stdout.write(f"{found.said}\n")
    return ExitCode.FAILED if found.differences else ExitCode.DONE


def _remake(words: Sequence[str]) -> int:
    asked = options.remake_parser().parse_args(words[1:])
    log.setLevel(log_level(asked))
    from bids_qsmthal.app import remake  # noqa: PLC0415

    output_dir = asked.output_dir.resolve()
    run = remake.last_run(output_dir)
    # Relative paths among the words of the last run are those of the folder it was started in.
    with chdir(run.started_in):
        every = remake.settings_of(run, output_dir, asked, parse, settings_from)
        status: int = ExitCode.DONE
        for settings in every:
            status = status or process(settings)
    return status


def _view(words: Sequence[str]) -> int:
    chosen = options.view_parser().parse_args(words[1:])
    # Before the caches are moved: a participant that is remade keeps its own.
    environment = dict(os.environ)
    with tempfile.TemporaryDirectory() as scratch:
        caches.use(Path(scratch))
        from bids_qsmthal import view  # noqa: PLC0415

        # Not the script: an interpreter knows its own place, whatever the PATH says.
        command = view.Command((sys.executable, "-m", "bids_qsmthal", "remake"), environment)
        place = (chosen.host or view.address(), chosen.port)
        view.serve(
            *(chosen.output_dir, place, command),
            bids_dir=chosen.bids_dir,
            browser=not chosen.no_browser,
        )
    return ExitCode.DONE


def _simulate(words: Sequence[str]) -> int:
    chosen = options.simulate_parser().parse_args(words[1:])
    log.setLevel(log_level(chosen))
    folder = chosen.directory.resolve()
    with tempfile.TemporaryDirectory() as scratch:
        caches.use(Path(scratch))
        from bids_qsmthal.app import simulation  # noqa: PLC0415

        return simulation.run(
            folder,
            participants=chosen.participants,
            seed=chosen.seed,
            scan=simulation.Scan(
                protocol=chosen.protocol,
                voxel_size_mm=chosen.voxel_size,
                echo_times_s=chosen.echo_times,
                field_strength_t=chosen.field_strength,
                snr=chosen.snr,
                visits=chosen.visits,
                vendors=chosen.vendor,
                scenario=chosen.scenario,
            ),
            files=simulation.Files.of(chosen.labels, chosen.lesion_masks),
        )


def _demo(words: Sequence[str]) -> int:
    chosen = options.demo_parser().parse_args(words[1:])
    log.setLevel(log_level(chosen))
    folder = chosen.directory.resolve()
    caches.use(chosen.work_dir or folder / "work")
    from bids_qsmthal.app import demo, simulation  # noqa: PLC0415

    return demo.run(
        folder,
        participants=chosen.participants,
        seed=chosen.seed,
        files=simulation.Files.of(chosen.labels, chosen.lesion_masks),
        process=lambda bids_dir, output_dir: process(_demo_settings(chosen, bids_dir, output_dir)),
    )


def _step(words: Sequence[str]) -> int:
    """Take one step of the reconstruction on plain files, and write its map."""
    from bids_qsmthal.app import step_options  # noqa: PLC0415

    parsers = {
        "unwrap": step_options.unwrap_parser,
        "background": step_options.background_parser,
        "invert": step_options.invert_parser,
        "r2star": step_options.r2star_parser,
    }
    chosen = parsers[words[0]]().parse_args(words[1:])
    log.setLevel(log_level(chosen))
    with tempfile.TemporaryDirectory() as scratch:
        caches.use(Path(scratch))
        from bids_qsmthal.app import steps  # noqa: PLC0415

        steps.taken(words[0], chosen, _direction(getattr(chosen, "b0_direction", None)))
    return ExitCode.DONE


def _dicom(words: Sequence[str]) -> int:
    """Write images as DICOM series."""
    from bids_qsmthal.app import step_options  # noqa: PLC0415

    chosen = step_options.dicom_parser().parse_args(words[1:])
    log.setLevel(log_level(chosen))
    from bids_qsmthal.app import dicom_export  # noqa: PLC0415

    dicom_export.export(chosen.images, chosen.out, chosen.participant_label)
    return ExitCode.DONE


COMMANDS: Final = {
    "demo": _demo,
    "simulate": _simulate,
    "check": _check,
    "verify": _verify,
    "remake": _remake,
    "view": _view,
    "unwrap": _step,
    "background": _step,
    "invert": _step,
    "r2star": _step,
    "dicom": _dicom,
}
"""What the first word may be in place of a dataset."""


def _demo_settings(chosen: Namespace, bids_dir: Path, output_dir: Path) -> Settings:
    words = [str(bids_dir), str(output_dir), *options.LEVELS]
    for name in ("work_dir", "nprocs", "omp_nthreads", "mem"):
        if (value := getattr(chosen, name)) is not None:
            # The option takes no plain number of bytes.
            text = f"{value // 2**10}K" if name == "mem" else str(value)
            words += [f"--{name}", text]
    words += ["-v"] * chosen.verbose + ["-q"] * chosen.quiet
    return settings_from(parse(words), words)


def _filters(path: Path | None) -> dict[str, dict[str, Any]]:
    if path is None:
        return {}
    from bids_qsmthal.bids.dataset import ROLES  # noqa: PLC0415
    from bids_qsmthal.bids.sidecars import read_json  # noqa: PLC0415

    if not path.is_file():
        raise MissingInputError(f"{path}: no such filter file.")
    content = read_json(path)
    wrong = [key for key, value in content.items() if key not in ROLES or type(value) is not dict]
    if wrong:
        raise DataError(
            f"{path}: {', '.join(wrong)} not understood; "
            f"expected {', '.join(ROLES)}, each with an object of pybids entities."
        )
    return content


def _check_output(bids_dir: Path, output_dir: Path) -> None:
    inside = output_dir.is_relative_to(bids_dir)
    # BIDS lets derivatives/ lie within the raw dataset, and nothing else of ours.
    if inside and output_dir.relative_to(bids_dir).parts[:1] != ("derivatives",):
        raise OutputError(
            f"{output_dir}: lies among the raw data of {bids_dir}; choose a folder outside, "
            f"or {bids_dir / 'derivatives' / 'bids_qsmthal'}."
        )


def _work_dir(chosen: Path | None, bids_dir: Path, output_dir: Path) -> Path:
    work_dir = chosen.resolve() if chosen else output_dir.parent / "work"
    # The output may lie in derivatives/; the default beside it would be within the raw data.
    if chosen is None and work_dir.is_relative_to(bids_dir):
        work_dir = bids_dir.parent / "work"
    if work_dir.is_relative_to(bids_dir):
        raise OutputError(f"{work_dir}: the work folder must not lie inside {bids_dir}.")
    return work_dir
