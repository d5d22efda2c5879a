"""Options of ``serve`` and ``watch`` from a file or the environment; what is given on the command line goes first.

The option ``--max-bytes`` of ``watch`` is ``$DIFFERNET_WATCH_MAX_BYTES`` or, in a TOML file, ``max-bytes`` under
``[watch]``. Click does the rest.
"""

from __future__ import annotations

import difflib
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_TABLES = ("serve", "watch")


def environment(command: str) -> dict[str, Any]:
    """Return what Click wants in order to read the options of a command from the environment, of those two alone."""
    return {"auto_envvar_prefix": f"DIFFERNET_{command.upper()}"} if command in _TABLES else {}


def _take(ctx: typer.Context, path: Path | None) -> Path | None:
    """Let the values of a file stand in for the defaults of a command; what is wrong is shown as a wrong option."""
    if path is None:
        return None
    try:
        document = tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise typer.BadParameter(f"{path}: {error}") from error
    for table in document:
        _check_known(path, table, _TABLES)
    known = {option.lstrip("-"): param for param in ctx.command.params for option in param.opts}
    known = {name: param for name, param in known.items() if name not in ("help", "settings")}
    values = document.get(ctx.command.name or "", {})
    if not isinstance(values, dict):
        raise typer.BadParameter(f"{path}: {ctx.command.name} is no table; [{ctx.command.name}] begins one")
    for name, value in values.items():
        _check_known(path, name, tuple(known))
        takes_many = known[name].nargs != 1 or getattr(known[name], "multiple", False)
        if isinstance(value, list) != takes_many or not isinstance(value, str | int | float | list):
            wanted = "a list" if takes_many else "a text, a number, true or false"
            raise typer.BadParameter(f"{path}: {name} = {value!r}: {wanted} was wanted")
    ctx.default_map = {known[name].name or "": value for name, value in values.items()}
    return path


def _check_known(path: Path, name: str, known: tuple[str, ...]) -> None:
    if name not in known:
        close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        hint = f"did you mean {close[0]!r}?" if close else f"there are: {', '.join(known)}"
        raise typer.BadParameter(f"{path}: unknown name {name!r}; {hint}")


Settings = Annotated[
    Path | None,
    typer.Option(
        "--settings", is_eager=True, callback=_take, help="TOML file of options, under [serve] or [watch]."
    ),
]
