"""Backups of a Postgres database: its own programs make them, and what they made is looked at before it counts."""

import shutil
import subprocess
from pathlib import Path

from sqlalchemy.engine import URL, make_url

from triage_agent.domain.errors import TriageError
from triage_agent.worklist.engine import without_password

POSTGRES_FILE = "triage.dump"
_MAGIC = b"PGDMP"  # how pg_dump's custom format begins
_AGENT, _OWNER = "triage_agent", "triage_owner"  # the roles of deploy/postgres/grants.sql
_LONGEST_SECONDS = 6 * 3600  # to read a dump from end to end


def dump_command(url: str, target: Path) -> str:
    """What copies the database at `url`; the password comes from ~/.pgpass or PGPASSWORD."""
    return f"pg_dump --format=custom --file={target} --dbname='{_address(make_url(url))}'"


def restore_steps(url: str, source: Path) -> list[str]:
    """What puts that back, in this order: the owner of the tables does it, not the role that the agent has."""
    address = make_url(url)
    two_roles = address.username == _AGENT
    owner = address.set(username=_OWNER) if two_roles else address
    restore = f"pg_restore --no-owner --no-privileges --single-transaction --dbname='{_address(owner)}' {source}"
    grants = f"psql --dbname={address.database} --file=deploy/postgres/grants.sql"
    steps = [f"createdb {address.database}", restore]
    return [steps[0], grants, restore, grants] if two_roles else steps


def require_readable(dump: Path) -> str:
    """Read a dump from end to end, as `pg_restore` would; returns a remark where that program is not here, else "".

    Raises:
        TriageError: it is empty, not a dump, or ends too early.
        OSError: it cannot be read.
    """
    with dump.open("rb") as opened:
        if opened.read(len(_MAGIC)) != _MAGIC:
            raise TriageError(
                f"{dump} is not what pg_dump makes, or empty", remedy="see what pg_dump said, and repeat it"
            )
    program = shutil.which("pg_restore")
    if program is None:
        return f"{dump} was not read through: there is no pg_restore here"
    done = subprocess.run(  # noqa: S603 - the site's own program, and no shell
        [program, "--file=/dev/null", "--", str(dump.absolute())],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        timeout=_LONGEST_SECONDS,
        check=False,
    )
    if done.returncode:
        said = (done.stderr.decode("utf-8", "replace").splitlines() or ["no reason given"])[0]
        raise TriageError(f"{dump} cannot be read: {said[:200]}", remedy="make it anew; see what pg_dump said")
    return ""


def _address(url: URL) -> str:
    return without_password(url).set(drivername="postgresql").render_as_string()
