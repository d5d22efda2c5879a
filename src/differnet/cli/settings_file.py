"""Options of ``serve`` and ``watch`` from a file or the environment; what is given on the command line goes first.

The option ``--max-bytes`` of ``watch`` is ``$DIFFERNET_WATCH_MAX_BYTES`` or, in a file of TOML or YAML, ``max-bytes``
under ``[watch]``. Click does the rest.
"""

from __future__ import annotations

import difflib
import inspect
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import typer

from differnet.config.documents import kind_of, parse
from differnet.data.files import read_text
from differnet.errors import ConfigError, MissingExtraError

_TABLES = ("serve", "watch")
_KINDS: dict[Any, tuple[tuple[type, ...], str]] = {
    int: ((int,), "a whole number"),
    float: ((int, float), "a number"),
    bool: ((bool,), "true or false"),
}


def environment(command: str) -> dict[str, Any]:
    """Return what Click wants in order to read the options of a command from the environment, of those two alone."""
    return {"auto_envvar_prefix": f"DIFFERNET_{command.upper()}"} if command in _TABLES else {}


def _take(ctx: typer.Context, path: Path | None) -> Path | None:
    """Let the values of a file stand in for the defaults of a command; what is wrong is shown as a wrong option."""
    if path is None:
        return None
    try:
        document = parse(read_text(path, "a TOML or YAML file of options"), str(path))
    except (ConfigError, MissingExtraError) as error:
        raise typer.BadParameter(str(error)) from error
    for table in document:
        _check_known(path, table, _TABLES)
    known = {option.lstrip("-"): param for param in ctx.command.params for option in param.opts}
    known = {name: param for name, param in known.items() if name not in ("help", "settings", "config")}
    values = document.get(ctx.command.name or "", {})
    if not isinstance(values, dict):
        begin = f"{ctx.command.name}:" if kind_of(str(path)) == "YAML" else f"[{ctx.command.name}]"
        raise typer.BadParameter(f"{path}: {ctx.command.name} is no table; {begin} begins one")
    hints = get_type_hints(inspect.unwrap(ctx.command.callback)) if ctx.command.callback else {}
    for name, value in values.items():
        _check_known(path, name, tuple(known))
        _check_kind(path, name, value, hints[known[name].name or ""])
    ctx.default_map = {known[name].name or "": value for name, value in values.items()}
    return path


def _check_kind(path: Path, name: str, value: Any, hint: Any) -> None:
    """Refuse a value of another kind than the option takes: true is no number, and 2.9 is no count."""
    of_option = [one for one in (get_args(hint) or (hint,)) if one is not NoneType]
    takes_many = get_origin(of_option[0]) is list
    kind = get_args(of_option[0])[0] if takes_many else of_option[0]
    fitting, said = _KINDS.get(kind, ((str,), "a text"))
    found = value if takes_many and isinstance(value, list) else [value]
    fits = all(isinstance(one, fitting) and isinstance(one, bool) == (kind is bool) for one in found)
    if not fits or isinstance(value, list) != takes_many:
        wanted = f"a list, of {said} each," if takes_many else said
        raise typer.BadParameter(f"{path}: {name} = {value!r}: {wanted} was wanted")


def _check_known(path: Path, name: str, known: tuple[str, ...]) -> None:
    if name not in known:
        close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        hint = f"did you mean {close[0]!r}?" if close else f"there are: {', '.join(known)}"
        raise typer.BadParameter(f"{path}: unknown name {name!r}; {hint}")


Settings = Annotated[
    Path | None,
    typer.Option(
        "--settings",
        "--config",
        is_eager=True,
        callback=_take,
        help=r"TOML (or YAML) file of options, under \[serve] or \[watch].",
    ),
]
