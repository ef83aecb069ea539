"""A headless Chromium, driven by its own protocol over a pair of pipes."""

import base64
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
_KEYS = {"Tab": 9, "Enter": 13, " ": 32}


class NoBrowserError(Exception):
    """There is no Chromium; the message says how to get one."""


def _program() -> str:
    for name in (os.environ.get("CHROMIUM", ""), *_NAMES):
        if name and (found := shutil.which(name)):
            return found
    raise NoBrowserError(
        "no Chromium is there; on Debian: apt-get install chromium; or name one with CHROMIUM"
    )


class Tab:
    """A tab, and all that it asked for and complained of.

    See https://chromedevtools.github.io/devtools-protocol/ for the methods.
    """

    def __init__(self, commands: int, answers: int) -> None:
        self._commands, self._answers = commands, answers
        self._rest = b""
        self._number = 0
        self._session: str | None = None
        self.requests: list[str] = []
        self.complaints: list[str] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Network", "Log", "Runtime", "Accessibility"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Give a command; return its result."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                result: dict[str, Any] = answer["result"]
                return result

    def open(self, url: str, width: int = 1280, scheme: str = "light", height: int = 800) -> None:
        """Load a page, as a window of this width and a reader of this taste see it."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=False,
        )  # fmt: skip
        taste = {"name": "prefers-color-scheme", "value": scheme}
        self.call("Emulation.setEmulatedMedia", features=[taste])
        self.call("Page.navigate", url=url)
        self.loaded()

    def loaded(self) -> None:
        """Wait until a page has been loaded."""
        while self._next().get("method") != "Page.loadEventFired":
            pass

    def run(self, script: str) -> Any:
        """Return what an expression of JavaScript gives."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def press(self, key: str) -> None:
        """Press a key and let it go."""
        text = {"Enter": "\r", " ": " "}.get(key, "")
        common = {"key": key, "code": key, "windowsVirtualKeyCode": _KEYS[key]}
        self.call("Input.dispatchKeyEvent", type="keyDown", text=text, **common)
        self.call("Input.dispatchKeyEvent", type="keyUp", **common)

    def picture(self, *, whole: bool = True) -> bytes:
        """Return what is seen, as a PNG; or all of the page."""
        answer = self.call("Page.captureScreenshot", captureBeyondViewport=whole)
        if whole:
            size = self.call("Page.getLayoutMetrics")["cssContentSize"]
            clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
            answer = self.call("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)
        return base64.b64decode(answer["data"])

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            data = os.read(self._answers, 1 << 16)
            assert data, "the browser has ended"
            self._rest += data
        line, _, self._rest = self._rest.partition(b"\0")
        message: dict[str, Any] = json.loads(line)
        match message.get("method"):
            case "Network.requestWillBeSent":
                self.requests.append(message["params"]["request"]["url"])
            case "Log.entryAdded":
                self.complaints.append(message["params"]["entry"]["text"])
            case "Runtime.exceptionThrown" | "Runtime.consoleAPICalled":
                self.complaints.append(str(message["params"]))
        return message


@contextmanager
def tab() -> Iterator[Tab]:
    """Start a browser with nothing of a user's in it; it is gone at the end.

    Raises:
        NoBrowserError: There is none.
    """
    program = _program()
    command_in, commands = os.pipe()
    answers, answer_out = os.pipe()
    with tempfile.TemporaryDirectory() as folder:
        # The protocol speaks on descriptors 3 and 4. Without a sandbox, because root has none.
        script = f'exec "$0" "$@" 3<&{command_in} 4>&{answer_out}'
        options = ["--headless", "--no-sandbox", "--remote-debugging-pipe", "--disable-gpu"]
        options += ["--hide-scrollbars", f"--user-data-dir={folder}"]
        with subprocess.Popen(
            ["bash", "-c", script, program, *options],
            pass_fds=(command_in, answer_out),
            stderr=subprocess.DEVNULL,
        ) as process:
            os.close(command_in)
            os.close(answer_out)
            try:
                one = Tab(commands, answers)
                yield one
            finally:
                os.close(commands)  # it ends by that, and well
                try:
                    process.wait(20)
                except subprocess.TimeoutExpired:
                    process.kill()
                os.close(answers)
