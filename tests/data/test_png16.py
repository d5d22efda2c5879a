"""PNG with 16 bits a colour: the right pixels, with and without torch, and a reason where its decoder is missing."""

from __future__ import annotations

import hashlib
import subprocess
import sys

import imagecodecs
import numpy as np
import pytest
import tifffile

from differnet import DifferNet, Inspector
from differnet.data import images
from differnet.detector import export
from differnet.errors import ImageError
from support import hostile
from support.tiny import TINY, defective_image

DEEP = np.random.default_rng(3).integers(0, 2**16, (23, 31, 4), dtype=np.uint16)
WANTED = np.rint(DEEP / 257.0).astype(np.uint8)


def written(path, pixels):
    """Write a file whose rows use all five filters."""
    path.write_bytes(
        imagecodecs.png_encode(np.ascontiguousarray(pixels), level=6, filter=int(imagecodecs.PNG.FILTER.ALL))
    )
    return path


def loaded_without(missing, path):
    """Return what a fresh process says that loads an image while packages cannot be imported."""
    code = (
        f"import sys\nfor name in {missing!r}: sys.modules[name] = None\n"
        "from differnet.data import images\n"
        "import hashlib\n"
        f"try: print(hashlib.sha256(images.load({str(path)!r}).tobytes()).hexdigest())\n"
        "except images.ImageError as error: print(error)"
    )
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_colours_are_rounded_to_the_nearest_of_eight_bits(tmp_path):
    assert np.array_equal(images.load(written(tmp_path / "a.png", DEEP[..., :3])), WANTED[..., :3])


def test_alpha_is_laid_on_black(tmp_path):
    found = images.load(written(tmp_path / "a.png", DEEP))
    assert np.array_equal(found, np.rint(WANTED[..., :3] * (WANTED[..., 3:].astype(np.float32) / 255)))


def test_grey_with_alpha_becomes_grey_on_black(tmp_path):
    found = images.load(written(tmp_path / "a.png", DEEP[..., :2]))
    laid = np.rint(WANTED[..., :1] * (WANTED[..., 1:2].astype(np.float32) / 255))
    assert np.array_equal(found, laid.repeat(3, axis=2))


def test_a_colour_that_is_named_transparent_stays_a_colour(tmp_path):
    named = hostile.chunk(b"tRNS", DEEP[0, 0, :3].astype(">u2").tobytes())
    path = tmp_path / "a.png"
    path.write_bytes(hostile.deep_png(DEEP[..., :3], named))
    assert np.array_equal(images.load(path), WANTED[..., :3])


def test_no_torch_is_needed(tmp_path):
    path = written(tmp_path / "a.png", DEEP[..., :3])
    wanted = hashlib.sha256(WANTED[..., :3].tobytes()).hexdigest()
    assert loaded_without(["torch", "torchvision"], path) == f"{wanted}\n"


def test_without_imagecodecs_it_is_said_what_to_install(tmp_path):
    path = written(tmp_path / "a.png", DEEP[..., :3])
    wanted = f"{path}: a PNG with 16 bits a colour needs imagecodecs: pip install 'differnet[codecs]'\n"
    assert loaded_without(["imagecodecs"], path) == wanted


def test_detector_and_station_judge_it_alike(good_images, tmp_path):
    settings = {"weights": "random", "seed": 1, "epochs": 2, "hidden": 8, "blocks": 2, "runtime": "torch"}
    upright = {"rotation": "none", "score_rotations": "even", "start": "gaussian", "rate": 0.2}
    detector = DifferNet("default", **TINY | settings | upright).fit(good_images)
    export.export(detector, tmp_path / "station", "openvino", images=good_images[:2])
    path = written(tmp_path / "part.png", defective_image(3)[0].astype(np.uint16) * 257)
    found, wanted = Inspector(tmp_path / "station").predict(path), detector.predict(path)
    assert found.score == pytest.approx(wanted.score, rel=1e-4)
    assert (found.verdict, found.p_value) == (wanted.verdict, wanted.p_value)
    assert wanted.score == detector.predict(defective_image(3)[0]).score


@pytest.mark.parametrize("kind", ["lzw", "packbits", "zlib", "lzma", "zstd"])
def test_tiff_with_16_bits_is_read_compressed(tmp_path, kind):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, DEEP[..., :3], photometric="rgb", compression=kind)
    assert np.array_equal(images.load(path), WANTED[..., :3])


@pytest.mark.parametrize("kind", ["lzw", "zstd"])
def test_without_imagecodecs_a_compressed_tiff_says_what_to_install(tmp_path, kind):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, DEEP[..., :3], photometric="rgb", compression=kind)
    wanted = f"{path}: this compressed TIFF needs imagecodecs: pip install 'differnet[codecs]'\n"
    assert loaded_without(["imagecodecs"], path) == wanted


@pytest.mark.parametrize("kind", ["jpeg2000", "jpegxl", "jpegxr"])
def test_pictures_within_a_tiff_are_not_handed_to_decoders_with_sizes_of_their_own(tmp_path, kind):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, DEEP[..., :3], photometric="rgb", compression=kind)
    with pytest.raises(ImageError, match="compressed in a way that is not read"):
        images.load(path)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("kind", ["zlib", "zstd", "lzma"])
def test_a_strip_that_grows_beyond_its_size_takes_no_memory(tmp_path, kind):
    code = {"zlib": 8, "zstd": 50000, "lzma": 34925}[kind]
    packed = getattr(imagecodecs, f"{kind}_encode")(bytes(2**28))
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as file:
        shape = {"shape": (64, 48, 3), "dtype": "uint16", "rowsperstrip": 64}
        file.write(iter([packed]), photometric="rgb", compression=code, **shape)
    run = (
        "from differnet.data import images\n"
        f"try: images.load({str(path)!r})\nexcept images.ImageError: pass\n"
        "print(open('/proc/self/status').read().partition('VmHWM:')[2].split()[0])"
    )
    peak = subprocess.run([sys.executable, "-c", run], capture_output=True, text=True, check=True).stdout
    assert int(peak) < 250_000  # kilobytes, and not all 268 MB besides
