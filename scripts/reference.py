"""Write the pages of settings and options from the code: docs/reference/settings.md and options.md.

With --check nothing is written, and a page that is not what the code says is an error.
"""

from __future__ import annotations

import argparse
import dataclasses
import inspect
import json
import re
import sys
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from typer.main import get_command

from differnet.cli.app import app
from differnet.config.presets import DEFAULT, PAPER, PRESETS, Config, names

FOLDER = Path(__file__).parent.parent / "docs" / "reference"
COMMAND = "`python scripts/reference.py` writes this page from the code"
_KINDS = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "a text",
    Path: "a path",
    NoneType: "null",
}
_BOUNDS = (("gt", "above"), ("ge", "from"), ("lt", "below"), ("le", "to"))


def settings_page() -> str:
    """Return the page of settings: every section with its fields, and what each preset changes."""
    lines = [
        "# Settings",
        "",
        f"{COMMAND}, `differnet.config.sections`.",
        "On the command line `--set NAME=VALUE` gives one, with values as in JSON, and",
        "[`--config FILE`](../howto/choose.md#settings-in-a-file) many; in Python it is",
        "`differnet.DifferNet(NAME=VALUE)`. A name that does not exist is an error that proposes the nearest. The",
        "columns are the values in the presets `default` and `paper`; the others are [below](#presets).",
        "",
    ]
    for section in dataclasses.fields(Config):
        value = getattr(DEFAULT, section.name)
        lines += [f"## {section.name}", "", _prose(inspect.getdoc(type(value)) or ""), ""]
        lines += ["| setting | takes | `default` | `paper` |", "|---|---|---|---|"]
        hints = get_type_hints(type(value), include_extras=True)
        for leaf in dataclasses.fields(value):
            own, papers = getattr(value, leaf.name), getattr(getattr(PAPER, section.name), leaf.name)
            takes = _cell(takes_of(hints[leaf.name]))
            lines.append(f"| `{leaf.name}` | {takes} | {_value(own)} | {_value(papers)} |")
        lines.append("")
    return "\n".join([*lines, *_presets()])


def _presets() -> list[str]:
    lines = [
        "## Presets",
        "",
        "What each changes against `default`.",
        "",
        "| preset | settings |",
        "|---|---|",
    ]
    default = DEFAULT.to_dict()
    for name, preset in PRESETS.items():
        found = preset.to_dict()
        changed = {
            leaf: found[section][leaf]
            for leaf, section in names().items()
            if found[section][leaf] != default[section][leaf]
        }
        told = ", ".join(f"`{leaf}={json.dumps(value)}`" for leaf, value in changed.items())
        lines.append(f"| `{name}` | {told or 'nothing'} |")
    return [*lines, ""]


def takes_of(hint: Any) -> str:
    """Say in words what a setting takes, from its annotation."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _bounded(takes_of(inner[0]), inner[1:])
    if origin is Literal:
        return ", ".join(f"`{one}`" for one in inner)
    if origin is tuple and inner[-1] is Ellipsis:
        return f"a list of {_plural(takes_of(inner[0]))}"
    if origin is tuple:
        return f"a list of {len(inner)}: {takes_of(inner[0])} each"
    if inner:
        return " or ".join(takes_of(one) for one in inner)
    return _KINDS[hint]


def _bounded(said: str, notes: tuple[Any, ...]) -> str:
    for note in notes:
        found = {
            k: getattr(one, k) for one in getattr(note, "metadata", ()) for k, _ in _BOUNDS if hasattr(one, k)
        }
        said += "".join(f" {word} {found[name]:,}" for name, word in _BOUNDS if name in found)
        if getattr(note, "description", None):
            said += f" ({note.description})"
    return said


def _plural(said: str) -> str:
    return said.replace("a whole number", "whole numbers", 1)


def options_page() -> str:
    """Return the page of options: every command with its arguments and options, in the order of ``--help``."""
    group: Any = get_command(app)
    lines = ["# Options", "", f"{COMMAND}, `differnet.cli`.", "", "## differnet", ""]
    lines += [_prose(group.help or ""), "", *_table(group)]
    for name, command in group.commands.items():
        prefix = command.context_settings.get("auto_envvar_prefix")
        lines += [f"## differnet {name}", "", _prose(command.help or ""), ""]
        if prefix:
            told = f"Each option can stand in the environment as `${prefix}_NAME`, or in the file of `--settings`."
            lines += [told, ""]
        lines += _table(command)
    return "\n".join(lines)


def _table(command: Any) -> list[str]:
    hints = get_type_hints(inspect.unwrap(command.callback))
    rows = ["| | takes | if not given | what |", "|---|---|---|---|"]
    for param in command.params:
        if param.name not in hints:
            continue  # --help, and what completes in a shell
        kind, is_many = _kind(hints[param.name])
        is_argument = param.param_type_name == "argument"
        spelled = [param.name.upper()] if is_argument else [*param.opts, *param.secondary_opts]
        takes = "" if kind is bool else _KINDS[kind] + (", repeatable" if is_many else "")
        told = ", ".join(f"`{one}`" for one in spelled)
        help_ = _cell(_prose(getattr(param, "help", None) or ""))
        rows.append(f"| {told} | {takes} | {_default(param, kind)} | {help_} |")
    return [*rows, ""]


def _kind(hint: Any) -> tuple[Any, bool]:
    """Return the type of an option, without ``None``, and whether there may be several."""
    if get_origin(hint) is Annotated:
        hint = get_args(hint)[0]
    inner = [one for one in get_args(hint) if one is not NoneType]
    if get_origin(hint) is list:
        return inner[0], True
    return _kind(inner[0]) if inner else (hint, False)


def _default(param: Any, kind: Any) -> str:
    if param.required:
        return "an error"
    if kind is bool:
        return "on" if param.default else "off"
    return "" if param.default in (None, "", []) else f"`{param.default}`"


def _prose(text: str) -> str:
    """Write the roles of docstrings and the escapes of help texts as Markdown."""
    text = re.sub(r":\w+:`([^`]+)`", r"`\1`", inspect.cleandoc(text))
    return text.replace("\\[", "[").replace("``", "`")


def _cell(text: str) -> str:
    return text.replace("|", r"\|").replace("\n", " ")


def _value(value: Any) -> str:
    return f"`{json.dumps(value)}`"


def main() -> None:
    """Write the pages, or compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    old = []
    for name, page in (("settings", settings_page()), ("options", options_page())):
        path = FOLDER / f"{name}.md"
        if not check:
            path.write_text(page, "utf-8")
        elif not path.exists() or path.read_text("utf-8") != page:
            old.append(f"docs/reference/{name}.md is not what the code says: python scripts/reference.py")
    if old:
        sys.exit("\n".join(old))


if __name__ == "__main__":
    main()
