"""What `check` looks at on this machine and in this database, and says how to mend: one function a part."""

import resource
from collections.abc import Iterable, Sequence
from itertools import combinations
from pathlib import Path

from triage_agent.builders import build_policy, build_retry
from triage_agent.cli.ports import Noteworthy
from triage_agent.decision.reach import doubts
from triage_agent.domain.errors import ConfigurationError, TriageError
from triage_agent.settings import Settings
from triage_agent.spooling import receiving_folder, spool_folder

_VOLATILE = frozenset({"tmpfs", "ramfs"})
_NETWORK = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "fuse.sshfs", "glusterfs", "ceph", "afs"})
_FILES_AN_ASSOCIATION = 2  # its connection, and the file that it writes
_FILES_BESIDE = 160  # the database's connections, peers, the log, libraries
_SECONDS_APART = 5.0  # half of the least lease that makes sense
_NEAR = 3.0  # percent above the low-water mark from which on it is said


def look_at_policy(settings: Settings) -> str:
    """The site's rules.

    Raises:
        TriageError: one names a region that no image can have, or a route a kind that nobody builds; `Noteworthy`
            where no rule raises anything, or one never fires.
    """
    from triage_agent.imaging.anatomy import REGION_OF_CODE
    from triage_agent.results.registry import REGISTRY

    policy = build_policy(settings)
    said = doubts(policy, set(REGION_OF_CODE.values()))
    for doubt in said:
        if doubt.is_mistake:
            raise TriageError(doubt.what, remedy=doubt.remedy)
    for route in settings.routes:
        for kind in route.send:
            if kind not in REGISTRY:
                raise TriageError(
                    f"the route to {route.to} sends {kind.value}, which this version does not make",
                    remedy=f"it makes {', '.join(sorted(REGISTRY))}",
                )
    if said:
        raise Noteworthy("; ".join(doubt.what for doubt in said), remedy=said[0].remedy)
    names = ", ".join(rule.name for rule in policy.rules)
    where = f" (from {settings.policy.file})" if settings.policy.file else ""
    return f"{names}{where}" if settings.policy.rules else "the built-in rules"


def require_ports_of_their_own(settings: Settings) -> None:
    """Two services cannot listen on one port of one address.

    Raises:
        ConfigurationError: they are to.
    """
    everywhere = {"", "0.0.0.0", "::"}  # noqa: S104 - nothing is bound
    services = {"dicom": settings.dicom, "web": settings.web, "hl7.listen": settings.hl7.listen}
    listening = [(name, each.host, each.port) for name, each in services.items() if each is not None]
    for (one, host, port), (other, second, same) in combinations(listening, 2):
        hosts = {host, second}
        if port == same and (len(hosts) == 1 or hosts & everywhere):
            raise ConfigurationError(
                f"[{one}] and [{other}] have the same port {port}", remedy="give each a port of its own"
            )


def look_at_folder(settings: Settings) -> str:
    """Where data_dir is: what is there must survive a restart, and only its owner may read it.

    Raises:
        TriageError: it would not, or the world may.
    """
    data_dir = settings.data_dir.absolute()
    kind = file_system_of(data_dir, _mounts())
    if kind in _VOLATILE:
        raise TriageError(
            f"{data_dir} is in memory ({kind}): a power cut loses what was acknowledged",
            remedy="set data_dir to a folder on a disk",
        )
    database = Path(settings.database_url.removeprefix("sqlite:///"))
    on_file = settings.database_url.startswith("sqlite")
    if on_file and (theirs := file_system_of(database.absolute(), _mounts())) in _NETWORK:
        raise TriageError(
            f"the SQLite file {database} is on a network file system ({theirs}), where its locks do not hold",
            remedy="move it to a local disk, or use Postgres",
        )
    exposed = [
        path
        for path in (receiving_folder(settings), spool_folder(settings), *([database] if on_file else []))
        if _world_reads(path)
    ]
    if exposed:
        raise TriageError(
            f"anybody on this machine can read {exposed[0]}, which holds patients' data",
            remedy=f"chmod -R o-rwx {data_dir}",
        )
    if kind in _NETWORK:
        return f"{data_dir} is on {kind}: its server must keep what it says it has written (no `async` export)"
    return f"{data_dir} is on {kind or 'a disk'}, private"


def require_folder_of_database(settings: Settings) -> None:
    """A SQLite file that is to be made: a folder that is mistyped, or not mounted, would be made with it.

    Raises:
        TriageError: its folder is not there, and is not data_dir or in it.
    """
    file = Path(settings.database_url.removeprefix("sqlite:///")).absolute()
    if not file.parent.is_dir() and not file.is_relative_to(settings.data_dir.absolute()):
        raise TriageError(
            f"[database] url: there is no folder {file.parent}, and `serve` would begin an empty worklist in a new one",
            remedy="make the folder, or mend url",
        )


def look_at_limits(settings: Settings) -> str:
    """Open files: an association that finds none left is lost to its sender, and so is a decoder.

    Raises:
        TriageError: there are too few.
    """
    from triage_agent.web.door import CONNECTIONS

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = settings.dicom.max_associations * _FILES_AN_ASSOCIATION + CONNECTIONS + _FILES_BESIDE
    if soft not in {resource.RLIM_INFINITY, -1} and soft < needed:
        raise TriageError(
            f"this user may have {soft} files open; {settings.dicom.max_associations} associations and {CONNECTIONS} "
            f"connections to the web port need {needed}",
            remedy="raise `ulimit -n` (LimitNOFILE= in systemd), or lower [dicom] max_associations",
        )
    return f"{soft} open files allowed, {needed} needed"


def look_at_retention(settings: Settings) -> str:
    """How long results are tried, and what is deleted when.

    Raises:
        ConfigurationError: the waits between attempts do not fit each other.
    """
    build_retry(settings)
    storage = settings.storage
    hours = settings.delivery.give_up_after_hours
    if storage.keep_originals == "until_delivered":
        said = "originals go as soon as their study is delivered or out of scope"
    elif not storage.retention_days:
        return f"nothing is deleted; {_quarantine(storage.quarantine_days)}"
    else:
        said = f"originals go {storage.retention_days} days after their study's last image"
    if hours > storage.retention_days * 24:
        said += f", later where a destination is away (results are tried for {hours:g} h)"
    return f"{said}; {_quarantine(storage.quarantine_days)}"


def look_at_role(settings: Settings) -> str:
    """What our role may do in the database, and whether its clock and ours agree.

    Raises:
        TriageError: it may not do what the agent must, or the clocks are apart; `Noteworthy` where it may do more.
    """
    from triage_agent.worklist import open_engine
    from triage_agent.worklist.privileges import excess_grants, missing_grants, seconds_ahead

    engine = open_engine(settings.database_url, create=False)
    try:
        if missing := missing_grants(engine):
            raise TriageError(
                f"the database's role may not {_the_first_of(missing)}",
                remedy="run deploy/postgres/grants.sql as a superuser, again after each `db upgrade`",
            )
        more = excess_grants(engine)
        ahead = seconds_ahead(engine)
    finally:
        engine.dispose()
    if abs(ahead) > _SECONDS_APART:
        which = "ahead of" if ahead > 0 else "behind"
        raise TriageError(
            f"this machine's clock is {abs(ahead):.0f} s {which} the database's", remedy="keep both set by NTP"
        )
    if more:
        raise Noteworthy(
            f"the database's role may {_the_first_of(more)}, which the agent does not need",
            remedy="run deploy/postgres/grants.sql as a superuser, again after each `db upgrade`, and let the agent be "
            "triage_agent: the audit trail is safe from a role that may only add to it",
        )
    return f"may do what it must, and no more; clocks {abs(ahead):.1f} s apart"


def _the_first_of(grants: Sequence[str]) -> str:
    return grants[0] + (f" and {len(grants) - 1} more" if grants[1:] else "")


def nearly_full(free: float, low_water: float) -> str:
    """A remark where little is missing to the mark below which C-STORE is refused."""
    return f"; below {low_water:g} % C-STORE is refused" if free < low_water + _NEAR else ""


def file_system_of(path: Path, mounts: Iterable[tuple[str, str]]) -> str:
    """The kind of file system that `path`, or what would hold it, is on; of `mounts` the last one of a place holds."""
    resolved = path.resolve()
    found = [
        (len(place), number, kind) for number, (place, kind) in enumerate(mounts) if resolved.is_relative_to(place)
    ]
    return max(found)[2] if found else ""


def _mounts() -> list[tuple[str, str]]:
    """(place, kind) of what is mounted (proc_pid_mountinfo(5)); none where the system does not say."""
    try:
        lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return []
    parts = [line.split(" - ", 1) for line in lines if " - " in line]
    return [(_unescaped(before.split(" ")[4]), after.split(" ")[0]) for before, after in parts]


def _unescaped(place: str) -> str:
    return place.replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\")


def _world_reads(path: Path) -> bool:
    """Whether others may read it: it and every folder above must let them."""
    try:
        return bool(path.stat().st_mode & 0o004) and all(above.stat().st_mode & 0o001 for above in path.parents)
    except OSError:
        return False


def _quarantine(days: int) -> str:
    return f"the quarantine is emptied after {days} days" if days else "the quarantine stays"
