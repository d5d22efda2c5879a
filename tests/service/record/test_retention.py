"""What the record forgets, and what it does not: a clock that jumps, and folders of images that two records share."""

from __future__ import annotations

import os
import shutil
from datetime import datetime, timedelta, timezone

import pytest

pytest.importorskip("sqlalchemy")

from sqlalchemy import text

from differnet.service.record import retention
from differnet.service.record.images import MARKS
from differnet.service.record.inspection import Inspection
from differnet.service.record.store import Store

TODAY = datetime(2026, 3, 1, tzinfo=timezone.utc)


@pytest.fixture
def clock(monkeypatch):
    """Set the clock of the record."""

    def put(days):
        monkeypatch.setattr(retention, "now", lambda: TODAY + timedelta(days=days))

    put(0)
    return put


def add(store, *ages, keep=False):
    """Record inspections of so many days ago."""
    rows = []
    for age in ages:
        row = Inspection(
            model="m",
            model_digest="d",
            source="http",
            image_digest="",
            verdict="OK",
            time=TODAY - timedelta(days=age),
        )
        rows.append(store.add(store.keep(row, b"BM" if keep else None)))
    return rows


def test_a_clock_that_jumps_ahead_forgets_a_fifth_and_says_so(store, clock):
    rows = add(store, *range(20, 0, -1), keep=True)
    clock(3650)
    found = store.retain(max_age_days=30)
    assert (found.inspections, found.held) == (4, 16)
    (said,) = found.warnings(30)
    assert said.startswith(
        "16 inspections older than 30 days by the clock of this machine stay for now: within 3 days"
    )
    for days in (3650.001, 3651, 3652.9):
        clock(days)
        assert store.retain(max_age_days=30).inspections == 0
    assert [row.seq for row in store.after(0)] == [row.seq for row in rows[4:]]
    assert all(store.kept.path(row.image).is_file() for row in rows[4:])
    clock(0.1)  # it was noticed
    found = store.retain(max_age_days=30)
    assert (found.inspections, found.held, found.warnings(30)) == (0, 0, [])


def test_a_restart_does_not_begin_the_share_anew(store, url, tmp_path, clock):
    add(store, *[1] * 20)
    clock(3650)
    assert store.retain(max_age_days=30).inspections == 4
    again = Store.open(url, tmp_path / "images")
    assert again.retain(max_age_days=30).inspections == 0
    again.close()


def test_a_clock_that_was_set_back_is_believed_again(store, clock):
    add(store, *[1] * 20)
    clock(3650)
    store.retain(max_age_days=30)
    clock(0)
    add(store, *[40] * 2)
    assert store.retain(max_age_days=30).inspections == 2


def test_a_stream_that_flows_keeps_to_its_age(store, clock):
    """Ten a day for a hundred days, looked at once a day: no more than ten days are there at any time."""
    for day in range(40):
        clock(day)
        add(store, *[-day] * 10)
        found = store.retain(max_age_days=10)
        assert found.held == 0, day
    assert len(store.list(limit=1000)) == 110


def test_a_large_part_that_is_old_goes_over_some_time(store, clock):
    """As after a standstill: of a record of which half is too old a fifth goes at once, and more from day to day."""
    add(store, *[40] * 50, *[1] * 50)
    left = []
    for day in range(13):
        clock(day)
        left.append(store.retain(max_age_days=30).held)
    assert left[:4] == [30, 30, 30, 14]
    assert left[-1] == 0


def test_two_records_in_one_folder_leave_the_files_of_each_other(store, tmp_path, clock):
    other = Store.open(f"sqlite:///{tmp_path / 'other.sqlite3'}", tmp_path / "images")
    (mine,), (theirs,) = add(store, 0, keep=True), add(other, 0, keep=True)
    for path in (tmp_path / "images").glob("*/*"):
        os.utime(path, (path.stat().st_mtime - 7200,) * 2)
    os.utime(tmp_path / "images" / MARKS, (1, 1))
    for one in (store, other):
        found = one.retain()
        assert (found.stray, found.is_shared) == (0, True)
        assert f"remove {MARKS} in it" in found.warnings(None)[0]
    assert all(one.kept.path(row.image).is_file() for one, row in ((store, mine), (other, theirs)))
    other.close()


def test_a_copy_of_a_record_is_another_record(tmp_path, clock):
    place = tmp_path / "record.sqlite3"
    store = Store.open(f"sqlite:///{place}", tmp_path / "images")
    add(store, 0, keep=True)
    store.close()
    shutil.copy(place, tmp_path / "copy.sqlite3")
    copy = Store.open(f"sqlite:///{tmp_path / 'copy.sqlite3'}", tmp_path / "images")
    assert copy.retain().is_shared
    again = Store.open(f"sqlite:///{place}", tmp_path / "images")
    assert again.kept.record == store.kept.record != copy.kept.record
    copy.close()
    again.close()


def test_files_from_before_the_folder_was_marked_stay(store, tmp_path, clock):
    (row,) = add(store, 0, keep=True)
    old = store.kept.path(row.image).with_name(f"{1:032x}.png")
    old.write_bytes(b"x")
    os.utime(old, (1, 1))
    assert store.retain().stray == 0
    assert old.is_file()


def test_a_record_of_the_version_before_is_gone_on_with(url, tmp_path):
    from alembic import command
    from alembic.config import Config

    from differnet.service.record import database

    store = Store.open(url, tmp_path / "images")
    (row,) = add(store, 1)
    config = Config()
    config.set_main_option("script_location", database.__file__.replace("database.py", "migrations"))
    with database.writing(store.engine) as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "0002")
        names = [one[0] for one in connection.execute(text("SELECT version_num FROM alembic_version"))]
    assert names == ["0002"]
    store.close()
    again = Store.open(url, tmp_path / "images")
    assert again.list() == [row]
    assert len(again.kept.record) > 32
    again.close()
