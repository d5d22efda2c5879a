"""The page for the operator at the line: plain files of this package, served under a strict content security policy.

Nothing is built, nothing comes from another host, and no script or style stands inline, so the policy can forbid all
of that. The page itself holds no data: whatever it shows it asks for under ``/v1`` and ``/events``, with the API key.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

FOLDER = Path(__file__).parent.parent / "page"
KINDS = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self' blob:",  # pictures are fetched with the key and shown as blobs
    "connect-src": "'self'",
    "base-uri": "'none'",
    "form-action": "'none'",
    "frame-ancestors": "'none'",
    "require-trusted-types-for": "'script'",  # innerHTML and its like throw
    "trusted-types": "'none'",
}
HEADERS = {
    "Content-Security-Policy": "; ".join(f"{name} {value}" for name, value in POLICY.items()),
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-cache",  # asked for again each time, answered by 304
}


def routes(*folders: Path) -> list[Route]:
    """Return the routes of a page: ``/``, ``/part``, ``/shift`` and ``/page/NAME``, none of which needs a key.

    ``folders``: where its files are, beside those of the operator's page; of two of one name the last is taken.
    """
    files = {
        path.relative_to(place).as_posix(): path.read_bytes()
        for place in (FOLDER, *folders)
        for path in place.rglob("*")
        if path.suffix in KINDS
    }

    async def index(request: Request) -> Response:
        return _answer(request, files, "index.html")

    async def part(request: Request) -> Response:
        return _answer(request, files, "part.html")

    async def shift(request: Request) -> Response:
        return _answer(request, files, "shift.html")

    async def file(request: Request) -> Response:
        return _answer(request, files, request.path_params["name"])

    return [
        Route("/", index, include_in_schema=False),
        Route("/part", part, include_in_schema=False),
        Route("/shift", shift, include_in_schema=False),
        Route("/page/{name:path}", file, include_in_schema=False),
    ]


def _answer(request: Request, files: dict[str, bytes], name: str) -> Response:
    """Answer with one of the files that were there at the start; any other name is not found, whatever it spells."""
    body = files.get(name)
    if body is None:
        return Response("There is no such file.\n", 404, HEADERS, "text/plain; charset=utf-8")
    headers = HEADERS | {"ETag": f'"{hashlib.sha256(body).hexdigest()[:32]}"'}
    if request.headers.get("If-None-Match") == headers["ETag"]:
        return Response(status_code=304, headers=headers)
    return Response(body, headers=headers, media_type=KINDS[Path(name).suffix])
