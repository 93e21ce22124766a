"""Words for stitches: what a caption calls each family."""

from __future__ import annotations

FAMILY_WORDS = {
    "fill": ("fill stitch", "tatami"),
    "satin": ("satin stitch", "satin"),
    "longshort": ("long and short stitch", "thread painting"),
    "contour": ("contour fill", "echo fill"),
    "run": ("running stitch", "outline stitch"),
    "bean": ("bean stitch", "triple stitch"),
    "stem": ("stem stitch", "stem"),
    "chain": ("chain stitch", "chain"),
    "cross": ("cross stitch", "counted cross"),
    "knot": ("french knot", "knots"),
    "chenille": ("chenille", "fluffy yarn"),
    "towel": ("towel stitch", "terry loops"),
    "sequin": ("sequin", "sequins"),
    "bead": ("bead", "beads"),
    "applique": ("applique", "fabric patch"),
    "puff": ("puff", "foam satin"),
}

PROCEDURAL_NAMES = (
    *("argyle", "badge", "checkerboard", "chevrons", "dots", "emblem", "floral", "flowers", "frame", "landscape"),
    *("lettering", "logo", "mandala", "monogram", "mountains", "pattern", "spiral", "stripes", "sunset", "wreath"),
)
"""What drawings that come from no icon set are mostly called."""

DESCRIPTORS = ("fine", "medium", "thick", "sparse", "dense", "shiny", "soft", "matte", "metallic", "wool", "padded")
"""Words that `StitchStyle.words` uses."""


def style_phrases() -> list[str]:
    """Every family word, alone and with each descriptor."""
    words = [word for options in FAMILY_WORDS.values() for word in options]
    return [*words, *(f"{descriptor} {word}" for word in words for descriptor in (*DESCRIPTORS, "outlined"))]
