"""The routes by which versions of models are put in place, tried, rolled back and retired."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import ExitStack
from typing import IO, Annotated, Any, Literal, TypeVar

from fastapi import APIRouter, HTTPException, Path, Query, Request
from pydantic import ValidationError

from differnet.errors import ConfigError, MissingExtraError, ModelFileError, NumericalError, in_words
from differnet.service.http.connection.bodies import ARCHIVE, BodyError
from differnet.service.http.limits import NAME
from differnet.service.http.routes.body import JSON, check_kind
from differnet.service.http.routes.inspect import Name
from differnet.service.http.routes.record import Seq
from differnet.service.http.schemas import ErrorBody, errors
from differnet.service.http.service import Service
from differnet.service.http.telemetry import asker
from differnet.service.http.versions.describe import describe, describe_all
from differnet.service.http.versions.loading import Candidate, ConflictError
from differnet.service.http.versions.models import Wanted
from differnet.service.http.versions.schemas import DifferencesBody, FoldersBody, ModelVersions, PutBody
from differnet.service.record import shadows, versions

Found = TypeVar("Found")
NewName = Annotated[str, Path(pattern=f"^{NAME.pattern}$", description="Name of a model, known or new.")]
Reason = Annotated[str | None, Query(max_length=500, description="Why, for the record of changes.")]
As = Annotated[
    Literal["active", "shadow"],
    Query(alias="as", description="active: it judges; shadow: it judges beside the one that does."),
]
Rates = Annotated[
    Literal["keep", "folder"] | None,
    Query(
        description="keep: those applied to the model (the default); folder: those of the version's folder."
    ),
]
Digest = Annotated[str | None, Query(pattern="^[0-9a-f]{64}$", description="That of an earlier trial.")]
_CONFLICT: dict[int | str, dict[str, Any]] = {
    409: {"model": ErrorBody, "description": "It does not fit what judges now; the detail says why."}
}
_PUT: dict[int | str, dict[str, Any]] = _CONFLICT | {
    415: {"model": ErrorBody, "description": "Neither JSON nor a ZIP."},
    429: {"model": ErrorBody, "description": "Another version is being put in place: Retry-After"},
}
_SOURCE: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            JSON: {"schema": PutBody.model_json_schema()},
            ARCHIVE: {"schema": {"type": "string", "format": "binary", "description": "A station, zipped."}},
        },
    }
}


def routes(service: Service) -> APIRouter:
    """Return the routes."""
    router = APIRouter(prefix="/v1", tags=["versions"], responses=errors(s404="No such model."))
    _add_lists(router, service)
    _add_put(router, service)
    _add_changes(router, service)
    return router


def _add_lists(router: APIRouter, service: Service) -> None:
    @router.get("/versions", response_model=list[ModelVersions])
    def all_versions() -> Any:
        """List the models of this service, retired ones as well, with their versions."""
        return describe_all(service.versions)

    @router.get("/model-folders", response_model=FoldersBody)
    def folders() -> Any:
        """List the folders below that of --models from which a version can be put in place."""
        places = service.versions.places
        return {"allowed": places.root is not None, "folders": places.listed()}

    @router.get("/models/{name}/versions", response_model=ModelVersions)
    def of_model(name: Name) -> Any:
        """List the versions of a model, what each was made from, and which one judges now."""
        return _described(service, name)

    @router.get("/models/{name}/differences", response_model=DifferencesBody, responses=_CONFLICT)
    def differences(
        name: Name,
        version: Digest = None,
        before_number: Seq = None,
        limit: Annotated[int, Query(ge=1, le=100)] = 20,
    ) -> Any:
        """List the parts on which the version on trial had another verdict than the one that was answered."""
        post = _lineup(service, name).shadow
        digest, since = (version, 0) if version or post is None else (post.digest, post.since_seq)
        if digest is None:
            raise HTTPException(409, f"no version of {name} is on trial; version=DIGEST shows an earlier one")
        engine = service.store.engine
        found = shadows.differences(engine, name, digest, before_number, limit + 1, since)
        following = found[limit - 1].shadow.number if len(found) > limit else None
        return {"differences": found[:limit], "next": following}


def _add_put(router: APIRouter, service: Service) -> None:
    turn = asyncio.Lock()

    @router.put("/models/{name}", response_model=ModelVersions, responses=_PUT, openapi_extra=_SOURCE)
    async def put(
        request: Request, name: NewName, role: As = "active", rates: Rates = None, reason: Reason = None
    ) -> Any:
        """Have a version judge from the next part on, or beside the one that does; also after a restart.

        Parts that have come are judged by the version before. The version is loaded first, and has judged a picture.
        """
        if turn.locked():
            raise HTTPException(429, "another version is being put in place", {"Retry-After": "5"})
        wanted = Wanted(role, None if rates is None else rates == "folder", asker.get(), reason)
        async with turn:
            candidate = await _candidate(service, request, name)
            await asyncio.to_thread(_right, lambda: service.versions.put(name, candidate, wanted))
        return await asyncio.to_thread(_described, service, name)


def _add_changes(router: APIRouter, service: Service) -> None:
    models = service.versions

    @router.post("/models/{name}/rollback", response_model=ModelVersions, responses=_CONFLICT)
    def roll_back(name: Name, rates: Rates = None, reason: Reason = None) -> Any:
        """Have the version judge again that did before; also of a retired model."""
        _lineup(service, name)
        wanted = Wanted("active", rates == "folder", asker.get(), reason)
        _right(lambda: models.roll_back(name, wanted))
        return _described(service, name)

    @router.delete("/models/{name}", response_model=ModelVersions, responses=_CONFLICT)
    def retire(name: Name, reason: Reason = None) -> Any:
        """Judge by a model no more, after the parts that have come; its versions and its record stay."""
        _lineup(service, name)
        _right(lambda: models.retire(name, Wanted(by=asker.get(), reason=reason)))
        return _described(service, name)

    @router.delete("/models/{name}/shadow", response_model=ModelVersions, responses=_CONFLICT)
    def end_trial(name: Name, reason: Reason = None) -> Any:
        """Judge by the version on trial no more; what it said stays in the record."""
        _lineup(service, name)
        _right(lambda: models.end_trial(name, Wanted(by=asker.get(), reason=reason)))
        return _described(service, name)


async def _candidate(service: Service, request: Request, name: str) -> Candidate:
    """Load the version that a request names or brings."""
    loader, places = service.versions.loader, service.versions.places
    if check_kind(request, JSON, ARCHIVE) == ARCHIVE:
        with ExitStack() as stack:
            file = _right(lambda: stack.enter_context(places.incoming()))
            await _receive(request, file, places.most)
            return await asyncio.to_thread(_right, lambda: loader.from_upload(name, file))
    try:
        body = PutBody.model_validate_json(await request.body())
    except ValidationError as error:
        said = [f"{'.'.join(map(str, one['loc'])) or 'body'}: {one['msg']}" for one in error.errors()]
        raise HTTPException(422, "; ".join(said)) from error
    folder, version = body.folder, body.version
    if (folder is None) == (version is None):
        raise HTTPException(422, '{"folder": NAME} or {"version": DIGEST} was wanted')
    if folder is not None:
        return await asyncio.to_thread(_right, lambda: loader.from_folder(folder))
    return await asyncio.to_thread(_right, lambda: loader.from_version(name, str(version)))


async def _receive(request: Request, file: IO[bytes], most: int) -> None:
    """Write a body to a file as it comes."""
    count = 0
    async for chunk in request.stream():
        count += len(chunk)
        if count > most:
            raise BodyError(413, f"more than the {most:,} bytes that a model may have (--max-model-bytes)")
        await asyncio.to_thread(_right, lambda part=chunk: file.write(part))


def _right(work: Callable[[], Found]) -> Found:
    """Do something that changes what judges; answers what is wrong with it."""
    try:
        return work()
    except ConflictError as error:
        raise HTTPException(409, str(error)) from error
    except (ConfigError, MissingExtraError, ModelFileError, NumericalError) as error:
        raise HTTPException(422, str(error)) from error
    except OSError as error:
        raise HTTPException(503, f"the folder of models: {in_words(error)}") from error


def _lineup(service: Service, name: str) -> versions.Lineup:
    """Return who judges a model; answers 404 for one that there never was."""
    lineup = service.versions.lineup(name)
    if not service.versions.is_ours(name, lineup):
        raise HTTPException(404, f"no model {name!r}, nor was there one")
    return lineup


def _described(service: Service, name: str) -> dict[str, Any]:
    return describe(service.versions, name, _lineup(service, name))
