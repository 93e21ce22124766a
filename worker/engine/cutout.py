"""Lifting a motif off its cloth."""

from __future__ import annotations

import cv2
import numpy as np
from PIL import Image

from worker.engine.colour import Bool, rgb_to_lab, to_float

__all__ = ["lift_flat", "lift_motif"]

_MIXED = 1.0
"""Pixels from a flat design's outline inwards whose colours may be mixed with the ground's."""


def lift_motif(picture: Image.Image, mask: Bool) -> Image.Image:
    """Cut an embroidery out of its cloth, thread by thread at the border.

    Threads reach a little over the outline of the design and the cloth a little into it. Near the outline a pixel
    therefore belongs to the motif by how far its colour is from the cloth's, and the cloth's share is taken out of its
    colour: laid on a dark garment, no light rim is left.

    Args:
        picture: size x size RGB.
        mask: size x size bool, the motif.

    Returns:
        RGBA of the same size.
    """
    rgb = to_float(picture)
    reach = max(1.5, max(picture.size) / 100)
    inside = mask.astype(np.uint8)
    depth = cv2.distanceTransform(inside, cv2.DIST_L2, 5) - cv2.distanceTransform(1 - inside, cv2.DIST_L2, 5)
    lab = rgb_to_lab(rgb)
    bare = depth < -2 * reach
    if int(bare.sum()) < 30:
        alpha = np.clip(0.5 + depth / 2, 0, 1)
        cloth = np.ones(3, np.float32)
    else:
        cloth = np.median(rgb[bare], axis=0)
        # how far the cloth's own weave strays from its colour
        weave = float(np.percentile(np.linalg.norm(lab[bare] - np.median(lab[bare], axis=0), axis=1), 80))
        away = np.linalg.norm(cv2.GaussianBlur(lab, (0, 0), 0.6) - np.median(lab[bare], axis=0), axis=2)
        thread = np.clip((away - 1.2 * weave) / 18, 0, 1)
        # deep inside everything is motif, whatever its colour; far outside nothing is
        core = np.clip(depth / reach, 0, 1)
        fringe = np.clip((depth + reach) / reach, 0, 1)
        alpha = np.maximum(core, thread * fringe)
    alpha = cv2.GaussianBlur(alpha.astype(np.float32), (0, 0), 0.5)
    share = np.maximum(alpha, 0.25)[..., None]
    clean = np.where((alpha < 0.98)[..., None], np.clip((rgb - cloth * (1 - share)) / share, 0, 1), rgb)
    rgba = np.concatenate([clean, alpha[..., None]], axis=2)
    return Image.fromarray((np.clip(rgba, 0, 1) * 255 + 0.5).astype(np.uint8), "RGBA")


def lift_flat(design: Image.Image, mask: Bool) -> Image.Image:
    """Cut a flat design out of its ground.

    At the outline its colours are mixed with the ground's; there it gets the pure colour that lies nearest inside.

    Args:
        design: H x W RGB.
        mask: H x W bool, the motif.

    Returns:
        RGBA of the same size.
    """
    rgb, inside = np.array(design.convert("RGB")), mask.astype(np.uint8)
    depth = cv2.distanceTransform(inside, cv2.DIST_L2, 5) - cv2.distanceTransform(1 - inside, cv2.DIST_L2, 5)
    pure = depth > _MIXED
    if pure.any():
        away, nearest = cv2.distanceTransformWithLabels(
            (~pure).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
        )
        places = np.zeros((int(nearest.max()) + 1, 2), int)
        places[nearest[pure]] = np.argwhere(pure)
        # What lies farther off is a line too thin to have an inside: it keeps its own colours.
        mixed = (away > 0) & (away <= 2 * _MIXED)
        rgb[mixed] = rgb[tuple(places[nearest[mixed]].T)]
    alpha = np.clip(0.5 + depth / 2, 0, 1)
    return Image.fromarray(np.dstack([rgb, np.round(255 * alpha).astype(np.uint8)]))
