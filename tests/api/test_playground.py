"""The playground's page and files as an application in process serves them."""

import re
from html.parser import HTMLParser
from importlib.metadata import PackageNotFoundError, distribution

import httpx
import pytest
from fastapi import FastAPI
from pydantic import SecretStr

from app.api import playground
from app.main import create_app
from app.settings import Settings
from tests.rows import for_each
from tests.service.inprocess import send

FILES = sorted(path.relative_to(playground.FOLDER).as_posix() for path in playground.FOLDER.rglob("*") if path.is_file())
TYPES = {"js": "text/javascript", "css": "text/css"}
POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self' data: blob:",
    "connect-src": "'self'",
    "base-uri": "'none'",
    "form-action": "'none'",
    "frame-ancestors": "'none'",
}


@pytest.fixture(scope="module")
def application() -> FastAPI:
    return create_app(Settings())


class Page(HTMLParser):
    """The links, inline scripts and inline styles of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.inline: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.links += [str(found[name]) for name in ("href", "src") if name in found]
        if tag == "style" or (tag == "script" and "src" not in found):
            self.inline.append(tag)
        self.inline += [name for name in found if name == "style" or name.startswith("on")]


def policy(response: httpx.Response) -> dict[str, str]:
    """The content security policy by directive."""
    parts = [part.split(maxsplit=1) for part in response.headers["content-security-policy"].split(";")]
    return {name: value.strip() for name, value in parts}


def test_page_is_html_under_a_strict_policy(application: FastAPI) -> None:
    response = send(application, "GET", "/")
    assert response.status_code == 200 and response.headers["content-type"] == "text/html; charset=utf-8"
    assert policy(response) == POLICY
    assert Page(response.text).inline == []


@pytest.mark.parametrize("root_path", ["", "/autodiff", "/auto/diff"])
def test_every_link_of_the_page_leads_somewhere(root_path: str) -> None:
    app = create_app(Settings(root_path=root_path))
    links = [link for link in Page(send(app, "GET", "/").text).links if not link.startswith("#")]
    assert len(links) >= 5
    for link in links:
        url = httpx.URL(f"http://test{root_path}/").join(link)
        assert url.host == "test" and url.path.startswith(root_path + "/")
        assert send(app, "GET", url.path).status_code == 200, link


def test_links_hold_without_the_final_slash_of_the_root_path() -> None:
    """A proxy may serve the page at /autodiff, where a browser takes relative links for /web."""
    links = Page(send(create_app(Settings(root_path="/autodiff")), "GET", "/").text).links
    assert "/autodiff/web/main.js" in links and "/autodiff/docs" in links


@for_each("name", [name for name in FILES if name != "index.html"])
def test_file_is_served_with_its_type(application: FastAPI, name: str) -> None:
    response = send(application, "GET", f"/web/{name}")
    assert response.status_code == 200
    assert response.headers["content-type"] == f"{TYPES[name.rpartition('.')[2]]}; charset=utf-8"
    assert response.content == (playground.FOLDER / name).read_bytes()
    assert policy(response) == POLICY


@pytest.mark.parametrize("path", ["/", "/web/main.js"])
def test_what_the_browser_has_is_not_sent_again(application: FastAPI, path: str) -> None:
    first = send(application, "GET", path)
    assert first.headers["cache-control"] == "no-cache"
    tag = first.headers["etag"]
    again = send(application, "GET", path, headers={"If-None-Match": f'"other", W/{tag}'})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    assert send(application, "GET", path, headers={"If-None-Match": '"other"'}).status_code == 200


@for_each(
    "path",
    [
        "/web",
        "/web/",
        "/web/nope.js",
        "/web/index.html",
        "/web/views",
        "/web/../main.py",
        "/web/..%2fmain.py",
        "/web/main.js%00",
    ],
)
def test_nothing_else_is_served(application: FastAPI, path: str) -> None:
    assert send(application, "GET", path).status_code == 404


def test_page_and_files_need_no_key_and_the_rest_does() -> None:
    app = create_app(Settings(api_keys=SecretStr("k")))
    for path in ("/", "/web/main.js", "/web/views/expression.js"):
        assert send(app, "GET", path).status_code == 200, path
    for path in ("/webx", "/web2/main.js", "/v1/info"):
        assert send(app, "GET", path).status_code == 401, path


@for_each("name", FILES)
def test_file_names_no_other_host(name: str) -> None:
    """Namespaces are names, not addresses."""
    text = (playground.FOLDER / name).read_text("utf-8")
    assert set(re.findall(r"https?://[\w.]+", text)) <= {"http://www.w3.org"}


@for_each("name", [name for name in FILES if name.endswith(".js")])
def test_no_text_is_read_as_html(name: str) -> None:
    text = (playground.FOLDER / name).read_text("utf-8")
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|setHTMLUnsafe", text)


def test_everything_together_weighs_less_than_300_kb() -> None:
    assert sum((playground.FOLDER / name).stat().st_size for name in FILES) < 300_000


def test_installed_package_has_every_file() -> None:
    try:
        found = {str(file) for file in distribution("autodiff-http").files or ()}
    except PackageNotFoundError:
        pytest.skip("the project is not installed")
    if "app/__init__.py" not in found:
        pytest.skip("an editable installation has no copies")
    assert {f"app/web/{name}" for name in FILES} <= found
