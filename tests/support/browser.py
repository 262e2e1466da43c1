"""Chromium without a window, driven by Playwright."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, sync_playwright

_NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")


@contextmanager
def running_browser() -> Iterator[Browser]:
    """Lend a browser. A machine without one cannot prove what the page looks like, so it fails."""
    program = next((found for name in _NAMES if (found := shutil.which(name))), None)
    if program is None:
        pytest.fail("no Chromium: apt-get install --no-install-recommends chromium", pytrace=False)
    with sync_playwright() as playwright:
        # Root may not sandbox, and containers have a small /dev/shm.
        flags = ["--no-sandbox", "--disable-dev-shm-usage"]
        browser = playwright.chromium.launch(executable_path=program, args=flags)
        try:
            yield browser
        finally:
            browser.close()
