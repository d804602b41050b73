"""The mutable counterparts of the tables' rows."""

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from triage_agent.domain.decision import Comparison, Decision, Delivery, DeliveryRecord, Flag, ShadowResult, Shipment
from triage_agent.domain.orders import MergedPatient
from triage_agent.domain.states import BEGINNINGS
from triage_agent.domain.study import (
    AssemblyView,
    Assessment,
    CompletenessRule,
    ReceivedInstance,
    StoredInstance,
    WorklistItem,
)
from triage_agent.domain.vocabulary import DeliveryState, Event, Priority
from triage_agent.domain.waits import LongestWaits
from triage_agent.worklist.limits import is_outdone, patient_with, shown_reason
from triage_agent.worklist.supersession import Place, superseded_error


@dataclass(frozen=True, slots=True)
class Lease:
    """Who holds something, and until when."""

    owner: str | None = None
    until: datetime | None = None

    def is_free(self, now: datetime) -> bool:
        """Nobody holds it, or whoever held it let the lease run out."""
        return self.until is None or self.until <= now

    def ends_after(self, time: datetime) -> bool:
        """Somebody holds it for longer."""
        return self.until is not None and self.until > time


@dataclass(slots=True)
class Image:
    """One instance."""

    received: ReceivedInstance
    assessment: Assessment | None = None
    attempts: int = 0
    lease: Lease = field(default_factory=Lease)
    original_deleted_at: datetime | None = None

    @property
    def study_instance_uid(self) -> str:
        """The study it belongs to."""
        return self.received.header.study_instance_uid

    @property
    def age(self) -> tuple[datetime, str]:
        """Sorts the oldest first."""
        return (self.received.received_at, self.received.header.sop_instance_uid)

    def assess(self, assessment: Assessment) -> None:
        """Keep its assessment, and let it go."""
        self.assessment = assessment
        self.lease = Lease()

    def forget(self) -> None:
        """Make it an image that nobody has looked at."""
        self.assessment = None
        self.attempts = 0
        self.lease = Lease()

    def stored(self) -> StoredInstance:
        """As the domain has it."""
        header = self.received.header
        return StoredInstance(
            sop_instance_uid=header.sop_instance_uid,
            series_instance_uid=header.series_instance_uid,
            sop_class_uid=header.sop_class_uid,
            transfer_syntax_uid=header.transfer_syntax_uid,
            path=self.received.path,
            received_at=self.received.received_at,
            assessment=self.assessment,
            original_deleted_at=self.original_deleted_at,
        )


@dataclass(slots=True)
class StudyEntry:
    """One study: its row on the list, and what the list does not show."""

    item: WorklistItem
    first_received_at: datetime
    last_received_at: datetime
    next_check_at: datetime
    asked: int = 0
    attempts: int = 0
    lease: Lease = field(default_factory=Lease)
    reasons: tuple[str, ...] = ()
    reason_of_decision: str = ""
    decisions: dict[int, Decision] = field(default_factory=dict)  # by revision
    shadows: dict[int, ShadowResult] = field(default_factory=dict)  # of them
    conflict: str | None = None
    originals_deleted_at: datetime | None = None
    merged: MergedPatient | None = None
    patient_birth_date: str = ""
    patient_age: int | None = None
    routed: bool = False  # the last decision

    @classmethod
    def of(cls, received: ReceivedInstance, rule: CompletenessRule, conflict: str | None = None) -> "StudyEntry":
        """A study whose first image is this one, or cannot be kept, since there is a `conflict`."""
        header = received.header
        at = received.received_at
        item = WorklistItem(
            study_instance_uid=header.study_instance_uid,
            accession_number=header.accession_number or None,
            patient_id=header.patient_id or None,
            patient_name=header.patient_name or None,
            anatomy=None,
            modality=header.modality or None,
            status=BEGINNINGS[Event.CONFLICTED if conflict else header.event],
            status_reason=None,
            revision=1,
            priority=header.requested_priority,
            priority_at_arrival=header.requested_priority,
            finding=None,
            probability=None,
            acr_category=None,
            rule=None,
            bundle=None,
            instances=0 if conflict else 1,
            received_at=at,
            flagged_at=None,
            decided_at=None,
            delivered_at=None,
        )
        first_check = rule.next_check(at, at)
        return cls(
            item,
            first_received_at=at,
            last_received_at=at,
            next_check_at=first_check,
            conflict=conflict,
            patient_birth_date=header.patient_birth_date,
            patient_age=header.patient_age,
        )

    @property
    def uid(self) -> str:
        """Its Study Instance UID."""
        return self.item.study_instance_uid

    @property
    def urgency(self) -> tuple[int, datetime, str]:
        """Sorts the most urgent, then the oldest first."""
        return (-self.item.priority.rank, self.item.received_at, self.uid)

    @property
    def place(self) -> tuple[int, float, datetime, str]:
        """Sorts as the worklist shows studies: by priority, then probability (none last), then age."""
        probability = -1.0 if self.item.probability is None else self.item.probability
        return (-self.item.priority.rank, -probability, self.item.received_at, self.uid)

    @property
    def shown(self) -> WorklistItem:
        """Its row as people see it."""
        return replace(self.item, status_reason=shown_reason(self.item.status_reason, self.conflict))

    def ask_for(self, priority: Priority) -> None:
        """Raise it to what a header asks for."""
        item = self.item
        self.item = replace(
            item,
            priority=item.priority.raised_to(priority),
            priority_at_arrival=item.priority_at_arrival.raised_to(priority),
        )

    def view(self) -> AssemblyView:
        """What the completeness rule needs to know."""
        return AssemblyView(
            study_instance_uid=self.uid,
            revision=self.item.revision,
            instances=self.item.instances,
            first_received_at=self.first_received_at,
            last_received_at=self.last_received_at,
            asked=self.asked,
        )

    def start_over(self, at: datetime) -> None:
        """Count the time and the questions of a new revision from `at`."""
        self.first_received_at = self.last_received_at = at
        self.asked = 0

    def await_more(self, at: datetime, rule: CompletenessRule, *, afresh: bool) -> None:
        """One more image has come at `at`; `afresh` when it opened a revision."""
        if afresh:
            self.start_over(at)
        self.first_received_at = min(self.first_received_at, at)
        self.last_received_at = max(self.last_received_at, at)
        self.next_check_at = rule.next_check(self.first_received_at, self.last_received_at)

    def add(self, received: ReceivedInstance) -> None:
        """Take one more instance in."""
        self.originals_deleted_at = None
        header = received.header
        patient_id, patient_name = patient_with(self.item.patient_id, self.item.patient_name, header)
        self.item = replace(
            self.item,
            accession_number=self.item.accession_number or header.accession_number or None,
            patient_id=patient_id,
            patient_name=patient_name,
            modality=self.item.modality or header.modality or None,
            instances=self.item.instances + 1,
        )
        self.patient_birth_date = self.patient_birth_date or header.patient_birth_date
        self.patient_age = self.patient_age or header.patient_age
        self.ask_for(header.requested_priority)

    def flag(self, flag: Flag, *, decided: bool) -> None:
        """Raise it; the flag shows on the list unless the revision is `decided`."""
        self.item = replace(self.item, priority=flag.priority, flagged_at=self.item.flagged_at or flag.raised_at)
        if decided:
            return
        self.reasons = flag.reasons
        self.item = replace(
            self.item,
            finding=None,
            decided_at=None,
            probability=flag.probability,
            rule=flag.rule,
            acr_category=flag.acr_category,
            anatomy=flag.anatomy or self.item.anatomy,
            bundle=flag.model.label,
        )

    def decide(self, decision: Decision) -> None:
        """Show the decision on the list."""
        priority = self.item.priority.raised_to(decision.priority)
        raised_at = None if priority is self.item.priority else decision.decided_at
        self.reasons = decision.reasons
        self.decisions[decision.revision] = decision
        self.reason_of_decision = decision.status_reason
        self.item = replace(
            self.item,
            status_reason=decision.status_reason or None,
            priority=priority,
            flagged_at=self.item.flagged_at or raised_at,
            anatomy=decision.anatomy,
            finding=decision.finding,
            probability=decision.probability,
            acr_category=decision.acr_category,
            rule=decision.rule,
            bundle=decision.model.label,
            decided_at=decision.decided_at,
            delivered_at=None,
        )

    @property
    def last_shadow(self) -> ShadowResult | None:
        """What the shadow bundle says of the last decision."""
        return self.shadows.get(max(self.decisions, default=0))

    def comparison(self, since: datetime) -> Comparison | None:
        """Its last decision since then that has been compared."""
        for revision in sorted(self.shadows, reverse=True):
            decision = self.decisions[revision]
            if decision.decided_at >= since and decision.probability is not None:
                return Comparison(
                    study_instance_uid=self.uid,
                    revision=revision,
                    anatomy=decision.anatomy,
                    decided_at=decision.decided_at,
                    bundle=decision.model.label,
                    probability=decision.probability,
                    shadow=self.shadows[revision],
                )
        return None


@dataclass(slots=True)
class OutboxEntry:
    """One shipment on its way."""

    number: int
    study_instance_uid: str
    revision: int
    shipment: Shipment
    of_decision: bool
    next_attempt_at: datetime | None
    state: DeliveryState = DeliveryState.PENDING
    attempts: int = 0
    lease: Lease = field(default_factory=Lease)
    sent_at: datetime | None = None
    last_error: str | None = None
    # Storage commitment.
    transaction_uid: str | None = None
    commit_at: datetime | None = None
    commit_asks: int = 0
    commit_resends: int = 0
    committed_at: datetime | None = None
    withdrawn_at: datetime | None = None
    queued_at: datetime = field(init=False)

    def __post_init__(self) -> None:
        self.queued_at = self.next_attempt_at or datetime.min.replace(tzinfo=UTC)  # due at once when it is made

    @property
    def key(self) -> tuple[str, int, str, str]:
        """What no two entries share."""
        return (self.study_instance_uid, self.revision, self.shipment.artifact.uid, self.shipment.destination)

    def is_due(self, now: datetime) -> bool:
        """Whether a sender may take it now."""
        if self.state is DeliveryState.SENDING:
            return self.lease.is_free(now)
        return self.state is DeliveryState.PENDING and self.next_attempt_at is not None and self.next_attempt_at <= now

    def bring_near(self, now: datetime, longest: LongestWaits) -> bool:
        """Shorten what lies farther ahead than could have been set; whether there was such a wait."""
        if self.state is DeliveryState.PENDING and self.next_attempt_at is not None:
            if self.next_attempt_at > (now if self.attempts == 0 else now + longest.sending):
                self.next_attempt_at = now
                return True
        elif self.commit_at is not None:
            latest = now if self.commit_asks == 0 else now + longest.asking
            if self.commit_at > latest:
                self.commit_at = latest
                return True
        return False

    def send(self, lease: Lease, priority: Priority) -> Delivery:
        """Hand it to a sender; `priority` is its study's."""
        self.state, self.lease = DeliveryState.SENDING, lease
        self.attempts += 1
        return Delivery(
            delivery_id=self.number,
            study_instance_uid=self.study_instance_uid,
            revision=self.revision,
            destination=self.shipment.destination,
            attempt=self.attempts,
            artifact=self.shipment.artifact,
            is_outdone=is_outdone(self.shipment.raises_to, priority),
            queued_at=self.queued_at,
        )

    def wait(self, until: datetime) -> None:
        """Make it free to be taken at `until`."""
        self.state, self.lease, self.next_attempt_at = DeliveryState.PENDING, Lease(), until

    def sent(self, now: datetime, *, commit: bool) -> None:
        """It has arrived; with `commit` its destination is to be asked whether it is kept."""
        self.state, self.lease, self.next_attempt_at = DeliveryState.SENT, Lease(), None
        self.sent_at, self.last_error = now, None
        self.transaction_uid, self.commit_at, self.commit_asks = None, now if commit else None, 0

    def commits(self, destination: str, now: datetime) -> bool:
        """Whether that destination is to be asked about it now."""
        is_there = self.state is DeliveryState.SENT and self.shipment.destination == destination
        return is_there and self.commit_at is not None and self.commit_at <= now

    def committed(self, now: datetime) -> None:
        """Its destination keeps it."""
        self.state, self.committed_at = DeliveryState.COMMITTED, now
        self.commit_at = self.last_error = None

    def failed(self, error: str, retry_at: datetime | None) -> None:
        """It has not arrived, and is tried again at `retry_at` or never."""
        self.state = DeliveryState.DEAD if retry_at is None else DeliveryState.PENDING
        self.lease, self.next_attempt_at, self.last_error = Lease(), retry_at, error

    def place(self, priority: Priority) -> Place:
        """Where it stands among the others of a study of that priority."""
        return Place(
            number=self.number,
            revision=self.revision,
            of_decision=self.of_decision,
            kind=self.shipment.artifact.kind,
            destination=self.shipment.destination,
            state=self.state,
            is_outdone=is_outdone(self.shipment.raises_to, priority),
        )

    def record(self, past: Collection[int]) -> DeliveryRecord:
        """As people see it; `past` has the numbers of what is superseded."""
        return DeliveryRecord(
            delivery_id=self.number,
            study_instance_uid=self.study_instance_uid,
            revision=self.revision,
            kind=self.shipment.artifact.kind,
            destination=self.shipment.destination,
            uid=self.shipment.artifact.uid,
            summary=self.shipment.artifact.summary,
            state=self.state,
            attempts=self.attempts,
            next_attempt_at=self.next_attempt_at,
            sent_at=self.sent_at,
            committed_at=self.committed_at,
            last_error=superseded_error(self.last_error) if self.number in past else self.last_error,
        )
