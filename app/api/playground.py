"""The playground: a page at / and its modules and style sheets below /web, which are the files of the folder `app/web`.

There is no build step. Browsers ask for every file again but get it only if it has changed, so that the modules of one page are
always of one version.
"""

from functools import cache
from hashlib import sha256
from html import escape
from pathlib import Path

from fastapi import APIRouter, Request, Response
from starlette.exceptions import HTTPException

router = APIRouter(include_in_schema=False)

FOLDER = Path(__file__).parents[1] / "web"
INDEX = "index.html"
MEDIA_TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css"}


@router.get("/")
async def index(request: Request) -> Response:
    """The page. Its links are relative; behind a root path they begin with it, so that the final slash may be missing."""
    root = escape(request.scope.get("root_path", "").rstrip("/"))
    page = _files()[INDEX].read_text("utf-8")
    return _answer(request, page.replace('="./', f'="{root}/').encode() if root else page.encode(), ".html")


@router.get("/web/{name:path}")
async def file(request: Request, name: str) -> Response:
    """A module or a style sheet."""
    if name == INDEX or name not in _files():
        raise HTTPException(404)
    path = _files()[name]
    return _answer(request, path.read_bytes(), path.suffix)


@cache
def _files() -> dict[str, Path]:
    """All files by their path below the folder. What is not listed here is not served, whatever a path says."""
    found = [path for path in FOLDER.rglob("*") if path.suffix in MEDIA_TYPES]
    return {path.relative_to(FOLDER).as_posix(): path for path in found}


def _answer(request: Request, content: bytes, suffix: str) -> Response:
    """The content, or 304 where the client has it."""
    tag = f'"{sha256(content).hexdigest()[:32]}"'
    headers = {"ETag": tag, "Cache-Control": "no-cache"}
    known = [entry.strip().removeprefix("W/") for entry in request.headers.get("if-none-match", "").split(",")]
    if tag in known:
        return Response(status_code=304, headers=headers)
    return Response(content, media_type=MEDIA_TYPES[suffix], headers=headers)
