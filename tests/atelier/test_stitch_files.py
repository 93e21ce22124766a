"""Stitch files: read, framed, drawn flat and sewn."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pystitch
import pytest
import torch
from PIL import Image

from worker.atelier.stitches import FABRICS, SUPERSAMPLING, StitchStyle, flat_design
from worker.atelier.stitches.explicit import render_stitches, sew_file
from worker.atelier.stitches.files import StitchProgram, flat_of, frame_of, load_stitches, palette_of
from worker.atelier.stitches.pile import Threads, layers_of, topmost

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data" / "stitchfiles"
STYLE = StitchStyle("fill", wobble=0.05, seed=5)
RED, BLUE = "#c8102e", "#1f4fb2"


def tatami(pattern: pystitch.EmbPattern, left: float, top: float, width: float, height: float) -> None:
    """Rows 0.4 mm apart of stitches of 2.5 mm; millimetres."""
    pattern.move_abs(10 * left, 10 * top)
    for i in range(int(height / 0.4) + 1):
        xs = np.append(np.arange(0, width, 2.5), width)
        for x in xs if i % 2 == 0 else xs[::-1]:
            pattern.stitch_abs(10 * (left + x), 10 * (top + 0.4 * i))


def two_squares(path: Path) -> Path:
    """A red square of 16 mm with a smaller blue one beside it."""
    pattern = pystitch.EmbPattern()
    pattern.add_thread(RED)
    pattern.add_thread(BLUE)
    tatami(pattern, 0, 0, 16, 16)
    pattern.trim()
    pattern.color_change()
    tatami(pattern, 22, 4, 8, 8)
    pattern.end()
    pystitch.write(pattern, str(path))
    return path


def program_of(*segments: tuple[float, float, float, float, int]) -> StitchProgram:
    table = np.array(segments, np.float32)
    none = np.zeros(0, np.int64)
    threads = np.array([(0.8, 0.1, 0.2), (0.1, 0.3, 0.7)], np.float32)
    return StitchProgram(
        table[:, :2], table[:, 2:4], table[:, 4].astype(int), np.zeros((0, 2), np.float32), none, none, threads, True
    )


def lab_distance(picture: npt.NDArray[np.uint8], colour: str) -> float:
    """Hue and brightness apart, of the mean of a picture and a colour."""
    wanted = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)])
    return float(np.abs(picture.reshape(-1, 3).mean(0) - wanted).max())


@pytest.mark.parametrize("kind", ["dst", "pes", "exp", "vp3", "jef"])
def test_reads_the_usual_machine_files(tmp_path: Path, kind: str) -> None:
    program = load_stitches(two_squares(tmp_path / f"squares.{kind}"))
    left, top, right, bottom = program.bounds
    assert right - left == pytest.approx(30, abs=0.3)
    assert bottom - top == pytest.approx(16, abs=0.5)
    length = np.hypot(*(program.end - program.start).T)
    assert length.min() > 0.05
    assert length.max() < 3, "moves between the squares are no stitches"
    assert set(program.colour.tolist()) == {0, 1}
    assert program.named == (kind not in ("dst", "exp"))
    if kind == "pes":
        palette, _ = palette_of(program)
        assert len(palette) == 3
        assert palette[1][0] > 0.6 > palette[1][2]


def test_long_satin_stitches_that_a_record_cannot_hold_are_joined(tmp_path: Path) -> None:
    pattern = pystitch.EmbPattern()
    for i in range(20):
        pattern.stitch_abs(4 * i, 0 if i % 2 else 140)
    pattern.end()
    pystitch.write(pattern, str(tmp_path / "satin.dst"))
    program = load_stitches(tmp_path / "satin.dst")
    length = np.hypot(*(program.end - program.start).T)
    assert np.median(length) == pytest.approx(14, abs=0.2)


def test_sequins_are_no_stitches(tmp_path: Path) -> None:
    pattern = pystitch.EmbPattern()
    pattern.stitch_abs(0, 0)
    pattern.add_command(pystitch.SEQUIN_MODE)
    for i in range(8):
        pattern.stitch_abs(40 * i, 0)
        pattern.sequin_eject(0, 0)
    pattern.end()
    pystitch.write(pattern, str(tmp_path / "row.dst"))
    program = load_stitches(tmp_path / "row.dst")
    assert len(program.sequins) == 8
    assert len(program) == 7
    assert program.sequin_after.tolist() == sorted(program.sequin_after.tolist())
    sewn = render_stitches(program, replace(STYLE, sheen=1.2), 128, camera=0)
    bare = render_stitches(replace(program, sequins=program.sequins[:0], sequin_colour=program.sequin_colour[:0],
                                   sequin_after=program.sequin_after[:0]), STYLE, 128, camera=0)  # fmt: skip
    assert np.abs(sewn.astype(int) - bare).mean() > 3


def test_explains_what_is_wrong_with_a_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no file"):
        load_stitches(tmp_path / "missing.dst")
    (tmp_path / "photo.png").write_bytes(b"x")
    with pytest.raises(ValueError, match="not a stitch file"):
        load_stitches(tmp_path / "photo.png")
    (tmp_path / "empty.dst").write_bytes(b"")
    with pytest.raises(ValueError, match="no stitches"):
        load_stitches(tmp_path / "empty.dst")
    for kind in ("pes", "vp3", "jef", "hus", "exp"):
        (tmp_path / f"junk.{kind}").write_bytes(b"hello world" * 40)
        # Any bytes are stitches to a format without a header.
        program, trouble = read(tmp_path / f"junk.{kind}")
        assert f"junk.{kind}" in trouble or program is not None


def read(path: Path) -> tuple[StitchProgram | None, str]:
    try:
        return load_stitches(path), ""
    except ValueError as error:
        return None, str(error)


def test_a_change_before_the_first_stitch_is_no_second_colour(tmp_path: Path) -> None:
    pattern = pystitch.EmbPattern()
    pattern.add_thread(RED)
    pattern.add_thread(BLUE)
    pattern.color_change()
    tatami(pattern, 0, 0, 5, 5)
    pattern.color_change()
    tatami(pattern, 8, 0, 5, 5)
    pattern.end()
    pystitch.write(pattern, str(tmp_path / "changes.u01"))
    program = load_stitches(tmp_path / "changes.u01")
    assert program.colour.min() == 0


def test_the_frame_holds_the_motif_with_a_margin(tmp_path: Path) -> None:
    program = load_stitches(two_squares(tmp_path / "squares.pes"))
    frame = frame_of(program, 200)
    left, top, right, bottom = program.bounds
    pixels = (np.array([[left, top], [right, bottom]]) - (frame.left, frame.top)) * frame.px_per_mm
    assert pixels[0, 0] == pytest.approx(200 - pixels[1, 0], abs=0.01)
    assert pixels[0, 0] > 10
    assert pixels[0, 1] == pytest.approx(200 - pixels[1, 1], abs=0.01)


@pytest.mark.parametrize("size", [96, 200])
def test_flat_and_embroidery_make_an_aligned_pair(tmp_path: Path, size: int) -> None:
    program = load_stitches(two_squares(tmp_path / "squares.pes"))
    ground = (0.95, 0.95, 0.95)
    design = flat_of(program, size, ground=ground)
    assert design.labels.shape == (size * SUPERSAMPLING,) * 2
    flat = flat_design(design).astype(int)
    # Filled areas, not single threads.
    share = [(design.labels == i).mean() for i in (1, 2)]
    scale = frame_of(program, size).px_per_mm / size
    assert share == pytest.approx([(16.3 * scale) ** 2, (8.3 * scale) ** 2], rel=0.1)
    sewn = render_stitches(program, STYLE, size, ground=ground, camera=0)
    assert sewn.shape == (size, size, 3)
    assert sewn.dtype == np.uint8
    stitched = np.ptp(sewn.astype(int), 2) > 70
    drawn = np.ptp(flat, 2) > 70
    assert (stitched & drawn).sum() / (stitched | drawn).sum() > 0.85


def test_colours_and_ground_replace_those_of_the_file(tmp_path: Path) -> None:
    program = load_stitches(two_squares(tmp_path / "squares.dst"))
    green = render_stitches(program, STYLE, 96, colours=[(0.1, 0.6, 0.2)], ground=(0.1, 0.1, 0.12), camera=0)
    middle = green[40:56, 20:36].astype(int).mean((0, 1))
    assert middle.argmax() == 1
    assert green[:6, :6].mean() < 60
    palette, row_of = palette_of(program, [(0.1, 0.6, 0.2), (0.1, 0.6, 0.2)])
    assert len(palette) == 2, "threads of one colour are one ink"
    assert row_of.tolist() == [1, 1]


def test_stitches_of_another_colour_or_direction_lie_on_top() -> None:
    below = [(0.0, 0.4 * i, 5.0, 0.4 * i, 0) for i in range(12)]
    program = program_of(*below, (2.0, 0.0, 2.0, 4.4, 0), (0.0, 2.0, 5.0, 2.0, 1))
    layer, _ = layers_of(program, 0.36)
    assert layer[:12].max() == 0, "rows side by side"
    assert layer[12] == 1
    assert layer[13] == 2


def test_the_upper_thread_is_seen_whole() -> None:
    program = program_of((0, 3, 6, 3, 0), *[(9, 9, 9.5, 9, 0)] * 6, (3, 0, 3, 6, 1))
    threads = Threads.of(program, STYLE, 200, torch.device("cpu"))
    top, height = topmost(threads, torch.zeros(0, 2), 400)
    frame = frame_of(program, 200)
    column, row = (round((3 - edge) * frame.px_per_mm * 2) for edge in (frame.left, frame.top))
    assert int(top[row * 400 + column]) == 7
    assert 0.5 < float(height[row * 400 + column]) <= 1
    assert set(top.unique().tolist()) >= {-1, 0, 7}


def test_thinner_thread_covers_less(tmp_path: Path) -> None:
    rows = [(0.0, 0.8 * i, 10.0, 0.8 * i, 0) for i in range(13)]
    program = program_of(*[(x + d, y, x + d + 2.5, y, k) for x, y, _, _, k in rows for d in (0, 2.5, 5, 7.5)])
    shares = []
    for weight in (60, 40, 12):
        sewn = render_stitches(program, replace(STYLE, weight=weight), 160, ground=(1, 1, 1), camera=0)
        shares.append((np.ptp(sewn.astype(int), 2) > 90).mean())
    assert shares[0] < shares[1] < shares[2]


def test_renders_depend_on_the_seed_alone(tmp_path: Path) -> None:
    program = load_stitches(two_squares(tmp_path / "squares.pes"))
    first, again, other = (render_stitches(program, replace(STYLE, seed=s), 64) for s in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("fabric", FABRICS)
def test_lies_on_every_fabric(tmp_path: Path, fabric: str) -> None:
    program = load_stitches(two_squares(tmp_path / "squares.pes"))
    framing = "hoop" if fabric == "felt" else "garment" if fabric == "denim" else "close"
    style = replace(STYLE, fabric=fabric, framing=framing, material="metallic", sheen=1.2)
    assert render_stitches(program, style, 64).std() > 10


def test_one_stitch_is_enough() -> None:
    sewn = render_stitches(program_of((0, 0, 3, 2, 0)), STYLE, 64, camera=0)
    assert (np.ptp(sewn.astype(int), 2) > 70).any()


def test_sews_a_file_into_pictures(tmp_path: Path) -> None:
    source = two_squares(tmp_path / "squares.pes")
    done = sew_file(source, tmp_path / "sewn.png", STYLE, 80, flat=tmp_path / "flat.png")
    assert done.colours == 2
    assert done.width_mm == pytest.approx(30, abs=0.3)
    assert done.px_per_mm * done.width_mm < 80
    assert done.named_threads
    for path in (done.picture, done.flat):
        assert path is not None
        with Image.open(path) as picture:
            assert picture.size == (80, 80)


@pytest.mark.skipif(not SHARED.is_dir(), reason="no shared stitch files")
def test_every_shared_file_is_read_or_explained() -> None:
    known, explained = 0, 0
    for path in sorted(p for p in SHARED.iterdir() if p.suffix != ".tsv"):
        program, trouble = read(path)
        if program is None:
            assert path.name in trouble
            explained += 1
        else:
            assert math.isfinite(sum(program.bounds))
            assert program.colour.max(initial=0) < len(program.threads)
            known += 1
    assert known > 30
    assert explained <= 3


@pytest.mark.skipif(not SHARED.is_dir(), reason="no shared stitch files")
@pytest.mark.parametrize("name", ["cc0_sequin_ring.dst", "star.pes", "cc0_16_colours_angle_chart.pes"])
def test_shared_files_are_sewn(name: str) -> None:
    program = load_stitches(SHARED / name)
    sewn = render_stitches(program, STYLE, 96, camera=0).astype(int)
    flat = flat_design(flat_of(program, 96)).astype(int)
    assert np.corrcoef(sewn.ravel(), flat.ravel())[0, 1] > 0.75
