"""The worklist in a database: each method of the port is one transaction."""

from collections.abc import Collection, Iterator, Sequence
from datetime import datetime, timedelta

from sqlalchemy import Engine

from triage_agent.domain.audit import AuditEvent
from triage_agent.domain.decision import (
    Artifact,
    Comparison,
    Decision,
    Delivery,
    Flag,
    ShadowResult,
    Shipment,
)
from triage_agent.domain.errors import WorklistUnavailableError
from triage_agent.domain.ports import Registered, StudyDetail, Worklist
from triage_agent.domain.study import (
    AssemblyView,
    Assessment,
    ClaimedImage,
    ClaimedStudy,
    CompletenessRule,
    ReceivedInstance,
    WorklistItem,
)
from triage_agent.domain.vocabulary import DICOM_OBJECTS, ArtifactKind, Priority, Status
from triage_agent.domain.waits import LongestWaits
from triage_agent.worklist import (
    clocks,
    leases,
    outbox,
    queries,
    registration,
    retention,
    scoring,
    sending,
    shadow,
    unrouted,
)
from triage_agent.worklist.backlog import SqlBacklogs
from triage_agent.worklist.commitments import SqlCommitments
from triage_agent.worklist.held import Reachable
from triage_agent.worklist.history import SqlHistories
from triage_agent.worklist.migrate import is_current
from triage_agent.worklist.ordering import SqlOrders
from triage_agent.worklist.retrievals import SqlRetrievals
from triage_agent.worklist.rows import append_audit
from triage_agent.worklist.spools import SqlSpools
from triage_agent.worklist.transactions import Database
from triage_agent.worklist.withdrawals import SqlWithdrawals

_PING_SECONDS = 2.0  # whoever asks whether we are ready will not wait for long


class SqlWorklist(SqlCommitments, SqlRetrievals, SqlSpools, SqlBacklogs, SqlWithdrawals, SqlOrders, SqlHistories):
    """The `Worklist` port on SQLite or Postgres; safe to share between threads.

    The functions behind it stand in `registration`, `scoring`, `shadow`, `outbox`, `sending`, `leases` and `queries`;
    those of storage commitment in `commitments`, of what is fetched from a PACS in `retrievals`, about the spool in
    `spools`, of what waits in `backlog`, of what is taken back in `withdrawals`, of orders in `ordering`, of what was
    decided in `history`.
    """

    def __init__(self, engine: Engine, reachable: Reachable | None = None) -> None:
        """`reachable`: with an object store, what of it that waits elsewhere may be claimed; see `held`."""
        super().__init__(Database(engine))
        self._reachable = reachable

    @property
    def database(self) -> Database:
        """What its transactions run in, for what the same database keeps by a port of its own (`workitems`)."""
        return self._database

    def register(self, received: ReceivedInstance, rule: CompletenessRule) -> Registered:
        """See `Worklist.register`."""
        return self._database.write_in_company(lambda session: registration.register(session, received, rule))

    def digest_of(self, sop_instance_uid: str) -> str | None:
        """See `Worklist.digest_of`."""
        return self._database.read(lambda session: registration.digest_of(session, sop_instance_uid))

    def spool_paths(self) -> Iterator[str]:
        """See `Worklist.spool_paths`."""
        return self._database.stream(registration.spool_paths)

    def record_audit(self, event: AuditEvent) -> None:
        """See `Worklist.record_audit`."""
        self._database.write(lambda session: append_audit(session, event))

    def due_for_completion(self, now: datetime, limit: int = 100) -> Sequence[AssemblyView]:
        """See `Worklist.due_for_completion`."""
        return self._database.read(lambda session: registration.due_for_completion(session, now, limit))

    def check_later(
        self,
        study_instance_uid: str,
        revision: int,
        at: datetime,
        *,
        asked: bool,
        reason: str | None = None,
        fetching: bool = False,
    ) -> bool:
        """See `Worklist.check_later`."""
        return self._database.write(
            lambda session: registration.check_later(
                session, study_instance_uid, revision, at, asked=asked, reason=reason, fetching=fetching
            )
        )

    def complete(self, view: AssemblyView, reason: str, now: datetime) -> bool:
        """See `Worklist.complete`."""
        return self._database.write(lambda session: registration.complete(session, view, reason, now))

    def claim_images(self, owner: str, now: datetime, lease: timedelta, limit: int) -> Sequence[ClaimedImage]:
        """See `Worklist.claim_images`."""
        return self._database.claim(
            lambda session: scoring.any_image(session, now),
            lambda session: scoring.claim_images(session, owner, now, lease, limit, self._reachable),
            [],
            lasting=True,
        )

    def record_assessment(self, claimed: ClaimedImage, assessment: Assessment, now: datetime) -> bool:
        """See `Worklist.record_assessment`."""
        return self._database.write(lambda session: scoring.record_assessment(session, claimed, assessment, now))

    def raise_flag(
        self, flag: Flag, shipments: Sequence[Shipment], now: datetime, assessment: Assessment | None = None
    ) -> bool:
        """See `Worklist.raise_flag`."""
        return self._database.write(lambda session: scoring.raise_flag(session, flag, shipments, now, assessment))

    def claim_study(self, owner: str, now: datetime, lease: timedelta) -> ClaimedStudy | None:
        """See `Worklist.claim_study`."""
        return self._database.claim(
            lambda session: scoring.any_ready(session, now),
            lambda session: scoring.claim_study(session, owner, now, lease, self._reachable),
            None,
            lasting=True,
        )

    def last_artifact(self, study_instance_uid: str, kind: ArtifactKind, before_revision: int) -> Artifact | None:
        """See `Worklist.last_artifact`."""
        return self._database.read(
            lambda session: outbox.last_artifact(session, study_instance_uid, kind, before_revision)
        )

    def add_results(self, study_instance_uid: str, revision: int, shipments: Sequence[Shipment], now: datetime) -> bool:
        """See `Worklist.add_results`."""
        return self._database.write(
            lambda session: outbox.add_results(session, study_instance_uid, revision, shipments, now)
        )

    def decide(
        self,
        decision: Decision,
        assessments: Sequence[Assessment],
        shipments: Sequence[Shipment],
        owner: str,
        *,
        routed: bool = False,
    ) -> bool:
        """See `Worklist.decide`."""
        return self._database.write(
            lambda session: scoring.decide(session, decision, assessments, shipments, owner, routed=routed)
        )

    def record_shadow(
        self,
        study_instance_uid: str,
        revision: int,
        result: ShadowResult,
        assessments: Sequence[Assessment],
        now: datetime,
    ) -> bool:
        """See `Worklist.record_shadow`."""
        return self._database.write(
            lambda session: shadow.record_shadow(session, study_instance_uid, revision, result, assessments, now)
        )

    def comparisons(self, since: datetime) -> Sequence[Comparison]:
        """See `Worklist.comparisons`."""
        return self._database.read(lambda session: shadow.comparisons(session, since))

    def give_back(self, owner: str, now: datetime, *, counted: bool = True) -> int:
        """See `Worklist.give_back`."""
        return self._database.write(lambda session: leases.give_back(session, owner, now, counted=counted))

    def renew_leases(self, owner: str, now: datetime, lease: timedelta) -> int:
        """See `Worklist.renew_leases`."""
        return self._database.write(lambda session: leases.renew(session, owner, now, lease), lasting=False)

    def expire_leases(self, now: datetime) -> int:
        """See `Worklist.expire_leases`."""
        return self._database.write(lambda session: leases.expire_leases(session, now))

    def bring_deadlines_near(self, now: datetime, longest: LongestWaits) -> int:
        """See `Worklist.bring_deadlines_near`."""
        return self._database.write(lambda session: clocks.bring_deadlines_near(session, now, longest))

    def claim_deliveries(
        self, owner: str, now: datetime, lease: timedelta, limit: int, destinations: Sequence[str] | None = None
    ) -> Sequence[Delivery]:
        """See `Worklist.claim_deliveries`."""
        return self._database.claim(
            lambda session: sending.any_due(session, now, destinations),
            lambda session: sending.claim_deliveries(session, owner, now, lease, limit, destinations),
            [],
            lasting=False,
        )

    def delivery_sent(self, delivery: Delivery, now: datetime, *, commit: bool = False) -> None:
        """See `Worklist.delivery_sent`."""
        self._database.write(lambda session: outbox.delivery_sent(session, delivery, now, commit=commit))

    def delivery_failed(
        self, delivery: Delivery, error: str, retry_at: datetime | None, now: datetime, *, tried: bool = True
    ) -> None:
        """See `Worklist.delivery_failed`."""
        self._database.write(
            lambda session: outbox.delivery_failed(session, delivery, error, retry_at, now, tried=tried)
        )

    def make_due(self, destination: str, now: datetime) -> int:
        """See `Worklist.make_due`."""
        return self._database.write(lambda session: outbox.make_due(session, destination, now))

    def trouble_at(self, destination: str) -> str | None:
        """See `Worklist.trouble_at`."""
        return self._database.read(lambda session: queries.trouble_at(session, destination))

    def bury_unrouted(self, destinations: Collection[str], now: datetime) -> int:
        """See `Worklist.bury_unrouted`; a transaction a study."""

        def bury(uid: str) -> int:
            return self._database.write(lambda session: unrouted.bury(session, uid, destinations, now))

        return sum(bury(uid) for uid in self._database.read(lambda session: unrouted.studies(session, destinations)))

    def originals_past(self, before: datetime, limit: int) -> Sequence[str]:
        """See `Worklist.originals_past`."""
        return self._database.read(lambda session: retention.originals_past(session, before, limit))

    def forget_originals(self, study_instance_uid: str, before: datetime, now: datetime) -> Sequence[str]:
        """See `Worklist.forget_originals`."""
        return self._database.write(
            lambda session: retention.forget_originals(session, study_instance_uid, before, now)
        )

    def originals_gone(self, study_instance_uid: str, now: datetime) -> None:
        """See `Worklist.originals_gone`."""
        self._database.write(lambda session: retention.originals_gone(session, study_instance_uid, now))

    def items(
        self, *, status: Status | None = None, priority: Priority | None = None, limit: int = 100
    ) -> Sequence[WorklistItem]:
        """See `Worklist.items`."""
        return self._database.read(lambda session: queries.items(session, status, priority, limit))

    def study(self, study_instance_uid: str) -> StudyDetail | None:
        """See `Worklist.study`."""
        return self._database.read(lambda session: queries.study(session, study_instance_uid))

    def studies_called(self, name: str) -> Sequence[str]:
        """See `Worklist.studies_called`."""
        return self._database.read(lambda session: queries.studies_called(session, name))

    def results_of(
        self, study_instance_uid: str, limit: int, kinds: Collection[ArtifactKind] = DICOM_OBJECTS
    ) -> Sequence[Artifact]:
        """See `Worklist.results_of`."""
        return self._database.read(lambda session: outbox.results_of(session, study_instance_uid, limit, kinds))

    def retry_study(self, study_instance_uid: str, actor: str, now: datetime) -> int:
        """See `Worklist.retry_study`."""
        return self._database.write(lambda session: leases.retry_study(session, study_instance_uid, actor, now))

    def retry_failed(self, actor: str, now: datetime) -> int:
        """See `Worklist.retry_failed`; a transaction a study."""
        uids = self._database.read(leases.studies_to_retry)
        return sum(self.retry_study(uid, actor, now) for uid in uids)

    def counts(self) -> dict[str, dict[str, int]]:
        """See `Worklist.counts`."""
        return self._database.read(queries.counts)

    def ping(self) -> None:
        """See `Worklist.ping`."""
        self.require_current()
        self._database.write(queries.prove_writable, patience=_PING_SECONDS)

    def require_current(self) -> None:
        """`ping` for who only reads.

        Raises:
            WorklistUnavailableError: the database is away, or its tables are not those of this version.
        """
        if not is_current(self._database.engine):
            raise WorklistUnavailableError(
                "the database's tables are not those of this version", remedy="run `triage-agent db upgrade`"
            )


def database_of(worklist: Worklist) -> Database:
    """What else the same database keeps is kept by ports of their own.

    Raises:
        TypeError: the worklist is in no database.
    """
    if not isinstance(worklist, SqlWorklist):
        raise TypeError(f"{type(worklist).__name__} is in no database")
    return worklist.database
