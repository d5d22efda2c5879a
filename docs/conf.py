"""How Sphinx builds the manual: make docs. Notebooks are executed, nothing is fetched; a warning is an error."""

from __future__ import annotations

import pkgutil
from typing import Any

import differnet
from differnet import errors

project = "differnet"
author = "The differnet developers"
release = version = differnet.__version__
html_title = f"differnet {release}"
html_theme = "furo"
html_copy_source = False

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.viewcode"]
exclude_patterns = ["_build"]
myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence"]
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 900  # seconds a cell
nb_execution_in_temp = True
nb_merge_streams = True

nitpicky = True  # every link must lead somewhere
# Names of types in signatures, which come without their module.
_TYPES = "Verdict Pixels Heat Good Progress Audit Views Backbone Reading Training Maps Decision"
nitpick_ignore = [("py:class", name) for name in _TYPES.split()]

autodoc_member_order = "bysource"
autodoc_typehints = "signature"


def setup(app: Any) -> None:
    """Let names without a page of their own be text, if they exist."""
    app.connect("missing-reference", _text_if_it_exists)


def _text_if_it_exists(app: Any, env: Any, node: Any, text: Any) -> Any:
    """Return the text of a reference to what can be imported: a name that does not exist stays a fault.

    Inner parts of the package and the types of other packages have no pages here, since none are fetched.
    """
    if node.get("refdomain") != "py":
        return None
    target, home = node["reftarget"], node.get("py:module")
    if hasattr(errors, target):  # docstrings name them without their module
        found = f"differnet.errors.{target}"
        return env.domains["py"].resolve_xref(env, node["refdoc"], app.builder, "class", found, node, text)
    places = [target, f"builtins.{target}", f"typing.{target}", *([f"{home}.{target}"] if home else [])]
    if node.get("py:class"):
        places.append(f"{home}.{node['py:class']}.{target}")
    return text if any(map(_exists, places)) else None


def _exists(name: str) -> bool:
    try:
        pkgutil.resolve_name(name)
    except (ImportError, AttributeError, ValueError):
        return False
    return True
