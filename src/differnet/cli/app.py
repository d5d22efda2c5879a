"""The command line: every command in the order of ``--help``, and what is common to all."""

from __future__ import annotations

import io
import sys
from typing import Annotated

import typer

from differnet import __version__
from differnet.cli.compare import compare
from differnet.cli.console import guarded, hush
from differnet.cli.evaluate import demo, evaluate
from differnet.cli.fit import fit, fit_many
from differnet.cli.machine.doctor import doctor
from differnet.cli.machine.studio import studio
from differnet.cli.model import calibrate, export, info, quantize
from differnet.cli.promise.audit import audit
from differnet.cli.promise.plan import plan
from differnet.cli.report import report
from differnet.cli.reproduce import reproduce
from differnet.cli.score import score
from differnet.cli.serve import export_good, make_key, serve
from differnet.cli.settings_file import environment
from differnet.cli.watch import watch
from differnet.runtime.memory import keep_large_tables_apart
from differnet.runtime.threads import use as use_threads

app = typer.Typer(
    name="differnet",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


def main() -> None:
    """Run the command line; names that the terminal cannot write are escaped."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    keep_large_tables_apart()
    app()


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"differnet {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[  # noqa: ARG001  its callback has done it
        bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=_show_version)
    ] = False,
    threads: Annotated[
        int | None, typer.Option(min=1, max=1024, help="Threads to compute with (default: all cores).")
    ] = None,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="No progress, notes or advice: results and errors alone.")
    ] = False,
) -> None:
    """Visual defect detection from good images alone (DifferNet, WACV 2021)."""
    hush(quiet)
    with guarded():
        use_threads(threads)


for _command in (
    plan,
    fit,
    score,
    audit,
    calibrate,
    report,
    export,
    serve,
    make_key,
    export_good,
    studio,
    watch,
    info,
    evaluate,
    reproduce,
    compare,
    fit_many,
    quantize,
    demo,
    doctor,
):
    app.command(context_settings=environment(_command.__name__))(_command)
