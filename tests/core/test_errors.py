"""What the operating system could not do, as an exit status and advice for the user."""

import errno
import os

import pytest

from bids_qsmthal.core.errors import ExitCode, of_system


def failed(code: int) -> OSError:
    return OSError(code, os.strerror(code), "/out/sub-01/map.nii.gz")


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS])
def test_where_nothing_more_can_be_written_another_folder_is_advised(code: int) -> None:
    """A full disk, a quota, the limit of a file's size, a disk that is read-only."""
    said = of_system(failed(code))
    assert said.exit_code is ExitCode.OUTPUT
    assert str(said) == (
        f"/out/sub-01/map.nii.gz: {os.strerror(code)}; free space or choose another folder, then "
        "run the same command again."
    )


def test_another_failure_of_the_disk_is_no_want_of_room() -> None:
    said = of_system(failed(errno.EIO))
    assert said.exit_code is ExitCode.READ_WRITE
    assert "free space" not in str(said)


@pytest.mark.parametrize("error", [MemoryError("4 GiB"), MemoryError(), failed(errno.ENOMEM)])
def test_want_of_memory_advises_fewer_side_by_side(error: OSError | MemoryError) -> None:
    """NumPy raises MemoryError; the kernel says ENOMEM where a mapping fails."""
    said = of_system(error)
    assert said.exit_code is ExitCode.TEMPORARY
    assert "--nprocs or --mem" in str(said)
