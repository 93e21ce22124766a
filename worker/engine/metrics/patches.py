"""Sliced Wasserstein distance between the small patches of two pictures."""

from __future__ import annotations

import numpy as np

from worker.engine.colour import Bool, Float, Picture, rgb_to_lab

__all__ = ["sliced_wasserstein"]


def sliced_wasserstein(
    first: Picture,
    second: Picture,
    first_mask: Bool | None = None,
    second_mask: Bool | None = None,
    *,
    patch: int = 7,
    projections: int = 128,
    samples: int = 4096,
    chroma: bool = False,
    seed: int = 0,
) -> float:
    """Distance between the distributions of small windows (Rabin et al., 2011; Elnekave and Weiss, 2022).

    Each window loses its mean, so that texture counts and colour does not. With p_k fixed random unit directions and
    sorted projections::

        mean over k of  mean |sort(A p_k) - sort(B p_k)|

    Args:
        first: H x W x 3.
        second: another picture, of any size.
        first_mask: windows whose centre is True count.
        second_mask: the same for ``second``.
        patch: side of a window in pixels, odd.
        projections: number of directions.
        samples: windows drawn from each picture.
        chroma: compare a* and b* too, else L* alone.
        seed: of directions and windows; the same seed gives the same figure.

    Returns:
        Lab units per unit direction, 0 for equal distributions.

    Raises:
        ValueError: a picture is smaller than a window.
    """
    rng = np.random.default_rng(seed)
    channels = 3 if chroma else 1
    directions = rng.standard_normal((patch * patch * channels, projections)).astype(np.float32)
    directions /= np.linalg.norm(directions, axis=0)
    wanted = {"patch": patch, "samples": samples, "channels": channels}
    a = _windows(first, first_mask, **wanted, rng=np.random.default_rng(seed + 1)) @ directions
    b = _windows(second, second_mask, **wanted, rng=np.random.default_rng(seed + 1)) @ directions
    return float(np.abs(np.sort(a, axis=0) - np.sort(b, axis=0)).mean())


def _windows(
    picture: Picture, mask: Bool | None, *, patch: int, samples: int, channels: int, rng: np.random.Generator
) -> Float:
    lab = rgb_to_lab(picture)[..., :channels]
    height, width = lab.shape[:2]
    if min(height, width) < patch:
        raise ValueError(f"a picture of {width} x {height} px has no window of {patch} px")
    half = patch // 2
    rows = height - patch + 1
    columns = width - patch + 1
    allowed = np.arange(rows * columns)
    if mask is not None:
        centres = mask[half : half + rows, half : half + columns].ravel()
        if centres.any():
            allowed = allowed[centres]
    picked = rng.choice(allowed, samples, replace=len(allowed) < samples)
    view = np.lib.stride_tricks.sliding_window_view(lab, (patch, patch), axis=(0, 1))
    windows = view[picked // columns, picked % columns].reshape(samples, channels, -1).astype(np.float32)
    windows -= windows.mean(axis=2, keepdims=True)
    flat: Float = windows.reshape(samples, -1)
    return flat
