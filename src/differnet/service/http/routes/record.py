"""The routes that show the record, and take what operators say of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path as File
from typing import Annotated, Any, Literal

from fastapi import APIRouter, HTTPException, Path, Query
from fastapi.responses import Response, StreamingResponse
from zipstream import ZipStream

from differnet.service.http.routes.filters import Wanted, When
from differnet.service.http.routes.inspect import Name
from differnet.service.http.schemas import CountsBody, ErrorBody, OperatorBody, Page, as_json, errors
from differnet.service.http.service import Service
from differnet.service.http.telemetry import asker
from differnet.service.record.inspection import Inspection
from differnet.service.record.part import checked_kind

Id = Annotated[str, Path(pattern="^[0-9a-f]{32}$", description="The id of an inspection.")]
Seq = Annotated[int | None, Query(ge=0, le=2**53)]
_TYPES = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".bmp": "image/bmp",
    ".tif": "image/tiff",
    ".gif": "image/gif",
    ".webp": "image/webp",
}
_UNKNOWN = "application/octet-stream"  # of what is no picture, and was kept as it was received
_PICTURE: dict[str, Any] = {"type": "string", "format": "binary"}
_STEP = 2**16
_MISSING: dict[int | str, dict[str, Any]] = {
    404: {"model": ErrorBody, "description": "Not there, or not kept."}
}


def routes(service: Service) -> APIRouter:
    """Return the routes."""
    router = APIRouter(prefix="/v1", tags=["record"], responses=errors())
    _add_pages(router, service)
    _add_lists(router, service)
    _add_single(router, service)
    return router


def _add_pages(router: APIRouter, service: Service) -> None:
    @router.get("/inspections", response_model=Page)
    def inspections(
        wanted: Wanted,
        before_seq: Seq = None,
        limit: Annotated[int, Query(ge=1, le=999)] = 100,
    ) -> Any:
        """List inspections, the newest first."""
        rows = service.store.found(wanted, before_seq, limit + 1)
        return {"inspections": rows[:limit], "next": rows[limit - 1].seq if len(rows) > limit else None}


def _add_lists(router: APIRouter, service: Service) -> None:
    @router.get("/models/{name}/counts", response_model=CountsBody, responses=_MISSING)
    def counts(
        name: Name,
        since: When = None,
        until: When = None,
        bucket: Literal["hour", "day"] = "hour",
    ) -> Any:
        """Count inspections by hour or day (UTC) and verdict."""
        service.model(name)
        found = service.store.counts(name, since, bucket, until)
        total: dict[str, int] = dict.fromkeys(("OK", "review", "NG", "error", "none"), 0)
        for _, tally in found:
            for verdict, count in tally.items():
                total[verdict] += count
        return {"buckets": [{"start": at, **tally} for at, tally in found], "total": total}

    @router.get(
        "/models/{name}/good-images",
        response_class=Response,
        responses=_MISSING | pictures("application/zip"),
    )
    def good_images(name: Name) -> Response:
        """Return the images that operators confirmed as good, each once, as a ZIP to calibrate or fit anew with."""
        service.model(name)
        disposition = {"Content-Disposition": f'attachment; filename="{name}-good.zip"'}
        chunks = zipped(service.store.good_images(name))
        return StreamingResponse(chunks, media_type="application/zip", headers=disposition)


def _add_single(router: APIRouter, service: Service) -> None:
    @router.get("/inspections/{id}", response_model=Inspection, responses=_MISSING)
    def inspection(id: Id) -> Any:
        """Return one inspection."""
        return _row(service, id)

    @router.get(
        "/inspections/{id}/image",
        response_class=Response,
        responses=_MISSING | pictures(),
    )
    def image(id: Id) -> Response:
        """Return the image as it was received."""
        return picture_of(service, _row(service, id).image)

    @router.get("/inspections/{id}/map", response_class=Response, responses=_MISSING | pictures("image/png"))
    def heat_map(id: Id) -> Response:
        """Return the heat map, to lay over the image."""
        return picture_of(service, _row(service, id).heat_map)

    @router.put("/inspections/{id}/operator", response_model=Inspection, responses=_MISSING)
    def operator(id: Id, body: OperatorBody) -> Any:
        """Note what an operator says of a part, or take it back; ``note`` and ``defect`` stay where not given."""
        keeps, kind = ("note" not in body.model_fields_set), checked_kind(body.defect, service.limits.defects)
        if kind is not None and body.verdict != "defective":
            raise HTTPException(422, f"defect {kind!r}: only a part that is defective has one")
        by, keeps_kind = asker.get(), "defect" not in body.model_fields_set
        row = service.store.confirm(id, body.verdict, body.note, keeps, by, kind, keeps_kind)
        if row is None:
            raise HTTPException(404, f"no inspection {id}")
        service.hub.tell("operator", row.model, as_json(row))
        return row


def _row(service: Service, identity: str) -> Inspection:
    row = service.store.get(identity)
    if row is None:
        raise HTTPException(404, f"no inspection {identity}")
    return row


def picture_of(service: Service, name: str | None) -> Response:
    """Answer with a kept file; 404 where it was not kept."""
    path = None if name is None else service.store.kept.path(name)
    try:
        content = None if path is None else path.read_bytes()
    except FileNotFoundError:
        content = None
    if path is None or content is None:
        raise HTTPException(404, "it was not kept")
    return Response(content, media_type=_TYPES.get(path.suffix, _UNKNOWN))


def pictures(*kinds: str) -> dict[int | str, dict[str, Any]]:
    """Describe an answer that is a file of these kinds, or a picture of any."""
    kinds = kinds or (*_TYPES.values(), _UNKNOWN)
    return {200: {"description": "The file.", "content": {kind: {"schema": _PICTURE} for kind in kinds}}}


def zipped(files: Iterator[tuple[str, File | bytes]]) -> Iterator[bytes]:
    """Yield a ZIP file as it grows; pictures are compressed already, and those forgotten meanwhile are left out."""
    archive = ZipStream()
    for name, what in files:
        with suppress(FileNotFoundError):
            archive.add(what if isinstance(what, bytes) else what.read_bytes(), name)
        yield from archive.all_files()
    yield from archive.finalize()
