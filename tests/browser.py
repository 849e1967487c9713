"""A real browser for tests: the system's Chromium, without a window, driven by Playwright."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

NAMES = "chromium", "chromium-browser", "google-chrome", "chrome"


def find_chromium() -> str | None:
    """The path of a Chromium or Chrome on this machine."""
    return next(filter(None, map(shutil.which, NAMES)), None)


@contextmanager
def open_browser(timeout: float = 60) -> Iterator:
    """A headless Chromium as Playwright's `BrowserContext`; no process of it is left behind.

    Skips the test, saying what to install, where Playwright or Chromium is absent.

    Args:
        timeout: seconds that any step in it may take before it fails.
    """
    playwright = pytest.importorskip("playwright.sync_api", reason="needs Playwright: pip install playwright")
    path = find_chromium()
    if path is None:
        pytest.skip(f"needs a browser ({', '.join(NAMES)}): apt-get install chromium")
    # Chromium refuses to start its sandbox as root, as in a container.
    sandbox = hasattr(os, "geteuid") and os.geteuid() != 0
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=path, chromium_sandbox=sandbox, timeout=60_000, args=["--disable-gpu"]
        )
        try:
            context = browser.new_context(viewport={"width": 1280, "height": 1000})
            context.set_default_timeout(timeout * 1000)
            yield context
        finally:
            browser.close()
