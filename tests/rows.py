"""Rows that tests begin with."""

from backend.models import Image, Style


def reference_photo(shop: str, key: str = "k", side: int = 1, size: int = 1) -> Image:
    """A shop's photo `img_1`, stored under `key`: a PNG of `side` pixels a side and `size` bytes."""
    return Image(
        id="img_1",
        shop_id=shop,
        purpose="reference",
        sha256="0",
        key=key,
        content_type="image/png",
        width=side,
        height=side,
        bytes=size,
    )


def style_row(style_id: str, shop: str, base: str = "tiny", seed: int = 1) -> Style:
    """A shop's style of its photo `img_1`, not learnt yet."""
    return Style(
        id=style_id,
        shop_id=shop,
        name="Style",
        reference_image_id="img_1",
        pair_builder="flatten",
        preset="flat",
        base=base,
        seed=seed,
    )
