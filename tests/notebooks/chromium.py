"""Debian's Chromium, driven over its DevTools protocol: what a page shows, whom it asks, what goes wrong in it."""

import base64
import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

PROGRAM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
_FLAGS = """
    --headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking
    --disable-component-update --disable-sync --disable-dev-shm-usage --hide-scrollbars --remote-debugging-port=0
    --disable-features=Translate,OptimizationHints,MediaRouter
""".split()


class Tab:
    """The one page of a browser."""

    def __init__(self, wire: ClientConnection) -> None:
        self._wire = wire
        self._number = 0
        self.asked: list[str] = []  # addresses of all requests, of web sockets too
        self.faults: list[str] = []  # what the page complained of
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.tell(f"{domain}.enable")

    def tell(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        self._wire.send(json.dumps({"id": self._number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._wire.recv(timeout=30))
            if message.get("id") == self._number:
                assert "error" not in message, (method, message["error"])
                return message["result"]
            self._note(message.get("method"), message.get("params", {}))

    def _note(self, event: str, what: dict[str, Any]) -> None:
        if event == "Network.requestWillBeSent":
            self.asked.append(what["request"]["url"])
        elif event == "Network.webSocketCreated":
            self.asked.append(what["url"])
        elif event == "Runtime.exceptionThrown":
            self.faults.append(json.dumps(what["exceptionDetails"])[:800])
        elif event == "Log.entryAdded" and what["entry"]["level"] == "error":
            self.faults.append(f"{what['entry']['text']} {what['entry'].get('url', '')}")
        elif event == "Runtime.consoleAPICalled" and what["type"] == "error":
            self.faults.append(
                " ".join(str(each.get("value", each.get("description"))) for each in what["args"])[:800]
            )

    def open(self, address: str) -> None:
        self.tell("Page.navigate", url=address)

    def run(self, script: str) -> Any:
        """What an expression in the page comes to."""
        found = self.tell("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, (script, found["exceptionDetails"])
        return found["result"].get("value")

    def wait(self, script: str, seconds: float = 30) -> None:
        """Come back as soon as an expression is true."""
        until = time.monotonic() + seconds
        while not self.run(f"Boolean({script})"):
            if time.monotonic() > until:
                raise AssertionError(f"after {seconds} s still not: {script}\n{self.text()[:2000]}\n{self.faults}")
            time.sleep(0.1)

    def every(self, selector: str) -> str:
        """An expression for the list of elements that match, those in shadow trees too."""
        return f"""(() => {{ const roots = [document], found = [];
            for (const root of roots) for (const each of root.querySelectorAll('*')) {{
                if (each.shadowRoot) roots.push(each.shadowRoot);
                if (each.matches({json.dumps(selector)})) found.push(each); }}
            return found; }})()"""

    def click(self, selector: str, text: str) -> None:
        """Click, with the mouse, what matches and says this."""
        found = f"{self.every(selector)}.filter(each => each.innerText.trim() === {json.dumps(text)})"
        self.wait(f"{found}.length === 1")
        box = f"{found}[0].getBoundingClientRect()"
        x, y = self.run(f"(box => [box.x + box.width / 2, box.y + box.height / 2])({box})")
        for kind in ("mousePressed", "mouseReleased"):
            self.tell("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def text(self) -> str:
        return str(self.run("document.body ? document.body.innerText : ''"))

    def picture(self, path: Path, width: int, height: int, scale: float = 1) -> None:
        self.tell(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale, mobile=False
        )
        time.sleep(1)
        path.write_bytes(base64.b64decode(self.tell("Page.captureScreenshot", format="png")["data"]))


@contextmanager
def browser(profile: Path) -> Iterator[Tab]:
    """A browser with an empty profile, and its page."""
    assert PROGRAM
    # A window size large enough that a whole page is laid out.
    command = [PROGRAM, *_FLAGS, f"--user-data-dir={profile}", "--window-size=1400,1600", "about:blank"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            address = _address(profile / "DevToolsActivePort", process)
            with connect(address, max_size=None, proxy=None, close_timeout=0.2) as wire:
                yield Tab(wire)
        finally:
            process.terminate()


def _address(announced: Path, process: subprocess.Popen[bytes]) -> str:
    import urllib.request  # noqa: PLC0415

    for _ in range(300):
        if announced.exists() and len(lines := announced.read_text().splitlines()) == 2:
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            with opener.open(f"http://127.0.0.1:{lines[0]}/json") as answer:
                pages = [each for each in json.load(answer) if each["type"] == "page"]
            if pages:
                return str(pages[0]["webSocketDebuggerUrl"])
        assert process.poll() is None, "chromium ended at once"
        time.sleep(0.1)
    raise AssertionError("chromium did not start")
