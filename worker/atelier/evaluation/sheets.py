"""Contact sheets: pictures in rows and columns with small captions, and maps of numbers as coloured cells."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from worker.engine.colour import Picture, to_image

GAP, CAPTION, MARGIN = 4, 15, 8
_INK, _PAPER = (30, 30, 30), (255, 255, 255)


def picture_of(picture: Picture) -> Image.Image:
    """Any picture of the engine's as a Pillow one."""
    return picture if isinstance(picture, Image.Image) else to_image(picture)


def font(size: int = 11) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's own font."""
    return ImageFont.load_default(size)


def contact_sheet(
    rows: Sequence[Sequence[Picture | None]],
    columns: Sequence[str] = (),
    captions: Sequence[Sequence[str]] | None = None,
    side: int = 0,
) -> Image.Image:
    """Pictures of about one size on white.

    Args:
        rows: Pictures; None leaves a place empty.
        columns: A heading for each column.
        captions: A few words below each picture.
        side: Pixels a side of a place; 0: of the first picture.
    """
    side = side or next(picture_of(p).width for row in rows for p in row if p is not None)
    width = max(len(row) for row in rows)
    below = CAPTION if captions else 0
    head = CAPTION + 4 if columns else 0
    step_x, step_y = side + GAP, side + below + GAP
    sheet = Image.new("RGB", (2 * MARGIN + width * step_x - GAP, 2 * MARGIN + head + len(rows) * step_y - GAP), _PAPER)
    draw = ImageDraw.Draw(sheet)
    for x, words in enumerate(columns):
        draw.text((MARGIN + x * step_x + 2, MARGIN - 2), fitting(words, side), _INK, font(12))
    for y, row in enumerate(rows):
        top = MARGIN + head + y * step_y
        for x, picture in enumerate(row):
            left = MARGIN + x * step_x
            if picture is not None:
                image = picture_of(picture).convert("RGB")
                if image.size != (side, side):
                    image = image.resize((side, side), Image.Resampling.LANCZOS)
                sheet.paste(image, (left, top))
            if captions and x < len(captions[y]):
                draw.text((left + 1, top + side), fitting(captions[y][x], side), _INK, font())
    return sheet


def fitting(words: str, width: int, size: int = 11) -> str:
    """The words, cut where `width` pixels end."""
    face = font(size)
    if face.getlength(words) <= width:
        return words
    while words and face.getlength(words + "…") > width:
        words = words[:-1]
    return words.rstrip() + "…"


def crop_twice(picture: Picture, centre: tuple[int, int], side: int) -> Image.Image:
    """A square window of `side` pixels around a centre (row, column), twice as large, pixels unmixed."""
    image = picture_of(picture)
    side = min(side, *image.size)
    top, left = (
        min(max(0, at - side // 2), whole - side) for at, whole in zip(centre, (image.height, image.width), strict=True)
    )
    return image.crop((left, top, left + side, top + side)).resize((2 * side, 2 * side), Image.Resampling.NEAREST)


_RAMP = np.array([(247, 249, 252), (178, 213, 232), (80, 150, 197), (24, 86, 146), (8, 34, 74)], float)


def heat_map(
    values: Sequence[Sequence[float]], rows: Sequence[str], columns: Sequence[str], title: str, digits: int = 3
) -> Image.Image:
    """Numbers as cells, white for 0 to dark for the largest, each with its number in it.

    Args:
        values: [row][column], not negative.
        rows: A name for each row.
        columns: A name for each column.
        title: One line above.
        digits: After the point.
    """
    cell, high, face = 74, 24, font(12)
    left = MARGIN + int(max(face.getlength(name) for name in rows)) + 12
    top = MARGIN + 2 * 20
    width = max(left + cell * len(columns), int(face.getlength(title)) + MARGIN) + MARGIN
    picture = Image.new("RGB", (width, top + high * len(rows) + MARGIN), _PAPER)
    draw = ImageDraw.Draw(picture)
    draw.text((MARGIN, MARGIN), title, _INK, face)
    for x, name in enumerate(columns):
        draw.text((left + x * cell + 4, MARGIN + 20), name, _INK, face)
    largest = max(max(row) for row in values) or 1.0
    for y, row in enumerate(values):
        draw.text((MARGIN, top + y * high + 4), rows[y], _INK, face)
        for x, value in enumerate(row):
            share = min(max(value / largest, 0.0), 1.0)
            colour = [round(float(np.interp(share * 4, range(5), _RAMP[:, c]))) for c in range(3)]
            box = (left + x * cell, top + y * high, left + (x + 1) * cell - 2, top + (y + 1) * high - 2)
            draw.rectangle(box, (colour[0], colour[1], colour[2]))
            ink = _INK if share < 0.5 else _PAPER
            draw.text((box[0] + 6, box[1] + 4), f"{value:.{digits}f}", ink, face)
    return picture
