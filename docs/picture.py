"""The picture of a report: ``python docs/picture.py REPORT.html PICTURE.png``. Needs playwright, pillow and Chromium.

Its head, and below it a training's curves with their distance to the oracle.
"""

import io
import shutil
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

RECIPE, DTYPE = "moons-deep-relu-momentum", "float32"
WIDTH, HEAD = 1180, 900  # pixels: of the page, and of what is shown of its beginning
COLOURS = 256


def main(report: str, picture: str) -> None:
    """Look at a report and keep what is seen."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium") or shutil.which("google-chrome"), args=["--no-sandbox"]
        )
        page = browser.new_page(viewport={"width": WIDTH, "height": HEAD}, color_scheme="light")
        page.goto(f"{Path(report).resolve().as_uri()}#recipe={RECIPE}&dtype={DTYPE}")
        page.wait_for_selector("#curves .main-svg")
        page.evaluate("window.scrollTo(0, 0)")
        head = Image.open(io.BytesIO(page.screenshot(clip={"x": 0, "y": 0, "width": WIDTH, "height": HEAD})))
        curves = Image.open(io.BytesIO(page.locator("#curves").screenshot()))
        left = round(page.locator("#curves").bounding_box()["x"])
        browser.close()
    whole = Image.new("RGB", (WIDTH, HEAD + curves.height), head.getpixel((WIDTH - 1, HEAD - 1)))
    whole.paste(head, (0, 0))
    whole.paste(curves, (left, HEAD))
    whole.quantize(COLOURS).save(picture, optimize=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
