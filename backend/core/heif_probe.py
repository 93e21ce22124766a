"""Decodes a HEIC picture from standard input in a process of its own: libheif can crash on damaged files.

Started by :mod:`backend.core.images`, which looks at how it ends; nothing is written.
"""

import io
import sys

import pi_heif
from PIL import Image


def main() -> None:
    """Read the picture, unless it has more pixels than the first argument allows."""
    pi_heif.register_heif_opener(thumbnails=False)
    with Image.open(io.BytesIO(sys.stdin.buffer.read())) as image:
        if image.width * image.height <= int(sys.argv[1]):
            image.load()


if __name__ == "__main__":
    main()
