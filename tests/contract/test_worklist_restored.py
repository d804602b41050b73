"""A Postgres database with the roles of `deploy/postgres/grants.sql` is dumped and comes back, as the commands say."""

import shlex
import subprocess
from pathlib import Path

import pytest
from sqlalchemy import make_url
from support.auditing import fill, seal_all
from support.postgres import postgres_cluster
from support.programs import require_program
from support.story import STUDY, Story, scored, shipment

from triage_agent.audit.verification import verify
from triage_agent.cli.ports import Noteworthy
from triage_agent.cli.site import look_at_role
from triage_agent.domain.errors import ConfigurationError, TriageError, WorklistUnavailableError
from triage_agent.settings import build_settings
from triage_agent.worklist import SqlWorklist, audit_log_of, open_engine, upgrade
from triage_agent.worklist.dumps import dump_command, require_readable, restore_steps
from triage_agent.worklist.privileges import excess_grants, missing_grants

pytestmark = pytest.mark.external

ROOT = Path(__file__).parents[2]
GRANTS = ROOT / "deploy" / "postgres" / "grants.sql"


@pytest.fixture(scope="module")
def server():
    """A server of its own: roles are everybody's on one."""
    for program in ("pg_dump", "pg_restore", "createdb", "psql"):
        require_program(program)
    with postgres_cluster() as cluster:
        yield cluster.url


@pytest.fixture
def site(server, request):
    """Makes databases from nothing, up to the step that is asked for."""

    def make(name, *, upgraded=True, granted_again=True):
        typed(server, f"createdb {name}")
        url = make_url(server).set(username="triage_agent", database=name).render_as_string(hide_password=False)
        grants(server, name)
        if upgraded:
            upgrade(as_role(url, "triage_owner"))
        if upgraded and granted_again:
            grants(server, name)
        request.addfinalizer(lambda: typed(server, f"dropdb --force {name}"))
        return url

    return make


def as_role(url, role):
    return make_url(url).set(username=role).render_as_string(hide_password=False)


def typed(server, line):
    """What a superuser types on the database's server."""
    surroundings = {"PGHOST": make_url(server).query["host"], "PGUSER": "triage", "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        shlex.split(line), check=False, capture_output=True, text=True, env=surroundings, cwd=ROOT, timeout=120
    )
    assert done.returncode == 0, f"{line}: {done.stderr}"


def grants(server, name):
    typed(server, f"psql --quiet --set=ON_ERROR_STOP=1 --dbname={name} --file={GRANTS}")


def opened(url, request):
    engine = open_engine(url)
    request.addfinalizer(engine.dispose)
    return engine


def test_what_is_dumped_as_the_agent_comes_back_as_the_owner_with_an_intact_audit_log(server, site, tmp_path, request):
    url = site("hospital")
    engine = opened(url, request)
    worklist = SqlWorklist(engine)
    story = Story(worklist)
    story.receive()
    story.complete()
    story.claim()
    assert story.decide(shipment("2.25.2"), assessments=[scored(f"{STUDY}.1", 0.8)])
    fill(worklist, 20)
    sealed = seal_all(audit_log_of(worklist))
    dump = tmp_path / "triage.dump"
    typed(server, dump_command(url, dump))
    assert require_readable(dump) == ""
    request.addfinalizer(lambda: typed(server, "dropdb --force again"))
    lost = make_url(url).set(database="again").render_as_string(hide_password=False)
    for step in restore_steps(lost, dump):
        typed(server, step)
    restored = opened(lost, request)
    assert missing_grants(restored) == excess_grants(restored) == []
    seen = verify(audit_log_of(SqlWorklist(restored)), story.now)
    assert (seen.intact, seen.last) == (True, sealed)
    assert SqlWorklist(restored).study(STUDY) == worklist.study(STUDY)
    Story(SqlWorklist(restored)).receive("1.2.77")  # and it goes on: numbers of new rows come after the old ones
    owner = opened(as_role(lost, "triage_owner"), request)
    assert excess_grants(owner), "the owner is the owner again"


@pytest.mark.parametrize("kept", [0.0, 0.5, 0.95])
def test_a_dump_that_is_cut_off_is_refused(server, site, tmp_path, kept):
    url = site("cut")
    dump = tmp_path / "triage.dump"
    typed(server, dump_command(url, dump))
    whole = dump.read_bytes()
    dump.write_bytes(whole[: int(len(whole) * kept)])
    with pytest.raises(TriageError, match=r"is not what pg_dump makes, or empty|cannot be read"):
        require_readable(dump)


def test_rights_that_are_left_from_before_the_second_run_of_the_grants_are_seen(server, site, request):
    engine = opened(site("hasty", granted_again=False), request)
    assert missing_grants(engine) == []
    assert excess_grants(engine) == [
        "INSERT on alembic_version",
        "UPDATE on alembic_version",
        "UPDATE on audit_events",
        "UPDATE on audit_seals",
        "UPDATE on feedback",
    ]
    settings = build_settings({"database": {"url": engine.url.render_as_string(hide_password=False)}}, "test")
    with pytest.raises(Noteworthy, match=r"may INSERT on alembic_version and 4 more.*grants\.sql"):
        look_at_role(settings)
    grants(server, "hasty")
    assert excess_grants(engine) == []
    assert "and no more" in look_at_role(settings)


def test_a_superuser_and_an_owner_may_more_than_the_agent_needs(site, request):
    url = site("owned")
    assert excess_grants(opened(as_role(url, "triage_owner"), request))
    assert excess_grants(opened(as_role(url, "triage"), request))


def test_rights_to_delete_are_seen(server, site, request):
    engine = opened(site("deleting"), request)
    typed(server, "psql --dbname=deleting --command='GRANT DELETE ON studies TO triage_agent'")
    assert excess_grants(engine) == ["DELETE on studies"]


def test_who_upgrades_as_the_agent_is_told_that_the_owner_does(server, site, request):
    url = site("fresh", upgraded=False)
    with pytest.raises(
        ConfigurationError, match=r"triage_agent may not make.*URL='postgresql\+psycopg://triage_owner@"
    ):
        upgrade(url)
    upgrade(as_role(url, "triage_owner"))
    grants(server, "fresh")
    upgrade(url)  # there is nothing to do: a unit may ask for it at each start


def test_what_is_not_granted_is_said_to_be_refused_and_not_away(server, site, request):
    engine = opened(site("revoked"), request)
    typed(server, "psql --dbname=revoked --command='REVOKE INSERT ON instances FROM triage_agent'")
    with pytest.raises(WorklistUnavailableError, match=r"refuses its role something: permission denied.*grants\.sql"):
        Story(SqlWorklist(engine)).receive("1.2.9")
