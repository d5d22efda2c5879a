"""Pages of mapped files leave the process while rows are read, often enough and not after each."""

from __future__ import annotations

import pytest

from differnet.features import mapped

MB = 2**20


@pytest.mark.parametrize(
    ("size", "wanted"),
    [
        (None, "g0 g1 g2 g3 g4 g"),
        (64 * MB, "g0 g1 g2 g3 g4 g"),
        (16 * MB, "0 g1 2 g3 4 g"),
        (12 * MB, "0 1 g2 3 4 g"),
        (MB, "0 1 2 3 4 g"),
    ],
)
def test_pages_go_when_many_are_there_and_at_the_end(monkeypatch, size, wanted):
    told = []
    monkeypatch.setattr(mapped, "let_go", lambda: told.append("g"))
    for item in mapped.letting_go(range(5), **({} if size is None else {"size": size})):
        told.append(f"{item} ")
    assert "".join(told) == wanted


def test_pages_go_also_where_not_all_is_taken(monkeypatch):
    told = []
    monkeypatch.setattr(mapped, "let_go", lambda: told.append("g"))
    items = mapped.letting_go(range(5), MB)
    assert [item for _, item in zip(range(3), items, strict=False)] == [0, 1, 2]
    assert told == []
    del items
    assert told == ["g"]
