"""Swagger UI in headless Chromium, which can reach no other host."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.expected_conditions import presence_of_element_located
from selenium.webdriver.support.ui import Select, WebDriverWait

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        not (CHROMIUM and DRIVER) and "AUTODIFF_TEST_BROWSER" not in os.environ,
        reason="needs Debian's chromium and chromium-driver",
    ),
]


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[webdriver.Chrome]:
    """A headless Chromium that resolves no host name but the service's."""
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
    """Wait for the first element that a selector matches."""
    return WebDriverWait(browser, 20).until(presence_of_element_located((By.CSS_SELECTOR, selector)))


def log_of(browser: webdriver.Chrome, name: str) -> list[dict[str, Any]]:
    """Return the entries of one of the browser's logs."""
    entries: list[dict[str, Any]] = browser.get_log(name)  # type: ignore[no-untyped-call]  # Selenium has no types here
    return entries


def test_executing_an_example_shows_its_gradients(browser: webdriver.Chrome, base_url: str) -> None:
    """The page loads nothing from other hosts and logs no error."""
    browser.get(f"{base_url}/docs")
    find(browser, "#operations-expressions-backward button.opblock-summary-control").click()
    chooser = find(browser, "#operations-expressions-backward .opblock-section-request-body .examples-select-element")
    Select(chooser).select_by_visible_text("A graph of scalar operations")
    find(browser, "#operations-expressions-backward button.execute").click()
    body = find(browser, "#operations-expressions-backward .live-responses-table .highlight-code code")
    response = json.loads(body.text)
    assert response["value"] == 9.0
    assert response["gradients"] == {"x": 6.0, "y": 1.0}
    if picture := os.environ.get("AUTODIFF_TEST_PICTURE"):
        browser.save_screenshot(picture)

    events = [json.loads(entry["message"])["message"] for entry in log_of(browser, "performance")]
    urls = [m["params"]["request"]["url"] for m in events if m["method"] == "Network.requestWillBeSent"]
    assert f"{base_url}/v1/backward" in urls
    assert [url for url in urls if url.startswith(("http", "ws")) and not url.startswith(base_url)] == []
    assert [entry for entry in log_of(browser, "browser") if entry["level"] == "SEVERE"] == []


def test_every_expression_operation_is_rendered(browser: webdriver.Chrome, base_url: str) -> None:
    browser.get(f"{base_url}/docs")
    find(browser, "#operations-expressions-backward")
    shown = {(block.get_attribute("id") or "").split("-")[-1] for block in browser.find_elements(By.CSS_SELECTOR, ".opblock")}
    assert {"forward", "backward", "jvp", "jacobian", "hessian", "hvp", "check", "parse", "graph"} <= shown
    assert browser.find_elements(By.CSS_SELECTOR, ".errors-wrapper") == []


@pytest.mark.parametrize("media", ["image/svg+xml", "image/png"])
def test_a_picture_is_shown_in_its_answer(browser: webdriver.Chrome, base_url: str, media: str) -> None:
    browser.get(f"{base_url}/docs")
    operation = "#operations-networks-history"
    find(browser, f"{operation} button.opblock-summary-control").click()
    accept = find(browser, f"{operation} .content-type-wrapper select[aria-label='Media Type']")
    Select(accept).select_by_value(media)
    find(browser, f"{operation} button.execute").click()
    picture = find(browser, f"{operation} .live-responses-table img")
    WebDriverWait(browser, 20).until(lambda _: browser.execute_script("return arguments[0].naturalWidth", picture))
    assert int(picture.get_property("naturalWidth")) > 500  # type: ignore[arg-type]  # a number
    if file := os.environ.get("AUTODIFF_TEST_PICTURE"):
        browser.execute_script("arguments[0].scrollIntoView()", picture)
        browser.save_screenshot(file)
    assert [entry for entry in log_of(browser, "browser") if entry["level"] == "SEVERE"] == []
