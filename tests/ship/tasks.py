"""What a participant does here depends on its label; workers and jobs import it by name."""

import logging
import os
import signal
import time

from bids_qsmthal.bids.dataset import Session
from bids_qsmthal.core.errors import DataError, LevelUnavailableError
from bids_qsmthal.settings import Settings

HUNGRY_MB = 450  # beside 350 MB of libraries: more than 500 MB, less than 1000 MB
HUNGRY_S = 8


def process(session: Session, settings: Settings) -> None:
    logging.getLogger("bids_qsmthal.test").info("threads %s", os.environ["OMP_NUM_THREADS"])
    speaks = logging.getLogger("distributed.batched").isEnabledFor(logging.ERROR)
    logging.getLogger("bids_qsmthal.test").info("Dask is %s", "heard" if speaks else "silent")
    attempt = settings.output_dir / f"{session.name}.attempt-{time.time_ns()}"
    attempt.touch()
    kind = session.subject.rstrip("0123456789")
    if kind == "bad":
        raise DataError("bad.nii.gz: damaged; copy it again.")
    if kind == "bug":
        raise ZeroDivisionError("a bug")
    if kind == "deadly" or (kind == "once" and attempts(session.name, settings) == 1):
        time.sleep(1)
        os.kill(os.getpid(), signal.SIGKILL)
    if kind == "hungry":
        held = b"x" * HUNGRY_MB * 2**20
        time.sleep(HUNGRY_S)
        del held
    if kind == "slow":
        time.sleep(6)
    if kind == "greedy":
        pieces = [b"x" * 2**28 for _ in range(32)]  # 8 GiB, all of it written to
        del pieces
    while kind == "endless":
        sum(range(10_000_000))  # as numerical code, it hears nothing meanwhile
    with (settings.output_dir / session.name).open("a") as stream:
        stream.write("done\n")


def attempts(name: str, settings: Settings) -> int:
    return len(list(settings.output_dir.glob(f"{name}.attempt-*")))


def group(settings: Settings) -> None:
    (settings.output_dir / "group").write_text(os.environ.get("SLURM_JOB_ID", "here"))


def unavailable(settings: Settings) -> None:
    raise LevelUnavailableError(f"{settings.output_dir}: no participant has results yet.")
