"""What a builder of artifacts is given."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo

from pydicom import Dataset

from triage_agent import __version__
from triage_agent.domain.decision import Artifact, Decision, Flag, ModelIdentity
from triage_agent.domain.evidence import EvidenceMap
from triage_agent.domain.hl7_form import USUAL_FORM, Hl7Form
from triage_agent.domain.study import Assessment, StoredInstance
from triage_agent.domain.uids import derive_uid
from triage_agent.domain.vocabulary import ArtifactKind

FLAG = "flag"
DECISION = "decision"
EVIDENCE = "evidence"  # behind DECISION, once the maps of what raised a study are there
RAISE = "raise"  # beside DECISION, where the decision raises the priority; a flag always does
MANUFACTURER = "triage-agent project"
PRODUCT = "triage-agent"


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultContext:
    """A result and what is known of the study it is about.

    Attributes:
        result: the decision, or the flag that came before it.
        headers: the study's instances as data sets without pixels, in the order in which reports name them; they may be
            as broken as a modality makes them.
        assessments: what scoring gave for each of them; a report of a decision lists their scores.
        stored: the same instances as the worklist has them, with the identifiers that a broken header lacks.
        previous: what this kind of artifact was in the study's revision before, for kinds that refer to it.
        institution: name of the site; empty when it is not configured.
        department: name of the department; empty when it is not configured.
        software_version: of this agent.
        timezone: in which dates are written where the source states no offset of its own (0008,0201). `UTC` itself
            means that the site states none: then objects state none, since their study's dates may be in another.
        form: how the destination wants its HL7 messages.
        maps: evidence by SOP Instance UID, where a site has turned it on and the study shows something.
        name_patient: whether pages that people read name the patient; the data set around them always does.
    """

    result: Decision | Flag
    headers: Sequence[Dataset]
    assessments: Sequence[Assessment] = ()
    stored: Sequence[StoredInstance] = ()
    previous: Artifact | None = None
    institution: str = ""
    department: str = ""
    software_version: str = __version__
    timezone: tzinfo = UTC
    form: Hl7Form = USUAL_FORM
    maps: Mapping[str, EvidenceMap] = field(default_factory=dict)
    name_patient: bool = False

    @property
    def model(self) -> ModelIdentity:
        """The bundle behind the result."""
        return self.result.model

    @property
    def made_at(self) -> datetime:
        """When the result was made: every date in an artifact comes from it, so that a rebuild is the same bytes."""
        return self.result.raised_at if isinstance(self.result, Flag) else self.result.decided_at

    @property
    def device_uid(self) -> str:
        """Identifies the agent with this bundle; another bundle or version of the software is another device."""
        return derive_uid("device", PRODUCT, self.software_version, self.model.digest)

    def uid(self, kind: str) -> str:
        """The UID of this result as `kind`, from study, revision, bundle and kind (promise 5).

        A flag has its image in it, too: it is another object than the decision that follows it, and than a higher flag.
        """
        result = self.result
        which = (FLAG, result.sop_instance_uid) if isinstance(result, Flag) else ()
        return derive_uid(result.study_instance_uid, str(result.revision), self.model.digest, kind, *which)


def require_decision(context: ResultContext) -> Decision:
    """The decision that a context is about, for kinds that no flag can be."""
    if not isinstance(context.result, Decision):
        raise TypeError("this kind is made of a decision, not of a flag")
    return context.result


def _always(_context: ResultContext) -> bool:
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Builder:
    """One kind of artifact.

    Attributes:
        occasions: when it is built: some of "flag", "decision", "raise" and "evidence".
        build: makes the artifact; equal contexts give equal artifacts.
        refers_to_previous: whether it is given the one of the revision before.
        tells_of_unscored: whether it can say that nobody could score a study, for routes that want to be told.
        has_something_to_say: False for a result that this kind has nothing to say of; then it is not built.
    """

    kind: ArtifactKind
    occasions: frozenset[str]
    build: Callable[[ResultContext], Artifact]
    refers_to_previous: bool = False
    tells_of_unscored: bool = False
    has_something_to_say: Callable[[ResultContext], bool] = _always
