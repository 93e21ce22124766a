"""Pictures as arrays, CIE Lab, and the colour fix.

Conventions of the engine: ``PIL.Image`` in mode ``RGB``/``RGBA``, or arrays of shape H x W x 3, ``uint8`` in 0..255 or
``float32`` in 0..1, always sRGB. Lab is CIE L*a*b* under D65: L in 0..100, a and b in about -128..127.
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = [
    "Bool",
    "Float",
    "Picture",
    "lab_colour_fix",
    "lab_to_rgb",
    "lightness",
    "rgb_to_lab",
    "to_float",
    "to_image",
    "to_uint8",
]

Float: TypeAlias = NDArray[np.float32]
Bool: TypeAlias = NDArray[np.bool_]
Picture: TypeAlias = Image.Image | NDArray[Any]
AnyPicture = TypeVar("AnyPicture", Image.Image, NDArray[Any])

_GAMUT_STEPS: Final = 7
"""Halvings of the chroma search: 2**-7 of a chroma of 128 is one unit, which nobody sees."""


def to_float(picture: Picture) -> Float:
    """Bring a picture to H x W x 3 ``float32`` in 0..1; alpha is dropped, grey is repeated.

    Raises:
        ValueError: an array that is neither H x W, H x W x 3 nor H x W x 4.
    """
    if isinstance(picture, Image.Image):
        return np.asarray(picture.convert("RGB"), np.float32) / np.float32(255)
    array = np.asarray(picture)
    if array.ndim == 2:
        array = np.repeat(array[..., None], 3, axis=2)
    if array.ndim != 3 or array.shape[2] not in {3, 4}:
        raise ValueError(f"expected a picture of shape H x W x 3, got {array.shape}")
    array = array[..., :3]
    if array.dtype == np.uint8:
        return array.astype(np.float32) / np.float32(255)
    return array.astype(np.float32)


def to_uint8(picture: Picture) -> NDArray[np.uint8]:
    """Bring a picture to H x W x 3 ``uint8``."""
    return (np.clip(to_float(picture), 0, 1) * 255 + 0.5).astype(np.uint8)


def to_image(picture: Picture) -> Image.Image:
    """Bring a picture to ``PIL.Image`` in mode ``RGB``."""
    return Image.fromarray(to_uint8(picture))


def rgb_to_lab(picture: Picture) -> Float:
    """CIE L*a*b* (D65) of an sRGB picture, H x W x 3 ``float32``."""
    lab: Float = cv2.cvtColor(np.ascontiguousarray(np.clip(to_float(picture), 0, 1)), cv2.COLOR_RGB2LAB)
    return lab


def lab_to_rgb(lab: Float) -> Float:
    """The sRGB picture of Lab values, H x W x 3 ``float32`` clipped to 0..1."""
    rgb = cv2.cvtColor(np.ascontiguousarray(lab, np.float32), cv2.COLOR_LAB2RGB)
    clipped: Float = np.clip(rgb, 0, 1).astype(np.float32)
    return clipped


def lightness(picture: Picture) -> Float:
    """L* of a picture, H x W ``float32`` in 0..100."""
    return np.ascontiguousarray(rgb_to_lab(picture)[..., 0])


def lab_colour_fix(
    result: AnyPicture,
    design: Picture,
    strength: float = 1.0,
    hold_lightness: float = 0.0,
    light: Picture | None = None,
) -> AnyPicture:
    """Give a rendering the design's colours: the result's L with the design's a and b (paper, section on inference).

    Where that pair of lightness and chroma does not exist in sRGB (a yellow as dark as the gap between two threads),
    chroma is lowered at constant hue until it does; clipping the channels instead would turn the hue.

    Args:
        result: rendering, H x W.
        design: flat design; resized to the rendering's size where it differs.
        strength: 0 leaves the rendering's colours alone, 1 takes the design's wholly.
        hold_lightness: sigma in pixels above which L is held too: blotches go, threads and their light stay. 0 leaves
            L alone.
        light: picture of the rendering's size whose L is held to; the design when left out.

    Returns:
        The fixed rendering, of the same kind as ``result``.
    """
    rendered = to_float(result)
    flat = to_float(design)
    height, width = rendered.shape[:2]
    if flat.shape[:2] != (height, width):
        flat = cv2.resize(flat, (width, height), interpolation=cv2.INTER_AREA)
    lab = rgb_to_lab(rendered)
    wanted = rgb_to_lab(flat)
    if hold_lightness > 0:
        held = wanted[..., 0] if light is None else lightness(light)
        off = np.ascontiguousarray(held - lab[..., 0])
        lab[..., 0] = np.clip(lab[..., 0] + cv2.GaussianBlur(off, (0, 0), hold_lightness), 0, 100)
    lab[..., 1:] += np.float32(strength) * (wanted[..., 1:] - lab[..., 1:])
    fixed = lab_to_rgb(_into_gamut(lab))
    if isinstance(result, Image.Image):
        return to_image(fixed)
    if result.dtype == np.uint8:
        return to_uint8(fixed)
    return fixed


def _into_gamut(lab: Float) -> Float:
    """Lower chroma at constant L and hue until a round trip through sRGB keeps the colour."""
    out = lab.copy()
    flat = out.reshape(-1, 3)
    outside = np.abs(rgb_to_lab(lab_to_rgb(lab)) - lab).max(axis=2).reshape(-1) > 1.0
    if not outside.any():
        return out
    colours = flat[outside]
    low = np.zeros(len(colours), np.float32)
    high = np.ones(len(colours), np.float32)
    for _ in range(_GAMUT_STEPS):
        middle = (low + high) / 2
        tried = np.concatenate([colours[:, :1], colours[:, 1:] * middle[:, None]], axis=1)[None]
        fits = np.abs(rgb_to_lab(lab_to_rgb(tried)) - tried).max(axis=2)[0] <= 1.0
        low, high = np.where(fits, middle, low), np.where(fits, high, middle)
    flat[outside, 1:] = colours[:, 1:] * low[:, None]
    return out
