"""Small embroideries drawn by formula, for tests of the vision code: shapes filled with threads on woven cloth."""

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

CLOTH = np.array([0.90, 0.86, 0.78], np.float32)
RED, BLUE, BLACK = ((0.80, 0.12, 0.15), (0.15, 0.35, 0.70), (0.08, 0.08, 0.09))


def label_map(width: int, height: int) -> NDArray[np.uint8]:
    """A disc (1) with a black dot (3) in it and a bar (2) beside it, no symmetry."""
    labels = np.zeros((height, width), np.uint8)
    unit = min(width, height)
    cv2.circle(labels, (int(0.38 * width), int(0.42 * height)), int(0.24 * unit), 1, -1)
    cv2.circle(labels, (int(0.33 * width), int(0.36 * height)), int(0.06 * unit), 3, -1)
    cv2.rectangle(labels, (int(0.66 * width), int(0.30 * height)), (int(0.86 * width), int(0.80 * height)), 2, -1)
    return labels


def flat(labels: NDArray[np.uint8], cloth: NDArray[np.float32] = CLOTH) -> NDArray[np.float32]:
    """The labels in plain colours."""
    return np.stack([cloth, *(np.array(c, np.float32) for c in (RED, BLUE, BLACK))])[labels]


def sew(
    labels: NDArray[np.uint8], period: float = 4.0, seed: int = 0, cloth: NDArray[np.float32] = CLOTH
) -> Image.Image:
    """The labels filled with threads ``period`` px apart, each ink at its own angle, on plain weave."""
    rng = np.random.default_rng(seed)
    height, width = labels.shape
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    picture = flat(labels, cloth)
    weave = 1 + 0.05 * np.sin(2 * np.pi * x / 2.7) * np.sin(2 * np.pi * y / 2.7)
    picture[labels == 0] *= weave[labels == 0, None]
    for ink, angle in ((1, 0.5), (2, 2.0), (3, 1.2)):
        across = -x * np.sin(angle) + y * np.cos(angle)
        row = np.floor(across / period)
        jitter = rng.uniform(0.85, 1.15, 4000)[(row.astype(np.int64)) % 4000]
        along = x * np.cos(angle) + y * np.sin(angle) + 7 * (row % 3)
        ends = 1 - 0.25 * (np.abs((along / 20) % 1 - 0.5) > 0.44)
        shade = (0.55 + 0.65 * np.cos(np.pi * (across / period - row - 0.5))) * jitter * ends
        area = labels == ink
        picture[area] = (picture[area] + 0.06) * shade[area, None]
    picture += rng.normal(0, 0.008, picture.shape)
    return Image.fromarray((np.clip(picture, 0, 1) * 255).astype(np.uint8))
