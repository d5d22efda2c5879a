"""Files that people write: TOML, or YAML by the ending of the name, to tables of plain values; nothing in them runs."""

from __future__ import annotations

import re
import sys
from pathlib import PurePath
from typing import Any

from differnet.errors import ConfigError, MissingExtraError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_YAML = (".yaml", ".yml")
_MERGE = "tag:yaml.org,2002:merge"
# YAML 1.2's numbers: PyYAML takes 1e-3 for a text.
_FLOAT = re.compile(r"^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)$")


def kind_of(origin: str) -> str:
    """Return what a file is taken for.

    >>> kind_of("part.yml"), kind_of("part.toml"), kind_of("part")
    ('YAML', 'TOML', 'TOML')
    """
    return "YAML" if PurePath(origin).suffix.lower() in _YAML else "TOML"


def parse(text: str, origin: str) -> dict[str, Any]:
    """Return the table that a document is; ``origin`` names the file, and its ending says what it is.

    Raises :class:`ConfigError` for what is no such document or says a name twice, and :class:`MissingExtraError` for
    YAML where there is no PyYAML.

    >>> parse("hidden: 256", "part.yaml") == parse("hidden = 256", "part.toml")
    True
    """
    kind = kind_of(origin)
    try:
        found = _yaml(text) if kind == "YAML" else tomllib.loads(text)
    except ImportError as error:
        raise MissingExtraError(f"{origin}: YAML needs PyYAML: pip install pyyaml; or write TOML") from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{origin}: no {kind} ({' '.join(str(error).split())})") from error
    if not isinstance(found, dict) or not all(isinstance(name, str) for name in found):
        raise ConfigError(f"{origin}: {kind} with names and their values was wanted")
    return found


def _yaml(text: str) -> Any:
    """Read YAML by PyYAML's safe loader, in which a name stands once; an empty file is an empty table."""
    import yaml

    class Loader(yaml.SafeLoader):  # type: ignore[misc]
        """The safe loader, with numbers as YAML 1.2 has them."""

        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            """Refuse a name that stands twice, of which the first would be lost."""
            keys = [key for key, _ in node.value if key.tag != _MERGE]
            names = [self.construct_object(key, deep=True) for key in keys]
            twice = next((str(name) for index, name in enumerate(names) if name in names[:index]), None)
            if twice is not None:
                raise ValueError(f"{twice!r} stands there twice")
            return super().construct_mapping(node, deep)

    Loader.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+.0123456789"))
    try:
        found = Loader(text).get_single_data()
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error
    return {} if found is None else found
