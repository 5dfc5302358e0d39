"""Swagger UI as a person uses it, in headless Chromium, with every other host out of reach."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import Select, WebDriverWait

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        not (CHROMIUM and DRIVER) and "AUTODIFF_TEST_BROWSER" not in os.environ,
        reason="wants Debian's chromium and chromium-driver",
    ),
]


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[webdriver.Chrome]:
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
        f"user-data-dir={tmp_path}",
        "host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    ):
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(DRIVER or "chromedriver"))
    yield driver
    driver.quit()


def find(browser: webdriver.Chrome, selector: str) -> WebElement:
    return WebDriverWait(browser, 20).until(lambda b: next(iter(b.find_elements(By.CSS_SELECTOR, selector)), None))


def test_execute_shows_the_gradient(browser: webdriver.Chrome, base_url: str) -> None:
    """The page opens without any other host, an example is chosen and executed, and its gradient can be read there."""
    browser.get(f"{base_url}/docs")
    find(browser, "#operations-expressions-backward button.opblock-summary-control").click()
    chooser = find(browser, "#operations-expressions-backward .opblock-section-request-body .examples-select-element")
    Select(chooser).select_by_visible_text("A graph of scalar operations")
    find(browser, "#operations-expressions-backward button.execute").click()
    body = find(browser, "#operations-expressions-backward .live-responses-table .highlight-code code")
    answer = json.loads(body.text)
    assert answer["value"] == 9.0
    assert answer["gradients"] == {"x": 6.0, "y": 1.0}
    if picture := os.environ.get("AUTODIFF_TEST_PICTURE"):
        browser.save_screenshot(picture)

    asked = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    urls = [m["params"]["request"]["url"] for m in asked if m["method"] == "Network.requestWillBeSent"]
    assert f"{base_url}/v1/backward" in urls
    assert [url for url in urls if url.startswith(("http", "ws")) and not url.startswith(base_url)] == []
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []


def test_every_operation_is_shown_with_its_examples(browser: webdriver.Chrome, base_url: str) -> None:
    """No operation fails to render."""
    browser.get(f"{base_url}/docs")
    find(browser, "#operations-expressions-backward")
    shown = {block.get_attribute("id").split("-")[-1] for block in browser.find_elements(By.CSS_SELECTOR, ".opblock")}
    assert {"forward", "backward", "jvp", "jacobian", "hessian", "hvp", "check", "parse", "graph"} <= shown
    assert browser.find_elements(By.CSS_SELECTOR, ".errors-wrapper") == []
