"""What several tests of the group level need."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.report.browser import Browser, executable


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Return a real browser, whose absence CI does not forgive."""
    program = executable()
    if program is None:
        if os.environ.get("CI") == "true":
            pytest.fail("no Chromium: apt-get install chromium")
        pytest.skip("no Chromium on this machine")
    opened = Browser(program)
    yield opened
    opened.close()
