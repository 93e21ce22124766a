"""Stitch files (DST, PES, EXP, VP3, JEF and others): their stitches, their frame in a picture, their flat design."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pystitch

from worker.atelier.stitches.fields import Field
from worker.atelier.stitches.label_map import SUPERSAMPLING, LabelMap
from worker.atelier.stitches.style import THREAD_MM

Colour = tuple[float, float, float]
"""RGB in [0, 1]."""

CLOTH: Colour = (0.92, 0.90, 0.84)
"""Ground where none is asked for: undyed cotton."""

SEQUIN_MM = 4.0
"""Diameter of a sequin: files say where one falls, not how large it is."""

_FILLERS = "1f6fb2 c8102e f2b531 2e8b57 6a3d9a e8722a 1b1f3b d977a8 7a4a2b 3fa7a0 8a8f98 9ac43f"
"""Threads for files that name none (DST, EXP), in order of their colour changes."""

MOST_STITCHES = 400_000
"""Files beyond it fill a machine's memory; no picture would show them."""

_KINDS = ("embroidery", "stitch", "quilting")
"""Categories of pystitch's readers; its others are lists of colours and files for debugging."""
_LONGEST_MM = 15.0
"""No machine makes a longer stitch; what a file has longer is a move."""
_SHORTEST_MM = 0.05
_MOVE_MM = 12.1
"""The longest move of one DST record: a longer stitch is written as a jump and a stitch."""
_STRAIGHT = 0.2
"""Radians by which a stitch may leave a jump's direction and still be its last piece."""
_MARGIN = 0.07
"""Bare cloth on every side of the motif, as a share of the picture's side."""


@dataclass(frozen=True)
class StitchProgram:
    """What a machine sews, in its order; millimetres, y downwards.

    Attributes:
        start: Where each stitch's thread comes up, float32 [N, 2].
        end: Where it goes down, float32 [N, 2].
        colour: Index into `threads` of each stitch, int64 [N].
        sequins: Centre of each sequin, float32 [M, 2].
        sequin_colour: Index into `threads` of each sequin, int64 [M].
        sequin_after: Stitches sewn before each sequin falls, int64 [M].
        threads: RGB in [0, 1] of each thread of the list, float32 [K, 3].
        named: Whether the file names its threads; else `threads` are made up.
    """

    start: Field
    end: Field
    colour: npt.NDArray[np.int64]
    sequins: Field
    sequin_colour: npt.NDArray[np.int64]
    sequin_after: npt.NDArray[np.int64]
    threads: Field
    named: bool

    def __len__(self) -> int:
        """Number of stitches."""
        return len(self.start)

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """Left, top, right and bottom of the needle points and sequins, mm."""
        reach = SEQUIN_MM / 2
        corners = np.concatenate([self.start, self.end, self.sequins - reach, self.sequins + reach])
        left, top = corners.min(0).tolist()
        right, bottom = corners.max(0).tolist()
        return left, top, right, bottom


@dataclass(frozen=True)
class Frame:
    """Where a program lies in a square picture: a point (x, y) mm is at ((x - left), (y - top)) * px_per_mm pixels.

    Attributes:
        px_per_mm: Scale.
        left: X of the picture's left edge, mm.
        top: Y of the picture's upper edge, mm.
    """

    px_per_mm: float
    left: float
    top: float


@dataclass
class _Reader:
    """Follows the needle through a file's commands; tenths of a millimetre in, millimetres out."""

    segments: list[tuple[float, float, float, float, int]] = field(default_factory=list)
    sequins: list[tuple[float, float, int, int]] = field(default_factory=list)
    colour: int = 0
    at: tuple[float, float] | None = None
    needle: tuple[float, float] | None = None
    """Last needle point that thread still comes from."""
    jump: tuple[tuple[float, float], tuple[float, float]] | None = None
    """The last of the jumps since: where it started, where it ends."""

    def take(self, x: float, y: float, command: int) -> None:
        here = (x / 10, y / 10)
        if command == pystitch.STITCH:
            start = self._thread_from(here)
            if start is not None and _SHORTEST_MM < math.dist(start, here) <= _LONGEST_MM:
                self.segments.append((*start, *here, self.colour))
            self.needle, self.jump = here, None
        elif command == pystitch.JUMP:
            self.jump = (self.at or here, here)
        elif command == pystitch.SEQUIN_EJECT:
            self.sequins.append((*here, self.colour, len(self.segments)))
        elif command == pystitch.TRIM:
            self.needle = self.jump = None
        elif command in (pystitch.COLOR_CHANGE, pystitch.COLOR_BREAK, pystitch.NEEDLE_SET):
            self.needle = self.jump = None
            # A change before the first stitch threads the machine for it.
            self.colour += bool(self.segments or self.sequins)
        self.at = here

    def _thread_from(self, here: tuple[float, float]) -> tuple[float, float] | None:
        """Where the thread of a stitch that ends here comes from; None for none."""
        if self.jump is None or self.needle is None:
            return self.needle
        move = max(abs(here[0] - self.needle[0]), abs(here[1] - self.needle[1]))
        if move > _MOVE_MM and math.dist(self.needle, here) <= _LONGEST_MM:
            return self.needle
        # The last piece of a jump is often a stitch record: the needle comes down only at its end.
        origin, middle = self.jump
        before = math.atan2(middle[1] - origin[1], middle[0] - origin[0])
        after = math.atan2(here[1] - middle[1], here[0] - middle[0])
        return None if abs(math.remainder(after - before, math.tau)) < _STRAIGHT else middle


def load_stitches(path: str | Path) -> StitchProgram:
    """Reads a stitch file.

    Stitches that machines split for their records are joined again; jumps, trims and moves are left out.

    Raises:
        ValueError: There is no such file, it cannot be read, or it sews nothing; the message is for its owner.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"There is no file {path}.")
    kinds = {str(f["extension"]) for f in pystitch.supported_formats() if f.get("reader") and f["category"] in _KINDS}
    if path.suffix.lower().lstrip(".") not in kinds:
        raise ValueError(
            f"{path.name} is not a stitch file that can be read here. Save the design as DST, PES, EXP, VP3 or JEF."
        )
    try:
        pattern = pystitch.read(str(path))
    except Exception as error:  # a reader on a damaged file fails in any way
        raise ValueError(
            f"{path.name} cannot be read: it is damaged or of another kind than its name says. "
            "Save it again from the digitising program, as DST if in doubt."
        ) from error
    if pattern is None or not pattern.stitches:
        raise ValueError(f"{path.name} holds no stitches.")
    if len(pattern.stitches) > MOST_STITCHES:
        raise ValueError(f"{path.name} has more than {MOST_STITCHES:,} stitches; split the design.")
    reader = _Reader()
    for x, y, command in pattern.stitches:
        reader.take(float(x), float(y), int(command) & pystitch.COMMAND_MASK)
    if not reader.segments and not reader.sequins:
        raise ValueError(f"{path.name} holds no stitches, only moves of the needle.")
    segments = np.array(reader.segments, np.float64).reshape(-1, 5)
    sequins = np.array(reader.sequins, np.float64).reshape(-1, 4)
    if not np.isfinite(segments).all() or not np.isfinite(sequins).all():
        raise ValueError(f"{path.name} is damaged: some of its stitches are nowhere.")
    threads = [_from_hex(t.hex_color()) for t in pattern.threadlist]
    fillers = [_from_hex(code) for code in _FILLERS.split()]
    used = 1 + int(max(segments[:, 4].max(initial=0), sequins[:, 2].max(initial=0)))
    listed = threads + [fillers[i % len(fillers)] for i in range(len(threads), used)]
    return StitchProgram(
        segments[:, :2].astype(np.float32),
        segments[:, 2:4].astype(np.float32),
        segments[:, 4].astype(np.int64),
        sequins[:, :2].astype(np.float32),
        sequins[:, 2].astype(np.int64),
        sequins[:, 3].astype(np.int64),
        np.array(listed, np.float32),
        bool(threads),
    )


def frame_of(program: StitchProgram, size: int) -> Frame:
    """The motif in the middle of a picture of `size` pixels a side, with a margin of bare cloth."""
    left, top, right, bottom = program.bounds
    side = max(right - left, bottom - top, 1.0) / (1 - 2 * _MARGIN)
    return Frame(size / side, (left + right - side) / 2, (top + bottom - side) / 2)


def palette_of(
    program: StitchProgram, colours: Sequence[Colour] | None = None, ground: Colour = CLOTH
) -> tuple[Field, npt.NDArray[np.int64]]:
    """The ground and the inks sewn, RGB [1 + I, 3], and the row of each of the program's threads, [K].

    Args:
        program: Threads of one colour share a row; those never sewn have row 0.
        colours: RGB in [0, 1] in place of the program's threads, from the first on; the rest stay.
        ground: RGB in [0, 1] of the cloth.
    """
    threads = program.threads.copy()
    if colours:
        given = np.array(colours, np.float32).reshape(-1, 3)[: len(threads)]
        threads[: len(given)] = given
    rows: list[Colour] = [ground]
    row_of = np.zeros(len(threads), np.int64)
    known: dict[tuple[int, ...], int] = {}
    for index in np.unique(np.r_[program.colour, program.sequin_colour]):
        key = tuple((threads[index] * 255).round().astype(int).tolist())
        if key not in known:
            known[key] = len(rows)
            rows.append((float(threads[index][0]), float(threads[index][1]), float(threads[index][2])))
        row_of[index] = known[key]
    return np.array(rows, np.float32), row_of


def flat_of(
    program: StitchProgram, size: int, *, colours: Sequence[Colour] | None = None, ground: Colour = CLOTH
) -> LabelMap:
    """The flat design of a program in the frame of its renders, so that both make an aligned pair.

    An area is what the threads of one colour cover, with gaps under 0.5 mm between them closed; later colours lie over
    earlier ones. Lines of single stitches stay lines.

    Args:
        program: What is sewn.
        size: Output pixels a side; the map has `SUPERSAMPLING` samples for each.
        colours: As for `palette_of`.
        ground: RGB in [0, 1] of the cloth.

    Raises:
        ValueError: The program has more than 255 colours.
    """
    palette, row_of = palette_of(program, colours, ground)
    if len(palette) > 256:
        raise ValueError("a flat design has at most 255 colours")
    frame, side = frame_of(program, size), size * SUPERSAMPLING
    scale = frame.px_per_mm * SUPERSAMPLING
    labels = np.zeros((side, side), np.uint8)
    # Fixed point with 4 fractional bits, as cv2 takes it.
    origin = np.array([frame.left, frame.top], np.float32)
    start, end = (((p - origin) * scale - 0.5) * 16 for p in (program.start, program.end))
    lines = np.stack([start, end], 1).round().astype(np.int32)
    discs = (((program.sequins - origin) * scale - 0.5) * 16).round().astype(np.int32)
    thick = max(1, round(THREAD_MM[40] * scale))
    reach = max(1, round(0.25 * scale))
    closing = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    for index in np.unique(np.r_[program.colour, program.sequin_colour]).tolist():
        mask = np.zeros((side, side), np.uint8)
        cv2.polylines(mask, list(lines[program.colour == index]), False, 1, thick, cv2.LINE_8, 4)
        for x, y in discs[program.sequin_colour == index].tolist():
            cv2.circle(mask, (x, y), round(SEQUIN_MM / 2 * scale * 16), 1, -1, cv2.LINE_8, 4)
        padded = cv2.copyMakeBorder(mask, reach, reach, reach, reach, cv2.BORDER_CONSTANT, value=0)
        mask = cv2.morphologyEx(padded, cv2.MORPH_CLOSE, closing)[reach:-reach, reach:-reach]
        labels[mask > 0] = row_of[index]
    return LabelMap(labels, palette)


def _from_hex(code: str) -> Colour:
    digits = code.lstrip("#")[-6:]
    red, green, blue = (int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4))
    return red, green, blue
