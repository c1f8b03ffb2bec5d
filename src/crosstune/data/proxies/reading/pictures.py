"""Image files and arrays of images to uint8 (N, 3, H, W) of one size."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np

from crosstune.data.proxies.reading.refusal import BadFile
from crosstune.errors import DataError

ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
# only decoders of ordinary picture formats: others read fonts, documents or run interpreters
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM")
MOST_PIXELS = 100_000_000


def read_picture(path: Path, size: tuple[int, int]) -> tuple[np.ndarray, tuple[int, int]]:
    """A picture file as uint8 (3, H, W) of ``size``, and its own height and width.

    Turned as its EXIF tag says; transparency over white; the first frame of an animation; 16-bit grey scaled to 8.
    Raises BadFile for anything that is not a whole picture of at most 100 million pixels.
    """
    from PIL import Image, ImageOps

    if path.stat().st_size == 0:
        raise BadFile("empty (0 bytes)")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on strange metadata; what matters raises
            with Image.open(path, formats=FORMATS) as opened:
                width, height = opened.size
                if width * height > MOST_PIXELS:
                    raise BadFile(f"{width}x{height} pixels, more than {MOST_PIXELS // 10**6} million")
                opened.load()
                picture = _in_colour(ImageOps.exif_transpose(opened))
    except BadFile:
        raise
    except Image.UnidentifiedImageError:
        raise BadFile(f"not a picture ({_beginning(path)})") from None
    except Image.DecompressionBombError:
        raise BadFile("declares far more pixels than a picture has (a decompression bomb)") from None
    except Exception as problem:  # decoders raise OSError, ValueError, SyntaxError, struct.error and others
        raise BadFile(f"cannot be decoded ({str(problem) or type(problem).__name__})") from None
    return _fitted(picture, size), (picture.height, picture.width)


def _beginning(path: Path) -> str:
    with path.open("rb") as file:
        return f"it begins {file.read(8)!r}"


def _in_colour(picture: Any) -> Any:
    from PIL import Image

    if picture.mode.startswith("I;16") or picture.mode == "I":
        deep = np.asarray(picture)
        if deep.min() < 0 or deep.max() > 65535:
            raise BadFile("32-bit grey values outside of 0 to 65535")
        return Image.fromarray((deep >> 8).astype(np.uint8)).convert("RGB")
    if picture.mode == "F":
        raise BadFile("floating-point grey values, of which black and white are not known")
    if "A" in picture.getbands() or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        white = Image.new("RGBA", picture.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, picture).convert("RGB")
    return picture.convert("RGB")


def _fitted(picture: Any, size: tuple[int, int]) -> np.ndarray:
    """The middle part of the wanted aspect ratio, averaged over areas down (or interpolated up) to ``size``."""
    from PIL import Image

    height, width = size
    scale = min(picture.width / width, picture.height / height)
    wide, high = scale * width, scale * height
    left, top = (picture.width - wide) / 2, (picture.height - high) / 2
    method = Image.Resampling.BOX if scale > 1 else Image.Resampling.BICUBIC
    if (picture.width, picture.height) != (width, height):
        picture = picture.resize((width, height), method, box=(left, top, left + wide, top + high))
    return np.ascontiguousarray(np.asarray(picture).transpose(2, 0, 1))


def said(sizes: list[tuple[int, int]], size: tuple[int, int]) -> tuple[str, ...]:
    """The note on resampling; none when every picture had the wanted size."""
    other = [s for s in sizes if s != size]
    if not other:
        return ()
    low, high = min(other), max(other)
    span = f"{low[0]}x{low[1]}" if low == high else f"{low[0]}x{low[1]} to {high[0]}x{high[1]}"
    return (
        f"{len(other)} pictures of {span} pixels were cut to the middle and resampled to {size[0]}x{size[1]} "
        "(averages over areas down, bicubic up)",
    )


def from_array(x: np.ndarray, size: tuple[int, int], name: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """Images in an array, (N, H, W), (N, C, H, W) or (N, H, W, C) with C = 1 or 3, to uint8 (N, 3, H, W), with notes.

    Values are whole numbers 0 to 255, or fractions 0 to 1. Raises DataError for others.
    """
    from PIL import Image

    notes: list[str] = []
    if x.ndim == 3:
        x = x[:, None]
    elif x.shape[1] not in (1, 3) and x.shape[3] in (1, 3):
        x = x.transpose(0, 3, 1, 2)
        notes.append(f"{name} of shape (N, H, W, C) was taken as images with channels last")
    if x.shape[1] not in (1, 3):
        raise DataError(
            f"{name} has shape {x.shape}: images have 1 or 3 channels", fix="give (N, 3, H, W) or (N, 1, H, W)"
        )
    x = _bytes(x, name, notes)
    before = (x.shape[2], x.shape[3])
    if before != size:
        out = np.empty((len(x), 3, *size), np.uint8)
        for row, picture in enumerate(x):
            shown = picture[0] if len(picture) == 1 else picture.transpose(1, 2, 0)
            out[row] = _fitted(Image.fromarray(np.ascontiguousarray(shown)).convert("RGB"), size)
        x = out
    return np.ascontiguousarray(np.broadcast_to(x, (len(x), 3, *size))), (*notes, *said([before] * len(x), size))


def _bytes(x: np.ndarray, name: str, notes: list[str]) -> np.ndarray:
    if x.dtype == np.uint8:
        return x
    if x.dtype.kind not in "iufb":
        raise DataError(f"{name} holds {x.dtype}, not pixel values", fix="give whole numbers 0 to 255")
    low, high = float(x.min()), float(x.max())
    if not (np.isfinite(low) and np.isfinite(high)) or low < 0 or high > 255:
        raise DataError(
            f"{name} holds values from {low:.4g} to {high:.4g}: pixels lie between 0 and 255, or between 0 and 1",
            cause="standardised images, or missing values",
            fix="undo the standardisation before saving",
        )
    scale = 255.0 if high <= 1 and x.dtype.kind in "fb" else 1.0
    if scale != 1:
        notes.append(f"{name} holds values of 0 to 1: taken as shares of full brightness")
    return np.floor(x.astype(np.float32) * np.float32(scale) + np.float32(0.5)).clip(0, 255).astype(np.uint8)
