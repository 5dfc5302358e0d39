"""Swagger UI in headless Chromium, which can reach no other host."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select, WebDriverWait

from tests.browser.chromium import find, log_of, needs_chromium, open_chromium

pytestmark = needs_chromium


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[webdriver.Chrome]:
    driver = open_chromium(tmp_path)
    yield driver
    driver.quit()


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


def test_an_error_is_a_line_that_opens_to_an_example(browser: webdriver.Chrome, base_url: str) -> None:
    browser.get(f"{base_url}/docs")
    find(browser, "#operations-expressions-backward button.opblock-summary-control").click()
    line = find(browser, "#operations-expressions-backward tr[data-code='422'] details:first-child")
    assert line.text == "The request does not match the schema"
    line.find_element(By.TAG_NAME, "summary").click()
    error = json.loads(line.find_element(By.TAG_NAME, "pre").text)
    assert error["status"] == 422 and error["detail"].startswith("at /inputs/x: ")
    line.find_element(By.TAG_NAME, "a").click()
    assert find(browser, "h1").text == "The request does not match the schema"


def test_there_is_no_lock_without_keys(browser: webdriver.Chrome, base_url: str) -> None:
    browser.get(f"{base_url}/docs")
    find(browser, "#operations-expressions-backward")
    assert not browser.find_elements(By.CSS_SELECTOR, ".authorize, .authorization__btn")


def test_the_first_example_is_the_simplest(browser: webdriver.Chrome, base_url: str) -> None:
    browser.get(f"{base_url}/docs")
    find(browser, "#operations-expressions-backward button.opblock-summary-control").click()
    body = find(browser, "#operations-expressions-backward textarea")
    assert json.loads(body.get_attribute("value") or "") == {"expression": "x**2", "inputs": {"x": 3}}
