"""The routes that show the models, their rates and their streams."""

from __future__ import annotations

import hashlib
import json
import threading
from dataclasses import asdict, replace
from typing import Annotated, Any

from fastapi import APIRouter, Header, HTTPException, Query, Response
from fastapi.responses import StreamingResponse

from differnet.decision import verdict
from differnet.decision.words.sentences import of_rate
from differnet.errors import NotFittedError
from differnet.service.http.model import Served
from differnet.service.http.rates import Preview
from differnet.service.http.routes.inspect import Name
from differnet.service.http.schemas import DriftBody, ErrorBody, ModelBody, RatesAnswer, RatesBody, errors
from differnet.service.http.service import Service
from differnet.service.http.telemetry import asker, say
from differnet.service.record import changes
from differnet.service.recorder import rates_of
from differnet.service.saved_monitor import SavedMonitor

_NO_MODEL: dict[int | str, dict[str, Any]] = {404: {"model": ErrorBody, "description": "No such model."}}
_NO_THRESHOLD: dict[int | str, dict[str, Any]] = {
    409: {"model": ErrorBody, "description": "The model has no threshold."}
}
_MOVED: dict[int | str, dict[str, Any]] = {
    412: {"model": ErrorBody, "description": "Somebody moved the rates since those of If-Match."}
}
Tag = Annotated[str | None, Header(max_length=1000, description="The ETag of the rates that were looked at.")]
_STREAM: dict[int | str, dict[str, Any]] = {
    200: {"description": "Events.", "content": {"text/event-stream": {"schema": {"type": "string"}}}},
    429: {"model": ErrorBody, "description": "Too many listen."},
}


def routes(service: Service) -> APIRouter:
    """Return the routes."""
    router = APIRouter(tags=["models"], responses=errors())

    @router.get("/v1/models", response_model=list[ModelBody])
    def models() -> Any:
        """List the models, and what they judge by now."""
        return [_describe(model) for model in service.models.values()]

    _add_rates(router, service)
    _add_streams(router, service)
    return router


def _add_rates(router: APIRouter, service: Service) -> None:
    turn = threading.Lock()

    @router.get("/v1/models/{name}/rates", response_model=RatesAnswer, responses=_NO_MODEL)
    def rates(name: Name, response: Response) -> Any:
        """Return the rates that a model judges by, with an ETag to apply others by."""
        return _tagged(service.model(name), response)

    @router.post(
        "/v1/models/{name}/rates/preview", response_model=Preview, responses=_NO_MODEL | _NO_THRESHOLD
    )
    def preview(name: Name, body: RatesBody) -> Any:
        """Say what other rates would have said of the last thousand parts; nothing is changed."""
        return _known(lambda: service.model(name).preview(body.rates()))

    @router.put(
        "/v1/models/{name}/rates",
        response_model=RatesAnswer,
        responses=_NO_MODEL | _NO_THRESHOLD | _MOVED,
    )
    def apply(name: Name, body: RatesBody, response: Response, if_match: Tag = None) -> Any:
        """Judge by other rates from now on, also after a restart; with If-Match only where nobody moved them since."""
        model = service.model(name)
        with turn:
            if if_match is not None and not _is_among(_tag(_rates(model)), if_match):
                raise HTTPException(412, "the rates were moved meanwhile; look at them again")
            by = replace(asker.get(), name=_said_text(body.name), reason=_said_text(body.reason))
            _known(lambda: model.recorder.apply(body.rates(), by))
        found = _tagged(model, response)
        told = {"model": name, "who": by.name or by.who, "reason": by.reason, "rates": found}
        service.hub.tell("rates", name, told)
        said = of_rate(model.inspector.standard.rate)
        say(f"rates applied: {said}", **body.model_dump(), model=name, key=by.who)
        return found


def _add_streams(router: APIRouter, service: Service) -> None:
    @router.post(
        "/v1/models/{name}/drift/reset", response_model=DriftBody, responses=_NO_MODEL | _NO_THRESHOLD
    )
    def reset(name: Name) -> Any:
        """Begin anew to watch the stream, for instance when the lamp was changed; takes back an alarm."""
        model = service.model(name)
        if model.monitor is None:
            raise HTTPException(409, f"the stream of {name} is not watched")
        before = model.monitor.text
        with service.store.writing() as connection:
            changes.add(connection, asker.get(), "drift reset", name, before)
        model.monitor.reset()
        service.tell_drift(model)
        return _said(model.monitor)

    @router.get("/events", responses=_NO_MODEL | _STREAM, response_class=StreamingResponse)
    async def events(
        model: Annotated[str | None, Query(max_length=100)] = None,
        last_event_id: Annotated[str | None, Header(pattern="^[0-9]{1,15}$")] = None,
    ) -> StreamingResponse:
        """Tell of inspections as they are recorded (id: their number), of what operators say, and of drift."""
        if model is not None:
            service.model(model)
        if len(service.hub) >= service.limits.streams:
            raise HTTPException(429, "too many listen already", {"Retry-After": "10"})
        after = None if last_event_id is None else int(last_event_id)
        return StreamingResponse(service.hub.listen(model, after), media_type="text/event-stream")


def _describe(model: Served) -> dict[str, Any]:
    model.follow()
    inspector = model.inspector
    return {
        "name": model.name,
        "digest": model.digest,
        "threshold": inspector.threshold,
        "review_threshold": verdict.review_threshold(inspector.station),
        **asdict(rates_of(inspector.standard)),
        "views": len(inspector.station.views),
        "has_maps": inspector.station.maps is not None,
        "drift": None if model.monitor is None else _said(model.monitor),
    }


def _said_text(text: str | None) -> str | None:
    """Return what a person wrote as every database takes it, nothing for nothing."""
    return (text or "").strip().encode("utf-8", "replace").decode() or None


def _said(monitor: SavedMonitor) -> dict[str, Any]:
    return {"alarm": monitor.is_alarm, "text": monitor.text}


def _rates(model: Served) -> dict[str, Any]:
    model.follow()
    inspector = model.inspector
    used, promise = rates_of(inspector.standard), inspector.promise
    return {
        **asdict(used),
        "threshold": None if promise is None else promise.value,
        "review_threshold": verdict.review_threshold(inspector.station),
        "promised": None if promise is None else promise.promised,
        "smallest_rate": inspector.smallest_rate(used.confidence),
        "calibration_images": len(inspector.standard.view_scores),
        "applied": model.recorder.applied is not None,
    }


def _tagged(model: Served, response: Response) -> dict[str, Any]:
    found = _rates(model)
    response.headers["ETag"] = _tag(found)
    return found


def _tag(rates: dict[str, Any]) -> str:
    return f'"{hashlib.sha256(json.dumps(rates).encode()).hexdigest()[:32]}"'


def _is_among(tag: str, given: str) -> bool:
    return given.strip() == "*" or tag in [one.strip() for one in given.split(",")]


def _known(work: Any) -> Any:
    try:
        return work()
    except NotFittedError as error:
        raise HTTPException(409, str(error)) from error
