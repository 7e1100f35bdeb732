"""A page in headless Chromium, driven by its DevTools protocol."""

import asyncio
import base64
import json
import shutil
import subprocess
import time
import urllib.request

from tornado.websocket import websocket_connect

FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-dev-shm-usage --remote-debugging-port=0 "
    "--window-size=1080,1000"
).split()
PATIENCE = 60  # s, on a busy machine


def executable():
    """The path of Chromium or Chrome; None where there is none."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return next(filter(None, map(shutil.which, names)), None)


class Browser:
    """Chromium with one page.  profile: a new folder for it."""

    def __init__(self, profile):
        command = [executable(), *FLAGS, f"--user-data-dir={profile}", "about:blank"]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.loop, self.number = asyncio.new_event_loop(), 0
        self.events = []
        port = until(lambda: (profile / "DevToolsActivePort").read_text().split()[0], (OSError, IndexError))
        pages = until(lambda: self._pages(port), (OSError, StopIteration))

        async def connected():
            return await websocket_connect(pages, max_message_size=2**28)

        self.socket = self.loop.run_until_complete(connected())
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    @staticmethod
    def _pages(port):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json") as answer:
            return next(page["webSocketDebuggerUrl"] for page in json.load(answer) if page["type"] == "page")

    def call(self, method, **parameters):
        """Call a method of the protocol; returns its result.  Events that come before the answer go to `events`."""
        self.number += 1
        message = json.dumps({"id": self.number, "method": method, "params": parameters})

        async def answer():
            await self.socket.write_message(message)
            while True:
                found = json.loads(await self.socket.read_message())
                if found.get("id") == self.number:
                    return found
                self.events.append(found)

        found = self.loop.run_until_complete(asyncio.wait_for(answer(), PATIENCE))
        assert "error" not in found, found
        return found["result"]

    def open(self, address):
        self.call("Page.navigate", url=address)

    def value(self, expression):
        """The value of a JavaScript expression."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def appear(self, width, height, colours):
        """Be a screen of another size, in CSS pixels, whose reader prefers colours that are light or dark."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": colours}])

    def wait(self, expression):
        """Wait until a JavaScript expression is true; one that fails is not."""
        holds = f"(() => {{ try {{ return Boolean({expression}) }} catch {{ return false }} }})()"
        return until(lambda: self.value(holds) or None)

    def screenshot(self, path):
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot")["data"]))

    def requested(self):
        """The addresses that the page has asked for."""
        self.value("0")
        return [e["params"]["request"]["url"] for e in self.events if e.get("method") == "Network.requestWillBeSent"]

    def complaints(self):
        """What the page has written to the console as an error, and its exceptions."""
        self.value("0")
        kinds = ("Runtime.exceptionThrown", "Log.entryAdded", "Runtime.consoleAPICalled")
        found = [event for event in self.events if event.get("method") in kinds]
        return [e for e in found if "error" in (e["params"].get("type"), e["params"].get("entry", {}).get("level"))
                or e["method"] == "Runtime.exceptionThrown"]  # fmt: skip

    def close(self):
        self.socket.close()
        self.process.kill()
        self.process.wait()
        self.loop.close()


def until(what, ignored=()):
    """What a function returns once that is not None; exceptions in `ignored` are waited out."""
    end = time.monotonic() + PATIENCE
    while True:
        try:
            if (found := what()) is not None:
                return found
        except ignored:
            pass
        assert time.monotonic() < end, "nothing came of it in time"
        time.sleep(0.05)
