"""The stitch renderer: one label map, many ways to sew it."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image
from torch import Tensor

from worker.atelier.stitches import (
    FABRICS,
    FAMILIES,
    HELD_OUT_FAMILIES,
    MATERIALS,
    LabelMap,
    Plans,
    StitchStyle,
    digitise,
    flat_design,
    render_batch,
    render_embroidery,
    sample_style,
)
from worker.atelier.stitches.camera import jpeg, perspective
from worker.atelier.stitches.digitise import MOST_INKS, MOST_REGIONS
from worker.atelier.stitches.fields import blur, hash01

SIZE = 96
CLOTH = (0.9, 0.88, 0.82)
RED = (0.75, 0.15, 0.2)
BLUE = (0.12, 0.3, 0.7)
LINES_ONLY = ("run", "bean", "stem", "chain")


def labelled(labels: npt.NDArray[np.floating | np.integer]) -> LabelMap:
    return LabelMap(labels.astype(np.uint8), np.array([CLOTH, RED, BLUE], np.float32))


def disc() -> LabelMap:
    """A red disc with a blue stroke beside it."""
    y, x = np.mgrid[0 : 2 * SIZE, 0 : 2 * SIZE]
    labels = (np.hypot(x - 0.9 * SIZE, y - SIZE) < 0.62 * SIZE).astype(int)
    labels[20:-20, -34:-16] = 2
    return labelled(labels)


def plain(family: str, number: int = 3, **changes: object) -> StitchStyle:
    """A style on plain cloth with nothing else in the picture."""
    style = sample_style(family, np.random.default_rng(number))
    known = {"fabric": "plain", "framing": "close", "outline": 0.0, "rows": 0}
    return replace(style, **{**known, **changes})  # type: ignore[arg-type]


def sew(design: LabelMap, *styles: StitchStyle, camera: float = 0.0, askew: float = 0.0) -> Tensor:
    return render_batch(Plans.of([digitise(design)] * len(styles)), list(styles), camera=camera, askew=askew)


def texture(picture: Tensor) -> tuple[float, float, float]:
    """Contrast, contrast of fine detail, and direction of the middle of a picture [3, S, S]."""
    grey = picture.mean(0)[None]
    middle = np.s_[0, 34:62, 30:58]
    high, fine = (grey - blur(grey, 3.0))[middle], (grey - blur(grey, 1.0))[middle]
    gy, gx = torch.gradient(high)
    return float(high.std()), float(fine.std() / high.std()), float((gx.square().mean() / gy.square().mean()).log())


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_sews_the_design_where_it_is_in_its_colours(family: str) -> None:
    design = disc()
    # Small pieces: a disc of 60 px is not many sequins across.
    bare = labelled(np.zeros_like(design.labels))
    style = plain(family, fuzz=0.2)
    sewn, cloth = (sew(d, style)[0] for d in (design, bare))
    assert sewn.shape == (3, SIZE, SIZE)
    assert torch.isfinite(sewn).all()
    thread = (sewn - cloth).abs().amax(0) > 0.16
    wanted = torch.from_numpy(design.labels[::2, ::2] > 0)
    overlap = (thread & wanted).sum() / (thread | wanted).sum()
    assert overlap > (0.5 if family in (*LINES_ONLY, "cross") else 0.7), f"{family} covers {overlap:.2f} of its design"
    outside = thread & ~wanted
    assert outside.sum() < 0.15 * wanted.sum()
    for ink, columns in ((RED, slice(24, 60)), (BLUE, slice(80, 87))):
        area = torch.zeros_like(thread)
        area[24:72, columns] = True
        mean = sewn[:, area & thread].mean(1)
        hue, true = (v - v.mean() for v in (mean, torch.tensor(ink)))
        assert torch.cosine_similarity(hue, true, dim=0) > 0.93, f"{family} sews {ink} in {mean.tolist()}"
        assert (mean - torch.tensor(ink)).abs().max() < 0.3


def test_families_differ_in_their_texture() -> None:
    design = labelled(np.ones((2 * SIZE, 2 * SIZE)))
    found = {}
    for family in FAMILIES:
        styles = [plain(family, i, angle=0.0, angle_by_region=False, material="rayon") for i in range(2)]
        found[family] = np.mean([texture(p) for p in sew(design, *styles)], 0)
        assert found[family][0] > 0.01, f"{family} shows no stitches"
    scale = np.std(list(found.values()), 0)
    for family, other in (("fill", "cross"), ("satin", "chenille"), ("sequin", "towel"), ("contour", "bead")):
        distance = np.linalg.norm((found[family] - found[other]) / scale)
        assert distance > 0.5, f"{family} looks like {other}"


def test_a_seed_fixes_the_picture() -> None:
    for family in ("fill", "chenille"):
        style = sample_style(family, np.random.default_rng(8))
        first = render_embroidery(disc(), style)
        assert first.shape == (SIZE, SIZE, 3)
        assert first.dtype == np.uint8
        assert np.array_equal(first, render_embroidery(disc(), style))
        assert not np.array_equal(first, render_embroidery(disc(), replace(style, seed=style.seed + 1)))


def test_a_picture_does_not_depend_on_its_batch() -> None:
    y, x = np.mgrid[0 : 2 * SIZE, 0 : 2 * SIZE]
    designs = [disc(), labelled((x + y < 150).astype(int)), labelled((x // 40 + y // 40) % 3)]
    plans = [digitise(d) for d in designs]
    styles = [
        plain("fill", 1, framing="hoop"),
        plain("fill", 2, material="metallic", fabric="denim", outline=1.0),
        plain("sequin", 3),
        plain("applique", 4, framing="garment"),
        plain("fill", 5, fabric="terry"),
        plain("sequin", 6, material="wool"),
    ]
    order = [0, 1, 2, 0, 1, 2]
    together = render_batch(Plans.of([plans[i] for i in order]), styles, askew=0.05)
    for i, style in enumerate(styles):
        alone = render_batch(Plans.of([plans[order[i]]]), [style], askew=0.05)[0]
        # The last bits of sums differ with the batch, and JPEG rounds a few of them the other way.
        difference = (together[i] - alone).abs()
        assert (difference > 0.004).float().mean() < 0.01
        assert difference.mean() < 1e-3


def test_the_angle_turns_the_threads() -> None:
    style = plain("fill", 1, angle_by_region=False, wobble=0.0, fuzz=0.0, cover=0.8)
    level, upright = (sew(disc(), replace(style, angle=a))[0].mean(0)[30:66, 30:56] for a in (0.0, np.pi / 2))
    assert level.diff(dim=0).abs().mean() > level.diff(dim=1).abs().mean(), "rows change most across the threads"
    assert upright.diff(dim=1).abs().mean() > upright.diff(dim=0).abs().mean()


@pytest.mark.parametrize("family", ["sequin", "bead", "chenille", "knot", "cross", "run"])
def test_thin_strokes_and_dots_are_not_lost(family: str) -> None:
    labels = np.zeros((2 * SIZE, 2 * SIZE))
    labels[40:46, 20:170] = 1
    labels[100:108, 90:98] = 2
    style = plain(family, 5)
    sewn, cloth = (sew(d, style)[0] for d in (labelled(labels), labelled(np.zeros_like(labels))))
    thread = (sewn - cloth).abs().amax(0) > 0.12
    assert thread[20:23, 12:82].any(0).float().mean() > 0.75, "the stroke is sewn from end to end"
    assert thread[50:54, 45:49].any(), "the dot is sewn"


@pytest.mark.parametrize("family", FAMILIES)
def test_odd_designs_are_sewn_too(family: str) -> None:
    side = 2 * 32
    dots = np.zeros((side, side))
    dots[::9, ::9] = 1
    halves = np.ones((side, side))
    halves[:, side // 2 :] = 2
    plans = Plans.of([digitise(labelled(a)) for a in (np.zeros((side, side)), dots, halves)])
    pictures = render_batch(plans, [plain(family, i) for i in range(3)])
    assert torch.isfinite(pictures).all()
    assert pictures.min() >= 0
    assert pictures.max() <= 1
    left, right = pictures[2, :, 4:28, 2:12].mean((1, 2)), pictures[2, :, 4:28, 20:30].mean((1, 2))
    assert left[0] > left[2], "red up to the picture's edge"
    assert right[2] > right[0]


def test_more_regions_than_fit_leave_the_smallest_bare() -> None:
    labels = np.zeros((2 * SIZE, 2 * SIZE), np.uint8)
    labels[:180:8, :180:8] = 1
    labels[184:190, :] = 2
    plan = digitise(labelled(labels))
    assert len(np.unique(labels[:180:8, :180:8])) == 1
    assert plan.region.max() == MOST_REGIONS - 1
    assert (plan.region[184:190] == 1).all(), "the largest region comes first"
    with pytest.raises(ValueError, match="at most"):
        digitise(LabelMap(labels, np.zeros((MOST_INKS + 1, 3), np.float32)))


def test_styles_are_checked_in_real_units() -> None:
    with pytest.raises(ValueError, match="px_per_mm"):
        StitchStyle("fill", spacing=0.4, px_per_mm=2.0)
    for wrong in ({"family": "lace"}, {"material": "steel"}, {"fabric": "paper"}, {"framing": "wall"}, {"weight": 41}):
        with pytest.raises(ValueError, match="none of"):
            StitchStyle(**{"family": "fill", **wrong})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="designs for"):
        render_batch(Plans.of([digitise(disc())]), [])


def test_sampled_styles_are_valid_and_varied() -> None:
    rng = np.random.default_rng(0)
    styles = [sample_style(family, rng) for family in FAMILIES for _ in range(12)]
    assert {s.fabric for s in styles} == set(FABRICS)
    assert {s.material for s in styles} == set(MATERIALS)
    assert all(s.words() for s in styles)
    assert all(2.0 <= s.spacing * s.px_per_mm <= 16 for s in styles)
    assert len({s.seed for s in styles}) == len(styles)
    assert set(HELD_OUT_FAMILIES) < set(FAMILIES)


def test_perspective_moves_flat_and_sewn_alike() -> None:
    design = disc()
    style = plain("satin", 2, cover=1.1)
    sewn = sew(design, style, askew=0.1)
    level = sew(design, style)
    assert (sewn - level).abs().mean() > 0.01
    seed = torch.tensor([style.seed & 0xFFFFFF])
    mask = torch.from_numpy((design.labels[::2, ::2] > 0).astype(np.float32))[None, None]
    warped = perspective(mask, seed, 0.1)[0, 0] > 0.5
    red = (sewn[0] - torch.tensor(CLOTH).view(3, 1, 1)).abs().amax(0) > 0.25
    aligned = (red & warped).sum() / (red | warped).sum()
    unaligned = (red & (mask[0, 0] > 0.5)).sum() / (red | (mask[0, 0] > 0.5)).sum()
    assert aligned > 0.85
    assert aligned > unaligned


@pytest.mark.parametrize("quality", [35, 70, 92])
def test_jpeg_leaves_what_pillow_leaves(quality: int) -> None:
    picture = render_embroidery(disc(), plain("fill", 2), camera=0.0)
    packed = io.BytesIO()
    Image.fromarray(picture).save(packed, "jpeg", quality=quality, subsampling=0)
    theirs = np.asarray(Image.open(packed)).astype(float)
    packed_here = jpeg(torch.from_numpy(picture).permute(2, 0, 1)[None] / 255, torch.full((1, 1, 1, 1), float(quality)))
    ours = packed_here[0].permute(1, 2, 0).numpy() * 255
    lost = np.abs(theirs - picture).mean()
    assert lost > 0.3
    assert np.abs(theirs - ours).mean() < 0.25 * lost


def test_the_flat_design_shows_exactly_the_palette() -> None:
    flat = flat_design(disc())
    assert np.abs(flat[48, 44] / 255 - RED).max() < 0.01
    assert np.abs(flat[2, 2] / 255 - CLOTH).max() < 0.01


def test_hashes_are_uniform_and_repeatable() -> None:
    numbers = torch.arange(20000)
    values = hash01(numbers, 5)
    assert torch.equal(values, hash01(numbers, 5))
    assert values.min() >= 0
    assert values.max() < 1
    assert abs(float(values.mean()) - 0.5) < 0.02
    assert abs(float(torch.corrcoef(torch.stack([values, hash01(numbers, 6)]))[0, 1])) < 0.03


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_sews_the_same_picture() -> None:
    plans = [digitise(disc())]
    for family in FAMILIES:
        style = [plain(family)]
        here = render_batch(Plans.of(plans), style, camera=0.0)
        there = render_batch(Plans.of(plans, "cuda"), style, camera=0.0).cpu()
        assert (here - there).abs().mean() < 0.004
