"""What is said of the versions of a model and of its trial, from the record and from what runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from differnet.service.http.versions.models import Models
from differnet.service.record import shadows, versions
from differnet.service.record.versions import Lineup, Version


def describe_all(models: Models) -> list[dict[str, Any]]:
    """Describe the models that this service judges by, or did."""
    found = versions.lineups(models.store.engine)
    return [describe(models, name, lineup) for name, lineup in found.items() if models.is_ours(name, lineup)]


def describe(models: Models, name: str, lineup: Lineup) -> dict[str, Any]:
    """Describe the versions of one model, as :class:`differnet.service.http.versions.schemas.ModelVersions` says."""
    known = versions.of_model(models.store.engine, name)
    return {
        "model": name,
        "active": lineup.active and lineup.active.digest,
        "retired": lineup.is_retired,
        "before": lineup.before and lineup.before.digest,
        "trial": _trial(models, name, lineup),
        "versions": [_version(models, version, lineup) for version in known],
    }


def _version(models: Models, version: Version, lineup: Lineup) -> dict[str, Any]:
    posts = {"active": lineup.active, "shadow": lineup.shadow, "before": lineup.before}
    roles = [role for role, post in posts.items() if post is not None and post.digest == version.digest]
    names = "digest", "time", "origin", "who", "client"
    return {name: getattr(version, name) for name in names} | {
        "folder": models.places.name_of(version.folder) or Path(version.folder).name,
        "judges": roles[0] if roles else None,
        "made_from": version.about,
    }


def _trial(models: Models, name: str, lineup: Lineup) -> dict[str, Any] | None:
    post, active, engine = lineup.shadow, lineup.active, models.store.engine
    if post is None or active is None:
        return None
    running = models.trials.get(name)
    is_running = running is not None and running.digest == post.digest
    tally = shadows.tallies(engine, name, post.digest, active.digest, post.since_seq)
    return {
        "digest": post.digest,
        "since": post.time,
        "own_rates": post.own_rates,
        "parts": shadows.judged_since(engine, name, active.digest, post.since_seq),
        "compared": sum(one.parts for one in tally),
        "left_out": running.dropped if running and is_running else 0,
        "failed": running.failed if running and is_running else 0,
        "waiting": running.waiting if running and is_running else 0,
        "broken": running.broken if running and is_running else "it does not run in this service",
        "tally": tally,
    }
