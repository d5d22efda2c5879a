"""What waits for a person, what is drawn of the OK parts, and what that tells of those that passed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("sqlalchemy")
pytest.importorskip("alembic")

from scipy import stats

from differnet.decision.thresholds import share_interval
from differnet.errors import ConfigError
from differnet.service.record.figures.review import escapes, is_drawn, queue, waiting
from differnet.service.record.store import Store
from support.records import START
from support.records import judged as part


def ok(number, share):
    """Return an OK part as the recorder would have it where ``share`` is drawn."""
    row = part(number)
    return replace(row, audit_share=share, is_drawn=is_drawn(row.id, share))


@pytest.mark.parametrize(("found", "count"), [(0, 1), (0, 60), (1, 60), (7, 19), (60, 60), (3, 5000)])
def test_the_interval_is_that_of_clopper_and_pearson(found, count):
    wanted = stats.binomtest(found, count).proportion_ci(0.95, "exact")
    assert share_interval(found, count) == pytest.approx((wanted.low, wanted.high), abs=1e-9)


def test_counts_that_cannot_be_are_refused():
    for found, count in ((1, 0), (-1, 3), (4, 3)):
        with pytest.raises(ConfigError, match="no share"):
            share_interval(found, count)


def test_what_waits_comes_once_in_its_order(store):
    kinds = ("NG", "OK", "review", "error", "NG", None)
    rows = [store.add(part(number, kind)) for number, kind in enumerate(kinds)]
    drawn = store.add(replace(part(6), audit_share=0.5, is_drawn=True))
    store.add(replace(part(7), audit_share=0.5, is_drawn=False))
    store.add(part(8, "NG", model="bolts"))
    left = waiting(store.engine, "tiles")
    assert (left.NG, left.review, left.drawn) == (2, 1, 1)
    assert queue(store.engine, "tiles", limit=9) == [rows[0], rows[2], rows[4], drawn]
    assert queue(store.engine, "tiles", after_seq=rows[0].seq) == [rows[2]]
    assert queue(store.engine, "tiles", since=rows[4].time, limit=9) == [rows[4], drawn]
    store.confirm(rows[0].id, "defective")
    store.confirm(drawn.id, "good")
    assert [row.id for row in queue(store.engine, "tiles", limit=9)] == [rows[2].id, rows[4].id]
    assert sum(vars(waiting(store.engine, "tiles")).values()) == 2
    store.confirm(rows[0].id, None)
    assert queue(store.engine, "tiles")[0].id == rows[0].id


def test_a_part_is_drawn_by_its_id_alone():
    ids = [f"{number:032x}" for number in range(20_000)]
    for share in (0.01, 0.3):
        drawn = [identity for identity in ids if is_drawn(identity, share)]
        assert abs(len(drawn) / len(ids) - share) < 0.01
        assert all(
            is_drawn(identity, 1.5 * share) for identity in drawn
        )  # a smaller share is among a larger one
    assert not any(is_drawn(identity, 0) for identity in ids)
    assert all(is_drawn(identity, 1) for identity in ids)


def test_escapes_are_estimated_from_what_was_drawn(store):
    rows = [store.add(ok(number, 0.2)) for number in range(300)]
    drawn = [row for row in rows if row.is_drawn]
    other = next(row for row in rows if not row.is_drawn)
    none = escapes(store.engine, "tiles")
    assert (none.passed, none.drawn, none.confirmed, none.estimate) == (300, len(drawn), 0, None)
    assert "not known" in none.text
    for row in drawn[:40]:
        store.confirm(row.id, "defective" if row in drawn[:3] else "good")
    store.confirm(other.id, "defective")  # known, and no part of the sample
    found = escapes(store.engine, "tiles")
    low, high = stats.binomtest(3, 40).proportion_ci(0.95, "exact")
    assert (found.confirmed, found.defective, found.known, found.share) == (40, 3, 4, 0.2)
    assert (found.estimate, found.low, found.high) == pytest.approx((3 / 40, low, high))
    assert f"about {round(300 * 3 / 40)} defective parts passed" in found.text
    assert f"the {len(drawn) - 40} drawn that nobody has looked at yet" in found.condition
    assert escapes(store.engine, "tiles", until=START).passed == 0
    assert escapes(store.engine, "bolts").text.endswith("(--audit-share).")


def test_a_share_that_was_changed_spoils_no_estimate(store):
    """Many were drawn while defects were frequent: without thinning the estimate would be half as large again."""
    many = [store.add(ok(number, 0.8)) for number in range(400)]
    few = [store.add(ok(number, 0.1)) for number in range(400, 800)]
    for row in many + few:
        if row.is_drawn:
            store.confirm(row.id, "defective" if row in many else "good")
    found = escapes(store.engine, "tiles")
    assert found.share == 0.1
    assert found.confirmed == sum(is_drawn(row.id, 0.1) for row in many + few)
    assert found.low < 0.5 < found.high


def test_the_interval_holds_what_it_says():
    """Of many draws from a known stream with one escape in fifty at most one in twenty misses the truth."""
    chance, misses = np.random.default_rng(5), 0
    stream = [number < 20 for number in range(1000)]
    for _ in range(400):
        drawn = [is_defective for is_defective in stream if chance.random() < 0.15]
        low, high = share_interval(sum(drawn), len(drawn))
        misses += not low <= 0.02 <= high
    assert misses <= 20


def test_what_waits_is_looked_up_by_an_index(tmp_path):
    from sqlalchemy import text

    store = Store.open(f"sqlite:///{tmp_path / 'record.sqlite3'}")
    query = "EXPLAIN QUERY PLAN SELECT * FROM inspections WHERE model = 'a' AND operator IS NULL AND verdict = 'NG'"
    with store.engine.connect() as connection:
        plan = " ".join(row.detail for row in connection.execute(text(query)))
    assert "ix_inspections_review" in plan
    store.close()
