"""The pages that the `type` of an error leads to: what it means, an example, and how to fix it."""

import json
import re
from html import escape
from typing import Annotated

from fastapi import APIRouter, Depends, Path
from fastapi.responses import HTMLResponse

from app.api.mistakes import MISTAKES
from app.service import problems
from app.service.negotiation import Accepts
from app.service.problems import KINDS, Kind, Problem

router = APIRouter(tags=["service"], responses=problems.responses("not-acceptable", "internal"))

PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title} · autodiff</title>
<link rel="icon" type="image/png" href="../docs/favicon.png">
<link rel="stylesheet" href="../web/style.css">
</head>
<body class="page">
<header class="top">
<p class="brand"><span aria-hidden="true">∂</span> autodiff</p>
<div class="tools"><a href="../docs">API</a></div>
</header>
<main>
<h1>{title}</h1>
<p><code>{name}</code>, status {status}</p>
<h2>What it means</h2>
<p>{meaning}</p>
<h2>For example</h2>
<pre tabindex="0">{wrong}</pre>
<p>is answered with</p>
<pre tabindex="0">{error}</pre>
<h2>How to fix it</h2>
<p>{fix}</p>
<pre tabindex="0">{right}</pre>
</main>
</body>
</html>
"""


@router.get(
    "/problems/{name}",
    summary="What a kind of error means, and how to fix it",
    response_class=HTMLResponse,
    dependencies=[Depends(Accepts("text/html"))],
    responses=problems.responses("not-found", "invalid-request"),
)
async def problem(
    name: Annotated[
        str, Path(description="The name of a problem", examples=["unknown-node"], json_schema_extra={"enum": [*KINDS]})
    ],
) -> str:
    """A short page for people, with an example of the mistake and of its fix. The `type` of every error leads to it."""
    if name not in KINDS:
        raise Problem("not-found", f"there is no such problem; there are {', '.join(KINDS)}")
    return page(KINDS[name])


def page(kind: Kind) -> str:
    """The page about a kind of problem."""
    mistake = MISTAKES[kind.name]
    return PAGE.format(
        name=escape(kind.name),
        title=escape(kind.title),
        status=kind.status,
        meaning=_html(kind.meaning),
        fix=_html(kind.fix),
        wrong=escape(mistake.wrong),
        error=escape(json.dumps(mistake.example(kind.name), indent=2)),
        right=escape(mistake.right),
    )


def _html(text: str) -> str:
    """The text as HTML, with `code` in its element."""
    return re.sub("`([^`]+)`", r"<code>\1</code>", escape(text))
