"""The good pictures of a record: those that operators confirmed, of each model how many."""

from __future__ import annotations

import threading
from pathlib import Path

from sqlalchemy import distinct, func, select

from differnet.errors import ConfigError
from differnet.service.record import database
from differnet.service.record.figures.export import copy_good
from differnet.service.record.store import Store
from differnet.service.record.tables import inspections


class Confirmed:
    """A record that may not be there yet, by its URL; ``images``: the folder of its kept images."""

    def __init__(self, url: str, images: Path | None) -> None:
        self._url, self._images = url, images
        self._store: Store | None = None
        self._turn = threading.Lock()

    def counts(self) -> dict[str, int]:
        """Return of each model how many different pictures were confirmed as good."""
        store = self._opened()
        if store is None:
            return {}
        is_good = (inspections.c.operator == "good") & inspections.c.image.is_not(None)
        each = func.count(distinct(inspections.c.image_digest))
        query = select(inspections.c.model, each).where(is_good).group_by(inspections.c.model)
        with database.reading(store.engine) as connection:
            return {str(model): int(count) for model, count in connection.execute(query)}

    def copy(self, model: str, target: Path) -> int:
        """Copy those of a model, so that they stay when the record forgets them; returns how many there are.

        Raises :class:`ConfigError` for a model that has none.
        """
        store = self._opened()
        count = 0 if store is None else copy_good(store, model, target)
        if not count:
            raise ConfigError(
                f"{model}: the record has no pictures of it that were confirmed as good and kept"
            )
        return count

    def close(self) -> None:
        """Let the record go."""
        with self._turn:
            if self._store is not None:
                self._store.close()
            self._store = None

    def _opened(self) -> Store | None:
        place = self._url.removeprefix("sqlite:///")
        with self._turn:
            if self._store is None and (place == self._url or Path(place).is_file()):
                self._store = Store.open(self._url, self._images)
            return self._store
