"""The routes that show the models, their rates and their streams."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Header, HTTPException, Query
from fastapi.responses import StreamingResponse

from differnet.decision import verdict
from differnet.errors import NotFittedError
from differnet.service.http import rates as rating
from differnet.service.http.model import Served
from differnet.service.http.rates import Preview
from differnet.service.http.routes.inspect import Name
from differnet.service.http.schemas import DriftBody, ErrorBody, ModelBody, RatesAnswer, RatesBody, errors
from differnet.service.http.service import Service
from differnet.service.http.telemetry import say

_NO_MODEL: dict[int | str, dict[str, Any]] = {404: {"model": ErrorBody, "description": "No such model."}}
_NO_THRESHOLD: dict[int | str, dict[str, Any]] = {
    409: {"model": ErrorBody, "description": "The model has no threshold."}
}
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

    @router.get("/v1/models/{name}/rates", response_model=RatesAnswer, responses=_NO_MODEL)
    def rates(name: Name) -> Any:
        """Return the rates that a model judges by."""
        return _rates(service.model(name))

    @router.post(
        "/v1/models/{name}/rates/preview", response_model=Preview, responses=_NO_MODEL | _NO_THRESHOLD
    )
    def preview(name: Name, body: RatesBody) -> Any:
        """Say what other rates would have said of the last thousand parts; nothing is changed."""
        return _known(lambda: service.model(name).preview(body.rates()))

    @router.put("/v1/models/{name}/rates", response_model=RatesAnswer, responses=_NO_MODEL | _NO_THRESHOLD)
    def apply(name: Name, body: RatesBody) -> Any:
        """Judge by other rates from now on, also after a restart."""
        model = service.model(name)
        _known(lambda: model.apply(body.rates()))
        say("rates applied", model=name, **body.model_dump())
        return _rates(model)

    @router.post(
        "/v1/models/{name}/drift/reset", response_model=DriftBody, responses=_NO_MODEL | _NO_THRESHOLD
    )
    def reset(name: Name) -> Any:
        """Begin anew to watch the stream, for instance when the lamp was changed; takes back an alarm."""
        model = service.model(name)
        if model.monitor is None:
            raise HTTPException(409, f"the stream of {name} is not watched")
        model.reset_monitor()
        service.tell_drift(model)
        return {"alarm": model.is_alarm, "text": model.drift_text}

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

    return router


def _describe(model: Served) -> dict[str, Any]:
    inspector, used = model.inspector, model.rates
    drift = None if model.monitor is None else {"alarm": model.is_alarm, "text": model.drift_text}
    return {
        "name": model.name,
        "digest": model.digest,
        "threshold": inspector.threshold,
        "review_threshold": verdict.review_threshold(inspector.station),
        "rate": used.rate,
        "confidence": used.confidence,
        "review_rate": used.review_rate,
        "views": len(inspector.station.views),
        "has_maps": inspector.station.maps is not None,
        "drift": drift,
    }


def _rates(model: Served) -> dict[str, Any]:
    inspector, used = model.inspector, model.rates
    promise = inspector.promise
    return {
        "rate": used.rate,
        "confidence": used.confidence,
        "review_rate": used.review_rate,
        "threshold": None if promise is None else promise.value,
        "review_threshold": verdict.review_threshold(inspector.station),
        "promised": None if promise is None else promise.promised,
        "smallest_rate": rating.smallest_rate(inspector.standard, used.confidence),
        "calibration_images": len(inspector.standard.view_scores),
        "applied": model.applied,
    }


def _known(work: Any) -> Any:
    try:
        return work()
    except NotFittedError as error:
        raise HTTPException(409, str(error)) from error
