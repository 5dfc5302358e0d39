"""A headless Chromium that can reach no host but this one, and what tests ask of it."""

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.expected_conditions import presence_of_element_located
from selenium.webdriver.support.ui import WebDriverWait

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")

needs_chromium = [
    pytest.mark.browser,
    pytest.mark.skipif(
        not (CHROMIUM and DRIVER) and "AUTODIFF_TEST_BROWSER" not in os.environ,
        reason="needs Debian's chromium and chromium-driver",
    ),
]


def open_chromium(profile: Path) -> webdriver.Chrome:
    """A headless Chromium that resolves no host name but the service's. Its profile is in a folder."""
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM or "chromium"
    for flag in (
        "headless",
        "no-sandbox",
        "disable-gpu",
        "disable-quic",
        "disable-dev-shm-usage",
        "no-first-run",
        "disable-background-networking",
        "disable-component-update",
        "disable-sync",
        "window-size=1280,1600",
        f"user-data-dir={profile}",
        "host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    ):
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    return webdriver.Chrome(options, webdriver.ChromeService(DRIVER or "chromedriver"))


def find(browser: webdriver.Chrome, selector: str) -> WebElement:
    """Wait for the first element that a selector matches."""
    return WebDriverWait(browser, 20).until(presence_of_element_located((By.CSS_SELECTOR, selector)))


def read(browser: webdriver.Chrome, selector: str, name: str) -> str:
    """A property that is a text, or else an attribute, of the first element that a selector matches, once there is one.

    A script finds and reads it at once: an element that was found before may have been drawn anew.
    """
    script = """
        const element = document.querySelector(arguments[0]), property = element?.[arguments[1]];
        return typeof property === "string" ? property : element?.getAttribute(arguments[1])
    """

    def found(_: webdriver.Chrome) -> list[str]:
        text = browser.execute_script(script, selector, name)
        return [] if text is None else [str(text)]

    return WebDriverWait(browser, 20).until(found)[0]


def log_of(browser: webdriver.Chrome, name: str) -> list[dict[str, Any]]:
    """Return the entries of one of the browser's logs."""
    entries: list[dict[str, Any]] = browser.get_log(name)  # type: ignore[no-untyped-call]  # Selenium has no types here
    return entries
