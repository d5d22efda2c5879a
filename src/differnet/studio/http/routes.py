"""What the studio's page asks: pictures in, a fit, what came of it, and the station out."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Query, Request, Response

from differnet.errors import ImageError
from differnet.service.http.routes.record import pictures
from differnet.service.http.schemas import errors
from differnet.studio.http.schemas import Count, ExportBody, FitBody, FolderBody, Id, LeftOutBody, RecordBody
from differnet.studio.pictures import Picture, shown
from differnet.studio.project import Kind
from differnet.studio.studio import Studio

_KEPT = {"Cache-Control": "private, max-age=3600"}
_ERRORS = errors(
    s404="No such picture, or nothing of it that was asked for.",
    s409="A job is running, so no other can begin.",
    s429="Too much is being sent at once.",
    s507="The disk is full, or cannot be written.",
)


def routes(studio: Studio) -> APIRouter:
    """Return the routes."""
    router = APIRouter(prefix="/v1/studio", tags=["studio"], responses=_ERRORS)

    @router.get("/state")
    def state() -> dict[str, Any]:
        """Say what is chosen, what runs, what was found and what judges, without the pictures."""
        return studio.state()

    _add_sources(router, studio)
    _add_pictures(router, studio)
    _add_jobs(router, studio)
    return router


def _add_sources(router: APIRouter, studio: Studio) -> None:
    @router.get("/folders")
    def folders(path: Annotated[str, Query(max_length=4096)] = ".") -> dict[str, Any]:
        """List the folders in one that may be looked into, and count its pictures."""
        return asdict(studio.places.listing(path))

    @router.post("/folders")
    def add(body: FolderBody) -> Count:
        """Take the pictures of a folder and of those below it."""
        return Count(new=studio.gallery.add_folder(body.path, body.kind))

    @router.delete("/folders")
    def remove(path: Annotated[str, Query(max_length=4096)], kind: Kind) -> Count:
        """Have the pictures of a folder no more; on disk they stay."""
        studio.remove(path, kind)
        return Count(new=0)

    @router.post("/upload")
    async def upload(
        request: Request,
        name: Annotated[str, Query(min_length=1, max_length=1000)],
        kind: Kind = "good",
        defect: Annotated[str | None, Query(max_length=200)] = None,
    ) -> Id:
        """Take one picture, which is the body; ``defect``: its type."""
        taken = await studio.receive(_pieces(request), kind, name, defect)
        return Id(id=taken.id, name=taken.name)

    @router.get("/confirmed")
    def confirmed() -> dict[str, int]:
        """Say of each model of the record how many pictures were confirmed as good."""
        return studio.confirmed.counts()

    @router.post("/confirmed")
    def take(body: RecordBody) -> Count:
        """Take the confirmed good pictures of a model."""
        return Count(new=studio.take_confirmed(body.model))


async def _pieces(request: Request) -> AsyncIterator[bytes]:
    async for piece in request.stream():
        if piece:
            yield piece


def _add_pictures(router: APIRouter, studio: Studio) -> None:
    @router.get("/pictures")
    def all_of(kind: Kind = "good") -> list[dict[str, Any]]:
        """List the pictures, and what was found of each."""
        return studio.gallery.rows(kind)

    @router.put("/left-out")
    def leave_out(body: LeftOutBody) -> Count:
        """Fit no more to some good pictures, or again."""
        studio.gallery.leave_out(body.ids, body.left_out)
        return Count(new=0)

    @router.get("/pictures/{identity}/preview", response_class=Response, responses=pictures("image/jpeg"))
    def preview(identity: str) -> Response:
        """Return a picture in small."""
        picture = _known(studio, identity)
        if picture.seen is None:
            raise HTTPException(404, picture.error or "it was not looked at yet")
        return Response(picture.seen.preview, headers=_KEPT, media_type="image/jpeg")

    @router.get("/pictures/{identity}/image", response_class=Response, responses=pictures("image/png"))
    def image(identity: str) -> Response:
        """Return a picture as a browser can draw it."""
        try:
            return Response(shown(_known(studio, identity).path), headers=_KEPT, media_type="image/png")
        except (ImageError, OSError) as error:
            raise HTTPException(404, str(error)) from error

    @router.get("/pictures/{identity}/map", response_class=Response, responses=pictures("image/png"))
    def heat_map(identity: str) -> Response:
        """Return the heat map of a picture, to lay over it."""
        place: Path | None = studio.map_of(_known(studio, identity))
        if place is None:
            raise HTTPException(404, "no heat map was drawn for this picture")
        return Response(place.read_bytes(), media_type="image/png")


def _known(studio: Studio, identity: str) -> Picture:
    found = studio.gallery.get(identity)
    if found is None:
        raise HTTPException(404, "no such picture")
    return found


def _add_jobs(router: APIRouter, studio: Studio) -> None:
    @router.post("/fit")
    def fit(body: FitBody) -> dict[str, Any]:
        """Begin to fit to the good pictures that are not left out."""
        return studio.fit(body.rate, body.preset).to_dict()

    @router.post("/judge")
    def judge() -> dict[str, Any]:
        """Begin to judge the known defects."""
        return studio.judge().to_dict()

    @router.post("/export")
    def export(body: ExportBody) -> dict[str, Any]:
        """Begin to export the model; it judges live when that is done."""
        return studio.export(body.name, body.to).to_dict()

    @router.post("/cancel")
    def cancel() -> dict[str, bool]:
        """End the job that runs; nothing is left of it."""
        return {"cancelled": studio.jobs.cancel()}

    @router.get("/scores")
    def scores() -> dict[str, Any]:
        """Return the scores of the good pictures, the most unusual first, and of known defects."""
        return studio.scores()
