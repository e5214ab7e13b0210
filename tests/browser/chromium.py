"""A real Chromium without a window, told what to do through a pipe (the DevTools protocol)."""

from __future__ import annotations

import base64
import itertools
import json
import os
import select
import shutil
import subprocess
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

_PATIENCE_S: Final = 120
_OPTIONS: Final = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--hide-scrollbars"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--disable-dev-shm-usage", "--no-default-browser-check", "--remote-debugging-pipe"),
)
#: What a page must give no cause for.
_NOISE: Final = (
    "Runtime.consoleAPICalled",
    "Runtime.exceptionThrown",
    "Log.entryAdded",
    "Page.javascriptDialogOpening",
    "Page.windowOpen",
)


class Tab:
    """One tab. The mutable state: the pipes, what came through them, and which page is shown."""

    def __init__(self, to: int, back: int) -> None:
        self._to, self._back = to, back
        self._read = b""
        self._numbers = itertools.count(1)
        self._events: deque[dict[str, Any]] = deque()
        self._session: str | None = None
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        attached = self.ask("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network", "DOM", "Accessibility"):
            self.ask(f"{domain}.enable")

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """What Chromium answers. Events that come meanwhile are kept."""
        number = next(self._numbers)
        question: dict[str, Any] = {"id": number, "method": method, "params": parameters}
        if self._session:
            question["sessionId"] = self._session
        os.write(self._to, json.dumps(question).encode() + b"\0")
        while True:
            message = self._next()
            if message.get("id") == number:
                if "error" in message:
                    raise RuntimeError(f"{method}: {message['error']}")
                return dict(message["result"])
            if "method" in message:
                self._events.append(message)

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._read:
            if not select.select([self._back], [], [], _PATIENCE_S)[0]:
                raise TimeoutError("Chromium says nothing")
            if not (more := os.read(self._back, 1 << 20)):
                raise EOFError("Chromium has ended")
            self._read += more
        message, _, self._read = self._read.partition(b"\0")
        return dict(json.loads(message))

    def _await(self, event: str) -> None:
        seen = [message["method"] for message in self._events]
        while event not in seen:
            message = self._next()
            if "method" in message:
                self._events.append(message)
                seen.append(message["method"])

    def look(self, *, width: int, is_dark: bool = False, media: str = "") -> None:
        """Sets the width of the window, the colour scheme, and the medium."""
        self.ask(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=900, deviceScaleFactor=1, mobile=False,
        )  # fmt: skip
        scheme = {"name": "prefers-color-scheme", "value": "dark" if is_dark else "light"}
        self.ask("Emulation.setEmulatedMedia", media=media, features=[scheme])

    def open(self, url: str) -> None:
        """Opens a page, and waits until all of it is there."""
        self._events.clear()
        self.ask("Page.navigate", url=url)
        self._await("Page.loadEventFired")

    def click(self, selector: str) -> None:
        """Clicks a link, and waits for the page that it leads to."""
        self._events.clear()
        self.evaluate(f"document.querySelector({json.dumps(selector)}).click()")
        self._await("Page.loadEventFired")

    def evaluate(self, script: str) -> Any:
        """The value of a script's expression, which DevTools may run where a page may not."""
        found = self.ask("Runtime.evaluate", expression=script, returnByValue=True)
        if "exceptionDetails" in found:
            raise RuntimeError(str(found["exceptionDetails"]))
        return found["result"].get("value")

    def press(self, key: str) -> None:
        for kind in ("keyDown", "keyUp"):
            self.ask(
                "Input.dispatchKeyEvent", type=kind, key=key, code=key,
                windowsVirtualKeyCode={"Tab": 9, "Enter": 13}[key],
            )  # fmt: skip

    def noise(self) -> list[str]:
        """What the console, dialogs and windows have shown since the page was asked for."""
        self.evaluate("1")  # what came before this has come
        return [json.dumps(event) for event in self._events if event["method"] in _NOISE]

    def requests(self) -> list[str]:
        """The addresses that were asked for, but for those that are data themselves."""
        urls = [
            event["params"]["request"]["url"]
            for event in self._events
            if event["method"] == "Network.requestWillBeSent"
        ]
        return [url for url in urls if not url.startswith("data:")]

    def read_aloud(self) -> list[tuple[str, str]]:
        """Role and name of all that a screen reader comes across, in order."""
        nodes = self.ask("Accessibility.getFullAXTree")["nodes"]
        by_id = {node["nodeId"]: node for node in nodes}
        found: list[tuple[str, str]] = []

        def visit(node: dict[str, Any]) -> None:
            if not node.get("ignored"):
                name = node.get("name", {}).get("value", "")
                found.append((node["role"]["value"], name))
            for child in node.get("childIds", ()):
                if child in by_id:
                    visit(by_id[child])

        visit(nodes[0])
        return found

    def screenshot(self, height: int | None = None) -> bytes:
        """The page, or so much of its top, as PNG."""
        width = self.evaluate("innerWidth")
        height = height or self.evaluate("document.documentElement.scrollHeight")
        clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
        taken = self.ask("Page.captureScreenshot", clip=clip, captureBeyondViewport=True)
        return base64.b64decode(taken["data"])

    def pdf(self) -> bytes:
        """The page as it is printed."""
        printed = self.ask("Page.printToPDF", printBackground=False, preferCSSPageSize=True)
        return base64.b64decode(printed["data"])


@contextmanager
def chromium(profile: Path) -> Iterator[Tab]:
    """A Chromium with an empty profile in this folder, and its only tab."""
    program = shutil.which("chromium")
    assert program, "make test-all installs chromium"
    to_read, to = os.pipe()
    back, back_write = os.pipe()
    # It reads from descriptor 3 and writes to 4.
    command = ["bash", "-c", f'exec "$@" 3<&{to_read} 4>&{back_write}', "bash", program]
    with (profile / "chromium.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, *_OPTIONS, f"--user-data-dir={profile}", "about:blank"],
            pass_fds=(to_read, back_write),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    os.close(to_read)
    os.close(back_write)
    try:
        yield Tab(to, back)
    finally:
        os.close(to)
        os.close(back)
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
