"""One picture of a render."""

from sqlalchemy import BigInteger, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from backend.core.db import Base, foreign_key


class RenderOutput(Base):
    """`patch_key` is the embroidery on transparency, `garment_key` the same on the garment, when one was given.

    `design_key` is the design the patch was made from, at the patch's size, for before and after.
    """

    __tablename__ = "render_outputs"
    __table_args__ = (UniqueConstraint("render_id", "index"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    render_id: Mapped[str] = mapped_column(foreign_key("renders.id", ondelete="CASCADE"))
    index: Mapped[int]
    seed: Mapped[int] = mapped_column(BigInteger)
    patch_key: Mapped[str]
    garment_key: Mapped[str | None]
    design_key: Mapped[str | None]
    width: Mapped[int]
    height: Mapped[int]
    sha256: Mapped[str]
