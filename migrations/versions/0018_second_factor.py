"""Recovery codes of second factors, and by what an identity provider knows an account.

Columns are only added, and may be null: nobody of before came by a provider.
"""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "recovery_codes",
        sa.Column("digest", sa.String(64), primary_key=True),
        sa.Column("account", sa.String(64), sa.ForeignKey("accounts.name"), nullable=False),
        sa.Column("made_at", _TIME, nullable=False),
        sa.Column("used_at", _TIME, nullable=True),
    )
    op.create_index("ix_recovery_codes_account", "recovery_codes", ["account"])
    op.add_column("accounts", sa.Column("subject", sa.String(64), nullable=True))
    op.create_index("ix_accounts_subject", "accounts", ["subject"], unique=True)


def downgrade() -> None:
    op.drop_index("ix_accounts_subject", "accounts")
    op.drop_column("accounts", "subject")
    op.drop_table("recovery_codes")
