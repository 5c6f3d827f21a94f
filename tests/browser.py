"""A page in a real headless Chromium, by the DevTools protocol: what it shows, complains of and asks for."""

import base64
import io
import itertools
import json
import os
import shutil
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import websocket
from PIL import Image

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium")
# The first four are what a container needs, the rest keeps the browser's own requests off.
OPTIONS = [
    *("--headless", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1400,900"),
    *("--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"),
]


class Page:
    """A page that is open in the browser."""

    def __init__(self, connection: websocket.WebSocket):
        self.connection = connection
        self.numbers = itertools.count(1)
        self.complaints: list[str] = []
        """Errors of the console, and exceptions that nobody caught."""
        self.requests: list[str] = []
        """Addresses that were asked for, without the page itself and data that it carries."""
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command of the protocol; what happens in the meantime is noted."""
        number = next(self.numbers)
        self.connection.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self.connection.recv())
            if message.get("id") == number:
                assert "error" not in message, f"{method}: {message['error']}"
                return message["result"]
            self._note(message)

    def _note(self, message: dict[str, Any]) -> None:
        about = message.get("params", {})
        match message.get("method"):
            case "Runtime.exceptionThrown":
                details = about["exceptionDetails"]
                self.complaints.append(details.get("exception", {}).get("description", details["text"]))
            case "Runtime.consoleAPICalled" if about["type"] in ("error", "assert"):
                self.complaints.append(" ".join(str(part.get("value", part)) for part in about["args"]))
            case "Log.entryAdded" if about["entry"]["level"] == "error":
                self.complaints.append(about["entry"]["text"])
            case "Network.requestWillBeSent" if not about["request"]["url"].startswith(("data:", "blob:")):
                self.requests.append(about["request"]["url"])

    def open(self, path: Path) -> None:
        """Load a file and wait until it is there."""
        address = path.resolve().as_uri()
        self.call("Page.navigate", url=address)
        self.wait(f"location.href == {json.dumps(address)} && document.readyState == 'complete'")
        self.requests = [request for request in self.requests if request != address]

    def evaluate(self, expression: str) -> Any:
        """The value of an expression in the page, a promise's once it is settled."""
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def wait(self, expression: str, seconds: float = 120) -> None:
        """Wait until an expression is true; a failure says which one never was."""
        end = time.monotonic() + seconds
        while not self.evaluate(expression):
            assert time.monotonic() < end, f"never true: {expression}; complaints: {self.complaints}"
            time.sleep(0.1)

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """Drag the mouse with its left button from one point of the window to another."""
        common = {"button": "left", "buttons": 1}
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=start[0], y=start[1])
        self.call("Input.dispatchMouseEvent", type="mousePressed", x=start[0], y=start[1], clickCount=1, **common)
        for share in np.linspace(0.1, 1, 10):
            x, y = (a + share * (b - a) for a, b in zip(start, end, strict=True))
            self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y, **common)
        self.call("Input.dispatchMouseEvent", type="mouseReleased", x=end[0], y=end[1], clickCount=1, **common)

    def screenshot(self, path: Path | None = None) -> np.ndarray:
        """The window as (row, column, colour); also written to a file if one is named."""
        image = base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])
        if path is not None:
            path.write_bytes(image)
        return np.asarray(Image.open(io.BytesIO(image)).convert("RGB"))

    def is_quiet(self) -> None:
        """Fail if the page complained of anything, or asked for anything that it does not carry."""
        assert self.complaints == []
        assert self.requests == []


@contextmanager
def browser() -> Iterator[Page]:
    """A browser of its own with an empty page."""
    assert CHROMIUM is not None
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        environment = {**os.environ, "HOME": profile}
        process = subprocess.Popen(
            [CHROMIUM, *OPTIONS, f"--user-data-dir={profile}", "--remote-debugging-port=0", "about:blank"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=environment,
            start_new_session=True,
        )
        connection = None
        try:
            address = _address(Path(profile) / "DevToolsActivePort", process)
            connection = websocket.create_connection(address, timeout=180, suppress_origin=True)
            yield Page(connection)
        finally:
            if connection is not None:
                connection.close()
            process.terminate()
            process.wait(30)


def _address(port_file: Path, process: subprocess.Popen) -> str:
    """Where the first page listens, once the browser is up."""
    for _ in range(1200):
        if process.poll() is not None:
            raise RuntimeError(f"Chromium ended by itself with status {process.returncode}")
        if port_file.exists() and (lines := port_file.read_text().split()):
            with urllib.request.urlopen(f"http://127.0.0.1:{lines[0]}/json/list") as answer:
                pages = [page for page in json.load(answer) if page["type"] == "page"]
            if pages:
                return pages[0]["webSocketDebuggerUrl"]
        time.sleep(0.1)
    raise RuntimeError("Chromium did not start within two minutes")
