"""The record: every inspection, in SQLite or PostgreSQL, and the images that were kept, in a folder.

One object can be used by many threads, and one record by several processes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import (
    Connection,
    Engine,
    Select,
    delete,
    func,
    insert,
    select,
    update,
)

from differnet.errors import DuplicateError, StoreError
from differnet.service.record import changes, database
from differnet.service.record.changes import NOBODY, By
from differnet.service.record.filters import Filter, page_of
from differnet.service.record.images import KeptImages
from differnet.service.record.inspection import Inspection, Judgement, Operator, Rates, now
from differnet.service.record.part import LONGEST_KIND
from differnet.service.record.pulse import Pulse
from differnet.service.record.retention import Retained, retain
from differnet.service.record.tables import inspections, monitors, settings
from differnet.service.record.tallies import Bucket, Counts, tallies

__all__ = ["DEFAULT_URL", "Counts", "Inspection", "Rates", "Store"]

DEFAULT_URL = "sqlite:///differnet.sqlite3"
_MOST = 1000  # rows that one page may have
_NAME, _LONG = 1000, 10_000  # characters of a file's name, and of other texts

Along = Callable[[Connection, Inspection], None]


class Store:
    """A record that is open; see :meth:`open`."""

    def __init__(self, engine: Engine, folder: Path) -> None:
        self.engine = engine
        self.kept = KeptImages(folder, database.mark_of(engine))
        self.pulse = Pulse(engine, folder)

    @classmethod
    def open(cls, url: str = DEFAULT_URL, folder: Path | None = None) -> Store:
        """Open or make a record; its tables are brought to their newest form.

        ``url``: ``sqlite:///FILE`` or ``postgresql+psycopg://USER:PASSWORD@HOST/NAME``. ``folder``: of kept images;
        where nothing, beside the file of SQLite, or ``differnet-images``. Raises :class:`ConfigError`,
        :class:`MissingExtraError` or :class:`StoreError` as :func:`differnet.service.record.database.connect`.
        """
        path = database.sqlite_file(url)
        beside = Path("differnet-images") if path is None else path.with_suffix(".images")
        return cls(database.connect(url), folder or beside)

    def close(self) -> None:
        """Let go of all connections."""
        self.pulse.close()
        self.engine.dispose()

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Begin a transaction that alone may write, for other tables of the record."""
        with database.writing(self.engine) as connection:
            yield connection

    def keep(self, inspection: Inspection, image: bytes | None) -> Inspection:
        """Write an image as it was received to disk; return the inspection that names it.

        Raises :class:`StoreError` where the disk does not take it, as it does for a row that cannot be written.
        """
        try:
            return self.kept.write(inspection, image)
        except OSError as error:
            raise StoreError(f"the image could not be kept: {error}") from error

    def keep_map(self, inspection: Inspection, heat_map: bytes) -> Inspection:
        """Write the heat map (PNG) of an inspection that is recorded, and name it in its row.

        Returns the row as it is then; one that was forgotten meanwhile as it was. Raises
        :class:`StoreError`.
        """
        columns, name = inspections.c, self.kept.name_of_map(inspection)
        try:
            self.kept.write_file(name, heat_map)
        except OSError as error:
            raise StoreError(f"the heat map could not be kept: {error}") from error
        size = columns.kept_bytes + len(heat_map)
        changed = update(inspections).where(columns.id == inspection.id, columns.heat_map.is_(None))
        with self.writing() as connection:
            connection.execute(changed.values(heat_map=name, kept_bytes=size))
        row = self.get(inspection.id)
        if row is None or row.heat_map != name:
            self.kept.remove(name)
        return row or inspection

    def add(self, inspection: Inspection, along: Along | None = None) -> Inspection:
        """Record an inspection and return it with its number; it is on disk when this returns.

        ``along`` writes more in the same transaction, so that neither is there without the other. Raises
        :class:`DuplicateError` when its key is recorded for the model already.
        """
        inspection = replace(
            inspection,
            file_name=_text(inspection.file_name, _NAME),
            error=_text(inspection.error),
            note=_text(inspection.note),
            image_note=_text(inspection.image_note),
        )
        values = asdict(inspection)
        del values["seq"]
        with self.writing() as connection:
            known = self._row_of(connection, inspection)
            if known is None:
                found = connection.execute(insert(inspections).values(values))
                (seq,) = found.inserted_primary_key or (0,)
                inspection = replace(inspection, seq=int(seq))
                if along is not None:
                    along(connection, inspection)
        if known is not None:
            key = inspection.source_key or inspection.id
            raise DuplicateError(f"{key}: recorded already for model {inspection.model}, as row {known}")
        return inspection

    @staticmethod
    def _row_of(connection: Any, inspection: Inspection) -> int | None:
        query = select(inspections.c.seq).where(inspections.c.id == inspection.id)
        if inspection.source_key is not None:
            query = select(inspections.c.seq).where(
                inspections.c.model == inspection.model, inspections.c.source_key == inspection.source_key
            )
        found: int | None = connection.execute(query).scalar()
        return found

    def seen(self, model: str, source_key: str) -> bool:
        """Whether an inspection by ``model`` is recorded under this key."""
        query = select(inspections.c.seq).where(
            inspections.c.model == model, inspections.c.source_key == source_key
        )
        with database.reading(self.engine) as connection:
            return connection.execute(query).first() is not None

    def get(self, identity: str) -> Inspection | None:
        """Return the inspection with this id."""
        return next(iter(self._rows(select(inspections).where(inspections.c.id == identity))), None)

    def list(
        self,
        model: str | None = None,
        verdict: Judgement | Literal["none"] | None = None,
        operator: Operator | Literal["none"] | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        before_seq: int | None = None,
        limit: int = 100,
    ) -> Rows:
        """Return inspections, the newest first; at most 1000.

        ``operator="none"``: those that nobody looked at; ``verdict="none"``: those by a model without a threshold.
        """
        wanted = Filter(model=model, verdict=verdict, operator=operator, since=since, until=until)
        return self.found(wanted, before_seq, limit)

    def found(self, wanted: Filter, before_seq: int | None = None, limit: int = 100) -> Rows:
        """Return the inspections that a filter lets through, the newest first; at most 1000."""
        return self._rows(page_of(wanted, self.engine.dialect.name, before_seq, limit))

    def after(self, seq: int, model: str | None = None, limit: int = _MOST) -> Rows:
        """Return the inspections that were added after number ``seq``, the oldest first."""
        query = select(inspections).where(inspections.c.seq > seq)
        if model is not None:
            query = query.where(inspections.c.model == model)
        return self._rows(query.order_by(inspections.c.seq).limit(limit))

    def last_seq(self) -> int:
        """Return the number of the newest inspection, 0 when there is none."""
        with database.reading(self.engine) as connection:
            return int(connection.execute(select(func.max(inspections.c.seq))).scalar() or 0)

    def confirm(
        self,
        identity: str,
        operator: Operator | None,
        note: str | None = None,
        keep_note: bool = False,
        by: By = NOBODY,
        defect: str | None = None,
        keep_defect: bool = False,
    ) -> Inspection | None:
        """Note what an operator says of a part, or take it back; nothing when there is no such inspection.

        ``keep_note``: leave the note as it is. ``defect``: of which kind a defective part is, or that of before with
        ``keep_defect``; any other has none. ``by``: who says so, which is recorded with it.
        """
        with self.writing() as connection:
            row = connection.execute(select(inspections).where(inspections.c.id == identity)).first()
            if row is None:
                return None
            note = row.note if keep_note else _text(note)
            defect = row.defect if keep_defect else _text(defect, LONGEST_KIND)
            defect = defect if operator == "defective" else None
            at = None if operator is None and note is None else now()
            values = {"operator": operator, "note": note, "defect": defect, "operator_time": at}
            connection.execute(update(inspections).where(inspections.c.id == identity).values(values))
            before, after = _word(row.operator, row.note, row.defect), _word(operator, note, defect)
            changes.add(connection, by, "confirm", row.model, before, after, identity)
        return self.get(identity)

    def counts(
        self,
        model: str,
        since: datetime | None = None,
        bucket: Bucket = "hour",
        until: datetime | None = None,
    ) -> Counts:
        """Return how many inspections had which verdict in each hour or day (UTC) with any, the oldest first.

        "none" are those by a model without a threshold.
        """
        return tallies(self.engine, model, since, bucket, until)

    def scores(
        self, model: str, last: int = 1000, digest: str | None = None, confirmed: bool = False
    ) -> Rows:
        """Return the last inspections with a score, the newest first; ``digest``: of this folder alone.

        ``confirmed``: those that an operator confirmed as good or defective alone.
        """
        query = select(inspections).where(inspections.c.model == model, inspections.c.score.is_not(None))
        if digest is not None:
            query = query.where(inspections.c.model_digest == digest)
        if confirmed:
            query = query.where(inspections.c.operator.is_not(None))
        return self._rows(query.order_by(inspections.c.seq.desc()).limit(last))

    def good_images(self, model: str) -> Iterator[tuple[str, Path]]:
        """Yield a name and the file of each kept image that an operator confirmed as good, each picture once.

        What could not be judged is kept as well, and may be no picture at all: it is left out.
        """
        could_be_judged = inspections.c.verdict.is_(None) | (inspections.c.verdict != "error")
        is_good = (inspections.c.operator == "good") & inspections.c.image.is_not(None)
        query = select(inspections).where(inspections.c.model == model, is_good, could_be_judged)
        known = set()
        for row in self._rows(query.order_by(inspections.c.seq)):
            path = self.kept.path(row.image or "")
            if row.image_digest not in known and path.is_file():
                known.add(row.image_digest)
                yield f"{row.seq:08}-{row.id[:8]}{path.suffix}", path

    def setting(self, model: str) -> Rates | None:
        """Return the rates that were applied last, nothing when those of the folder hold."""
        query = select(settings).where(settings.c.model == model).order_by(settings.c.number.desc()).limit(1)
        with database.reading(self.engine) as connection:
            row = connection.execute(query).first()
        return None if row is None or row.rate is None else Rates(row.rate, row.confidence, row.review_rate)

    def set_setting(
        self,
        model: str,
        rate: float | None,
        confidence: float | None = None,
        review_rate: float | None = None,
        by: By = NOBODY,
    ) -> None:
        """Note which rates hold from now on; no ``rate``: those of the folder. What was applied before is kept."""
        after = None if rate is None else Rates(rate, confidence, review_rate)
        values = {"rate": rate, "confidence": confidence, "review_rate": review_rate}
        with self.writing() as connection:
            before = self.setting(model)
            connection.execute(insert(settings).values(model=model, time=now(), **values))
            changes.add(connection, by, "rates", model, changes.as_said(before), changes.as_said(after))

    def by_key(self, model: str, source_key: str) -> Inspection | None:
        """Return the inspection by ``model`` that is recorded under this key."""
        query = select(inspections).where(
            inspections.c.model == model, inspections.c.source_key == source_key
        )
        return next(iter(self._rows(query)), None)

    def monitor(self, model: str, digest: str) -> str | None:
        """Return the state of the drift monitor that was saved for this folder of the model."""
        query = select(monitors.c.state).where(monitors.c.model == model, monitors.c.model_digest == digest)
        with database.reading(self.engine) as connection:
            found: str | None = connection.execute(query).scalar()
        return found

    def set_monitor(self, model: str, digest: str, state: str) -> None:
        """Save the state of a drift monitor in place of the last."""
        with self.writing() as connection:
            connection.execute(delete(monitors).where(monitors.c.model == model))
            connection.execute(
                insert(monitors).values(model=model, model_digest=digest, time=now(), state=state)
            )

    def retain(self, max_age_days: float | None = None, max_bytes: int | None = None) -> Retained:
        """Remove what is too old or too much; see :mod:`differnet.service.record.retention`."""
        return retain(self.engine, self.kept, max_age_days, max_bytes)

    def _rows(self, query: Select[Any]) -> Rows:
        with database.reading(self.engine) as connection:
            return [Inspection(**row) for row in connection.execute(query).mappings()]


def _text(value: str | None, most: int = _LONG) -> str | None:
    """Return a text as every database takes it: without NUL and halves of surrogate pairs, and not too long."""
    if value is None:
        return None
    return value[:most].replace("\0", "\ufffd").encode("utf-8", "replace").decode()


def _word(operator: str | None, note: str | None, defect: str | None) -> dict[str, str | None]:
    """Return what an operator said as it stands in a change."""
    return {"verdict": operator, "note": note} | ({} if defect is None else {"defect": defect})


Rows = list[Inspection]  # below the class, in which "list" is the method
