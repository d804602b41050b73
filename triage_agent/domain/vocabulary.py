"""The closed sets of words that every stage shares."""

from enum import StrEnum


class Priority(StrEnum):
    """How soon a study should be read, lowest first; compare by `rank`, since strings sort by letter."""

    ROUTINE = "routine"
    URGENT = "urgent"
    STAT = "stat"

    @property
    def rank(self) -> int:
        """0 for routine, 1 for urgent, 2 for stat."""
        return list(Priority).index(self)

    def raised_to(self, other: "Priority") -> "Priority":
        """The higher of the two: a priority is never lowered (promise 3)."""
        return max(self, other, key=lambda priority: priority.rank)


class Finding(StrEnum):
    """What one study revision's result says."""

    ABNORMAL = "abnormal"
    NORMAL = "normal"
    UNCERTAIN = "uncertain"
    NOT_ASSESSED = "not_assessed"


class Status(StrEnum):
    """Where a study is on its way; the legal moves are in `states.TRANSITIONS`."""

    RECEIVING = "receiving"
    READY = "ready"
    SCORING = "scoring"
    DECIDED = "decided"
    DELIVERED = "delivered"
    OUT_OF_SCOPE = "out_of_scope"
    NEEDS_HUMAN = "needs_human"


class Event(StrEnum):
    """What can happen to a study."""

    IMAGE_RECEIVED = "image_received"
    OBJECT_RECEIVED = "object_received"  # what is never scored: a report (ours comes back too), a CT slice
    CONFLICTED = "conflicted"  # one of its instances cannot be kept as its own: another study has the UID
    COMPLETED = "completed"
    CLAIMED = "claimed"
    GIVEN_BACK = "given_back"  # by its owner, or because its lease expired
    DECIDED = "decided"
    EXCLUDED = "excluded"  # not a radiograph, not MSK, not an image
    FAILED = "failed"  # cannot be assessed: a human reads it at the priority it had
    DELIVERED = "delivered"
    RETRIED = "retried"
    REISSUED = "reissued"  # its results are made again: its patient has been merged with another


class Outcome(StrEnum):
    """What became of one instance when the agent tried to score it."""

    SCORED = "scored"
    SKIPPED = "skipped"  # nothing to score: a localiser, a report, a CT slice
    FAILED = "failed"  # should have been scored and could not be


class DeliveryState(StrEnum):
    """Where one artifact is on its way to one destination."""

    PENDING = "pending"
    SENDING = "sending"
    SENT = "sent"
    COMMITTED = "committed"  # sent, and the destination has promised to keep it (storage commitment)
    DEAD = "dead"  # refused for good, or out of attempts: an admin looks and retries


class Family(StrEnum):
    """What kinds of result are made of, which decides who can take them."""

    DICOM_OBJECT = "dicom_object"  # a composite instance to store
    HL7_MESSAGE = "hl7_message"
    WORKITEM = "workitem"  # Unified Procedure Step
    FHIR_RESOURCE = "fhir_resource"


class ArtifactKind(StrEnum):
    """The kinds of result a route can ask for; `results.REGISTRY` says which are built."""

    SR = "sr"
    SR_COMPREHENSIVE = "sr-comprehensive"
    SR_ENHANCED = "sr-enhanced"
    SR_TEXT = "sr-text"
    GSPS = "gsps"
    SC = "sc"
    KOS = "kos"
    PDF = "pdf"
    EVIDENCE_GSPS = "evidence-gsps"  # regions; only where a site turns evidence on
    EVIDENCE_SC = "evidence-sc"
    REJECTION = "rejection"  # withdraws objects; sent where they went, and no route names it
    HL7_ORU = "hl7-oru"
    HL7_OMI = "hl7-omi"
    HL7_ORM = "hl7-orm"
    UPS = "ups"
    FHIR = "fhir"

    @property
    def is_evidence(self) -> bool:
        """Whether it directs the reader to a region (promise 6)."""
        return self in {ArtifactKind.EVIDENCE_GSPS, ArtifactKind.EVIDENCE_SC}

    @property
    def family(self) -> Family:
        """What it is made of."""
        if self is ArtifactKind.UPS:
            return Family.WORKITEM
        if self is ArtifactKind.FHIR:
            return Family.FHIR_RESOURCE
        return Family.HL7_MESSAGE if self.value.startswith("hl7-") else Family.DICOM_OBJECT


DICOM_OBJECTS = frozenset(kind for kind in ArtifactKind if kind.family is Family.DICOM_OBJECT)
"""The kinds that are objects to store, not messages."""


class Unscored(StrEnum):
    """Which studies that nobody could score a route tells of."""

    NONE = "none"
    RADIOGRAPHS = "radiographs"
    ALL = "all"


class Searched(StrEnum):
    """What systems search."""

    ORDERS = "modality worklist"
    WORKITEMS = "workitems"
    RESULTS = "results"


class AuditAction(StrEnum):
    """What an audit event records."""

    AGENT_STARTED = "agent_started"
    AGENT_STOPPED = "agent_stopped"
    ASSOCIATION_REJECTED = "association_rejected"
    INSTANCE_RECEIVED = "instance_received"
    INSTANCE_DUPLICATE = "instance_duplicate"
    INSTANCE_CONFLICT = "instance_conflict"
    INSTANCE_QUARANTINED = "instance_quarantined"
    INSTANCE_RECOVERED = "instance_recovered"
    STATUS_CHANGED = "status_changed"
    PRIORITY_RAISED = "priority_raised"
    DECISION_MADE = "decision_made"
    SHADOW_COMPARED = "shadow_compared"
    DELIVERY_SENT = "delivery_sent"
    DELIVERY_FAILED = "delivery_failed"
    DELIVERY_DEAD = "delivery_dead"
    DELIVERY_COMMITTED = "delivery_committed"
    DELIVERY_NOT_COMMITTED = "delivery_not_committed"
    COMMITMENT_REQUESTED = "commitment_requested"
    COMMITMENT_ANSWERED = "commitment_answered"
    COMMITMENT_DEAD = "commitment_dead"
    RETRIEVAL_REQUESTED = "retrieval_requested"
    RETRIEVAL_ENDED = "retrieval_ended"
    RETRY_REQUESTED = "retry_requested"
    RESULTS_WITHDRAWN = "results_withdrawn"
    ORIGINALS_DELETED = "originals_deleted"
    RESULTS_READ = "results_read"
    ORDER_RECEIVED = "order_received"  # made or changed by a message
    ORDER_MATCHED = "order_matched"  # the study that it is of has come
    PATIENT_UPDATED = "patient_updated"
    PATIENT_MERGED = "patient_merged"
    HL7_REJECTED = "hl7_rejected"  # a connection of nobody we know
    WORKITEM_CHANGED = "workitem_changed"
    SIGNED_IN = "signed_in"
    SIGNED_OUT = "signed_out"
    SIGN_IN_REFUSED = "sign_in_refused"
    ACCOUNT_CHANGED = "account_changed"
    ACCOUNTS_LISTED = "accounts_listed"
    ACCESS_REFUSED = "access_refused"  # a page that the account's roles do not open
    STUDIES_LISTED = "studies_listed"  # patient data was shown, of many studies
    STUDY_VIEWED = "study_viewed"
    QUERIED = "queried"  # a system searched; one record for many searches
    READING_CHANGED = "reading_changed"  # claimed, released, read, or put back on the list
    FEEDBACK_GIVEN = "feedback_given"  # a reader agreed, or did not
    FEEDBACK_EXPORTED = "feedback_exported"
    NOTICE_SENT = "notice_sent"  # people were told, by e-mail or webhook
    NOTICE_DEAD = "notice_dead"
    AUDIT_READ = "audit_read"  # somebody read the log, or began to verify it
    AUDIT_VERIFIED = "audit_verified"  # what that found
    AUDIT_EXPORTED = "audit_exported"
    AUDIT_ANCHORED = "audit_anchored"
