"""Whether the place for an embroidery lies on the garment's picture."""

import math
from typing import Final

from backend.core.errors import PlacementOutside
from backend.renders.schemas import Placement

MIN_SIDE: Final = 8.0
"""Pixels; a smaller patch shows nothing."""

Corners = list[tuple[float, float]]


def corners_of(placement: Placement) -> Corners:
    """The patch's corners in the garment's pixels: top left, top right, bottom right, bottom left.

    A patch is square: the design is padded to one before it is drawn.
    """
    if placement.quad is not None:
        return list(placement.quad)
    if placement.center is None or placement.width_px is None:
        raise ValueError("a placement has a quad, or a centre and a width")
    angle = math.radians(placement.rotation_deg or 0.0)
    cos, sin = math.cos(angle), math.sin(angle)
    half = placement.width_px / 2
    x, y = placement.center
    return [
        (x + dx * cos - dy * sin, y + dx * sin + dy * cos)
        for dx, dy in ((-half, -half), (half, -half), (half, half), (-half, half))
    ]


def check_placement(placement: Placement, width: int, height: int) -> Corners:
    """Check a placement against a garment's picture of `width` x `height` pixels.

    Returns:
        The patch's corners.

    Raises:
        PlacementOutside: a corner lies outside, or the corners make no area to sew on.
    """
    corners = corners_of(placement)
    field = "body.garment.placement"
    # Half a pixel of rounding is nobody's mistake.
    if any(not (-0.5 <= x <= width + 0.5 and -0.5 <= y <= height + 0.5) for x, y in corners):
        raise PlacementOutside(
            f"The embroidery does not lie wholly on the garment's picture, which has {width} x {height} pixels. "
            "Please move it in, or make it smaller.",
            errors=[{"field": field, "message": "reaches over the edge of the garment's picture"}],
        )
    if not _is_convex(corners):
        raise PlacementOutside(
            "The four corners do not make a field to sew on. Please give them in order: top left, top right, "
            "bottom right, bottom left.",
            errors=[{"field": field, "message": "is no convex quadrilateral, clockwise from the top left"}],
        )
    sides = [math.dist(corners[i], corners[(i + 1) % 4]) for i in range(4)]
    if min(sides) < MIN_SIDE:
        raise PlacementOutside(
            "The place for the embroidery is too small to show anything. Please make it larger.",
            errors=[{"field": field, "message": f"has a side under {MIN_SIDE:.0f} pixels"}],
        )
    return corners


def _is_convex(corners: Corners) -> bool:
    """Whether the corners turn right at each one (y points down, so right is clockwise) and make a real area."""
    turns = []
    for i in range(4):
        (ax, ay), (bx, by), (cx, cy) = corners[i], corners[(i + 1) % 4], corners[(i + 2) % 4]
        turns.append((bx - ax) * (cy - by) - (by - ay) * (cx - bx))
    return min(turns) > 1e-6
