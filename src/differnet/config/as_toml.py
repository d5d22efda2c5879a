"""Settings as TOML, read from YAML as well: a table for each section, or names without one.

What is not there stays as the preset has it.
"""

from __future__ import annotations

import json
from typing import Any

from differnet.config.documents import parse
from differnet.config.presets import Config, check_name, names, nearest
from differnet.errors import ConfigError


def write(config: Config) -> str:
    """Return all settings, section by section; those that are ``None``, as in every preset, are left out.

    >>> text = write(Config())
    >>> text.splitlines()[:2]
    ['[views]', 'rotation = "full"']
    """
    lines = []
    for section, values in config.to_dict().items():
        lines.append(f"[{section}]")
        lines += [
            f"{name} = {json.dumps(value, ensure_ascii=False)}"
            for name, value in values.items()
            if value is not None
        ]
        lines.append("")
    return "\n".join(lines)


def read(text: str, origin: str) -> dict[str, Any]:
    """Return settings by name, to replace those of a preset; ``origin`` is what errors name.

    A name that ends in ``.yaml`` or ``.yml`` is read as YAML. Raises :class:`ConfigError` for what is neither, and
    for a name that does not exist, with the nearest.

    >>> read("epoch = 3", "part.toml")
    Traceback (most recent call last):
        ...
    differnet.errors.ConfigError: part.toml: There is no setting 'epoch'; did you mean 'epochs'?
    >>> read("hidden = 256\\n[decision]\\nrate = 0.05", "part.toml")
    {'flow.hidden': 256, 'decision.rate': 0.05}
    """
    document = parse(text, origin)
    found: dict[str, Any] = {}
    sections = set(names().values())
    for name, value in document.items():
        if isinstance(value, dict) and name not in sections:
            raise ConfigError(f"{origin}: There is no section {name!r}; {nearest(name, sorted(sections))}")
        inner = value.items() if isinstance(value, dict) else [(None, value)]
        for leaf, one in inner:
            try:
                full = check_name(name if leaf is None else f"{name}.{leaf}")
            except ConfigError as error:
                raise ConfigError(f"{origin}: {error}") from None
            if full in found:
                raise ConfigError(f"{origin}: {full} stands there twice, with and without its section")
            found[full] = one
    return found
