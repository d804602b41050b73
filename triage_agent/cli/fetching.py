"""`fetch`: a study that somebody names is fetched from the PACS, here and now."""

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated

import typer

from triage_agent.bootstrap import open_worklist, utc_now
from triage_agent.cli.options import ConfigOption, JsonOption, keep_private, print_json, stdout
from triage_agent.domain.errors import ConfigurationError, TriageError, WorklistUnavailableError
from triage_agent.domain.ports import Worklist
from triage_agent.domain.retrieval import RetrievalRecord, RetrievalState, SubOperations
from triage_agent.domain.uids import is_uid
from triage_agent.retrieval import Fetching, build_client
from triage_agent.settings import Settings, load_settings

_RENEWALS = 4  # in the time of one lease
_LOOK_SECONDS = 0.5
_BY = "fetch"
_WILDCARDS = "*?\\"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """What `fetch --json` prints.

    Attributes:
        expected: instances that the study has at the PACS and here; None where the PACS did not say.
        fetched: of them, those that came meanwhile.
        sub_operations: the PACS's counts, of the tries that this command made itself.
    """

    study_instance_uid: str
    peer: str
    complete: bool
    expected: int | None
    here: int
    fetched: int
    missing: int
    tries: int
    sub_operations: SubOperations
    error: str | None


def fetch(
    uid: Annotated[str | None, typer.Argument(metavar="[UID]", help="Its Study Instance UID.")] = None,
    accession: Annotated[str | None, typer.Option("--accession", help="Its accession number, in place of it.")] = None,
    peer: Annotated[str | None, typer.Option("--from", help="The peer that has it; else study.ask_peer.")] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Fetch a study from the PACS: what is not here yet; exit 1 if not all of it came."""
    if (uid is None) == (accession is None):
        raise typer.BadParameter("name one study, by its Study Instance UID or by --accession")
    if problem := _no_one_name(uid if accession is None else accession):
        raise ConfigurationError(problem, remedy="name one study whole")
    from triage_agent.ops.logging import configure_logging

    configure_logging(level="error")  # what is to be said is said at the end, in one line
    settings = load_settings(config)
    name = peer or settings.study.ask_peer
    if name is None:
        raise ConfigurationError("no peer to fetch from", remedy="name one with --from, or set study.ask_peer")
    build_client(settings, name)  # or a line that says why nothing can be fetched from it
    keep_private()
    worklist = open_worklist(settings)
    fetching = Fetching(settings, worklist, utc_now, kept=lambda: None)
    try:
        study = _named(fetching, name, uid, accession)
        fetched = _fetch(settings, worklist, fetching, study, name)
    finally:
        fetching.stop()
    if as_json:
        print_json(fetched)
    elif fetched.complete:
        stdout.print(f"{fetched.here} of {fetched.expected} images are here, {fetched.fetched} fetched from {name}")
    if not fetched.complete:
        raise TriageError(_failure(fetched))


def _no_one_name(name: str | None) -> str | None:
    """Why it cannot name one study: to a PACS some characters stand for any, or for "or" (PS3.4 section C.2.2.2)."""
    if not name or not name.strip():
        return "an empty name is every study's to a PACS"
    if found := sorted({*name} & {*_WILDCARDS}):
        return f"{name!r} would name many studies: it holds {' and '.join(found)}"
    return None


def _failure(fetched: Fetched) -> str:
    """One line."""
    of = "" if fetched.expected is None else f"{fetched.here} of {fetched.expected} images are here: "
    return f"{of}{fetched.error or 'not all of it came'}"


def _named(fetching: Fetching, peer: str, uid: str | None, accession: str | None) -> str:
    """The one study that is meant."""
    if uid is not None:
        if not is_uid(uid):
            raise typer.BadParameter(f"{uid!r} is not a UID; give an accession number with --accession")
        return uid
    accession = (accession or "").strip()
    found = fetching.client(peer).studies_of_order(accession)
    if not found:
        raise TriageError(f"{peer} has no study with the accession number {accession}")
    if len(found) > 1:
        uids = ", ".join(one.study_instance_uid for one in found)
        raise TriageError(
            f"{peer} has {len(found)} studies with the accession number {accession}",
            remedy=f"name one by its UID: {uids}",
        )
    return found[0].study_instance_uid


def _fetch(settings: Settings, worklist: Worklist, fetching: Fetching, uid: str, peer: str) -> Fetched:
    """Try until all is here or the tries are over; where an agent is at it already, watch that."""
    owner = f"{socket.gethostname()}:{os.getpid()}/{_BY}"
    before = len(worklist.held_of(uid).instances)
    operations = SubOperations()
    worklist.want_retrieval(uid, peer, utc_now(), requested_by=_BY)
    pause = settings.study.fetch_pause_seconds
    with _held(worklist, owner, timedelta(seconds=settings.worker.lease_seconds)):
        while True:
            worked, tried = fetching.step(owner, uid)
            if tried is not None:
                operations += tried.operations
            record = worklist.retrieval_of(uid)
            if record is None or record.state is not RetrievalState.WAITING:
                break
            fetching.wait(pause if worked else _LOOK_SECONDS)
            pause *= 2 if worked else 1
    return _outcome(record, worklist.held_of(uid).instances, before, operations, uid, peer)


def _outcome(
    record: RetrievalRecord | None,
    here: frozenset[str],
    before: int,
    operations: SubOperations,
    uid: str,
    peer: str,
) -> Fetched:
    return Fetched(
        study_instance_uid=uid,
        peer=peer if record is None else record.peer,
        complete=record is not None and record.state is RetrievalState.DONE,
        expected=None if record is None else record.expected,
        here=len(here),
        fetched=len(here) - before,
        missing=0 if record is None else record.lacking(here),
        tries=0 if record is None else record.attempts,
        sub_operations=operations,
        error=None if record is None else record.last_error,
    )


@contextmanager
def _held(worklist: Worklist, owner: str, lease: timedelta) -> Iterator[None]:
    """Keep what is held from others as long as this process lives; what is left at the end is theirs at once."""
    done = threading.Event()

    def renew() -> None:
        while not done.wait(lease.total_seconds() / _RENEWALS):
            try:
                worklist.renew_leases(owner, utc_now(), lease)
            except WorklistUnavailableError:
                continue  # the next one may be in time

    thread = threading.Thread(target=renew, name="renew-fetch", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        worklist.give_back(owner, utc_now(), counted=False)
