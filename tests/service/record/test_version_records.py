"""Who judges, as the record has it: a stack for each model, in real SQLite and real PostgreSQL."""

from __future__ import annotations

from contextlib import suppress

import pytest

pytest.importorskip("sqlalchemy")
pytest.importorskip("alembic")

from differnet.service.record import changes, versions
from differnet.service.record.changes import By
from differnet.service.record.inspection import Inspection, now
from differnet.service.record.versions import Lineup, Post, Version

ANNA = By("anna", "10.0.0.3", "r1")


def put(store, digest, role="active", own_rates=False, model="bolts", reason=None):
    version = Version(
        number=0,
        time=now(),
        model=model,
        digest=digest * 64,
        origin="folder",
        folder=f"/models/{digest}",
        who=None,
        client=None,
        about={"images": 20},
    )
    with store.writing() as connection:
        versions.add(connection, version, ANNA)
        post = Post(digest * 64, now(), own_rates)
        versions.put(connection, model, post, role, ANNA, reason)


def lineup(store, model="bolts"):
    found = versions.lineups(store.engine).get(model, Lineup())
    posts = (found.active, found.shadow, found.before)
    return "".join("-" if post is None else post.digest[0] for post in posts) + "r" * found.is_retired


def change(store, what, *more):
    with store.writing() as connection:
        what(connection, "bolts", *more)
    return lineup(store)


def test_versions_lie_upon_each_other_and_are_taken_away_again(store):
    assert lineup(store) == "---"
    for digest, wanted in (("a", "a--"), ("b", "b-a"), ("c", "c-b")):
        put(store, digest)
        assert lineup(store) == wanted
    put(store, "d", "shadow")
    assert lineup(store) == "cdb"
    put(store, "e", "shadow")
    assert lineup(store) == "ceb"
    put(store, "a")
    assert lineup(store) == "aec"  # the trial goes on beside the other
    put(store, "e")
    assert lineup(store) == "e-a"  # it is no trial any more
    assert change(store, versions.roll_back, False, ANNA, "no") == "a-c"
    assert change(store, versions.retire, ANNA, None) == "--ar"
    assert change(store, versions.roll_back, False, ANNA, None) == "a-c"
    change(store, versions.retire, ANNA, None)
    put(store, "b")
    assert lineup(store) == "b-a"
    put(store, "d", "shadow")
    assert change(store, versions.end_shadow, ANNA, None) == "b-a"
    assert change(store, versions.forget, ANNA) == "---"
    assert lineup(store, "nuts") == "---"
    assert [one.digest[0] for one in versions.of_model(store.engine, "bolts")] == list("edcba")


def test_every_change_says_who_and_why(store):
    put(store, "a")
    put(store, "b", reason="more pictures")
    last, first = changes.newest(store.engine)
    assert (last.what, last.who, last.client, last.request_id) == ("model put", "anna", "10.0.0.3", "r1")
    assert last.before == {"active": "a" * 64, "shadow": None} == first.after
    assert last.after == {"active": "b" * 64, "shadow": None, "reason": "more pictures"}
    (newest, _) = versions.of_model(store.engine, "bolts")
    assert (newest.who, newest.origin, newest.folder, newest.about) == (
        "anna",
        "folder",
        "/models/b",
        {"images": 20},
    )


def test_a_trial_begins_with_the_next_part_and_own_rates_take_the_applied_ones_away(store):
    row = Inspection(model="bolts", model_digest="a" * 64, source="http", image_digest="0" * 64, verdict="OK")
    put(store, "a")
    seq = store.add(row).seq
    put(store, "b", "shadow", own_rates=True)
    found = versions.lineups(store.engine)["bolts"].shadow
    assert (found.since_seq, found.own_rates) == (seq, True)
    store.set_setting("bolts", 0.1)
    store.set_monitor("bolts", "a" * 64, "{}")
    put(store, "b", own_rates=True)
    assert (store.setting("bolts"), store.monitor("bolts", "a" * 64)) == (None, None)
    assert [one.what for one in changes.newest(store.engine)[:2]] == ["model put", "rates"]


def test_nothing_of_a_change_stays_where_it_could_not_be_recorded(store):
    put(store, "a")
    with suppress(ZeroDivisionError), store.writing() as connection:
        versions.retire(connection, "bolts", ANNA, None)
        raise ZeroDivisionError
    assert lineup(store) == "a--"
    assert len(changes.newest(store.engine)) == 1
