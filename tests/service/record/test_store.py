"""The record, in real SQLite and real PostgreSQL: what is added stays, once, in order, and is forgotten as asked."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from differnet.errors import ConfigError, DuplicateError, StoreError
from support.records import go_back
from support.tiny import TESTS

pytest.importorskip("sqlalchemy")
pytest.importorskip("alembic")

from sqlalchemy import text

from differnet.service.record import database
from differnet.service.record.images import MARKS
from differnet.service.record.store import Inspection, Rates, Store
from differnet.service.record.tables import metadata

START = datetime(2026, 3, 1, 12, 30, tzinfo=timezone.utc)


def part(number=0, **values):
    usual = {"model": "tiles", "model_digest": "d" * 64, "source": "http", "image_digest": f"{number:064}"}
    usual |= {"verdict": "OK", "score": 1.5 + number, "views": 8, "time": START + timedelta(minutes=number)}
    return Inspection(**(usual | values))


def test_what_is_added_comes_back(store):
    wanted = part(
        3,
        source_key="a/b.png",
        file_name="Teil ü\u2028.png",
        p_value=0.1,
        percent=33.3,
        threshold=4.5,
        review_threshold=4.0,
        rate=0.01,
        confidence=0.95,
        review_rate=0.05,
        early=True,
        error="none",
        drift="darker",
        image="x.png",
        heat_map="x.map.png",
        kept_bytes=12,
        image_note="page 1 is looked at",
    )
    added = store.add(wanted)
    assert added == replace(wanted, seq=added.seq)
    assert added.seq >= 1
    assert store.get(added.id) == added
    assert store.get("0" * 32) is None
    assert store.get(added.id).time.tzinfo is timezone.utc


def test_it_is_there_after_it_was_opened_again(store, url, tmp_path):
    added = store.add(part(1))
    store.set_setting("tiles", 0.02, 0.9, 0.1)
    store.close()
    again = Store.open(url, tmp_path / "images")
    assert again.list() == [added]
    assert again.setting("tiles") == Rates(0.02, 0.9, 0.1)
    again.close()


def test_a_key_is_recorded_once_for_a_model(store):
    store.add(part(1, source_key="k"))
    with pytest.raises(DuplicateError, match="recorded already for model tiles"):
        store.add(part(2, source_key="k"))
    store.add(part(3, source_key="k", model="bolts"))
    first = store.add(part(4))
    store.add(part(5))
    with pytest.raises(DuplicateError):
        store.add(replace(part(6), id=first.id))
    assert store.seen("tiles", "k")
    assert not store.seen("tiles", "other")
    assert len(store.list()) == 4


def test_writers_at_once_lose_nothing_and_record_a_key_once(store, url, tmp_path):
    """Two objects, as of two processes, with four threads each, which all try the same keys."""
    other, wins, order = Store.open(url, tmp_path / "images"), [], []

    def work(one, thread):
        for number in range(12):
            with suppress(DuplicateError):
                wins.append(one.add(part(number, source_key=str(number))).source_key)
            order.append(one.add(part(100 + 12 * thread + number)).id)

    threads = [threading.Thread(target=work, args=((store, other)[i % 2], i)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert sorted(wins, key=int) == [str(n) for n in range(12)]
    rows = store.list(limit=1000)
    assert len(rows) == 12 + 8 * 12
    assert {row.id for row in rows} >= set(order)
    assert len({row.seq for row in rows}) == len(rows)
    other.close()


def test_lists_are_filtered_and_paged(store):
    for number in range(10):
        verdict = ("OK", "review", "NG", "error", None)[number % 5]
        store.add(part(number, verdict=verdict, model=("tiles", "bolts")[number // 5]))
    assert [row.image_digest[-1] for row in store.list(limit=3)] == ["9", "8", "7"]
    first = store.list(limit=4)
    rest = store.list(before_seq=first[-1].seq, limit=100)
    assert [row.seq for row in first + rest] == sorted((row.seq for row in first + rest), reverse=True)
    assert len(rest) == 6
    assert {row.model for row in store.list(model="bolts")} == {"bolts"}
    assert [row.verdict for row in store.list(verdict="NG")] == ["NG", "NG"]
    assert len(store.list(since=START + timedelta(minutes=2), until=START + timedelta(minutes=5))) == 3
    store.confirm(first[0].id, "defective", "a scratch")
    assert [row.note for row in store.list(operator="defective")] == ["a scratch"]
    assert len(store.list(operator="none")) == 9
    assert [row.seq for row in store.after(rest[0].seq)] == [row.seq for row in reversed(first)]
    assert store.last_seq() == first[0].seq


def test_an_operator_can_take_it_back(store):
    one = store.add(part())
    said = store.confirm(one.id, "good", "fine \0 \ud800")
    assert (said.operator, said.note) == ("good", "fine \ufffd ?")
    assert abs(said.operator_time - datetime.now(timezone.utc)) < timedelta(minutes=1)
    assert store.confirm(one.id, None) == one
    assert store.confirm("0" * 32, "good") is None


def test_counts_by_hour_and_day(store):
    for number, minutes, verdict in ((1, 0, "OK"), (2, 29, "OK"), (3, 30, "NG"), (4, 24 * 60, None)):
        store.add(part(number, time=START + timedelta(minutes=minutes), verdict=verdict))
    store.add(part(9, model="bolts"))
    hours = store.counts("tiles", START - timedelta(days=1), "hour")
    assert [(at.day, at.hour, at.minute, found["OK"], found["NG"], found["none"]) for at, found in hours] == [
        (1, 12, 0, 2, 0, 0),
        (1, 13, 0, 0, 1, 0),
        (2, 12, 0, 0, 0, 1),
    ]
    days = store.counts("tiles", None, "day")
    assert [(at.day, sum(found.values())) for at, found in days] == [(1, 3), (2, 1)]
    assert store.counts("tiles", START + timedelta(days=3)) == []
    with pytest.raises(ConfigError, match="hour or day"):
        store.counts("tiles", None, "week")


def test_scores_are_those_of_one_folder(store):
    store.add(part(1))
    store.add(part(2, model_digest="e" * 64))
    store.add(part(3, verdict="error", score=None))
    assert [row.score for row in store.scores("tiles")] == [3.5, 2.5]
    assert [row.score for row in store.scores("tiles", digest="d" * 64)] == [2.5]
    assert len(store.scores("tiles", last=1)) == 1


def test_rates_and_monitors_are_kept_by_model(store):
    assert store.setting("tiles") is None
    store.set_setting("tiles", 0.01)
    store.set_setting("tiles", 0.02, None, 0.1)
    assert (store.setting("tiles"), store.setting("bolts")) == (Rates(0.02, None, 0.1), None)
    store.set_setting("tiles", None)
    assert store.setting("tiles") is None
    store.set_monitor("tiles", "d", "{1}")
    store.set_monitor("tiles", "d", "{2}")
    assert (store.monitor("tiles", "d"), store.monitor("tiles", "e")) == ("{2}", None)


def kept(store, number, **values):
    row = store.add(store.keep(part(number, **values), b"\x89PNG" + bytes([number]) * 996))
    return store.keep_map(row, b"m" * 500)


def test_old_inspections_go_with_their_files(store, tmp_path):
    now = datetime.now(timezone.utc)
    old, young = kept(store, 1, time=now - timedelta(days=31)), kept(store, 2, time=now)
    found = store.retain(max_age_days=30)
    assert (found.inspections, found.bytes_left) == (1, 1500)
    assert store.list() == [young]
    assert not (tmp_path / "images" / old.image).parent.exists()
    assert (tmp_path / "images" / young.image).read_bytes().startswith(b"\x89PNG")


def test_the_oldest_files_go_first_and_confirmed_ones_last(store, tmp_path):
    rows = [kept(store, number) for number in range(4)]
    store.confirm(rows[0].id, "good")
    found = store.retain(max_bytes=3200)
    assert (found.files, found.bytes_left) == (4, 3000)
    assert [store.get(row.id).image for row in rows] == [rows[0].image, None, None, rows[3].image]
    assert sorted(path.name for path in (tmp_path / "images").glob("*/*.png")) == sorted(
        f"{row.id}{suffix}" for row in (rows[0], rows[3]) for suffix in (".png", ".map.png")
    )
    assert store.retain(max_bytes=0).bytes_left == 0
    assert len(store.list()) == 4


def test_files_without_a_row_go_when_they_are_old(store, tmp_path):
    row = kept(store, 1)
    for name, age in ((f"{1:032x}.png", 7200), (f"{2:032x}.png", 0), ("holiday.jpg", 7200)):
        path = (tmp_path / "images" / row.image).with_name(name)
        path.write_bytes(b"x")
        os.utime(path, (path.stat().st_mtime - age,) * 2)
    os.utime(tmp_path / "images" / MARKS, (1, 1))  # the folder was the record's from the beginning
    os.utime(tmp_path / "images" / row.image, (2, 2))
    assert store.retain().stray == 1
    left = {path.name for path in (tmp_path / "images").glob("*/*")}
    assert len(left) == 4
    assert {f"{2:032x}.png", "holiday.jpg"} < left  # what the record did not write is not its to remove


def test_a_disk_that_takes_no_images_is_a_record_that_cannot_be_written(store, tmp_path):
    (tmp_path / "images").write_bytes(b"a file in the way")
    with pytest.raises(StoreError, match="could not be kept"):
        kept(store, 1)
    assert store.list() == []


def test_good_images_are_those_that_were_confirmed_each_once(store):
    rows = [kept(store, number) for number in (1, 2, 3)] + [kept(store, 9, image_digest=f"{1:064}")]
    for row in rows[:2] + rows[3:]:
        store.confirm(row.id, "good")
    store.confirm(rows[2].id, "defective")
    found = dict(store.good_images("tiles"))
    assert [path.name for path in found.values()] == [f"{row.id}.png" for row in rows[:2]]
    assert list(found) == [f"{row.seq:08}-{row.id[:8]}.png" for row in rows[:2]]
    assert list(store.good_images("bolts")) == []


def test_what_could_not_be_judged_is_no_good_image(store):
    row = kept(store, 1, verdict="error", error="no image")
    store.confirm(row.id, "good")
    assert list(store.good_images("tiles")) == []
    without_threshold = kept(store, 2, verdict=None)
    store.confirm(without_threshold.id, "good")
    assert [path.stem for _, path in store.good_images("tiles")] == [without_threshold.id]


def test_files_lie_inside_of_the_folder(store):
    for name in ("../secret", "/etc/passwd"):
        with pytest.raises(StoreError, match="outside"):
            store.kept.path(name)


def test_migrations_make_the_tables_that_the_code_knows(store):
    from alembic.autogenerate import compare_metadata
    from alembic.runtime.migration import MigrationContext

    with store.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_a_record_of_before_notes_is_gone_on_with(store, url, tmp_path):
    before = store.add(part(1))
    go_back(store.engine, "0004")
    store.close()
    again = Store.open(url, tmp_path / "images")
    added = again.add(part(2, image_note="page 1 is looked at"))
    assert again.list() == [added, before]
    assert (before.image_note, added.image_note) == (None, "page 1 is looked at")
    again.close()


def test_a_record_of_a_newer_version_is_refused(store, url):
    with store.engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(StoreError, match="does not know"):
        Store.open(url)


def test_a_record_that_another_holds_for_too_long_is_an_error_and_not_a_wait_without_end(
    url, tmp_path, monkeypatch
):
    monkeypatch.setattr(database, "_WAIT", 1)
    store, other = (Store.open(url, tmp_path / "images") for _ in range(2))
    with other.writing():
        start = time.monotonic()
        with pytest.raises(StoreError):
            store.add(part(1))
        assert 0.5 < time.monotonic() - start < 5
        assert store.list() == []
    assert store.add(part(1)).seq >= 1
    store.close()
    other.close()


CRASH = """
import os, sys
from pathlib import Path
from differnet.service.record.store import Store
from test_store import part
store = Store.open(sys.argv[1], Path(sys.argv[2]))
for number in range(1000):
    print(store.add(part(number)).id, flush=True)
    if number == 40: os.kill(os.getpid(), 9)
"""


def test_what_was_added_outlives_a_kill(url, tmp_path):
    place = os.pathsep.join([str(Path(__file__).parent), str(TESTS), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-c", CRASH, url, str(tmp_path / "images")]
    run = subprocess.run(
        command, capture_output=True, text=True, timeout=120, env=os.environ | {"PYTHONPATH": place}
    )
    assert run.returncode == -9, run.stderr
    store = Store.open(url, tmp_path / "images")
    assert [row.id for row in store.after(0)] == run.stdout.split()
    assert len(run.stdout.split()) == 41
    store.close()


def test_sqlite_writes_through_to_the_disk(tmp_path):
    store = Store.open(f"sqlite:///{tmp_path / 'new' / 'record.sqlite3'}")
    with store.engine.connect() as connection:
        found = [
            connection.execute(text(f"PRAGMA {name}")).scalar() for name in ("journal_mode", "synchronous")
        ]
    assert found == ["wal", 2]
    assert store.kept.folder == tmp_path / "new" / "record.images"
    store.close()


@pytest.mark.parametrize(
    ("url", "error", "message"),
    [
        ("record.sqlite3", ConfigError, "no URL of a database"),
        ("sqlite://", ConfigError, "would be lost"),
        ("mysql://u:secret@h/n", ConfigError, r"mysql://u:\*\*\*@h/n"),
        ("postgresql+psycopg://u:secret@/n?host=/nowhere", StoreError, r"u:\*\*\*@"),
        ("sqlite:////proc/record.sqlite3", StoreError, "unable to open"),
    ],
)
def test_urls_that_cannot_be_used_are_said_without_their_password(url, error, message):
    with pytest.raises(error, match=message) as caught:
        Store.open(url)
    assert "secret" not in str(caught.value)


@pytest.mark.skipif(os.name != "posix", reason="rights are of POSIX")
def test_the_files_of_a_record_are_for_their_owner_alone(tmp_path):
    before = os.umask(0)
    try:
        store = Store.open(f"sqlite:///{tmp_path / 'line' / 'record.sqlite3'}")
        store.keep_map(store.add(store.keep(part(), b"\x89PNG")), b"\x89PNG")
        store.pulse.check()
        found = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "line").rglob("*")}
    finally:
        os.umask(before)
        store.close()
    assert (tmp_path / "line").stat().st_mode & 0o777 == 0o700
    assert len(found) == 8  # the database with two files beside it, two folders, their mark, image and map
    for name, rights in found.items():
        assert rights == (0o700 if name in ("record.images", "2026-03-01") else 0o600), name


def test_a_record_that_is_there_keeps_its_rights(tmp_path):
    path = tmp_path / "record.sqlite3"
    Store.open(f"sqlite:///{path}").close()
    path.chmod(0o640)
    Store.open(f"sqlite:///{path}").close()
    assert path.stat().st_mode & 0o777 == 0o640


def test_nobody_waits_while_files_are_removed(store, monkeypatch):
    for number in range(3):
        store.add(store.keep(part(number), b"\x89PNG" + bytes(100)))
    slow, begun, remove = threading.Event(), threading.Event(), store.kept.remove

    def remove_slowly(*names):
        begun.set()
        assert slow.wait(30)
        remove(*names)

    monkeypatch.setattr(store.kept, "remove", remove_slowly)
    found = []
    thread = threading.Thread(target=lambda: found.append(store.retain(max_bytes=150)))
    thread.start()
    assert begun.wait(30)
    assert store.add(part(9)).seq == 4  # while the disk is busy
    slow.set()
    thread.join(30)
    assert (found[0].files, found[0].bytes_left) == (2, 104)
    assert [row.image is None for row in store.after(0)] == [True, True, False, True]


def test_files_are_looked_up_by_an_index(tmp_path):
    store = Store.open(f"sqlite:///{tmp_path / 'record.sqlite3'}")
    query = (
        "EXPLAIN QUERY PLAN SELECT image FROM inspections WHERE image IN ('a', 'b') OR heat_map IN ('a', 'b')"
    )
    with store.engine.connect() as connection:
        plan = " ".join(row.detail for row in connection.execute(text(query)))
    assert "ix_inspections_image" in plan
    assert "ix_inspections_heat_map" in plan
    store.close()
