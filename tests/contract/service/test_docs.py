"""Swagger UI at GET /docs."""

import re

import httpx


def test_docs_load_nothing_from_other_hosts(client: httpx.Client) -> None:
    page = client.get("/docs")
    assert page.headers["content-type"].startswith("text/html")
    links = re.findall(r'(?:src|href|data-[a-z]+)="([^"]+)"', page.text)
    assert len(links) >= 4
    for link in links:
        assert not re.match(r"(https?:)?//", link), link
        response = client.get(httpx.URL("/docs").join(link))
        assert response.status_code == 200 and response.content, link
        if link.endswith(".css"):
            assert not re.search(r"url\(\s*['\"]?(https?:)?//", response.text) and "@import" not in response.text, link
