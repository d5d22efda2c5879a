"""What the machine is, what is installed on it, and whether a small detector works: what to attach to a report.

No path, name of a user or value of a secret is in it.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil
import torch

from differnet import __version__
from differnet.config import presets
from differnet.evaluation.doctor import installed, trial
from differnet.evaluation.timing import machine
from differnet.features.backbone.select import choose_name
from differnet.runtime.threads import cores, limit

GIB = 2**30
_LEAST_GIB = 2.0
_SAID = ("DIFFERNET_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "CUDA_VISIBLE_DEVICES")  # no secrets
_FLAGS = (
    "sse4_2",
    "avx",
    "avx2",
    "fma",
    "avx512f",
    "avx512_vnni",
    "avx_vnni",
    "avx512_bf16",
    "amx_int8",
    "amx_bf16",
    "asimd",
    "sve",
)


@dataclass(frozen=True)
class Examination:
    """``facts`` in plain JSON types, and ``faults``: what keeps differnet from working, each with what to do."""

    facts: dict[str, Any]
    faults: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return {**self.facts, "faults": list(self.faults)}


def examine(try_out: Callable[[], trial.Trial] = trial.run) -> Examination:
    """Look at the machine and run the self-test; what is wrong with either is a fault and no error."""
    packages = installed.packages()
    faults = _faults_of(packages.get("", []))
    test = None
    try:
        test = try_out()
    except Exception as error:  # whatever it is, the report says it
        faults.append(f"the self-test ended with {type(error).__name__}: {error}")
    if test is not None and not test.passed:
        faults.append(
            f"the self-test has AUROC {test.auroc:.2f} where {trial.LEAST} was wanted: try it with --set runtime=torch "
            "and report this machine"
        )
    facts = {
        "differnet": __version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "machine": machine(),
        "instructions": instructions(),
        "threads": {"limit": limit(), "used": cores(), "torch": torch.get_num_threads()},
        "environment": environment(),
        "memory_gib": _memory(),
        "disk_free_gib": {
            "here": _free(Path.cwd(), faults),
            "temporary": _free(Path(tempfile.gettempdir()), faults),
        },
        "runtimes": runtimes(),
        "gpus": gpus(),
        "packages": {
            extra or "differnet": [asdict(one) for one in found] for extra, found in packages.items()
        },
        "weights": installed.backbones(),
        "self_test": None if test is None else {**asdict(test), "passed": test.passed},
    }
    return Examination(facts, tuple(faults))


def _faults_of(wanted: list[installed.Package]) -> list[str]:
    """Return what is wrong with the packages that every installation wants; those of extras may be missing."""
    return [
        f"{one.name} {one.version or 'is missing'}, where {one.wanted} was wanted: pip install '{one.name}{one.wanted}'"
        for one in wanted
        if not one.fits
    ]


def instructions() -> list[str]:
    """Return the sets of instructions that matter, as the system names them; what PyTorch uses where it says none."""
    known = Path("/proc/cpuinfo")
    words = set(known.read_text().split()) if known.exists() else set()
    return [flag for flag in _FLAGS if flag in words] or [torch.backends.cpu.get_cpu_capability().lower()]


def environment() -> dict[str, str]:
    """Return what is set: values of those that hold no secret, and of the others that they are set."""
    ours = sorted(name for name in os.environ if name.startswith("DIFFERNET_") or name in _SAID)
    return {name: os.environ[name] if name in _SAID else "set" for name in ours}


def runtimes() -> dict[str, Any]:
    """Return which engines are there, and which one ``runtime = 'auto'`` takes on a CPU."""
    there = {
        name: importlib.util.find_spec(name) is not None for name in ("torch", "openvino", "onnxruntime")
    }
    return {**there, "auto": choose_name(presets.DEFAULT.backbone, "cpu")}


def gpus() -> list[str]:
    """Return the names of the GPUs that PyTorch can use."""
    found = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    return [*found, *(["mps"] if torch.backends.mps.is_available() else [])]


def _memory() -> dict[str, float]:
    found = psutil.virtual_memory()
    return {"all": round(found.total / GIB, 1), "free": round(found.available / GIB, 1)}


def _free(folder: Path, faults: list[str]) -> float:
    """Return how much of a disk is free, and note where that is too little for a large fit."""
    free = round(shutil.disk_usage(folder).free / GIB, 1)
    if free < _LEAST_GIB:
        what = "for temporary files" if folder == Path(tempfile.gettempdir()) else "here"
        said = f"{free} GiB are free on the disk {what}, where {_LEAST_GIB:g} were wanted: make room, or name another"
        faults.append(f"{said} folder by TMPDIR" if "temporary" in what else f"{said} folder to work in")
    return free
