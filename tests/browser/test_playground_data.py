"""The playground's views Network, Fit and Uncertainty in headless Chromium, which can reach no other host."""

import base64
import json
import math
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import Select, WebDriverWait

from tests.browser.chromium import find, log_of, needs_chromium, open_chromium, read
from tests.conftest import ROOT

pytestmark = needs_chromium

DATA = ROOT / "tests" / "data"
README = (ROOT / "README.md").read_text("utf-8")
MICROGRAD = json.loads((DATA / "micrograd_demo.json").read_text("utf-8"))
MISRA1A = next(
    one for one in json.loads((DATA / "nist_regression.json").read_text("utf-8"))["problems"] if one["name"] == "Misra1a"
)
AXE = os.environ.get("AUTODIFF_TEST_AXE")


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    driver = open_chromium(tmp_path_factory.mktemp("profile"))
    yield driver
    driver.quit()


@pytest.fixture
def browser(chromium: webdriver.Chrome, base_url: str) -> Iterator[webdriver.Chrome]:
    """A browser that, after each test, has logged no error and no violation, and has asked no other host for anything."""
    for name in ("browser", "performance"):
        log_of(chromium, name)
    yield chromium
    problems = [entry["message"] for entry in log_of(chromium, "browser") if entry["level"] == "SEVERE"]
    # Chromium's own line for a request that the service refuses, as it should.
    assert [text for text in problems if "status of 422" not in text] == []
    events = [json.loads(entry["message"])["message"] for entry in log_of(chromium, "performance")]
    urls = [m["params"]["request"]["url"] for m in events if m["method"] == "Network.requestWillBeSent"]
    assert [url for url in urls if url.startswith(("http", "ws")) and not url.startswith(base_url)] == []
    chromium.get("about:blank")


def link(name: str, state: dict[str, Any] | None = None) -> str:
    """The fragment of a view and some of its state."""
    packed = base64.urlsafe_b64encode(json.dumps(state).encode()).decode().rstrip("=") if state else ""
    return f"#/{name}/{packed}"


def wait_for(browser: webdriver.Chrome, condition: Callable[[webdriver.Chrome], Any], seconds: float = 60) -> Any:
    return WebDriverWait(browser, seconds, 0.05).until(condition)


def wait_for_phase(browser: webdriver.Chrome, phase: str) -> None:
    wait_for(browser, lambda _: browser.execute_script("return document.querySelector('.view')?.dataset.phase") == phase)


def wait_for_step(browser: webdriver.Chrome, step: int) -> None:
    wait_for(browser, lambda _: text_of(browser, "#step-now") == f"{step} of 100")


def open_view(browser: webdriver.Chrome, base_url: str, name: str, state: dict[str, Any] | None = None) -> None:
    """Open a view and wait until it has computed what it shows first."""
    browser.get("about:blank")
    browser.get(f"{base_url}/{link(name, state)}")
    wait_for_phase(browser, "waiting" if name == "network" else "done")


def text_of(browser: webdriver.Chrome, selector: str) -> str:
    """The text of the first element that a selector matches, at once: the page may replace the element."""
    find(browser, selector)
    return str(browser.execute_script("return document.querySelector(arguments[0])?.textContent ?? ''", selector))


def texts_of(browser: webdriver.Chrome, selector: str) -> list[str]:
    found = browser.execute_script("return [...document.querySelectorAll(arguments[0])].map((e) => e.textContent)", selector)
    return list(found)


def paste(browser: webdriver.Chrome, selector: str, text: str) -> None:
    """Replace the text of a field as pasting does, with one event."""
    field = find(browser, selector)
    browser.execute_script(
        "arguments[0].focus(); arguments[0].select(); document.execCommand('insertText', false, arguments[1])", field, text
    )


def retype(field: WebElement, text: str) -> None:
    """Type over what a field has."""
    field.send_keys(Keys.CONTROL, "a")
    field.send_keys(text)


def settle(browser: webdriver.Chrome, action: Callable[[], Any]) -> None:
    """Do something that makes the view compute, and wait for the end."""
    browser.execute_script("document.querySelector('.view').dataset.phase = 'test'")
    action()
    wait_for_phase(browser, "done")


# --- Network


def history_of(browser: webdriver.Chrome) -> dict[int, tuple[float, float]]:
    """Loss and accuracy by step in the table of numbers."""
    rows = browser.execute_script(
        "return [...document.querySelectorAll('.network details tbody tr')].map(r => [...r.cells].map(c => c.textContent))"
    )
    return {int(step): (float(loss.replace("−", "-")), float(accuracy)) for step, loss, accuracy in rows}


def test_moons_demo_trains_to_100_percent(browser: webdriver.Chrome, base_url: str) -> None:
    """The losses on the page are those of micrograd's published demo."""
    open_view(browser, base_url, "network")
    assert text_of(browser, "#step-now") == "0 of 100" and text_of(browser, "#parameters-now") == "337"
    find(browser, "#train").click()
    wait_for_phase(browser, "done")
    assert text_of(browser, "#step-now") == "100 of 100"
    assert text_of(browser, "#accuracy-now") == "100 %"
    found = history_of(browser)
    assert len(found) == 50 and 0 in found
    for row in MICROGRAD["history"]:
        if row["step"] in found:
            assert found[row["step"]] == pytest.approx((row["loss"], row["accuracy"]), rel=1e-5)


def test_boundary_parts_the_two_moons(browser: webdriver.Chrome, base_url: str) -> None:
    open_view(browser, base_url, "network")
    find(browser, "#train").click()
    wait_for_phase(browser, "done")
    line = read(browser, "#boundary .boundary", "d")
    assert line.count("M") > 50
    colours = browser.execute_script("""
        const canvas = document.querySelector("#boundary canvas"), pixels = canvas.getContext("2d");
        const box = canvas.getBoundingClientRect();
        return [...document.querySelectorAll("#boundary .point")].map((point) => {
            const { left, width, top, height } = point.getBoundingClientRect();
            const x = Math.floor((left + width / 2 - box.left) / box.width * canvas.width);
            const y = Math.floor((top + height / 2 - box.top) / box.height * canvas.height);
            const [red, , blue] = pixels.getImageData(x, y, 1, 1).data;
            return [point.classList.contains("kind-1"), blue - red];
        })""")
    assert len(colours) == 100 and sum(is_upper for is_upper, _ in colours) == 50
    # A point nearer to the boundary than half a cell of the grid may lie on a cell of the other side.
    assert sum((bluer > 0) == is_upper for is_upper, bluer in colours) >= 97


def test_pause_resume_and_step_once_end_as_one_run(browser: webdriver.Chrome, base_url: str) -> None:
    open_view(browser, base_url, "network")
    find(browser, "#train").click()
    wait_for_phase(browser, "done")
    wanted = drawing_of(browser)

    open_view(browser, base_url, "network", {"every": 1})
    browser.execute_script("""
        const start = document.querySelector("#train");
        new MutationObserver((_, observer) => {
            if (!document.querySelector("#step-now").textContent.startsWith("7 ")) return;
            observer.disconnect();
            start.click();
        }).observe(document.querySelector(".readout"), { childList: true, subtree: true });
        start.click()""")
    wait_for_phase(browser, "waiting")
    paused = int(text_of(browser, "#step-now").split()[0])
    assert 7 <= paused < 100 and text_of(browser, "#train") == "Resume"
    for k in (1, 2):
        find(browser, "#step").click()
        wait_for_step(browser, paused + k)
        wait_for_phase(browser, "waiting")
    find(browser, "#train").click()
    wait_for_phase(browser, "done")
    assert drawing_of(browser) == wanted


def drawing_of(browser: webdriver.Chrome) -> list[str]:
    """The numbers and lines that are on the page at the end of a training.

    Pictures are drawn in the frame after the phase has changed, and once more where a longer page gets a scroll bar.
    """
    found = browser.execute_async_script("""
        const [answer] = arguments;
        const read = () => answer([document.querySelector("#loss-now").textContent,
            document.querySelector("#boundary .boundary").getAttribute("d"),
            ...[...document.querySelectorAll("#history .curve")].map((line) => line.getAttribute("d")),
            ...[...document.querySelectorAll("#wires .wire")].map((wire) => wire.getAttribute("stroke-width"))]);
        requestAnimationFrame(() => requestAnimationFrame(() => requestAnimationFrame(read)));""")
    assert len(found) == 4 + 2 * 16 + 16 * 16 + 16
    return list(found)


def test_reset_begins_anew(browser: webdriver.Chrome, base_url: str) -> None:
    open_view(browser, base_url, "network")
    before = text_of(browser, "#loss-now")
    find(browser, "#step").send_keys(Keys.ENTER)
    wait_for_step(browser, 1)
    wait_for_phase(browser, "waiting")
    assert text_of(browser, "#loss-now") != before
    find(browser, "#reset").send_keys(Keys.SPACE)
    wait_for_step(browser, 0)
    assert text_of(browser, "#loss-now") == before


def test_pasted_table_with_three_classes_is_trained(browser: webdriver.Chrome, base_url: str) -> None:
    rows = [(k % 3 + 0.1 * (k % 5), 2 * (k % 3 == 1) + 0.1 * (k % 7), k % 3) for k in range(30)]
    table = "a;b;class\n" + "\n".join(";".join(f"{cell}".replace(".", ",") for cell in row) for row in rows)
    open_view(
        browser,
        base_url,
        "network",
        {"source": "table", "csv": table, "loss": "cross_entropy", "rate": "0.1", "optimizer": "adam"},
    )
    find(browser, "#train").click()
    wait_for_phase(browser, "done")
    assert text_of(browser, "#accuracy-now") == "100 %"
    assert len(browser.find_elements(By.CSS_SELECTOR, "#boundary .boundary")) == 3
    assert texts_of(browser, ".legend li")[:3] == ["target 0", "target 1", "target 2"]


@pytest.mark.parametrize("dataset", ["iris", "diabetes", "circles"])
def test_choosing_a_dataset_chooses_a_loss_that_fits(browser: webdriver.Chrome, base_url: str, dataset: str) -> None:
    open_view(browser, base_url, "network")
    Select(find(browser, "#source")).select_by_value(dataset)
    losses = {"iris": "cross_entropy", "diabetes": "mse", "circles": "max_margin"}
    assert Select(find(browser, "#loss")).first_selected_option.get_attribute("value") == losses[dataset]
    wait_for(browser, lambda _: f'"dataset":"{dataset}"' in text_of(browser, ".takeaway pre"))
    wait_for_phase(browser, "waiting")
    find(browser, "#step").click()
    wait_for_step(browser, 1)


def test_layers_have_activations_of_their_own(browser: webdriver.Chrome, base_url: str) -> None:
    open_view(browser, base_url, "network")
    Select(find(browser, "#activation-1")).select_by_value("tanh")
    wait_for(browser, lambda _: texts_of(browser, "#wires text")[2:] == ["relu", "tanh", "linear"])
    find(browser, "#add-layer").click()
    wait_for(browser, lambda _: text_of(browser, "#parameters-now") == str(48 + 272 + 17 * 8 + 9))


def test_wrong_learning_rate_is_told_and_marked(browser: webdriver.Chrome, base_url: str) -> None:
    open_view(browser, base_url, "network", {"rate": "1 - step/"})
    find(browser, "#train").click()
    problem = read(browser, ".messages .problem", "innerText")
    assert "column" in problem and "expected" in problem
    assert [f.get_attribute("value") for f in browser.find_elements(By.CSS_SELECTOR, "[aria-invalid=true]")] == ["1 - step/"]


def test_downloaded_model_is_the_trained_one(browser: webdriver.Chrome, base_url: str, tmp_path: Path) -> None:
    """Its weights are those that micrograd's published demo ends with."""
    browser.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)})
    open_view(browser, base_url, "network")
    find(browser, "#train").click()
    wait_for_phase(browser, "done")
    Select(find(browser, "#format")).select_by_value("safetensors")
    find(browser, "#download").click()
    file = tmp_path / "network.safetensors"
    wait_for(browser, lambda _: file.exists() and file.stat().st_size > 0)
    headers = {"content-type": "application/octet-stream"}
    model = httpx.post(f"{base_url}/v1/networks/import", content=file.read_bytes(), headers=headers).json()["model"]
    neurons = [neuron for layer in model["layers"] for neuron in zip(layer["weights"], layer["biases"], strict=True)]
    numbers = [number for weights, bias in neurons for number in (*weights, bias)]
    assert numbers == pytest.approx(MICROGRAD["final_parameters"], rel=1e-6)


# --- Fit


def misra(separator: str) -> str:
    lines = [f"y{separator}x", *(f"{y}{separator}{x}" for y, x in zip(MISRA1A["target"], MISRA1A["data"]["x"], strict=True))]
    text = "\n".join(lines) + "\n"
    return text.replace(".", ",") if separator == ";" else text


@pytest.mark.parametrize("separator", [",", ";", "\t", " "], ids=["commas", "semicolons-and-decimal-commas", "tabs", "blanks"])
def test_pasted_table_is_fitted(browser: webdriver.Chrome, base_url: str, separator: str) -> None:
    """NIST's certified values of Misra1a to all of their digits."""
    open_view(browser, base_url, "fit")
    paste(browser, "#table", misra(separator))
    paste(browser, "#formula", "b1*(1 - exp(-b2*x))")
    for name, start in (("b1", "500"), ("b2", "0.0001")):
        retype(find(browser, f'[data-parameter="{name}.start"]'), start)
    settle(browser, find(browser, "#fit").click)
    assert text_of(browser, "[data-estimate=b1]") == "238.94212918" == str(MISRA1A["certified"]["b1"])
    assert text_of(browser, "[data-estimate=b2]") == "0.00055015643181" == str(MISRA1A["certified"]["b2"])
    row = read(browser, "#result tbody tr", "innerText").split()
    assert float(row[2]) == pytest.approx(MISRA1A["standard_errors"]["b1"], rel=1e-5)
    assert f"{MISRA1A['rss']:.8g}" in text_of(browser, "#result")
    for mark in (".curve", ".band", ".band.narrow"):
        assert read(browser, f"#curve {mark}", "d")
    assert len(browser.find_elements(By.CSS_SELECTOR, "#residuals .point")) == 14


PUBLISHED = {
    # R's documentation of nls, on the treated cells of Puromycin.
    "enzyme": {"Vm": ("212.7", "6.947"), "K": ("0.06412", "0.00828")},
    "misra1a": {"b1": ("238.94212918", "2.70701"), "b2": ("0.00055015643181", "0.0000072669")},
    # GUM, H.3.3.
    "thermometer": {"y1": ("-0.1712", "0.0029"), "y2": ("0.00218", "0.00067")},
}


@pytest.mark.parametrize("example", PUBLISHED)
def test_example_has_its_published_answer(browser: webdriver.Chrome, base_url: str, example: str) -> None:
    open_view(browser, base_url, "fit")
    settle(browser, lambda: Select(find(browser, "#example")).select_by_value(example))
    rows = browser.execute_script(
        "return [...document.querySelectorAll('#result tbody tr')].map(r => [...r.cells].map(c => c.textContent))"
    )
    found = {name: (value.replace("−", "-"), error.replace("−", "-")) for name, value, error, *_ in rows}
    assert found.keys() == PUBLISHED[example].keys()
    for name, published in PUBLISHED[example].items():
        for shown, text in zip(found[name], published, strict=True):
            half_a_digit = 0.51 * 10.0 ** -len(text.partition(".")[2])
            assert float(shown) == pytest.approx(float(text), abs=half_a_digit)


@pytest.mark.parametrize(
    ("table", "line", "words"),
    [
        ("x,y\n1,2\n3,abc\n5,6", 3, "column y: found 'abc', which is not a number"),
        ("x,y\n1,2\n\n3,4,5\n", 4, "found 3 cells, but the header has 2"),
        ("x,y\n1,2\n3,\n", 3, "column y: the cell is empty"),
        ("1,2\n3,4\n", 1, "begin with a line such as x,y"),
        ("x;y\n1,5;2\n2.5;3\n", 3, "but a comma on line 2"),
        ("x,y\n1,5,2,5\n", 2, "separate the columns by semicolons"),
        ("T (K),y\n1,2\n", 1, "such as T_K"),
        ('x,y\n1,2\n"3,4\n', 3, "is opened and not closed"),
        ("x,<img src=q onerror=alert(1)>\n1,2\n", 1, "<img src=q onerror=alert(1)>"),
    ],
    ids=["text", "cells", "empty", "no-header", "two-marks", "decimal-commas", "name", "quote", "markup"],
)
def test_wrong_table_is_told_with_its_line(browser: webdriver.Chrome, base_url: str, table: str, line: int, words: str) -> None:
    open_view(browser, base_url, "fit")
    settle(browser, lambda: paste(browser, "#table", table))
    problem = find(browser, ".messages .problem")
    assert f"line {line}: " in problem.text and words in problem.text
    area = find(browser, "#table")
    assert area.get_attribute("aria-invalid") == "true"
    assert read(browser, ".messages", "role") == "alert"
    problem.find_element(By.TAG_NAME, "button").click()
    selected = browser.execute_script("return [arguments[0].selectionStart, arguments[0].selectionEnd]", area)
    assert table[slice(*selected)] == table.split("\n")[line - 1]
    settle(browser, lambda: paste(browser, "#table", "conc,rate\n1,2\n2,3\n4,4\n"))
    assert browser.find_elements(By.CSS_SELECTOR, ".problem, [aria-invalid=true]") == []


def test_wrong_formula_is_told_and_marked(browser: webdriver.Chrome, base_url: str) -> None:
    open_view(browser, base_url, "fit")
    settle(browser, lambda: paste(browser, "#formula", "Vm*conc/(K + conc"))
    assert "column 18" in text_of(browser, ".messages")
    assert read(browser, "#formula", "aria-invalid") == "true"


def test_several_columns_are_drawn_as_observed_against_fitted(browser: webdriver.Chrome, base_url: str) -> None:
    table = "a,b,y\n" + "\n".join(f"{k},{k * k % 7},{1 + 2 * k - 3 * (k * k % 7) + 0.1 * (-1) ** k}" for k in range(9))
    state = {"csv": table, "expression": "p + q*a + r*b", "target": "y", "parameters": {}, "intervals": "profile"}
    open_view(browser, base_url, "fit", state)
    assert text_of(browser, "#curve title") == "Observed against fitted"
    for name, true in (("p", 1), ("q", 2), ("r", -3)):
        assert float(text_of(browser, f"[data-estimate={name}]").replace("−", "-")) == pytest.approx(true, abs=0.2)
    assert "profile" in text_of(browser, "#result thead")


# --- Uncertainty


def shares_by_hand() -> dict[str, dict[str, float]]:
    """The shares of the variance of the GUM's example H.2, from partial derivatives that a person worked out."""
    v, i, phi = 4.999, 0.019661, 1.04446
    u = {"V": 0.0032, "I": 0.0000095, "phi": 0.00075}
    r = {("V", "I"): -0.36, ("V", "phi"): 0.86, ("I", "phi"): -0.65}
    cos, sin = math.cos(phi), math.sin(phi)
    slopes = {
        "R": {"V": cos / i, "I": -v * cos / i**2, "phi": -v / i * sin},
        "X": {"V": sin / i, "I": -v * sin / i**2, "phi": v / i * cos},
        "Z": {"V": 1 / i, "I": -v / i**2, "phi": 0.0},
    }
    found = {}
    for output, slope in slopes.items():
        terms = {name: slope[name] * u[name] for name in u}
        parts = {
            a: sum((1.0 if a == b else r.get((a, b), r.get((b, a), 0.0))) * terms[a] * terms[b] for b in terms) for a in terms
        }
        total = sum(parts.values())
        found[output] = {name: part / total for name, part in parts.items()}
    return found


@pytest.mark.parametrize("output", [0, 1, 2], ids=["R", "X", "Z"])
def test_bars_are_the_shares_of_the_variance(browser: webdriver.Chrome, base_url: str, output: int) -> None:
    open_view(browser, base_url, "uncertainty")
    wanted = shares_by_hand()["RXZ"[output]]
    find(browser, f"#bars-{output} .bar")
    bars = browser.execute_script(
        "return [...document.querySelectorAll(`#bars-${arguments[0]} .bar`)].map(b => "
        "[b.dataset.input, Number(b.getAttribute('x')), Number(b.getAttribute('width'))])",
        output,
    )
    zero = float(read(browser, f"#bars-{output} .axis", "x1"))
    longest = max(width for _, _, width in bars)
    largest = max(map(abs, wanted.values()))
    assert [name for name, *_ in bars] == ["V", "I", "phi"]
    for name, x, width in bars:
        assert width / longest == pytest.approx(abs(wanted[name]) / largest, abs=0.005)
        assert (x + width if wanted[name] < 0 else x) == pytest.approx(zero, abs=0.01)
        assert f"{100 * wanted[name]:.3g} %".replace("-", "−") in text_of(browser, f"#bars-{output}")


def test_impedance_of_the_gum_is_shown(browser: webdriver.Chrome, base_url: str) -> None:
    """GUM, table H.4: R = 127.732(71), X = 219.847(295), Z = 254.260(236); the inputs are rounded, so u(R) is 0.070."""
    open_view(browser, base_url, "uncertainty")
    assert texts_of(browser, "#result h2[data-output]") == ["R = 127.73 ± 0.14", "X = 219.85 ± 0.58", "Z = 254.26 ± 0.46"]
    assert len(browser.find_elements(By.CSS_SELECTOR, ".monte-carlo")) == 3
    table = text_of(browser, "#result section:last-child table")
    assert "0.9928" in table


def test_end_gauge_of_the_gum_is_shown(browser: webdriver.Chrome, base_url: str) -> None:
    """GUM, H.1: u = 32 nm with 16 effective degrees of freedom (it has 16.7), k = 2.92 and U99 = 93 nm."""
    open_view(browser, base_url, "uncertainty")
    settle(browser, lambda: Select(find(browser, "#example")).select_by_value("gauge"))
    settle(browser, lambda: retype(find(browser, "#coverage"), "0.99"))
    names, texts = texts_of(browser, "#result .readout dt"), texts_of(browser, "#result .readout dd")
    facts = dict(zip(names, texts, strict=True))
    assert float(facts["Value"]) == 50000838
    assert float(facts["Standard uncertainty"]) == pytest.approx(32, abs=0.5)
    assert math.floor(float(facts["Degrees of freedom"])) == 16
    assert float(facts["Coverage factor"]) == pytest.approx(2.92, abs=0.005)


def test_kind_of_an_input_is_chosen(browser: webdriver.Chrome, base_url: str) -> None:
    """The five readings of a gauge have the mean 5.0 and the uncertainty s/sqrt(5)."""
    open_view(browser, base_url, "uncertainty", {"expression": "2*q", "outputs": [], "inputs": {}, "correlations": []})
    Select(find(browser, "#kind-q")).select_by_value("readings")
    settle(browser, lambda: retype(find(browser, "#readings-q"), "5.01 4.99 5.02 4.98 5.00"))
    assert read(browser, "#result h2", "innerText").startswith("output = 10.000 ± ")
    assert text_of(browser, "#result .readout").count("0.014142") == 1  # 2*sqrt(0.001/4/5)
    Select(find(browser, "#kind-q")).select_by_value("limits")
    retype(find(browser, "#value-q"), "5")
    settle(browser, lambda: retype(find(browser, "#half_width-q"), "0.3"))
    assert "0.34641" in text_of(browser, "#result .readout")  # 2*0.3/sqrt(3)
    assert browser.switch_to.active_element.get_attribute("id") == "half_width-q"


def test_impossible_correlations_are_told(browser: webdriver.Chrome, base_url: str) -> None:
    open_view(browser, base_url, "uncertainty")
    settle(browser, lambda: retype(find(browser, "#correlation-r-0"), "0.99"))
    assert "positive semidefinite" in text_of(browser, ".messages")
    settle(browser, lambda: retype(find(browser, "#correlation-r-0"), "-0.36"))
    assert text_of(browser, ".messages") == ""
    find(browser, "[aria-label='Remove correlation 3']").click()
    wait_for(browser, lambda _: len(browser.find_elements(By.CSS_SELECTOR, ".correlation")) == 2)
    wait_for(browser, lambda _: '["V","phi",0.86]]' in text_of(browser, ".takeaway pre"))


# --- all three

STATES: dict[str, dict[str, Any]] = {
    "network": {
        "source": "table",
        "csv": "p,q,t\n0,0,-1\n0,1,1\n1,0,1\n1,1,-1\n",
        "layers": [{"neurons": 5, "activation": "tanh"}],
        "steps": 40,
    },
    "fit": {
        "csv": "ü;v\n1,5;2\n2;3\n3;4,5\n",
        "expression": "m*ü + c",
        "target": "v",
        "parameters": {"m": {"start": 2, "max": 9}},
    },
    "uncertainty": {
        "expression": "a/b",
        "outputs": [],
        "inputs": {"a": {"kind": "exact", "value": 3}},
        "correlations": [],
        "seed": 9,
    },
}
NONSENSE = {
    "layers": [None, {"neurons": "x"}, 3],
    "parameters": {"Vm": 5, "K": None},
    "inputs": {"V": None, "I": 3},
    "correlations": [None, 1],
}


def fields_of(browser: webdriver.Chrome) -> list[str]:
    found = browser.execute_script("""
        const fields = [...document.querySelectorAll(".view input, .view select, .view textarea")];
        return fields.map((field) => String(field.type === "checkbox" ? field.checked : field.value))""")
    return list(found)


@pytest.mark.parametrize("name", STATES)
def test_reload_finds_the_same_state(browser: webdriver.Chrome, base_url: str, name: str) -> None:
    open_view(browser, base_url, name, STATES[name])
    field = find(browser, {"network": "#add-layer", "fit": "#level", "uncertainty": "#coverage"}[name])
    if name == "network":
        field.click()
    else:
        retype(field, "0.9")
    before = fields_of(browser)
    assert "0.9" in before or "Layer 2: neurons" in text_of(browser, ".view")
    # The address is written a moment later; what is known of it does not depend on the moment.
    wait_for(browser, lambda _: browser.execute_script("return location.hash") != link(name, STATES[name]))
    wait_for(browser, lambda _: "eyJ" in str(browser.execute_script("return location.hash")))
    browser.execute_script("dispatchEvent(new Event('pagehide'))")
    browser.refresh()
    wait_for_phase(browser, "waiting" if name == "network" else "done")
    assert fields_of(browser) == before


@pytest.mark.parametrize("fragment", re.findall(r"127\.0\.0\.1:8000/(#/(?:network|fit|uncertainty)/\w+)\)", README))
def test_lesson_of_the_readme_opens(browser: webdriver.Chrome, base_url: str, fragment: str) -> None:
    """It is one that the view has, and all of its state is then in the address."""
    _, view, name = fragment.split("/")
    browser.get("about:blank")
    browser.get(f"{base_url}/{fragment}")
    wait_for_phase(browser, "waiting" if view == "network" else "done")
    module = f"import('./web/views/{view}.js').then((module) => arguments[0](module.lessons))"
    lesson = browser.execute_async_script(module)[name]
    wait_for(browser, lambda _: len(browser.current_url.split("/")[-1]) > 100)
    packed = browser.current_url.split("/")[-1]
    assert json.loads(base64.urlsafe_b64decode(packed + "=" * (-len(packed) % 4))) == lesson
    assert browser.find_elements(By.CSS_SELECTOR, ".problem") == []


@pytest.mark.parametrize(("example", "accuracy"), [("xor", 100.0), ("spiral", 98.0), ("digits", 95.0)])
def test_example_is_learned(browser: webdriver.Chrome, base_url: str, example: str, accuracy: float) -> None:
    open_view(browser, base_url, "network")
    Select(find(browser, "#example")).select_by_value(example)
    wait_for(browser, lambda _: f'"dataset":"{example}"' in text_of(browser, ".takeaway pre"))
    wait_for_phase(browser, "waiting")
    find(browser, "#train").click()
    wait_for_phase(browser, "done")
    assert float(text_of(browser, "#accuracy-now").removesuffix(" %")) >= accuracy


@pytest.mark.parametrize("name", STATES)
def test_nonsense_in_a_link_does_no_harm(browser: webdriver.Chrome, base_url: str, name: str) -> None:
    browser.get("about:blank")
    browser.get(f"{base_url}/{link(name, NONSENSE)}")
    phases = ("waiting", "done")
    wait_for(browser, lambda _: browser.execute_script("return document.querySelector('.view')?.dataset.phase") in phases)
    assert read(browser, ".view h1", "innerText")


LONG = "a_name_that_is_much_longer_than_what_a_phone_can_show_in_one_line"
WIDE: dict[str, dict[str, Any]] = {
    "network": {"source": "table", "csv": f"{LONG},q,t\n0,0,-1\n0,1,1\n1,0,1\n1,1,-1\n"},
    "fit": {"csv": f"x,{LONG}\n1,2\n2,3\n3,4\n4,6\n", "expression": f"{LONG}_2*x + c", "target": LONG, "parameters": {}},
    "uncertainty": {"expression": f"{LONG}_2 = {LONG}**2", "outputs": [], "inputs": {}, "correlations": []},
}


@pytest.mark.parametrize("width", [390, 1400])
@pytest.mark.parametrize("name", WIDE)
def test_nothing_is_wider_than_the_window(browser: webdriver.Chrome, base_url: str, name: str, width: int) -> None:
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    )
    try:
        open_view(browser, base_url, name, WIDE[name])
        find(browser, ".plot")
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@pytest.mark.skipif(AXE is None, reason="needs axe-core in the folder AUTODIFF_TEST_AXE")
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("name", [*STATES, "wrong-table"])
def test_axe_finds_nothing_serious(browser: webdriver.Chrome, base_url: str, name: str, theme: str) -> None:
    """With everything unfolded that can be."""
    assert AXE is not None
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": theme}]})
    if name == "wrong-table":
        open_view(browser, base_url, "fit", {"csv": "x,y\n1,a\n"})
    else:
        open_view(browser, base_url, name)
    if name == "network":
        find(browser, "#train").click()
        wait_for_phase(browser, "done")
    browser.execute_script("for (const one of document.querySelectorAll('details')) one.open = true")
    browser.execute_script((Path(AXE) / "node_modules" / "axe-core" / "axe.min.js").read_text("utf-8"))
    found = browser.execute_async_script("axe.run().then((r) => arguments[0](r.violations), (e) => arguments[0](String(e)))")
    serious = [rule for rule in found if rule["impact"] in ("serious", "critical")]
    assert [(rule["id"], [node["html"][:120] for node in rule["nodes"]]) for rule in serious] == []


@pytest.mark.parametrize("name", STATES)
def test_copied_curl_answers_what_is_shown(browser: webdriver.Chrome, base_url: str, name: str) -> None:
    open_view(browser, base_url, name)
    shown = text_of(browser, ".takeaway pre")
    assert shown.startswith("curl ")
    run = subprocess.run(["sh", "-c", shown], capture_output=True, text=True, timeout=60, check=True)
    answer = json.loads(run.stdout)
    if name == "network":
        wanted = MICROGRAD["history"][-1]["loss"]
        assert answer["history"][-1]["loss"] == pytest.approx(wanted, rel=1e-9)
    elif name == "fit":
        assert f"{answer['parameters']['Vm']:.11g}" == text_of(browser, "[data-estimate=Vm]")
    else:
        assert f"{answer['results']['R']['value']:.2f}" in text_of(browser, "#result h2")


def test_less_motion_is_respected(browser: webdriver.Chrome, base_url: str) -> None:
    """A training is then drawn at four steps only."""
    motion = {"features": [{"name": "prefers-reduced-motion", "value": "reduce"}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", motion)
    try:
        open_view(browser, base_url, "network", {"every": 1})
        browser.execute_script("""
            window.drawings = 0;
            const isDrawing = (record) => [...record.addedNodes].some((node) => node.tagName === "CANVAS");
            const count = (records) => (window.drawings += records.filter(isDrawing).length);
            new MutationObserver(count).observe(document.querySelector("#boundary"), { childList: true });
            document.querySelector("#train").click()""")
        wait_for_phase(browser, "done")
        assert 1 <= browser.execute_script("return window.drawings") <= 6  # when it starts, too
    finally:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
