"""Peak memory of a fit on many large images, and of the heat map of a larger one.

Usage: python benchmarks/memory.py [--images 1000] [--out benchmark-output/memory.json]

Writes JPEGs of 4000 x 3000 pixels, 20 drawn ones and the same shifted, then runs ``differnet fit`` on the folder in a
process of its own, and reads the largest resident set that the system saw of it. Then the model scores a picture of
6000 x 4000 pixels, without maps and with them. Fails when a peak is above its limit.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

WIDTH, HEIGHT, DIFFERENT = 4000, 3000, 20
LARGER = 6000, 4000
LIMIT = 1.6e9
MAP_LIMIT = 12.0  # bytes a pixel, above scoring itself


def main() -> None:
    """Make the images, fit, score, and say the peaks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--out", type=Path, default=Path("benchmark-output/memory.json"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        good, model = write_images(Path(folder, "good"), options.images), Path(folder, "m.safetensors")
        started = time.perf_counter()
        peak = peak_of("fit", good, "--out", model)
        seconds = time.perf_counter() - started
        large = Path(folder, "large.jpg")
        Image.open(good / "00000.jpg").resize(LARGER).save(large, quality=90)
        score = "--quiet", "score", model, large, "--out", Path(folder, "rows.csv")
        alone, with_map = peak_of(*score), peak_of(*score, "--maps", Path(folder, "maps"))
    map_bytes = (with_map - alone) / (LARGER[0] * LARGER[1])
    figures = {"images": options.images, "peak_bytes": peak, "seconds": seconds}
    figures |= {"score_bytes": alone, "maps_bytes": with_map, "map_bytes_a_pixel": map_bytes}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(figures))
    print(f"fit on {options.images} images of {WIDTH} x {HEIGHT}: peak {peak / 1e9:.2f} GB, {seconds:.0f} s")
    print(f"score, {LARGER[0]} x {LARGER[1]}: {alone / 1e9:.2f} GB, a map {map_bytes:.1f} bytes a pixel more")
    if peak > LIMIT or map_bytes > MAP_LIMIT:
        raise SystemExit(f"more than {LIMIT / 1e9:.1f} GB, or than {MAP_LIMIT:.0f} bytes a pixel")


def peak_of(*arguments: str | Path) -> int:
    """Run ``differnet`` and return the largest resident set, in bytes, that the system saw of the process."""
    run = subprocess.Popen([sys.executable, "-m", "differnet", *map(str, arguments)])
    _, status, used = os.wait4(run.pid, 0)
    if status:
        raise SystemExit(f"differnet {arguments[0]} ended with {os.waitstatus_to_exitcode(status)}")
    return 1024 * used.ru_maxrss


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
