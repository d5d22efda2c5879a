"""Images out of the body of a request: as a form, as JSON with base64, or as the bytes themselves."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_to_bytes

from fastapi import HTTPException, Request
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from differnet.service.http.connection.bodies import BodyError
from differnet.service.http.limits import Limits
from differnet.service.http.routes.parts import part_of
from differnet.service.record.part import NO_PART, Part

FORM, JSON = "multipart/form-data", "application/json"
RAW = ("image/png", "image/jpeg", "image/bmp", "image/tiff", "image/webp", "image/gif")
_FIELDS = 8  # the most fields of a form that are no files
_EXTENDED = re.compile(r"filename\*\s*=\s*(?P<charset>[\w-]+)'[^']*'(?P<name>[^;\s]+)", re.IGNORECASE)
_PLAIN = re.compile(r'filename\s*=\s*(?:"(?P<quoted>[^"]*)"|(?P<bare>[^;\s]+))', re.IGNORECASE)
_DATA = re.compile(r"data:[^,]*;base64,", re.IGNORECASE)
_WANTED = 'JSON {"image": base64, "file_name": text} was wanted'


@dataclass(frozen=True)
class Given:
    """An image as bytes, the name of its file, and which part it is of."""

    content: bytes
    file_name: str | None = None
    part: Part = NO_PART


async def one(request: Request, limits: Limits) -> Given:
    """Return the one image of a request; answers what is wrong with it."""
    kind = check_kind(request, FORM, JSON, *RAW)
    if kind in RAW:
        content = await request.body()
        check_size(len(content), limits)
        return Given(content, file_name(request.headers.get("content-disposition", "")))
    if kind == JSON:
        return await asyncio.to_thread(_from_json, await request.body(), limits)
    async with form(request, 1) as found:
        part = found.get("image")
        if not isinstance(part, UploadFile):
            raise HTTPException(422, "no file in the field 'image'")
        return Given(await content_of(part, limits), part.filename, part_of(found))


def check_kind(request: Request, *wanted: str) -> str:
    """Return the content type of a request; answers 415 for another than is wanted."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in wanted:
        raise HTTPException(415, f"{kind or 'a body of no type'}: {' or '.join(wanted)} was wanted")
    return kind


@asynccontextmanager
async def form(request: Request, files: int) -> AsyncIterator[FormData]:
    """Give the fields of a form while the block runs; answers 400 for one that is broken, or has too many."""
    parser = _Parser(request.headers, request.stream(), max_files=files, max_fields=_FIELDS)
    try:
        found = await parser.parse()
    except MultiPartException as error:
        raise HTTPException(400, error.message) from error
    try:
        yield found
    finally:
        await found.close()


async def content_of(part: UploadFile, limits: Limits) -> bytes:
    """Return the bytes of a file; answers 413 when they are too many."""
    check_size(part.size or 0, limits)
    return await part.read()


def check_size(size: int, limits: Limits) -> None:
    """Answer 413 for an image of too many bytes."""
    if size > limits.image_bytes:
        raise BodyError(413, f"an image of {size:,} bytes; at most {limits.image_bytes:,} are taken")


def file_name(disposition: str) -> str | None:
    """Return the name of a file in a Content-Disposition; ``filename*`` (RFC 8187) goes before ``filename``.

    >>> file_name("attachment; filename=a.png; filename*=UTF-8''na%C3%AFve%20b.png")
    'naïve b.png'
    """
    match = _EXTENDED.search(disposition)
    if match is not None:
        try:
            return unquote_to_bytes(match["name"]).decode(match["charset"])
        except (LookupError, UnicodeDecodeError):
            pass  # of a charset that is none: then what stands in filename
    plain = _PLAIN.search(disposition)
    return None if plain is None else plain["quoted"] if plain["bare"] is None else plain["bare"]


class _Parser(MultiPartParser):
    """Takes a part with ``filename*`` alone for a file, which it is."""

    def on_headers_finished(self) -> None:
        part: Any = self._current_part
        said = (part.content_disposition or b"").decode("utf-8", "replace")
        extended = _EXTENDED.search(said)
        if extended is not None and not _PLAIN.search(said):
            part.content_disposition += b'; filename="file"'
        super().on_headers_finished()
        if extended is not None and part.file is not None:
            part.file.filename = file_name(said) or "file"


def _from_json(body: bytes, limits: Limits) -> Given:
    try:
        document = json.loads(body)
        text, name = document["image"], document.get("file_name")
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise HTTPException(422, f"{type(error).__name__}: {_WANTED}") from error
    if not (name is None or isinstance(name, str)):
        raise HTTPException(422, "file_name: a text or null was wanted")
    if not isinstance(text, str):
        raise HTTPException(422, f"image: {_WANTED}")
    content = from_base64(text)
    check_size(len(content), limits)
    return Given(content, name, part_of(document))


def from_base64(text: str) -> bytes:
    """Return the bytes of base64, the usual or that for URLs, in lines or a data URL; answers what is wrong with it.

    >>> from_base64("data:image/png;base64,-_\\n8=")
    b'\\xfb\\xff'
    """
    prefix = _DATA.match(text[:200])
    plain = "".join((text[prefix.end() :] if prefix else text).split()).translate(_TO_USUAL)
    body = plain.rstrip("=")
    wrong = _NO_BASE64.search(body)
    if wrong is not None:
        raise HTTPException(
            422, f"image: {wrong[0]!r} at character {wrong.start() + 1} is not of base64; {_WANTED}"
        )
    if len(body) % 4 == 1:
        raise HTTPException(422, f"image: {len(body)} characters of base64 are cut off; {_WANTED}")
    try:
        return base64.b64decode(body + "=" * (-len(body) % 4), validate=True)
    except binascii.Error as error:
        raise HTTPException(422, f"image: no base64 ({error}); {_WANTED}") from error


_TO_USUAL = str.maketrans("-_", "+/")
_NO_BASE64 = re.compile(r"[^A-Za-z0-9+/]")
