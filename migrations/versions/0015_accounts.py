"""Accounts of those who use the pages, their sessions, and the links by which a first password is chosen."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "accounts",
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("roles", sa.JSON, nullable=False),
        sa.Column("source", sa.String(24), nullable=False),
        sa.Column("password_hash", sa.String(200), nullable=True),
        sa.Column("must_change", sa.Boolean, nullable=False),
        sa.Column("totp_secret", sa.String(200), nullable=True),
        sa.Column("totp_step", sa.Integer, nullable=True),
        sa.Column("failures", sa.Integer, nullable=False),
        sa.Column("locked_until", _TIME, nullable=True),
        sa.Column("disabled_at", _TIME, nullable=True),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("signed_in_at", _TIME, nullable=True),
        sa.CheckConstraint("source IN ('local', 'oidc')", name="ck_accounts_source"),
    )
    op.create_table(
        "web_sessions",
        sa.Column("digest", sa.String(64), primary_key=True),
        sa.Column("account", sa.String(64), sa.ForeignKey("accounts.name"), nullable=False),
        sa.Column("csrf", sa.String(64), nullable=False),
        sa.Column("strong", sa.Boolean, nullable=False),
        sa.Column("began_at", _TIME, nullable=False),
        sa.Column("seen_at", _TIME, nullable=False),
        sa.Column("ends_at", _TIME, nullable=False),
        sa.Column("ended_at", _TIME, nullable=True),
    )
    op.create_table(
        "account_links",
        sa.Column("digest", sa.String(64), primary_key=True),
        sa.Column("account", sa.String(64), sa.ForeignKey("accounts.name"), nullable=False),
        sa.Column("made_at", _TIME, nullable=False),
        sa.Column("until", _TIME, nullable=False),
        sa.Column("used_at", _TIME, nullable=True),
    )
    op.create_index("ix_web_sessions_account", "web_sessions", ["account"])
    op.create_index("ix_account_links_account", "account_links", ["account"])


def downgrade() -> None:
    for table in ("account_links", "web_sessions", "accounts"):
        op.drop_table(table)
