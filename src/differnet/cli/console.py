"""What the command line shows a person: progress on stderr, errors with advice, JSON for machines."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from differnet.errors import DifferNetError, DifferNetWarning, PagesWarning, agreeing, counted, in_words

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)
# What --quiet leaves out: progress, notes, counts and advice. Errors go to err, results to out.
side = Console(stderr=True, highlight=False, soft_wrap=True)


def hush(quiet: bool) -> None:
    """Leave out from now on what nobody asked for, or no longer."""
    side.quiet = quiet


def advise(text: str) -> None:
    """Say on stderr, last, what to do next."""
    side.print(f"Next: {text}", markup=False)


class Bars:
    """One progress bar a stage on stderr, with the time left; call it as a progress function.

    Bars of finished stages stay unless they are to ``replace`` one another.
    """

    def __init__(self, progress: Progress, replace: bool = False) -> None:
        self._progress = progress
        self._replace = replace
        self._task: Any = None
        self._stage = ""

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Move the bar of ``stage`` to ``done`` of ``total``."""
        if stage != self._stage or self._task is None:
            if self._replace and self._task is not None:
                self._progress.remove_task(self._task)
            self._stage = stage
            self._task = self._progress.add_task(stage, total=total)
        self._progress.update(self._task, completed=done, total=total)


@contextmanager
def bars(replace: bool = False) -> Iterator[Bars]:
    """Show progress bars while the block runs: all of them, or each in place of the last."""
    columns = (
        TextColumn("{task.description:<28}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    with Progress(*columns, console=side, disable=side.quiet) as progress:
        yield Bars(progress, replace)


@contextmanager
def guarded() -> Iterator[None]:
    """Turn expected errors into one readable message and exit code 2; print warnings as notes."""
    notes = _Notes()
    with warnings.catch_warnings():
        warnings.simplefilter("always", DifferNetWarning)
        warnings.showwarning = notes.show
        for name in (
            "tifffile",
            "PIL",
        ):  # what they log of a bad file is in the reason for which it is refused
            logging.getLogger(name).setLevel(logging.CRITICAL)
        try:
            yield
        except (DifferNetError, OSError) as error:
            err.print(f"[bold red]error:[/] {_escape(in_words(error))}")
            raise typer.Exit(2) from error
        except KeyboardInterrupt:
            err.print("stopped; no half-written model or table was left behind")
            raise typer.Exit(130) from None
        except (typer.Exit, typer.Abort, typer.BadParameter):
            raise
        except Exception as error:
            err.print_exception()
            err.print("[bold red]error:[/] this is a defect of differnet; please report the lines above")
            raise typer.Exit(2) from error
        finally:
            notes.tell_rest()


def printable(text: str) -> str:
    """Write what would move the cursor, or cannot be written, as Python would: names of files hold anything.

    >>> printable("a\\nb")
    'a\\\\nb'
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def print_json(document: Any) -> None:
    """Print one JSON document on stdout."""
    typer.echo(json.dumps(document, indent=2, allow_nan=False))


def print_json_rows(head: dict[str, Any], name: str, rows: Iterable[dict[str, Any]]) -> None:
    """Print one JSON document on stdout: ``head`` and, under ``name``, the list of rows, one row at a time."""
    start = json.dumps(head, indent=2, allow_nan=False).removesuffix("\n}")
    typer.echo(f"{start},\n  {json.dumps(name)}: [", nl=False)
    for index, row in enumerate(rows):
        typer.echo(f"{',' if index else ''}\n    {json.dumps(row, allow_nan=False)}", nl=False)
    typer.echo("\n  ]\n}")


class _Notes:
    """Prints each note once; of files with pages that are not looked at the first, and at the end how many more."""

    def __init__(self) -> None:
        self._said: set[str] = set()
        self._with_pages = 0

    def show(self, message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
        """Take the place of ``warnings.showwarning``."""
        text = str(message)
        if not issubclass(category, DifferNetWarning) or text in self._said:
            return
        self._said.add(text)
        if issubclass(category, PagesWarning):
            self._with_pages += 1
            if self._with_pages > 1:
                return
        side.print(f"[yellow]note:[/] {_escape(text)}")

    def tell_rest(self) -> None:
        """Say of how many more files there were pages that were not looked at."""
        rest = self._with_pages - 1
        if rest > 0:
            verb = agreeing(rest, "has", "have")
            side.print(
                f"[yellow]note:[/] {counted(rest, 'more file')} {verb} pages or frames that were not looked at"
            )
        self._with_pages = 0


def _escape(text: str) -> str:
    return printable(text).replace("[", r"\[")
