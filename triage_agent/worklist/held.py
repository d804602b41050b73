"""What waits on one machine for an object store that is away is claimed by nobody else: others could not read it."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, and_, exists, not_

from triage_agent.domain.spools import HELD
from triage_agent.worklist.tables import InstanceRow, StudyRow


@dataclass(frozen=True, slots=True, kw_only=True)
class Reachable:
    """What a process can read of what waits.

    Attributes:
        machine: the name of its machine's write-ahead folder; None as long as there is none.
        longest: after so long it is claimed all the same, and left to a human with the reason (promise 2).
    """

    machine: Callable[[], str | None]
    longest: timedelta


def image_is_reachable(reachable: Reachable, now: datetime) -> ColumnElement[bool]:
    """Of an instance."""
    return not_(_out_of_reach(reachable, now))


def study_is_reachable(reachable: Reachable, now: datetime) -> ColumnElement[bool]:
    """Of a study with all its instances: results quote each one's header."""
    waits = and_(InstanceRow.study_instance_uid == StudyRow.study_instance_uid, _out_of_reach(reachable, now))
    return not_(exists().where(waits))


def _out_of_reach(reachable: Reachable, now: datetime) -> ColumnElement[bool]:
    elsewhere = InstanceRow.path.startswith(f"{HELD}/", autoescape=True)
    if (machine := reachable.machine()) is not None:
        elsewhere = and_(elsewhere, not_(InstanceRow.path.startswith(f"{HELD}/{machine}/", autoescape=True)))
    return and_(elsewhere, InstanceRow.received_at > now - reachable.longest)
