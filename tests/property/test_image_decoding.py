"""Whatever bytes arrive, decoding answers with a safe picture or with one of our own errors, never anything else."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageDraw

from backend.core.errors import (
    AnimatedImage,
    BlankImage,
    HoopError,
    ImageTooLarge,
    ImageTooSmall,
    NotAnImage,
    TruncatedImage,
)
from backend.core.images import DecodedImage, decode_image, sniff_format

if TYPE_CHECKING:
    from collections.abc import Callable

HEIC = (Path(__file__).parent / "samples" / "two_shapes.heic").read_bytes()
LIMITS = {"max_bytes": 4_000_000, "max_pixels": 1_000_000, "min_side": 32}


def decode(data: bytes, **limits: int) -> DecodedImage:
    return decode_image(data, **{**LIMITS, **limits})


def picture(size: tuple[int, int] = (64, 48), mode: str = "RGB") -> Image.Image:
    image = Image.new("RGB", size, (240, 230, 210))
    draw = ImageDraw.Draw(image)
    draw.ellipse((4, 4, size[0] // 2, size[1] - 5), fill=(200, 30, 40))
    draw.rectangle((size[0] // 2, 8, size[0] - 6, size[1] // 2), fill=(20, 90, 160))
    return image.convert(mode)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def png(width: int, height: int, *, depth: int = 8, colour: int = 2, rows: bytes = b"") -> bytes:
    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    body = chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + body + chunk(b"IEND", b"")


def assert_safe(result: DecodedImage) -> None:
    assert result.image.mode in {"RGB", "RGBA"}
    assert result.image.size == (result.width, result.height)
    assert min(result.image.size) >= LIMITS["min_side"]
    assert result.width * result.height <= LIMITS["max_pixels"]
    again = Image.open(io.BytesIO(result.data))
    assert Image.MIME[again.format or ""] == result.content_type
    assert again.size == result.image.size
    again.load()
    assert not {"exif", "icc_profile", "xmp", "comment", "photoshop"} & set(again.info)


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=400))
def test_any_bytes_are_refused_in_our_words(data: bytes) -> None:
    with pytest.raises(HoopError):
        decode(data)


@settings(max_examples=120, deadline=None)
@given(
    st.sampled_from(
        [b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n", b"RIFF\x10\x00\x00\x00WEBPVP8 ", b"\0\0\0\x18ftypheic"]
    ),
    st.binary(max_size=300),
)
def test_a_good_signature_before_rubbish_is_refused(magic: bytes, data: bytes) -> None:
    with pytest.raises(HoopError):
        decode(magic + data)


SEEDS = {
    "jpeg": encoded(picture(), "JPEG"),
    "progressive": encoded(picture(), "JPEG", progressive=True),
    "png": encoded(picture(), "PNG"),
    "palette": encoded(picture(mode="P"), "PNG"),
    "webp": encoded(picture(), "WEBP"),
    "webp_lossless": encoded(picture(), "WEBP", lossless=True),
}


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(sorted(SEEDS)), st.data())
def test_damaged_files_decode_safely_or_are_refused(name: str, data: st.DataObject) -> None:
    raw = bytearray(SEEDS[name])
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        result = decode(bytes(raw))
    except HoopError:
        return
    assert_safe(result)


@settings(max_examples=80, deadline=None)
@given(st.sampled_from(sorted(SEEDS)), st.floats(0.02, 0.9))
def test_a_file_that_ends_early_is_refused(name: str, part: float) -> None:
    raw = SEEDS[name]
    with pytest.raises(HoopError):
        decode(raw[: max(1, int(len(raw) * part))])


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(["RGB", "RGBA", "L", "LA", "P", "1"]),
    st.sampled_from(["PNG", "WEBP"]),
    st.integers(32, 90),
    st.integers(32, 90),
)
def test_every_mode_becomes_plain_rgb(mode: str, kind: str, width: int, height: int) -> None:
    result = decode(encoded(picture((width, height), mode), kind))
    assert_safe(result)
    assert result.image.size == (width, height)


@pytest.mark.parametrize("name", sorted(SEEDS))
def test_colours_survive(name: str) -> None:
    result = decode(SEEDS[name])
    assert_safe(result)
    red, green, blue = result.image.getpixel((18, 24))  # type: ignore[misc]
    assert red > 180
    assert green < 60
    assert blue < 70


def test_a_huge_png_is_refused_from_its_header() -> None:
    with pytest.raises(ImageTooLarge, match="20,000 x 20,000"):
        decode(png(20_000, 20_000, rows=b"\0" * 100), max_pixels=40_000_000)


def test_a_picture_over_pillows_own_limit_is_refused_too() -> None:
    with pytest.raises(ImageTooLarge):
        decode(png(10_000, 10_000), max_pixels=40_000_000)


def test_too_many_bytes() -> None:
    with pytest.raises(ImageTooLarge, match="MB"):
        decode(b"\xff\xd8\xff" + bytes(5_000_000))


@pytest.mark.parametrize("size", [(1, 1), (400, 20)])
def test_tiny_pictures(size: tuple[int, int]) -> None:
    with pytest.raises(ImageTooSmall):
        decode(encoded(Image.new("RGB", size, "red"), "PNG"))


def test_text_named_jpg() -> None:
    with pytest.raises(NotAnImage):
        decode(b"Dear shop, please find attached my logo. " * 20)


@pytest.mark.parametrize(
    "data", [b"", b"%PDF-1.7 ...", b"<?xml version='1.0'?><svg xmlns='...'></svg>", b"BM" + bytes(60)]
)
def test_other_formats_are_named(data: bytes) -> None:
    with pytest.raises(NotAnImage, match="JPEG, PNG, WebP or HEIC"):
        decode(data)


@pytest.mark.parametrize("kind", ["WEBP", "PNG", "GIF"])
def test_animations(kind: str) -> None:
    frames = [picture(), picture().rotate(90)]
    with pytest.raises(AnimatedImage):
        decode(encoded(frames[0], kind, save_all=True, append_images=frames[1:], duration=80))


def test_a_still_gif_is_not_called_moving() -> None:
    with pytest.raises(NotAnImage, match="GIF"):
        decode(encoded(picture(), "GIF"))


@pytest.mark.parametrize("colour", [(255, 255, 255), (0, 0, 0), (120, 90, 60)])
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_blank(colour: tuple[int, int, int], kind: str) -> None:
    with pytest.raises(BlankImage):
        decode(encoded(Image.new("RGB", (64, 64), colour), kind))


def test_wholly_transparent_is_blank() -> None:
    with pytest.raises(BlankImage):
        decode(encoded(Image.new("RGBA", (64, 64), (200, 0, 0, 0)), "PNG"))


def test_a_shape_in_one_colour_on_nothing_is_a_design() -> None:
    image = Image.new("RGBA", (64, 64), (255, 255, 255, 0))
    ImageDraw.Draw(image).ellipse((8, 8, 56, 56), fill=(255, 255, 255, 255))
    result = decode(encoded(image, "PNG"))
    assert result.image.mode == "RGBA"
    assert result.content_type == "image/png"


def test_opaque_alpha_is_dropped() -> None:
    assert decode(encoded(picture(mode="RGBA"), "PNG")).image.mode == "RGB"


def test_palette_with_a_transparent_entry() -> None:
    image = picture(mode="P")
    result = decode(encoded(image, "PNG", transparency=image.getpixel((0, 0))))
    assert result.image.mode == "RGBA"
    assert result.image.getpixel((0, 0))[3] == 0  # type: ignore[index]


def test_cmyk_is_converted_and_told() -> None:
    result = decode(encoded(picture(mode="CMYK"), "JPEG"))
    assert_safe(result)
    assert [warning.code for warning in result.warnings] == ["cmyk"]
    red, green, _ = result.image.getpixel((18, 24))  # type: ignore[misc]
    assert red > 150
    assert green < 80


@pytest.mark.parametrize("colour", [0, 2])
def test_sixteen_bits_are_scaled_not_clipped(colour: int) -> None:
    side, channels = 40, 1 if colour == 0 else 3
    row = b"\0" + b"".join(struct.pack(">H", int(65535 * x / (side - 1))) * channels for x in range(side))
    result = decode(png(side, side, depth=16, colour=colour, rows=row * side))
    assert [warning.code for warning in result.warnings] == ["sixteen_bit"]
    values = [result.image.getpixel((x, 5))[0] for x in (0, 20, 39)]  # type: ignore[index]
    assert values[0] == 0
    assert abs(values[1] - 131) <= 1
    assert values[2] == 255


def test_orientation_is_applied_and_metadata_dropped() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010F] = "a camera"
    result = decode(encoded(picture(), "JPEG", exif=exif, comment=b"secret"))
    assert (result.width, result.height) == (48, 64)
    assert_safe(result)
    assert b"a camera" not in result.data
    assert b"secret" not in result.data


def test_broken_exif_is_ignored() -> None:
    assert_safe(decode(encoded(picture(), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")))


def _profile(name: str) -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile(name)).tobytes()


def _wide_gamut_profile() -> bytes:
    """sRGB's profile with its red and green colorants moved outward, as Display P3 has them."""
    raw = bytearray(_profile("sRGB"))
    count = struct.unpack(">I", raw[128:132])[0]
    moved = {b"rXYZ": (0.5151, 0.2412, -0.0011), b"gXYZ": (0.2919, 0.6922, 0.0419), b"bXYZ": (0.1572, 0.0666, 0.7841)}
    for i in range(count):
        name, offset, size = struct.unpack(">4sII", raw[132 + 12 * i : 144 + 12 * i])
        if name in moved:
            raw[offset + 8 : offset + 20] = struct.pack(">3i", *(round(v * 65536) for v in moved[name]))
        if name in {b"desc", b"cprt"}:
            raw[offset : offset + size] = raw[offset : offset + size].replace(
                "sRGB".encode("utf-16-be"), "wide".encode("utf-16-be")
            )
    return bytes(raw)


def test_wide_gamut_is_converted_to_srgb() -> None:
    image = Image.new("RGB", (64, 64), (128, 128, 128))
    ImageDraw.Draw(image).rectangle((0, 0, 30, 63), fill=(200, 60, 60))
    result = decode(encoded(image, "PNG", icc_profile=_wide_gamut_profile()))
    assert [warning.code for warning in result.warnings] == ["colour_profile"]
    red, green, blue = result.image.getpixel((10, 10))  # type: ignore[misc]
    assert red > 210, "a P3 red is a stronger sRGB red"
    assert green < 50
    assert blue < 60
    assert all(abs(value - 128) <= 2 for value in result.image.getpixel((50, 10)))  # type: ignore[union-attr]
    assert_safe(result)


def test_an_unreadable_profile_is_told_not_fatal() -> None:
    result = decode(encoded(picture(), "PNG", icc_profile=b"no profile at all" * 20))
    assert [warning.code for warning in result.warnings] == ["colour_profile_ignored"]


def test_heic_signature() -> None:
    assert sniff_format(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic") == "heic"
    assert sniff_format(b"\0\0\0\x18ftypmif1\0\0\0\0mif1avif") == "avif"
    assert sniff_format(b"\0\0\0\x18ftypisom\0\0\0\0isommp42") is None


def test_heic_is_read_and_leaves_as_jpeg() -> None:
    result = decode(HEIC)
    assert_safe(result)
    assert (result.content_type, result.image.size) == ("image/jpeg", (64, 48))
    red, green, blue = result.image.getpixel((18, 24))  # type: ignore[misc]
    assert red > 180
    assert green < 60
    assert blue < 70


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_damaged_heic(data: st.DataObject) -> None:
    raw = bytearray(HEIC)
    raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, 200))
    try:
        result = decode(bytes(raw[: len(raw) - cut]))
    except HoopError:
        return
    assert_safe(result)


def test_a_file_that_crashes_the_decoder_is_damaged(monkeypatch: pytest.MonkeyPatch) -> None:
    import signal
    import subprocess

    def crashed(command: list[str], **_: object) -> subprocess.CompletedProcess[bytes]:
        return subprocess.CompletedProcess(command, -signal.SIGSEGV)

    monkeypatch.setattr("backend.core.images.subprocess.run", crashed)
    with pytest.raises(TruncatedImage, match="damaged"):
        decode(HEIC)


def test_truncated_jpeg_says_so() -> None:
    raw = SEEDS["jpeg"]
    with pytest.raises(TruncatedImage, match="again"):
        decode(raw[: len(raw) * 2 // 3])


def test_trailing_bytes_are_dropped() -> None:
    payload = b"<script>alert(1)</script>"
    decoders: list[Callable[[], bytes]] = [lambda: SEEDS["jpeg"] + payload, lambda: SEEDS["png"] + payload]
    for make in decoders:
        assert payload not in decode(make()).data
