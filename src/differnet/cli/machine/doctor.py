"""What is installed here, and whether it works: what to attach to a report."""

from __future__ import annotations

from typing import Any

import typer

from differnet.cli import options
from differnet.cli.console import advise, err, guarded, out, print_json


def doctor(json: options.Json = False) -> None:
    """Say what is installed and what the machine can do, and run a self-test of some seconds; exits with 2 for a fault.

    Attach what --json prints to a report: no path, user or secret is in it.
    """
    with guarded():
        from differnet.evaluation.doctor.examine import examine

        found = examine()
        if json:
            print_json(found.to_dict())
        else:
            tell(found.facts)
        for fault in found.faults:
            err.print(f"fault: {fault}", markup=False)
        if not json:
            advise("attach what differnet doctor --json prints to a report, or differnet demo to see it work")
    if found.faults:
        raise typer.Exit(2)


def tell(facts: dict[str, Any]) -> None:
    """Say it in lines."""
    test = facts["self_test"]
    lines = {
        "versions": f"differnet {facts['differnet']}, Python {facts['python']}, {facts['system']}",
        "machine": facts["machine"],
        "instructions": ", ".join(facts["instructions"]),
        "threads": "{used} to compute with, limit {limit}".format(**facts["threads"]),
        "environment": ", ".join(f"{name}={value}" for name, value in facts["environment"].items())
        or "nothing set",
        "memory": "{free} GiB of {all} free".format(**facts["memory_gib"]),
        "disk": "{here} GiB free here, {temporary} for temporary files".format(**facts["disk_free_gib"]),
        "runtimes": _names(facts["runtimes"]) + f"; auto takes {facts['runtimes']['auto']}",
        "GPUs": ", ".join(facts["gpus"]) or "none",
        "packages": _packages(facts["packages"].get("differnet", [])),
        "extras": _extras(facts["packages"]),
        "weights": f"{_names(facts['weights'])}; a download or --weights FILE has the others",
        "self-test": "failed"
        if test is None
        else "AUROC {auroc:.3f}, {milliseconds:.0f} ms a picture, {seconds:.1f} s, {runtime} in {precision}".format(
            **test
        ),
    }
    for name, said in lines.items():
        out.print(f"{name:<13} {said}", markup=False)


def _names(there: dict[str, Any]) -> str:
    return ", ".join(name for name, is_there in there.items() if is_there is True) or "none"


def _packages(found: list[dict[str, Any]]) -> str:
    return (
        ", ".join(f"{one['name']} {one['version'] or 'missing'}" for one in found)
        or "differnet is not installed"
    )


def _extras(packages: dict[str, list[dict[str, Any]]]) -> str:
    """Return for each extra whether it is there, and what of it is missing."""
    said = []
    for extra, found in packages.items():
        missing = [one["name"] for one in found if not one["fits"]]
        if extra != "differnet":
            said.append(f"{extra} (not {', '.join(missing)})" if missing else extra)
    return ", ".join(said) or "none"
