"""The routes by which inspections and pictures leave for other programs."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from typing import IO, Annotated, Any

from fastapi import APIRouter, HTTPException, Query
from fastapi.responses import Response, StreamingResponse
from PIL import Image

from differnet.data.pixels import Pixels
from differnet.errors import ImageError
from differnet.service.http.routes.filters import Wanted, When
from differnet.service.http.routes.inspect import Name
from differnet.service.http.routes.record import Id, zipped
from differnet.service.http.schemas import ErrorBody, errors
from differnet.service.http.service import Service
from differnet.service.http.upload import read
from differnet.service.record.figures import export
from differnet.service.record.filters import Filter

_STEP = 2**16
_CSV, _PARQUET, _ZIP = "text/csv; charset=utf-8", "application/vnd.apache.parquet", "application/zip"
_BINARY = {"schema": {"type": "string", "format": "binary"}}
_MISSING: dict[int | str, dict[str, Any]] = {
    404: {"model": ErrorBody, "description": "Not there, or not kept."}
}
_NO_EXTRA: dict[int | str, dict[str, Any]] = {
    501: {"model": ErrorBody, "description": "A package is missing; the detail names the pip command."}
}


def routes(service: Service) -> APIRouter:
    """Return the routes."""
    router = APIRouter(prefix="/v1", tags=["export"], responses=errors())
    _add_tables(router, service)
    _add_pictures(router, service)
    return router


def _add_tables(router: APIRouter, service: Service) -> None:
    @router.get("/export/inspections.csv", response_class=Response, responses=_file("text/csv"))
    def as_csv(wanted: Wanted) -> Response:
        """Return all inspections that fit as a table in CSV, the newest first."""
        wanted.conditions(service.store.engine.dialect.name)  # refused before the answer begins
        chunks = export.as_csv(export.rows(service.store, wanted))
        return _attached(chunks, _CSV, "inspections.csv")

    @router.get("/export/inspections.parquet", response_class=Response, responses=_file(_PARQUET) | _NO_EXTRA)
    def as_parquet(wanted: Wanted) -> Response:
        """Return all inspections that fit as a table in Parquet, the newest first."""
        file = export.as_parquet(export.rows(service.store, wanted))
        return _attached(_read(file), _PARQUET, "inspections.parquet")


def _add_pictures(router: APIRouter, service: Service) -> None:
    turn = threading.Lock()  # one picture at a time is made small: a large one takes much room

    @router.get("/models/{name}/labelled-images", response_class=Response, responses=_file(_ZIP) | _MISSING)
    def labelled(
        name: Name,
        since: When = None,
        until: When = None,
        test_share: Annotated[float, Query(ge=0, le=1)] = export.TEST_SHARE,
    ) -> Response:
        """Return the pictures that operators confirmed, good and defective, as a ZIP in the layout of MVTec AD."""
        service.model(name)
        wanted = Filter(model=name, since=since, until=until)
        found = (
            (f"{name}/{file}", what) for file, what in export.labelled(service.store, wanted, test_share)
        )
        return _attached(zipped(found), _ZIP, f"{name}-labelled.zip")

    @router.get(
        "/inspections/{id}/thumbnail", response_class=Response, responses=_file("image/png") | _MISSING
    )
    def thumbnail(id: Id, size: Annotated[int, Query(ge=16, le=512)] = 160) -> Response:
        """Return the picture of an inspection, made small (PNG)."""
        row = service.store.get(id)
        path = None if row is None or row.image is None else service.store.kept.path(row.image)
        try:
            content = b"" if path is None else path.read_bytes()
            with turn:
                small = _small(read(content, "image", service.limits.pixels), size)
        except (FileNotFoundError, ImageError) as error:
            raise HTTPException(404, "it was not kept, or is no picture") from error
        return Response(small, media_type="image/png")


def _small(pixels: Pixels, size: int) -> bytes:
    image, buffer = Image.fromarray(pixels), io.BytesIO()
    image.thumbnail((size, size))
    image.save(buffer, "png")
    return buffer.getvalue()


def _read(file: IO[bytes]) -> Iterator[bytes]:
    with file:
        while chunk := file.read(_STEP):
            yield chunk


def _attached(chunks: Iterator[bytes], kind: str, name: str) -> Response:
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return StreamingResponse(chunks, media_type=kind, headers=headers)


def _file(kind: str) -> dict[int | str, dict[str, Any]]:
    return {200: {"description": "The file.", "content": {kind: _BINARY}}}
