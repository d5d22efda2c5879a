"""Every error and warning that differnet raises on purpose.

One tree, so that ``except DifferNetError`` catches all of them; each also inherits the built-in that
people expect. A message says what was found, what was wanted and what to do::

    DifferNetError
    ├── ConfigError        (ValueError)         a setting that does not exist or does not fit
    ├── ImageError         (ValueError)         a picture that cannot be read or used
    ├── LayoutError        (ValueError)         a data set that is not laid out as expected
    ├── WeightsError       (RuntimeError)       backbone weights missing, foreign or not loadable
    ├── ModelFileError     (ValueError)         a model file that cannot be trusted or understood
    ├── ShapeError         (ValueError)         tensors or maps whose shapes do not fit each other
    ├── NotFittedError     (RuntimeError)       scoring before fitting
    ├── QuantizationError  (ArithmeticError)    8-bit integers that move the scores too far
    ├── ExportError        (ArithmeticError)    graphs that judge otherwise than the detector they were made from
    ├── NumericalError     (ArithmeticError)    a NaN or an infinity, with the place it came from
    ├── StoreError         (RuntimeError)       a record of inspections that cannot be read or written
    ├── DuplicateError     (ValueError)         an inspection that is recorded already
    ├── ClusterError       (RuntimeError)       machines that cannot be reached or lost the work
    └── MissingExtraError  (ImportError)        an optional package, with the pip command

    DifferNetWarning       (UserWarning)        something that is weaker than it looks
    └── ImageWarning                            something of an image that was not looked at as it is
        └── PagesWarning                        pages or frames of a file that were not looked at
"""

from __future__ import annotations

import contextlib
import functools
import os
import sys
import warnings
from collections.abc import Iterator
from contextvars import ContextVar

# Between two functions of the package there may be a decorator of the standard library.
_OURS = (os.path.dirname(__file__) + os.sep, contextlib.__file__, functools.__file__)  # noqa: PTH120

_NOTES: ContextVar[Notes | None] = ContextVar("notes", default=None)


class DifferNetError(Exception):
    """Base of all errors that differnet raises on purpose."""


class ConfigError(DifferNetError, ValueError):
    """A setting that does not exist or a value that does not fit it."""


class ImageError(DifferNetError, ValueError):
    """A picture that cannot be read or used; the message starts with its path when it has one."""


class LayoutError(DifferNetError, ValueError):
    """A data set that is not laid out as expected."""


class WeightsError(DifferNetError, RuntimeError):
    """Backbone weights that are missing, cannot be fetched, or are not those of the model file."""


class ModelFileError(DifferNetError, ValueError):
    """A model file or checkpoint that is damaged, foreign, or of an unknown version."""


class ShapeError(DifferNetError, ValueError):
    """Tensors, maps or masks whose shapes or values do not fit what is computed from them."""


class NotFittedError(DifferNetError, RuntimeError):
    """The detector was asked for something that needs ``fit`` or ``load`` first."""


class NumericalError(DifferNetError, ArithmeticError):
    """A NaN or an infinity appeared; the message says where."""


class QuantizationError(DifferNetError, ArithmeticError):
    """Eight-bit integers would change features or scores too much; the message has the figures."""


class ExportError(DifferNetError, ArithmeticError):
    """The graphs of a station give other scores or verdicts than the detector; the message has the figures."""


class StoreError(DifferNetError, RuntimeError):
    """The record of inspections cannot be reached, read or written."""


class DuplicateError(DifferNetError, ValueError):
    """An inspection with this key is recorded already."""


class ClusterError(DifferNetError, RuntimeError):
    """A Ray cluster that cannot be reached, or that gave up work; what was finished is kept."""


class MissingExtraError(DifferNetError, ImportError):
    """An optional package is not installed; the message names the pip command."""


def in_words(error: Exception) -> str:
    """Return what went wrong, without the number that the system has for it.

    >>> in_words(FileNotFoundError(2, "No such file or directory", "parts.csv"))
    'parts.csv: no such file or directory'
    """
    if not isinstance(error, OSError) or not error.strerror:
        return str(error)
    if error.filename is None:
        return error.strerror
    return f"{os.fsdecode(error.filename)}: {error.strerror[:1].lower()}{error.strerror[1:]}"


def in_a_line(error: Exception) -> str:
    """Return what went wrong without a line break, with the type of errors that were not raised on purpose."""
    lines = in_words(error).strip().splitlines() or [""]
    known = isinstance(error, DifferNetError | OSError)
    return " ".join(lines) if known else f"{type(error).__name__}: {lines[0]}"


def counted(count: int, one: str, many: str = "") -> str:
    """Return a number with the noun that goes with it; ``many`` where that is not the noun with an s.

    >>> counted(1, "good image"), counted(2, "good image"), counted(0, "copy", "copies")
    ('1 good image', '2 good images', '0 copies')
    """
    return f"{count} {one if count == 1 else many or one + 's'}"


def agreeing(count: int, one: str, many: str) -> str:
    """Return the verb that goes with a number.

    >>> agreeing(1, "is", "are"), agreeing(0, "is", "are")
    ('is', 'are')
    """
    return one if count == 1 else many


class DifferNetWarning(UserWarning):
    """Something is weaker than it looks, for instance a threshold from too few good images."""


class ImageWarning(DifferNetWarning):
    """Something of an image was not looked at, or not as it is; its row says so, too."""


class PagesWarning(ImageWarning):
    """A file has pages or frames that were not looked at."""


class Notes(list[str]):
    """What was said of an image, in the order in which it was said."""

    @property
    def text(self) -> str | None:
        """All of it in one text; nothing where nothing was said."""
        return "; ".join(self) or None


@contextlib.contextmanager
def noting() -> Iterator[Notes]:
    """Note each :class:`ImageWarning` of the block in this thread, beside warning of it."""
    notes = Notes()
    before = _NOTES.set(notes)
    try:
        yield notes
    finally:
        _NOTES.reset(before)


def warn(message: str, category: type[DifferNetWarning] = DifferNetWarning) -> None:
    """Warn at the line outside of the package that led here."""
    notes = _NOTES.get()
    if notes is not None and issubclass(category, ImageWarning):
        notes.append(message)
    frame, level = sys._getframe(1), 2  # level 2 is who called this function
    while frame.f_code.co_filename.startswith(_OURS) and frame.f_back is not None:
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)
