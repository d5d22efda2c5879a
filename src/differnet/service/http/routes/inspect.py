"""The routes by which images come in."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, HTTPException, Path, Query, Request
from fastapi.responses import JSONResponse
from starlette.datastructures import UploadFile

from differnet.errors import ConfigError, StoreError
from differnet.runtime.inspector import Count
from differnet.service.http.model import Outcome, Served, Task
from differnet.service.http.queue import LateError
from differnet.service.http.routes import body, parts
from differnet.service.http.schemas import Answer, Answers, ErrorBody, Failure, Result, as_json, errors
from differnet.service.http.service import Service
from differnet.service.http.telemetry import request_id
from differnet.service.record.inspection import Inspection
from differnet.service.record.part import Part

Name = Annotated[str, Path(description="Name of a model.", max_length=100)]
ViewsText = Annotated[
    str | None,
    Query(
        pattern=r"^(auto|[1-9][0-9]{0,3})$", description="How many views, or auto; all of them if not given."
    ),
]
Key = Annotated[
    str | None,
    Header(
        max_length=200,
        pattern=r"^[!-~]+$",
        description="The same key is recorded once, and gives one answer.",
    ),
]
OfPart = Annotated[Part, Depends(parts.from_headers)]
_FAULTS = {"image": 422, "pixels": 413, "model": 500}
_IMAGE = {"type": "string", "format": "binary", "description": "PNG, JPEG, BMP, TIFF, WebP or GIF."}
_ONE: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["image"],
                    "properties": {"image": _IMAGE} | parts.FORM_SCHEMA,
                }
            },
            **{kind: {"schema": _IMAGE} for kind in body.RAW},
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["image"],
                    "properties": {
                        "image": {"type": "string", "format": "byte", "contentEncoding": "base64"},
                        "file_name": {"type": ["string", "null"]},
                        **parts.SCHEMA,
                    },
                }
            },
        },
    }
}
_MANY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["images"],
                    "properties": {
                        "images": {"type": "array", "minItems": 1, "items": _IMAGE},
                        "parts": {
                            "type": "string",
                            "description": "A JSON list with the part of each image.",
                        },
                    },
                }
            }
        },
    }
}
_FULL: dict[int | str, dict[str, Any]] = {
    429: {"model": ErrorBody, "description": "The queue is full: Retry-After"}
}
_RESPONSES = errors(
    s404="No such model.",
    s415="Neither a form nor, for one image, JSON or an image.",
    s500="The model failed.",
)
_RESPONSES |= _FULL
_RESPONSES |= {
    422: {
        "model": Failure,
        "description": "Values that do not fit, or no image: then with the row that says so.",
    },
    413: {
        "model": Failure,
        "description": "Too many bytes, or too many pixels: then with the row that says so.",
    },
}
_MANY_RESPONSES: dict[int | str, dict[str, Any]] = {
    503: {
        "model": Answers,
        "description": "Not all were judged in time or could be recorded; 'results' says which.",
    }
}


def routes(service: Service) -> APIRouter:
    """Return the routes."""
    router = APIRouter(prefix="/v1/models/{name}", tags=["inspect"], responses=_RESPONSES)
    _add_single(router, service)
    _add_batch(router, service)
    return router


def _add_single(router: APIRouter, service: Service) -> None:
    @router.post("/inspect", response_model=Answer, openapi_extra=_ONE)
    async def inspect(
        request: Request,
        name: Name,
        of: OfPart,
        map: bool = False,
        views: ViewsText = None,
        idempotency_key: Key = None,
    ) -> Any:
        """Judge one image; the answer is recorded before it is given."""
        model, count = service.model(name), _views(views)
        model.check(map, count)
        service.line.check()  # before an image is received for which there is no place
        given = await body.one(request, service.limits)
        with service.line.place():
            part = given.part.over(of)
            task = Task(given.content, given.file_name, idempotency_key, map, count, part)
            return _answer(await service.judge(model, task))


def _add_batch(router: APIRouter, service: Service) -> None:
    @router.post("/inspect-batch", response_model=Answers, responses=_MANY_RESPONSES, openapi_extra=_MANY)
    async def inspect_batch(
        request: Request, name: Name, of: OfPart, views: ViewsText = None, idempotency_key: Key = None
    ) -> Any:
        """Judge images one after the other; the batch has one place in the queue.

        All sizes are looked at before the first is judged. A key stands for each image with its number: KEY#0, KEY#1.
        ``parts``: of each image its part; what it lacks is taken from the headers.
        """
        model, count = service.model(name), _views(views)
        model.check(False, count)
        service.line.check()
        body.check_kind(request, body.FORM)
        async with body.form(request, service.limits.batch) as form:
            images = [part for part in form.getlist("images") if isinstance(part, UploadFile)]
            if not images:
                raise HTTPException(422, "no file in the field 'images'")
            for part in images:
                body.check_size(part.size or 0, service.limits)
            of_each = [one.over(of) for one in parts.parts_of(form.get("parts"), len(images))]
            with service.line.place():
                return await _batch(service, model, images, of_each, count, idempotency_key)


async def _batch(
    service: Service,
    model: Served,
    images: Sequence[UploadFile],
    of_each: Sequence[Part],
    views: Count,
    key: str | None,
) -> JSONResponse:
    """Judge images in their order, and say of each what came of it; after one that was not recorded none is begun."""
    results: list[Result] = []
    rows: list[Inspection] = []
    for number, (image, part) in enumerate(zip(images, of_each, strict=True)):
        if results and results[-1].status == 503:
            results.append(Result(503, "it was not begun, and is not recorded"))
            continue
        one = None if key is None else f"{key}#{number}"
        try:
            outcome = await service.judge(
                model, Task(await image.read(), image.filename, one, views=views, part=part)
            )
        except ConfigError as error:
            results.append(Result(422, str(error)))
        except (LateError, StoreError) as error:
            results.append(Result(503, service.reason(error)))
        else:
            row = outcome.inspection
            rows.append(row)
            status = 200 if outcome.fault is None else _FAULTS[outcome.fault]
            results.append(Result(status, row.error, row.id, outcome.is_replay))
    said = {"inspections": [as_json(row) for row in rows], "results": [asdict(one) for one in results]}
    if any(one.status == 503 for one in results):
        return JSONResponse(said, 503, {"Retry-After": "5"})
    return JSONResponse(said)


def _views(text: str | None) -> Count:
    if text is None:
        return None
    return "auto" if text == "auto" else int(text)


def _answer(outcome: Outcome) -> JSONResponse:
    headers = {"Idempotent-Replayed": "true"} if outcome.is_replay else {}
    row = outcome.inspection
    if outcome.fault is None:
        heat = None if outcome.heat_map is None else base64.b64encode(outcome.heat_map).decode()
        drawn = {"heat_map_png": heat, "heat_map_error": outcome.map_error}
        return JSONResponse(as_json(row) | drawn, headers=headers)
    detail = f"{row.error} (recorded as {row.id})"
    said = {"detail": detail, "request_id": request_id.get(), "inspection": as_json(row)}
    return JSONResponse(said, _FAULTS[outcome.fault], headers)
