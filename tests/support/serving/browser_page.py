"""A page in a real browser."""

from __future__ import annotations

import os
import time
from io import BytesIO
from pathlib import Path

from PIL import Image

DESKTOP, PHONE = (1280, 900), (390, 844)
#: Pictures for the documents are kept where this names a folder.
KEPT = os.environ.get("LIGHTCL_SCREENSHOTS")


class Page:
    """A page that notes what its console complains about."""

    def __init__(self, browser, address, size=DESKTOP, scheme="light", **more):
        self.context = browser.new_context(viewport={"width": size[0], "height": size[1]}, color_scheme=scheme, **more)
        self.page = self.context.new_page()
        self.page.set_default_timeout(30_000)
        self.complaints = []
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", lambda line: self.complaints.append(line.text) if line.type == "error" else None)
        self.page.goto(address)

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        self.context.close()
        if kind is None:
            assert self.complaints == []

    def go(self, part):
        self.page.click(f'nav a[href="#{part}"]')

    def teach(self, name, pictures=6):
        self.page.fill("#class-name", name)
        box = self.page.locator("#hold").bounding_box()
        self.page.mouse.move(box["x"] + 20, box["y"] + 20)
        self.page.mouse.down()
        note = "document.querySelector('#hold-note').textContent"
        counted = f"([count, name]) => {note}.includes(name) && parseInt({note}) >= count"
        self.until(counted, [pictures, f"of {name} now"])
        self.page.mouse.up()

    def learn(self):
        self.go("learn")
        self.page.wait_for_selector("#learn-start:enabled")
        self.page.click("#learn-start")
        self.page.wait_for_selector("#outcome .outcome")
        return self.page.inner_text("#outcome")

    def until(self, script, argument=None):
        """Playwright's own waiting needs eval, which the page's policy forbids."""
        until = time.monotonic() + 30
        while not self.page.evaluate(script, argument):
            assert time.monotonic() < until, script
            self.page.wait_for_timeout(50)

    def says(self, text):
        self.until("text => document.querySelector('#says').textContent === text", text)

    def shot(self, name):
        if KEPT:
            picture = Image.open(BytesIO(self.page.screenshot())).convert("RGB")
            picture.thumbnail((680, 680))
            picture.save(Path(KEPT) / f"serve-{name}.webp", quality=28, method=6)
