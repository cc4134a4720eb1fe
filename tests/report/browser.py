"""A real browser for the tests: Chromium without a window, driven over its debugging pipe."""

import base64
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

SWITCHES = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
)


def executable() -> str | None:
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if found := shutil.which(name):
            return found
    return None


def is_serious(entry: dict) -> bool:
    # Without a graphics card a screenshot makes the renderer wait, and it says so.
    slow = "GL Driver Message (OpenGL, Performance" in entry["text"]
    return entry["level"] in {"error", "warning"} and not slow


class Browser:
    """One page of a fresh Chromium; events are kept in the order they came."""

    def __init__(self, program: str) -> None:
        self.folder = tempfile.mkdtemp(prefix="browser-")
        commands_out, commands_in = os.pipe()
        answers_out, answers_in = os.pipe()

        def wire() -> None:  # Chromium reads commands from 3 and writes answers to 4
            os.dup2(commands_out, 103)
            os.dup2(answers_in, 104)
            os.dup2(103, 3)
            os.dup2(104, 4)

        self.process = subprocess.Popen(
            [program, *SWITCHES, f"--user-data-dir={self.folder}", "about:blank"],
            pass_fds=(3, 4),
            preexec_fn=wire,  # noqa: PLW1509 - single-threaded test process
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(commands_out)
        os.close(answers_in)
        self.to_browser = os.fdopen(commands_in, "wb", buffering=0)
        self.from_browser = os.fdopen(answers_out, "rb", buffering=0)
        self.rest = b""
        self.number = 0
        self.events: list[dict] = []
        self.session = None
        targets = self.call("Target.getTargets")["targetInfos"]
        page = next(target for target in targets if target["type"] == "page")
        attached = self.call("Target.attachToTarget", targetId=page["targetId"], flatten=True)
        self.session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self.call("Page.setLifecycleEventsEnabled", enabled=True)

    def call(self, method: str, **parameters) -> dict:
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        self.to_browser.write(json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self.number:
                assert "error" not in answer, answer
                return answer["result"]
            self.events.append(answer)

    def open(self, path: Path, width: int, height: int = 900) -> None:
        # What an earlier page still asks for ends with it: an answer that comes late, such as the
        # refusal of its icon, is no complaint of this page.
        self._go("about:blank")
        self.events.clear()
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        self._go(path.as_uri())

    def _go(self, address: str) -> None:
        loader = self.call("Page.navigate", url=address)["loaderId"]
        while not any(
            event.get("method") == "Page.lifecycleEvent"
            and event["params"]["loaderId"] == loader
            and event["params"]["name"] == "load"
            for event in self.events
        ):
            self.events.append(self._next())

    def follow(self, link: str) -> None:
        """Click a link (a CSS selector) and wait for the page it leads to."""
        self.events.clear()
        self.value(f"setTimeout(() => document.querySelector('{link}').click(), 200), 0")
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(self._next())

    def value(self, script: str):
        answer = self.call(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def press(self, key: str) -> None:
        codes = {"Tab": 9, "Enter": 13, "Escape": 27, " ": 32, "ArrowLeft": 37, "ArrowRight": 39}
        text = {"Enter": "\r", " ": " "}.get(key, "")
        for kind in ("keyDown", "keyUp"):
            self.call(
                "Input.dispatchKeyEvent",
                type=kind,
                key=key,
                code="Space" if key == " " else key,
                windowsVirtualKeyCode=codes[key],
                **({"text": text} if text and kind == "keyDown" else {}),
            )

    def picture(self, path: Path, *, whole: bool = True) -> None:
        answer = self.call("Page.captureScreenshot", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(answer["data"]))

    def complaints(self) -> list[str]:
        """Errors and warnings of the console, exceptions, and requests to anywhere."""
        found = []
        for event in self.events:
            method, given = event.get("method", ""), event.get("params", {})
            if method == "Log.entryAdded" and is_serious(given["entry"]):
                found.append(f"{given['entry']['text']} {given['entry'].get('url', '')}".strip())
            if method == "Runtime.exceptionThrown":
                found.append(str(given["exceptionDetails"]))
            if method == "Runtime.consoleAPICalled" and given["type"] in {"error", "warning"}:
                found.append(str(given["args"]))
            if method == "Network.requestWillBeSent":
                url = given["request"]["url"]
                if not url.startswith(("file:", "data:", "blob:")):
                    found.append(f"request to {url}")
        return found

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(20)
        self.to_browser.close()
        self.from_browser.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _next(self) -> dict:
        while b"\0" not in self.rest:
            more = self.from_browser.read(1 << 20)
            if not more:
                raise EOFError("the browser has ended")
            self.rest += more
        message, _, self.rest = self.rest.partition(b"\0")
        return json.loads(message)


@pytest.fixture(scope="session")
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
