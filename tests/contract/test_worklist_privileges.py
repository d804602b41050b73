"""What a Postgres role must be allowed to do is found out before the first study."""

import pytest
from sqlalchemy import create_engine, make_url, text

from triage_agent.worklist import open_engine
from triage_agent.worklist.privileges import missing_grants, seconds_ahead


@pytest.mark.external
def test_a_role_that_may_not_write_is_told_what_it_lacks(postgres_url):
    admin = create_engine(postgres_url)
    with admin.begin() as connection:
        connection.execute(text("DROP ROLE IF EXISTS reader"))
        connection.execute(text("CREATE ROLE reader LOGIN"))
        connection.execute(text("GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader"))
        connection.execute(text("GRANT INSERT ON studies TO reader"))
    engine = open_engine(make_url(postgres_url).set(username="reader").render_as_string())
    try:
        missing = missing_grants(engine)
        assert {"INSERT on outbox", "UPDATE on studies", "INSERT on audit_events", "USAGE on outbox_id_seq"} <= set(
            missing
        )
        assert not {
            "INSERT on studies",
            "SELECT on outbox",
            "UPDATE on audit_events",
            "SELECT on alembic_version",
        } & set(missing)
    finally:
        engine.dispose()
        with admin.begin() as connection:
            connection.execute(text("DROP OWNED BY reader"))
            connection.execute(text("DROP ROLE reader"))
        admin.dispose()


def test_who_owns_the_database_lacks_nothing_and_shares_its_clock(engine):
    assert missing_grants(engine) == []
    assert abs(seconds_ahead(engine)) < 60
