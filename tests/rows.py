"""Rows that tests begin with."""

from backend.models import Image


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
