"""Peak memory of a fit on many large images.

Usage: python benchmarks/memory.py [--images 1000] [--out benchmark-output/memory.json]

Writes JPEGs of 4000 x 3000 pixels, 20 drawn ones and the same shifted, then runs ``differnet fit`` on the folder in a
process of its own, and reads the largest resident set that the system saw of it. Fails when that is above the limit.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

WIDTH, HEIGHT, DIFFERENT = 4000, 3000, 20
LIMIT = 1.6e9


def main() -> None:
    """Make the images, fit, and say the peak."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--out", type=Path, default=Path("benchmark-output/memory.json"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        good = write_images(Path(folder, "good"), options.images)
        command = [
            sys.executable,
            "-m",
            "differnet",
            "fit",
            str(good),
            "--out",
            str(Path(folder, "m.safetensors")),
        ]
        started = time.perf_counter()
        subprocess.run(command, check=True)
        seconds = time.perf_counter() - started
    peak = 1024 * resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    figures = {"images": options.images, "peak_bytes": peak, "seconds": seconds}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(figures))
    print(f"fit on {options.images} images of {WIDTH} x {HEIGHT}: peak {peak / 1e9:.2f} GB, {seconds:.0f} s")
    if peak > LIMIT:
        raise SystemExit(f"more than {LIMIT / 1e9:.1f} GB")


def write_images(folder: Path, count: int) -> Path:
    """Write ``count`` pictures of brushed metal, no two of which are alike."""
    folder.mkdir()
    for drawn in range(min(DIFFERENT, count)):
        rng = np.random.default_rng(drawn)
        rows = rng.normal(0, 12, (HEIGHT, 1, 1)) + rng.normal(0, 6, (HEIGHT, WIDTH // 8, 1)).repeat(8, 1)
        pixels = np.clip(128 + rows.repeat(3, 2), 0, 255).astype(np.uint8)
        for index in range(drawn, count, DIFFERENT):
            shifted = np.roll(pixels, 61 * index, axis=0)
            Image.fromarray(shifted).save(folder / f"{index:05}.jpg", quality=90)
    return folder


if __name__ == "__main__":
    main()
