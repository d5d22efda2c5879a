"""Where a JPEG ends, beside the rules written out byte by byte."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from differnet.data.formats.jpeg import end_of

END, START, ALONE = 0xD9, 0xD8, 0x01


def literal(content):
    """Walk through markers: 0xFF, as often as one likes, and then what is neither data nor a restart."""
    at = 2
    while at < len(content):
        first = at
        while at < len(content) and content[at] == 0xFF:
            at += 1
        if at == len(content):
            return None
        kind, is_marker = content[at], at > first
        at += 1
        if not is_marker or kind == 0 or 0xD0 <= kind <= 0xD7:
            continue
        if kind == END:
            return first
        if kind not in (ALONE, START) and at + 2 <= len(content):
            at += int.from_bytes(content[at : at + 2], "big")
    return None


@given(st.lists(st.sampled_from([0xFF, END, START, ALONE, 0, 2, 5, 0xD0, 0xD7, 0xDA, 0xC0]), max_size=40))
def test_the_end_is_where_the_rules_say(numbers):
    assert end_of(bytes(numbers)) == literal(bytes(numbers))


def test_bytes_that_fill_belong_to_the_end():
    assert end_of(b"\xff\xd8" + b"ab\xff\x00\xff\xff\xff\xd9\xff\xd9") == 6
    assert end_of(b"\xff\xd8" + b"\xff\xfe\x00\x04\xff\xd9\xff\xd9") == 8
    assert end_of(b"\xff\xd8" + b"\xff" * 9) is None
