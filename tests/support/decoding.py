"""How often image files are decoded."""

from __future__ import annotations

from collections import Counter

from differnet.data import images


def counted(monkeypatch, name="decode"):
    """Return a count by file that goes on while the function ``name`` of ``data.images`` is called."""
    count, work = Counter(), getattr(images, name)

    def counting(path, *rest):
        count[path] += 1
        return work(path, *rest)

    monkeypatch.setattr(images, name, counting)
    return count
