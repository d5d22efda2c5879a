"""The route of the picture that a part is compared with."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, HTTPException
from fastapi.responses import Response

from differnet.service.http.routes.inspect import Name
from differnet.service.http.routes.record import picture_of, pictures
from differnet.service.http.schemas import ErrorBody, errors
from differnet.service.http.service import Service
from differnet.service.record.figures.typical import typical_part

_MISSING: dict[int | str, dict[str, Any]] = {
    404: {"model": ErrorBody, "description": "No such model, or no picture of a good part."}
}


def routes(service: Service) -> APIRouter:
    """Return the route."""
    router = APIRouter(prefix="/v1/models/{name}", tags=["models"], responses=errors())

    @router.get("/good-part", response_class=Response, responses=_MISSING | pictures())
    def good_part(name: Name) -> Response:
        """Return a picture of a typical good part: that of the model's folder, else one of the record.

        Of the record it is the "OK" part of the lowest score, whose number is in the header ``Part``.
        """
        model = service.model(name)
        stored = model.inspector.station.good
        if stored is not None:
            return Response(stored, media_type="image/png")
        row = typical_part(service.store, name, model.digest)
        if row is None:
            raise HTTPException(
                404,
                "there is no picture of a good part: export the model with --check and good images, or keep images "
                "of OK parts with --keep-images all",
            )
        answer = picture_of(service, row.image)
        answer.headers["Part"] = str(row.seq)
        return answer

    return router
