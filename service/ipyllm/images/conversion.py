"""Converts pictures of Pillow and numpy to PNG files as every model reads them: 8 bits of grey, RGB or RGBA."""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING, Any

from ipyllm.errors import bad_request

if TYPE_CHECKING:
    from types import ModuleType

__all__ = ["array_as_png", "file_as_png", "is_array", "is_cmyk_jpeg", "is_pillow", "pillow_as_png"]

_AS_THEY_ARE = {"1", "L", "LA", "P", "RGB", "RGBA"}
_GREY_MAX, _DEEP_MAX = 255, 65_535
_CMYK_COMPONENTS = 4


def is_array(value: Any) -> bool:
    """Return whether it is an array of numpy, without importing it."""
    numpy = sys.modules.get("numpy")
    return numpy is not None and isinstance(value, numpy.ndarray)


def is_pillow(value: Any) -> bool:
    """Return whether it is a picture of Pillow, without importing it."""
    pillow = sys.modules.get("PIL.Image")
    return pillow is not None and isinstance(value, pillow.Image)


def array_as_png(array: Any, what: str) -> bytes:
    """Encode height × width (grey) or height × width × 3 or 4: integers 0 to 255, or floats 0 to 1."""
    import numpy as np

    image = _pillow("an array").Image
    if array.ndim not in {2, 3} or (array.ndim == 3 and array.shape[2] not in {3, 4}) or not array.size:  # noqa: PLR2004
        shape = " × ".join(map(str, array.shape)) or "nothing"
        raise bad_request(f"{what} is not an image: it has {shape}, not height × width [× 3 or 4].")
    if array.dtype.kind == "b":
        array = array.astype(np.uint8) * _GREY_MAX
    elif array.dtype.kind == "f":
        if not (np.isfinite(array).all() and array.min() >= 0 and array.max() <= 1):
            raise bad_request(f"{what} is not an image: floats must be between 0 and 1.")
        array = (array * _GREY_MAX).round().astype(np.uint8)
    elif array.dtype.kind not in "iu" or array.min() < 0 or array.max() > _GREY_MAX:
        raise bad_request(f"{what} is not an image: its values must be integers from 0 to 255 or floats from 0 to 1.")
    return _png(image.fromarray(array.astype(np.uint8)))


def pillow_as_png(picture: Any, what: str) -> bytes:
    """Encode a picture of Pillow, turned as its camera was held.

    ``I;16`` and ``I`` above 255 are 16 bits of grey. ``F`` from 0 to 1, or from 0 to 255, are shades between black and
    white; other numbers are stretched from the least, black, to the greatest, white.
    """
    try:
        turned = _pillow("an image").ImageOps.exif_transpose(picture)
        if turned.mode not in _AS_THEY_ARE:
            turned = _grey(turned, what) if turned.mode[0] in "IF" else _in_rgb(turned)
        return _png(turned)
    except (OSError, ValueError) as exc:  # a closed file, an empty picture, …
        raise bad_request(f"{what} cannot be converted: {exc}.") from None


def file_as_png(data: bytes, what: str) -> bytes:
    """Encode the picture in a file anew."""
    image = _pillow("a CMYK JPEG").Image
    try:
        with image.open(io.BytesIO(data)) as picture:
            picture.load()
            return pillow_as_png(picture, what)
    except (OSError, ValueError, image.DecompressionBombError) as exc:
        raise bad_request(f"{what} cannot be read: {exc}.") from None


def is_cmyk_jpeg(data: bytes) -> bool:
    """Return whether a JPEG file has four components, as its frame header says (ITU-T T.81, B.2.2)."""
    position = 2
    while position + 9 < len(data) and data[position] == 0xFF:  # noqa: PLR2004
        marker, length = data[position + 1], int.from_bytes(data[position + 2 : position + 4])
        if 0xC0 <= marker <= 0xCF and marker not in {0xC4, 0xC8, 0xCC}:  # noqa: PLR2004
            return data[position + 9] == _CMYK_COMPONENTS
        position += 1 if marker == 0xFF else 2 + length  # noqa: PLR2004 - a fill byte
    return False


def _grey(picture: Any, what: str) -> Any:
    """Return a picture of numbers as 8 bits of grey."""
    import numpy as np

    values = np.asarray(picture)
    low, high = float(values.min()), float(values.max())
    if not np.isfinite([low, high]).all():
        raise bad_request(f"{what} holds nan or infinite values; replace them first.")
    if picture.mode.startswith("I;16"):
        low, high = 0.0, float(_DEEP_MAX)
    elif low >= 0:
        scales = (1, _GREY_MAX) if picture.mode == "F" else (_GREY_MAX, _DEEP_MAX)
        fitting = next((scale for scale in scales if high <= scale), None)
        low, high = (low, high) if fitting is None else (0.0, float(fitting))
    shades = (values.astype(np.float64) - low) * (_GREY_MAX / ((high - low) or 1.0))
    return _pillow("an image").Image.fromarray(shades.round().astype(np.uint8))


def _in_rgb(picture: Any) -> Any:
    """Return a picture of other colours (CMYK, YCbCr, LAB, HSV, …) in RGB, its colour profile applied."""
    if picture.mode in {"La", "RGBa", "PA"}:
        return picture.convert("RGBA" if picture.mode != "La" else "LA")
    if picture.mode == "LAB" or picture.info.get("icc_profile"):
        converted = _colour_managed(picture)
        if converted is not None:
            return converted
    return picture.convert("RGB")


def _colour_managed(picture: Any) -> Any:
    """Return the picture in sRGB; None where its profile is broken, or Pillow lacks colour management."""
    try:
        from PIL import ImageCms
    except ImportError:
        return None
    try:
        profile = picture.info.get("icc_profile")
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile)) if profile else ImageCms.createProfile("LAB")
        return ImageCms.profileToProfile(picture, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError):
        return None


def _png(picture: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, format="PNG")
    return file.getvalue()


def _pillow(what: str) -> ModuleType:
    try:
        import PIL.Image
        import PIL.ImageOps
    except ImportError:
        raise bad_request(f"Sending {what} as an image needs Pillow: pip install pillow.") from None
    return PIL
