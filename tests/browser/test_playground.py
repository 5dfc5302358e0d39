"""The playground in headless Chromium, which can reach no other host: Expression, and Backward step by step.

Every test ends with a look at the console, where violations of the content security policy appear too. axe-core, where
`AUTODIFF_TEST_AXE` names a folder in which npm installed it, checks accessibility.
"""

import base64
import json
import math
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import Select, WebDriverWait

from tests.browser.chromium import find, log_of, needs_chromium, open_chromium, read
from tests.conftest import ROOT, Server
from tests.contract.wire import LOCAL

pytestmark = needs_chromium

README = (ROOT / "README.md").read_text("utf-8")
VIEWS = ["expression", "backward", "network", "fit", "uncertainty"]
AXE = os.environ.get("AUTODIFF_TEST_AXE")
REFUSED = "the server responded with a status of 4"
"""What Chromium logs where a request is refused, as it is for an expression that is not finished."""

NASTY = "'\"\\ $HOME `id` #{1} ${2} </script><script>document.title='hacked'</script><img src=x onerror=\"document.title=1\">"
"""A name that means something in every place where it should mean nothing."""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    driver = open_chromium(tmp_path_factory.mktemp("chromium"))
    driver.execute_cdp_cmd("Browser.grantPermissions", {"permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"]})
    yield driver
    driver.quit()


@pytest.fixture(autouse=True)
def clean_console(browser: webdriver.Chrome) -> Iterator[None]:
    """Nothing is logged but requests that are refused, and no request goes to another host."""
    log_of(browser, "browser")
    yield
    severe = [entry["message"] for entry in log_of(browser, "browser") if entry["level"] == "SEVERE"]
    assert [message for message in severe if REFUSED not in message] == []


def link(view: str, **state: Any) -> str:
    """The fragment of a view and its state, as state.js writes it."""
    packed = base64.urlsafe_b64encode(json.dumps(state).encode()).decode().rstrip("=")
    return f"#/{view}/{packed}"


def state_of(browser: webdriver.Chrome) -> tuple[str, Any]:
    """The view in the address and its state."""
    _, view, packed = browser.current_url.partition("#")[2].split("/")
    return view, json.loads(base64.urlsafe_b64decode(packed + "=" * (-len(packed) % 4)))


def visit(browser: webdriver.Chrome, base_url: str, fragment: str = "") -> None:
    """Load the page anew; a change of the fragment alone would not."""
    browser.get("about:blank")
    browser.get(f"{base_url}/{fragment}")


def until(browser: webdriver.Chrome, holds: Callable[[], Any], message: str = "") -> None:
    """Wait until something holds."""
    WebDriverWait(browser, 20, 0.05).until(lambda _: holds(), message)


def text_of(browser: webdriver.Chrome, selector: str) -> str:
    """The text of the first element that a selector matches, shown or not."""
    return read(browser, selector, "textContent")


def number_of(text: str) -> float:
    """A number as people read it."""
    return float(text.replace("−", "-"))


def type_into(element: WebElement, text: str) -> None:
    """Replace the text of a field by key presses."""
    element.send_keys(Keys.CONTROL, "a")
    element.send_keys(text)


def table(browser: webdriver.Chrome) -> dict[str, list[str]]:
    """The gradient table: by input, the derivative, the difference quotient and whether they agree."""
    script = "return [...document.querySelectorAll('#gradients tr')].map((row) => [...row.children].map((c) => c.textContent))"
    rows: list[list[str]] = browser.execute_script(script)
    return {name: cells for name, *cells in rows}


def wait_for_rows(browser: webdriver.Chrome, *names: str) -> dict[str, list[str]]:
    """Wait until the gradient table has these inputs, with their difference quotients."""
    until(browser, lambda: set(table(browser)) == set(names) and all(row[2] for row in table(browser).values()), str(names))
    return table(browser)


def step_through(browser: webdriver.Chrome) -> str:
    """What is said about the step that is shown."""
    return text_of(browser, "#steps [aria-current=step]")


# --- Expression


def test_typing_an_expression_shows_its_gradients(browser: webdriver.Chrome, base_url: str) -> None:
    """At x = 3, y = 1: 9 sin 1, 6 sin 1, 9 cos 1, and the second derivatives 2 sin 1, 6 cos 1, -9 sin 1."""
    visit(browser, base_url, link("expression", inputs={"x": [3, -5, 5]}))
    type_into(find(browser, "#expression"), "x**2 * sin(y)")
    rows = wait_for_rows(browser, "x", "y")
    assert math.isclose(number_of(text_of(browser, "#value")), 9 * math.sin(1), rel_tol=1e-8)
    for name, expected in (("x", 6 * math.sin(1)), ("y", 9 * math.cos(1))):
        derivative, quotient, agrees = rows[name]
        assert math.isclose(number_of(derivative), expected, rel_tol=1e-7)
        assert math.isclose(number_of(quotient), expected, rel_tol=1e-6)
        assert agrees == "✓ yes"
    cells = [number_of(cell.text) for cell in browser.find_elements(By.CSS_SELECTOR, "#hessian tbody td")]
    expected_matrix = [2 * math.sin(1), 6 * math.cos(1), 6 * math.cos(1), -9 * math.sin(1)]
    assert all(math.isclose(a, b, rel_tol=1e-3) for a, b in zip(cells, expected_matrix, strict=True))


def test_derivatives_are_typeset(browser: webdriver.Chrome, base_url: str) -> None:
    """As native MathML: the power of the product has its exponent above it, so the formula is higher than its letters."""
    visit(browser, base_url, link("expression", expression="x**3*y"))
    wait_for_rows(browser, "x", "y")
    formula = find(browser, "#formulas [data-input=x] math")
    namespace = browser.execute_script("return arguments[0].namespaceURI", formula)
    assert namespace == "http://www.w3.org/1998/Math/MathML"
    invisible = dict.fromkeys([0x2061, 0x2062])  # "apply" and "times"
    assert str(formula.get_property("textContent")).translate(invisible) == "∂f∂x=3x2y"
    assert formula.find_element(By.CSS_SELECTOR, "msup > mn").text == "2"


def test_moving_a_slider_changes_the_numbers(browser: webdriver.Chrome, base_url: str) -> None:
    visit(browser, base_url, link("expression", expression="a*a", inputs={"a": [2, 0, 10]}))
    assert wait_for_rows(browser, "a")["a"][0] == "4"
    find(browser, "#input-0-range").send_keys(Keys.ARROW_RIGHT)
    value = float(read(browser, "#input-0-value", "value"))
    assert 2 < value < 3
    until(browser, lambda: math.isclose(number_of(table(browser)["a"][0]), 2 * value, rel_tol=1e-7))
    type_into(find(browser, "#input-0-value"), "25")
    until(browser, lambda: table(browser)["a"][0] == "50")
    assert read(browser, "#input-0-range", "max") == "25", "the range grows with the number"


@pytest.mark.parametrize(
    ("expression", "marked", "message"),
    [
        ("h = tanh(w)\n(h - y)**2 + foo(2)", "foo", "line 2, column 14"),
        ("2 + 3x", "x", "line 1, column 6"),
        ("x *", "\u00a0\u00a0", "line 1, column 4"),
        ("[1, 2", None, "not JSON"),
        ('["Foo", "x"]', None, "Foo"),
    ],
    ids=["unknown function", "missing operator", "end of the text", "JSON", "MathJSON"],
)
def test_faults_are_underlined(
    browser: webdriver.Chrome, base_url: str, expression: str, marked: str | None, message: str
) -> None:
    visit(browser, base_url, link("expression", expression=expression))
    until(browser, lambda: message in text_of(browser, "#expression-fault"), message)
    field = find(browser, "#expression")
    assert field.get_attribute("aria-invalid") == "true"
    if marked is None:
        return
    mark = find(browser, ".mirror mark")
    assert mark.get_property("textContent") == marked
    style = browser.execute_script("return getComputedStyle(arguments[0]).textDecorationStyle", mark)
    assert style == "wavy"
    type_into(field, "w*y")
    wait_for_rows(browser, "w", "y")
    assert field.get_attribute("aria-invalid") is None and text_of(browser, "#expression-fault") == ""


def test_number_that_is_not_finite_is_said(browser: webdriver.Chrome, base_url: str) -> None:
    """The slope of sqrt at 0 is infinite; what is finite is shown."""
    visit(browser, base_url, link("expression", expression="sqrt(x) + 2*y", inputs={"x": [0, 0, 1]}))
    rows = wait_for_rows(browser, "x", "y")
    assert rows["x"][0] == "–" and rows["x"][2] == "not finite" and rows["y"][0] == "2"
    assert "x gives Infinity in the backward pass" in text_of(browser, "#trouble")


@pytest.mark.parametrize(
    ("expression", "gradients"),
    [
        ('["Multiply", "x", ["Power", "y", 2]]', {"x": "1", "y": "2"}),
        (
            '{"nodes": [{"id": "x", "op": "value", "data": 3}, {"id": "p", "op": "square", "args": ["x"]}], "output": "p"}',
            {"x": "6"},
        ),
    ],
    ids=["MathJSON", "graph"],
)
def test_json_is_an_expression_too(
    browser: webdriver.Chrome, base_url: str, expression: str, gradients: dict[str, str]
) -> None:
    visit(browser, base_url, link("expression", expression=expression, inputs={}))
    rows = wait_for_rows(browser, *gradients)
    assert {name: row[0] for name, row in rows.items()} == gradients


def test_derivative_as_code(browser: webdriver.Chrome, base_url: str) -> None:
    """The code in JavaScript, run here."""
    visit(browser, base_url, link("expression", expression="x**2*y", language="javascript"))
    until(browser, lambda: "function f(x, y)" in text_of(browser, "#code"))
    source = text_of(browser, "#code").replace("export ", "")
    assert browser.execute_script(f"{source}\nreturn f(3, 2)") == {"value": 18, "gradient": [12, 9]}
    find(browser, "[data-choice='language:c']").click()
    until(browser, lambda: "double" in text_of(browser, "#code"))
    assert state_of(browser)[1]["language"] == "c"


# --- Backward, step by step


def test_stepping_through_the_readme_of_micrograd(browser: webdriver.Chrome, base_url: str) -> None:
    """To the last step by keys. micrograd's README prints g.data = 24.7041, a.grad = 138.8338 and b.grad = 645.5773."""
    visit(browser, base_url, "#/backward/order")
    Select(find(browser, "#examples")).select_by_value("micrograd")
    until(browser, lambda: "= 24.70408" in text_of(browser, "#steps"))
    texts = [item.text for item in browser.find_elements(By.CSS_SELECTOR, "#steps li")]
    steps = len(texts)
    assert step_through(browser) == texts[0] == "The inputs have their values: a = −4, b = 2."
    drawing = find(browser, ".drawing")
    to_g = next(k for k, text in enumerate(texts) if text.endswith("= 24.70408"))
    drawing.send_keys(Keys.ARROW_RIGHT * to_g)
    assert step_through(browser).startswith("g = ")
    to_a = max(k for k, text in enumerate(texts) if "→ a: local × upstream" in text)
    drawing.send_keys(Keys.ARROW_RIGHT * (to_a - to_g))
    assert step_through(browser).endswith("= 138.8338, complete")
    drawing.send_keys(Keys.ARROW_RIGHT * (steps - 1 - to_a))
    assert step_through(browser) == "The gradients of the inputs: a 138.8338, b 645.5773."
    assert find(browser, "#forward").get_attribute("disabled")
    until(browser, lambda: state_of(browser)[1]["step"] == steps - 1)


def test_each_backward_step_lights_one_edge(browser: webdriver.Chrome, base_url: str) -> None:
    """b = a + a; c = b*b at a = 3: two contributions of 6 reach b, and only then two of 12 reach a."""
    visit(browser, base_url, link("backward", expression="b = a + a\nc = b*b", inputs={"a": [3, -5, 5]}, step=0))
    until(browser, lambda: len(browser.find_elements(By.CSS_SELECTOR, "#steps li")) == 9)

    def shown() -> tuple[list[str], str, str]:
        lit = [str(edge.get_attribute("id")) for edge in browser.find_elements(By.CSS_SELECTOR, ".drawing .edge.lit")]
        return lit, text_of(browser, "#node-1 .grad"), text_of(browser, "#node-0 .grad")

    assert text_of(browser, "#node-1 .data") == "data", "not computed yet"
    assert find(browser, "#edge-0 .local-gradient").value_of_css_property("opacity") == "0", "nor is its derivative"
    walk = []
    for _ in range(8):
        find(browser, "#forward").click()
        walk.append(shown())
    edges_to_b, edges_to_a = ["edge-0", "edge-1"], ["edge-2", "edge-3"]
    assert walk[0][0] == edges_to_b and walk[1][0] == edges_to_a, "forward, all edges into a node"
    assert walk[2] == ([], "grad", "grad")
    assert walk[3] == (["edge-2"], "grad 6", "grad")
    assert walk[4] == (["edge-3"], "grad 12", "grad")
    assert walk[5] == (["edge-0"], "grad 12", "grad 12")
    assert walk[6] == (["edge-1"], "grad 12", "grad 24")
    find(browser, "#steps li:nth-child(5) button").click()
    parts = [part.text for part in browser.find_elements(By.CSS_SELECTOR, "#now .part .number")]
    assert parts == ["6", "1", "6", "6 …"], "local, upstream, contribution, sum so far"


def test_keys_buttons_and_slider_step(browser: webdriver.Chrome, base_url: str) -> None:
    visit(browser, base_url, "#/backward")
    until(browser, lambda: browser.find_elements(By.CSS_SELECTOR, "#steps li"))
    drawing, slider = find(browser, ".drawing"), find(browser, "#step")

    def current() -> int:
        return int(str(slider.get_property("value")))

    for target, key, expected in (
        (drawing, Keys.ARROW_RIGHT, 1),
        (drawing, Keys.END, 8),
        (drawing, Keys.ARROW_LEFT, 7),
        (slider, Keys.ARROW_LEFT, 6),
        (slider, Keys.HOME, 0),
        (find(browser, "#last"), Keys.ENTER, 8),
        (find(browser, "#first"), Keys.ENTER, 0),
    ):
        target.send_keys(key)
        assert current() == expected, (key, expected)
    until(browser, lambda: "inputs have their values" in text_of(browser, "#announcer"))
    find(browser, "#expression").send_keys(Keys.ARROW_RIGHT)
    assert current() == 0, "keys in a field move its cursor"


def test_playing_is_not_offered_to_those_who_want_no_motion(browser: webdriver.Chrome, base_url: str) -> None:
    visit(browser, base_url, "#/backward")
    assert find(browser, "#play").is_displayed()
    calm = {"features": [{"name": "prefers-reduced-motion", "value": "reduce"}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", calm)
    try:
        visit(browser, base_url, "#/backward")
        until(browser, lambda: browser.find_elements(By.CSS_SELECTOR, "#steps li"))
        assert browser.find_elements(By.CSS_SELECTOR, "#play") == []
    finally:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


# --- the address


def test_reload_finds_the_same_state(browser: webdriver.Chrome, base_url: str) -> None:
    visit(browser, base_url, link("expression", expression="p*q", inputs={}))
    wait_for_rows(browser, "p", "q")
    type_into(find(browser, "#input-0-value"), "2.5")
    find(browser, "[data-choice='form:latex']").click()
    until(browser, lambda: table(browser)["q"][0] == "2.5" and state_of(browser)[1]["form"] == "latex")
    address = browser.current_url
    browser.refresh()
    assert wait_for_rows(browser, "p", "q")["q"][0] == "2.5"
    assert "dq" in text_of(browser, "#formulas pre + pre") and browser.current_url == address


def test_back_and_forward(browser: webdriver.Chrome, base_url: str) -> None:
    visit(browser, base_url, link("expression", expression="m*m", inputs={"m": [4, 0, 5]}))
    wait_for_rows(browser, "m")
    find(browser, "[data-view=backward]").click()
    until(browser, lambda: browser.find_elements(By.CSS_SELECTOR, "#steps li"))
    find(browser, "#forward").click()
    until(browser, lambda: state_of(browser)[1].get("step") == 1)
    browser.back()
    assert wait_for_rows(browser, "m")["m"][0] == "8"
    browser.forward()
    until(browser, lambda: browser.find_elements(By.CSS_SELECTOR, "#steps [aria-current]"))
    assert read(browser, "#step", "value") == "1"


@pytest.mark.parametrize("fragment", re.findall(r"127\.0\.0\.1:8000/(#/(?:expression|backward)/\w+)\)", README))
def test_lessons_of_the_readme_open(browser: webdriver.Chrome, base_url: str, fragment: str) -> None:
    """Each is one that the view has, and the address then has the whole state."""
    _, view, name = fragment.split("/")
    visit(browser, base_url, fragment)
    until(browser, lambda: not browser.current_url.endswith(fragment))
    module = f"import('./web/views/{view}.js').then((module) => arguments[0](module.lessons))"
    lessons = browser.execute_async_script(module)
    assert state_of(browser)[1]["expression"] == lessons[name]["expression"]
    until(browser, lambda: browser.find_elements(By.CSS_SELECTOR, "#gradients tr, #steps li"))
    assert text_of(browser, "#expression-fault") == ""


@pytest.mark.parametrize(
    "fragment",
    [
        "#/expression/%%%",
        "#/nope/",
        "#/expression/bnVsbA",
        link("expression", expression=5, inputs=[1], form=None),
        "#__proto__",
    ],
)
def test_broken_link_shows_the_first_view(browser: webdriver.Chrome, base_url: str, fragment: str) -> None:
    visit(browser, base_url, fragment)
    wait_for_rows(browser, "w", "x", "b", "y")


@pytest.mark.parametrize("inputs", [{"x": "3"}, {"x": [None, 5, -5]}, {"x": {"a": 1}}, {"x": []}], ids=str)
def test_inputs_of_a_link_are_checked(browser: webdriver.Chrome, base_url: str, inputs: Any) -> None:
    visit(browser, base_url, link("expression", expression="x*x", inputs=inputs))
    assert wait_for_rows(browser, "x")["x"][0] == "2", "at 1, with which an input begins"


# --- "Copy as"


def copied(browser: webdriver.Chrome, language: str) -> str:
    """What "Copy" puts on the clipboard."""
    find(browser, f"[data-language={language}]").click()
    browser.find_elements(By.CSS_SELECTOR, "#takeaway .row button")[-1].click()
    until(browser, lambda: "Copied" in text_of(browser, "#takeaway"))
    text: str = browser.execute_async_script("navigator.clipboard.readText().then(arguments[0])")
    assert text == text_of(browser, "#takeaway pre code")
    return text


RUNNERS = {
    "curl": ["bash", "-c"],
    "python": [sys.executable, "-c"],
    "javascript": [shutil.which("node") or "", "--input-type=module", "-e"],
}


def nasty_graph() -> str:
    """A graph whose inputs have bad names."""
    nodes = [
        {"id": NASTY, "op": "value", "data": 3},
        {"id": "__proto__", "op": "value", "data": 1e-7},
        {"id": "out", "op": "mul", "args": [NASTY, "__proto__"]},
    ]
    return json.dumps({"nodes": nodes, "output": "out"})


@pytest.mark.parametrize("language", RUNNERS)
def test_snippet_runs_as_it_is_copied(browser: webdriver.Chrome, base_url: str, language: str) -> None:
    if not shutil.which(RUNNERS[language][0]):
        pytest.skip(f"needs {language}")
    visit(browser, base_url, link("expression", expression=nasty_graph(), inputs={}))
    wait_for_rows(browser, NASTY, "__proto__")
    script = copied(browser, language)
    found = subprocess.run([*RUNNERS[language], script], capture_output=True, text=True, timeout=60)
    assert found.returncode == 0, found.stderr
    if language == "javascript":
        assert "value: 3e-7" in found.stdout
        return
    answer = json.loads(found.stdout)
    assert answer["value"] == 3e-7 and answer["gradients"][NASTY] == 1e-7 and answer["gradients"]["__proto__"] == 3.0


def strings(source: str) -> list[str]:
    """The string literals of R or Elixir, in which no quote may be left open."""
    literal = r'"((?:[^"\\]|\\.)*)"'
    assert '"' not in re.sub(literal, "", source)
    return [re.sub(r"\\(.)", r"\1", found) for found in re.findall(literal, source)]


@pytest.mark.parametrize(("language", "number"), [("r", "1e-7"), ("elixir", "1.0e-7")])
def test_snippet_is_well_formed(browser: webdriver.Chrome, base_url: str, language: str, number: str) -> None:
    """Elixir's numbers have a point, and `#{` in its strings would be evaluated. R parses its own where it is installed."""
    visit(browser, base_url, link("expression", expression=nasty_graph(), inputs={}))
    wait_for_rows(browser, NASTY, "__proto__")
    script = copied(browser, language)
    assert NASTY in strings(script) and number in script
    bare = re.sub(r'"(?:[^"\\]|\\.)*"', "", script)
    for opening, closing in ("()", "[]", "{}"):
        assert bare.count(opening) == bare.count(closing)
    if language == "elixir":
        assert not re.search(r"(?<!\\)#\{", script)
    elif shutil.which("Rscript"):
        subprocess.run(["Rscript", "-e", "parse(file('stdin'))"], input=script, text=True, check=True, timeout=60)


# --- text from users


@pytest.mark.parametrize("view", ["expression", "backward"])
def test_text_from_a_user_stays_text(browser: webdriver.Chrome, base_url: str, view: str) -> None:
    visit(browser, base_url, link(view, expression=nasty_graph(), inputs={}))
    if view == "expression":
        assert NASTY in wait_for_rows(browser, NASTY, "__proto__")
        for form in ("text", "latex", "typeset"):
            find(browser, f"[data-choice='form:{form}']").click()
    else:
        until(browser, lambda: NASTY in text_of(browser, "#steps"))
        find(browser, "#last").click()
        assert read(browser, "#node-0", "data-id") == NASTY
    assert browser.find_elements(By.CSS_SELECTOR, "main img, main script, main [onerror]") == []
    assert "hacked" not in browser.title and browser.title != "1"
    assert NASTY in [str(name.get_property("textContent")) for name in browser.find_elements(By.CSS_SELECTOR, ".slider .name")]


# --- accessibility, width and weight


def colours(browser: webdriver.Chrome, scheme: str) -> None:
    """Prefer light or dark colours."""
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})


@pytest.mark.skipif(AXE is None, reason="needs axe-core in the folder AUTODIFF_TEST_AXE")
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("view", ["expression", "backward", "fault"])
def test_axe_finds_nothing_serious(browser: webdriver.Chrome, base_url: str, view: str, scheme: str) -> None:
    assert AXE is not None
    colours(browser, scheme)
    if view == "fault":
        visit(browser, base_url, link("expression", expression="2 + 3x"))
        find(browser, "#expression-fault .problem")
    else:
        visit(browser, base_url, f"#/{view}")
    if view == "expression":
        wait_for_rows(browser, "w", "x", "b", "y")
    elif view == "backward":
        until(browser, lambda: len(browser.find_elements(By.CSS_SELECTOR, "#steps li")) == 9)
        find(browser, "#steps li:nth-child(5) button").click()
    browser.execute_script("for (const a of document.getAnimations()) a.finish()")
    assert read(browser, "html", "data-theme") == scheme
    browser.execute_script((Path(AXE) / "node_modules" / "axe-core" / "axe.min.js").read_text("utf-8"))
    found = browser.execute_async_script("axe.run().then((r) => arguments[0](r.violations), (e) => arguments[0](String(e)))")
    serious = [
        (rule["id"], [node["html"][:120] + " " + node["failureSummary"] for node in rule["nodes"]][:3])
        for rule in found
        if rule["impact"] in ("serious", "critical")
    ]
    assert serious == []


def test_theme_can_be_chosen(browser: webdriver.Chrome, base_url: str) -> None:
    colours(browser, "light")
    visit(browser, base_url)
    find(browser, "#theme").click()
    assert read(browser, "html", "data-theme") == "dark"
    browser.refresh()
    until(browser, lambda: read(browser, "html", "data-theme") == "dark")
    find(browser, "#theme").click()
    browser.execute_script("localStorage.clear()")


@pytest.mark.parametrize("view", ["expression", "backward"])
def test_no_sideways_scrolling_on_a_phone(browser: webdriver.Chrome, base_url: str, view: str) -> None:
    phone = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", phone)
    try:
        visit(browser, base_url, link(view, expression="looooooooooooooooooooooooooooooooong_name = x*y\n" + "x*" * 60 + "y"))
        until(browser, lambda: browser.find_elements(By.CSS_SELECTOR, "#gradients tr, #steps li"))
        assert browser.execute_script("return document.documentElement.scrollWidth") == 390
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_everything_together_weighs_less_than_300_kb(browser: webdriver.Chrome, base_url: str) -> None:
    """All views, uncompressed, and nothing comes from another host."""
    log_of(browser, "performance")
    visit(browser, base_url)
    for view in VIEWS:
        find(browser, f"[data-view={view}]").click()
        find(browser, f".view.{view} h1")
    script = "return performance.getEntriesByType('resource').map((e) => [e.name, e.decodedBodySize, e.initiatorType])"
    loaded = [(url, size) for url, size, kind in browser.execute_script(script) if kind != "fetch"]
    assert len([url for url, _ in loaded if url.endswith(".js")]) >= 10
    page = browser.execute_script("return performance.getEntriesByType('navigation')[0].decodedBodySize")
    assert page + sum(size for _, size in loaded) < 300_000
    events = [json.loads(entry["message"])["message"] for entry in log_of(browser, "performance")]
    urls = [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]
    assert [url for url in urls if url.startswith(("http", "ws")) and not url.startswith(base_url)] == []


# --- keys


@pytest.mark.skipif(not LOCAL, reason="starts a server of its own")
def test_key_is_asked_for_and_kept_in_memory_only(browser: webdriver.Chrome, tmp_path: Path) -> None:
    environment = {"AUTODIFF_API_KEYS": "first-secret", "AUTODIFF_ROOT_PATH": "/autodiff"}
    server = Server(tmp_path / "log", environment=environment, fork=True)
    try:
        server.wait_until_ready()
        visit(browser, f"{server.url}/autodiff", link("expression", expression="k*k", inputs={}))
        dialog = find(browser, "#key-dialog[open]")
        find(browser, "#key").send_keys("wrong", Keys.ENTER)
        until(browser, lambda: "did not accept" in dialog.text)
        find(browser, "#key").send_keys("first-secret", Keys.ENTER)
        assert wait_for_rows(browser, "k")["k"][0] == "2"
        assert not dialog.is_displayed() and "secret" not in browser.current_url
        assert "$AUTODIFF_KEY" in text_of(browser, "#takeaway pre") and "secret" not in browser.page_source
        stored = "return JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie])"
        assert "secret" not in browser.execute_script(stored)
        script = copied(browser, "python")
        environment = {**os.environ, "AUTODIFF_KEY": "first-secret"}
        run = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=60)
        assert json.loads(run.stdout)["gradients"] == {"k": 2.0}, run.stderr
        browser.refresh()
        until(browser, lambda: find(browser, "#key-dialog").is_displayed())
        find(browser, "#key-cancel").click()
        until(browser, lambda: "API key is required" in text_of(browser, "#expression-fault"))
    finally:
        server.kill()
