"""Safe decoding of pictures that strangers send.

Everything an upload may contain is decided here: which formats are let in, how large a picture may be, what is
converted (orientation, colour profile, CMYK, palette, 16 bit) and what is refused. What leaves is a plain 8-bit sRGB
picture, encoded anew by us, so no byte of the upload (metadata, location, hidden payload) reaches a browser.

Sizes are checked on the header, before a pixel is decoded: a small file that unpacks to gigabytes costs nothing.
"""

from __future__ import annotations

import io
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pi_heif
from PIL import Image, ImageCms, ImageOps, ImageStat

from backend.core.errors import (
    AnimatedImage,
    BlankImage,
    HoopError,
    ImageTooLarge,
    ImageTooSmall,
    NotAnImage,
    TruncatedImage,
)

__all__ = ["DecodedImage", "ImageWarning", "decode_image", "sniff_format"]

pi_heif.register_heif_opener(thumbnails=False)

_ROOT: Final = Path(__file__).resolve().parents[2]
_DAMAGED: Final = (
    "The picture is damaged or was not uploaded completely. Please upload it again, or save it anew first."
)
JPEG_QUALITY: Final = 95
"""At 4:4:4 and 95 re-encoding moves a stitched photo by 1.5 grey levels (standard deviation): not to be seen."""

BLANK_RANGE: Final = 8
"""A picture whose every channel spans at most so many of 255 levels shows nothing; JPEG noise stays below it."""

_FTYP_HEIC: Final = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"})
_FTYP_HEIF_CONTAINER: Final = frozenset({b"mif1", b"msf1"})
_MAGIC: Final = {
    b"\xff\xd8\xff": "jpeg",
    b"\x89PNG\r\n\x1a\n": "png",
    b"GIF87a": "gif",
    b"GIF89a": "gif",
    b"BM": "bmp",
    b"II*\x00": "tiff",
    b"MM\x00*": "tiff",
    b"%PDF": "pdf",
    b"8BPS": "psd",
}
_ACCEPTED: Final = "Please upload a JPEG, PNG, WebP or HEIC picture."
_PILLOW_FORMAT: Final = {"jpeg": "JPEG", "png": "PNG", "webp": "WEBP", "heic": "HEIF"}
_SRGB: Final = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))


@dataclass(frozen=True, slots=True)
class ImageWarning:
    """Something that was put right on the way in and that the sender may want to know."""

    code: str
    message: str

    def as_dict(self) -> dict[str, str]:
        """The warning as it is stored and sent: ``{"code", "message"}``."""
        return {"code": self.code, "message": self.message}


@dataclass(frozen=True, slots=True)
class DecodedImage:
    """A picture that is safe to keep and to show.

    Attributes:
        image: decoded pixels, mode ``RGB``, or ``RGBA`` when something is transparent; 8 bit, sRGB, upright.
        content_type: ``image/jpeg`` or ``image/png``, of ``data``.
        data: ``image`` encoded anew, without metadata.
        width: pixels after the camera's orientation was applied.
        height: pixels after the camera's orientation was applied.
        warnings: conversions worth telling.
    """

    image: Image.Image
    content_type: str
    data: bytes
    width: int
    height: int
    warnings: tuple[ImageWarning, ...]


def sniff_format(data: bytes) -> str | None:
    """Name a file by its first bytes, never by its name.

    Returns ``jpeg``, ``png``, ``webp``, ``heic``, ``gif``, ``avif``, ``bmp``, ``tiff``, ``pdf``, ``svg``, ``psd``, or
    None when the bytes are of none of these.
    """
    if data[4:8] == b"ftyp":
        return _sniff_ftyp(data)
    if data[:4] == b"RIFF":
        return "webp" if data[8:12] == b"WEBP" else None
    for magic, name in _MAGIC.items():
        if data.startswith(magic):
            return name
    return "svg" if b"<svg" in data[:1024].lower() else None


def _sniff_ftyp(data: bytes) -> str | None:
    """Tell HEIC from AVIF by the brands of an ISO media file (ISO/IEC 14496-12, 4.3)."""
    length = min(int.from_bytes(data[:4], "big"), 256, len(data))
    brands = {data[8:12], *(data[i : i + 4] for i in range(16, length - 3, 4))}
    if brands & _FTYP_HEIC:
        return "heic"
    if brands & {b"avif", b"avis"}:
        return "avif"
    return "heic" if brands & _FTYP_HEIF_CONTAINER else None


def decode_image(data: bytes, *, max_bytes: int, max_pixels: int, min_side: int) -> DecodedImage:
    """Decode an upload under limits and encode it anew.

    Args:
        data: the whole file as uploaded.
        max_bytes: largest file let in.
        max_pixels: largest width x height let in, read from the header before decoding.
        min_side: smallest shorter side, in pixels.

    Returns:
        The picture, 8-bit sRGB ``RGB`` or ``RGBA``.

    Raises:
        NotAnImage: no picture, or a format that is not accepted.
        ImageTooLarge: over ``max_bytes`` or ``max_pixels``.
        ImageTooSmall: shorter side under ``min_side``.
        AnimatedImage: more than one frame.
        TruncatedImage: the file ends early or is damaged.
        BlankImage: nothing to see in it.
    """
    if not data:
        raise NotAnImage("The file is empty. " + _ACCEPTED)
    if len(data) > max_bytes:
        raise ImageTooLarge(
            f"The file has {len(data) / 1e6:.0f} MB; at most {max_bytes / 1e6:.0f} MB can be uploaded. "
            "Please save the picture a little smaller and try again."
        )
    kind = sniff_format(data)
    if kind not in _PILLOW_FORMAT:
        raise _refusal(kind, data)
    if kind == "heic" and _crashes_decoder(data, max_pixels):
        raise TruncatedImage(_DAMAGED)
    try:
        opened = _open(data, kind)
        _check_size(opened, max_pixels=max_pixels, min_side=min_side)
        _check_still(opened, kind)
        opened.load()
        image, warnings = _normalise(opened, data, kind)
    except HoopError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        # Pillow refuses the very large ones itself, before it tells their size
        size = (int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")) if kind == "png" else None
        raise ImageTooLarge(_too_many_pixels(size, max_pixels)) from error
    except Exception as error:  # decoders meet hostile bytes here: whatever they raise, the file is at fault
        raise TruncatedImage(_DAMAGED) from error
    if _is_blank(image):
        raise BlankImage("The picture is blank: it is all one colour. Please upload one that shows something.")
    lossless = kind == "png" or image.mode == "RGBA" or (kind == "webp" and data[12:16] == b"VP8L")
    return DecodedImage(
        image=image,
        content_type="image/png" if lossless else "image/jpeg",
        data=_encode(image, lossless=lossless),
        width=image.width,
        height=image.height,
        warnings=tuple(warnings),
    )


def _crashes_decoder(data: bytes, max_pixels: int) -> bool:
    """Whether libheif takes its process down with this file; tried in one that may go."""
    command = [sys.executable, "-m", "backend.core.heif_probe", str(max_pixels)]
    try:
        done = subprocess.run(command, input=data, capture_output=True, check=False, timeout=60, cwd=_ROOT)
    except subprocess.TimeoutExpired:
        return True
    # An error that it could tell is told here in the same way; a signal is a crash.
    return done.returncode < 0


def _open(data: bytes, kind: str) -> Image.Image:
    """Read the header only, with the one decoder that the signature calls for."""
    return Image.open(io.BytesIO(data), formats=[_PILLOW_FORMAT[kind]])


def _refusal(kind: str | None, data: bytes) -> HoopError:
    """The error for a file that is not one of the accepted formats."""
    if kind == "gif" and data.count(b"\x00\x21\xf9\x04") > 1:
        return AnimatedImage("This is a moving picture (GIF). Please upload a still one: a photo or a design.")
    if kind is None:
        return NotAnImage("This file is not a picture that can be read. " + _ACCEPTED)
    return NotAnImage(f"{kind.upper()} files cannot be used. " + _ACCEPTED)


def _too_many_pixels(size: tuple[int, int] | None, max_pixels: int) -> str:
    found = f"The picture has {size[0]:,} x {size[1]:,} pixels" if size else "The picture has far too many pixels"
    return f"{found}; at most {max_pixels / 1e6:.0f} megapixels can be used. Please make it smaller and try again."


def _check_size(image: Image.Image, *, max_pixels: int, min_side: int) -> None:
    width, height = image.size
    if width * height > max_pixels:
        raise ImageTooLarge(_too_many_pixels(image.size, max_pixels))
    if min(width, height) < min_side:
        raise ImageTooSmall(
            f"The picture has only {width:,} x {height:,} pixels. Its shorter side needs at least {min_side} "
            "pixels, or no stitch can be told from another. Please upload the original picture."
        )


def _check_still(image: Image.Image, kind: str) -> None:
    # a JPEG or HEIC with several pictures is a phone's (depth map, burst): its first picture is what is meant
    if kind in {"png", "webp"} and getattr(image, "is_animated", False):
        raise AnimatedImage("This is a moving picture. Please upload a still one: a photo or a design.")


def _normalise(image: Image.Image, data: bytes, kind: str) -> tuple[Image.Image, list[ImageWarning]]:
    """Bring any mode, bit depth, profile and orientation to upright 8-bit sRGB."""
    warnings: list[ImageWarning] = []
    profile = image.info.get("icc_profile")
    sixteen_bit = image.mode.startswith("I") or (kind == "png" and data[24:25] == b"\x10")
    image = _apply_orientation(image)
    if image.mode.startswith("I"):
        # convert("L") would clip at 255 where the value has to be scaled
        image = image.convert("I").point(lambda value: value * (1 / 257)).convert("L")
    if sixteen_bit:
        warnings.append(ImageWarning("sixteen_bit", "The picture had 16 bits a channel; it was converted to 8 bits."))
    if image.mode == "CMYK":
        warnings.append(
            ImageWarning("cmyk", "The picture was made for print (CMYK); its colours were converted and may differ.")
        )
    alpha = _alpha(image)
    colour, note = _to_srgb(image, profile)
    if note:
        warnings.append(note)
    # alpha that hides nothing only costs space
    if alpha is not None and _darkest(alpha) < 255:
        colour.putalpha(alpha)
    colour.info.clear()
    return colour, warnings


def _apply_orientation(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # a broken EXIF block is no reason to refuse a good picture
        return image


def _alpha(image: Image.Image) -> Image.Image | None:
    """The transparency of the picture as an ``L`` image of its size, or None when it has none."""
    if image.mode in {"RGBA", "LA", "PA", "RGBa", "La"}:
        return image.convert("RGBA").getchannel("A")
    if image.info.get("transparency") is not None:
        return image.convert("RGBA").getchannel("A")
    return None


def _to_srgb(image: Image.Image, profile: bytes | None) -> tuple[Image.Image, ImageWarning | None]:
    """Convert to RGB through the embedded colour profile, or plainly where there is none that can be read."""
    mode = {"1": "L", "LA": "L", "La": "L", "CMYK": "CMYK", "L": "L"}.get(image.mode, "RGB")
    flat = image if image.mode == mode else _drop_alpha(image, mode)
    if not profile:
        return flat.convert("RGB"), None
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        name = (ImageCms.getProfileDescription(source) or "").strip()
        if "srgb" in name.lower():
            return flat.convert("RGB"), None
        converted = ImageCms.profileToProfile(
            flat,
            source,
            _SRGB,
            renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
            outputMode="RGB",
            flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        # broken, or of another colour space than the picture
        converted = None
    if converted is None:
        return flat.convert("RGB"), ImageWarning(
            "colour_profile_ignored", "The picture's colour profile could not be read; its colours may differ a little."
        )
    if mode == "L":
        return converted, None
    return converted, ImageWarning(
        "colour_profile", f"The colours were converted from {name or 'another colour space'} to sRGB."
    )


def _drop_alpha(image: Image.Image, mode: str) -> Image.Image:
    """Colour without alpha; palettes and premultiplied modes go by way of RGBA."""
    if image.mode in {"P", "PA", "RGBa", "La"}:
        image = image.convert("RGBA")
    return image.convert(mode)


def _darkest(channel: Image.Image) -> float:
    return ImageStat.Stat(channel).extrema[0][0]


def _is_blank(image: Image.Image) -> bool:
    """Whether no channel spans more than a few levels; wholly transparent counts as blank."""
    spans = [high - low for low, high in ImageStat.Stat(image).extrema]
    if image.mode == "RGBA":
        _, most_opaque = ImageStat.Stat(image.getchannel("A")).extrema[0]
        if most_opaque <= BLANK_RANGE:
            return True
    return max(spans) <= BLANK_RANGE


def _encode(image: Image.Image, *, lossless: bool) -> bytes:
    out = io.BytesIO()
    if lossless:
        image.save(out, "PNG", compress_level=4)
    else:
        image.save(out, "JPEG", quality=JPEG_QUALITY, subsampling=0, optimize=True)
    return out.getvalue()
