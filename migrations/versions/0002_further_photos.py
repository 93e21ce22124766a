"""A style's further photos."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Not as a batch: on SQLite that would make the table anew, and others point at it. The default is for styles that
    # are there already, and for an API of the last version that still runs meanwhile.
    op.add_column(
        "styles",
        sa.Column(
            "more_image_ids",
            sa.JSON().with_variant(JSONB(), "postgresql"),
            server_default=sa.text("'[]'"),
            nullable=False,
        ),
    )


def downgrade() -> None:
    op.drop_column("styles", "more_image_ids")
