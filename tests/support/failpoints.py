"""The steps between an image's first byte and its study's committed report, each with a name to die at.

A failpoint is data: the product knows nothing of it. `support.launcher` wraps the named attribute in the process that
is to die, before it starts to serve.
"""

import functools
import importlib
import inspect
import os
import signal
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Failpoint:
    """Die before or after a call.

    Attributes:
        name: the step, for people.
        at: module:attribute.
        when: "before" the call, or "after" it has returned.
        something: count only calls that returned something (a claim that found work); "after" only.
        nth: which call to die at.
        role: the process that makes the call.
        needs: how the PACS must behave for it to be reached (`support.services`).
    """

    name: str
    at: str
    when: str
    something: bool = False
    nth: int = 1
    role: str = "worker"
    needs: str = ""

    def __str__(self):
        return self.name

    def as_json(self):
        return asdict(self)

    def resolve(self):
        """The object that has the attribute, and the attribute's name; AttributeError where it has gone."""
        module, _, path = self.at.partition(":")
        *owners, name = path.split(".")
        owner = functools.reduce(getattr, owners, importlib.import_module(module))
        getattr(owner, name)
        return owner, name

    def arm(self, marker):
        """Have this process kill itself at the step; `marker` is written then, to show that it was reached.

        What it does at its start, the same steps with something built-in, does not count: only from `armed` on.
        """
        owner, name = self.resolve()
        real = inspect.getattr_static(owner, name)
        if not inspect.isfunction(real) and not inspect.isbuiltin(real):
            message = f"{self.at} is no plain function or method"
            raise TypeError(message)
        setattr(owner, name, self._wrapped(real, Path(marker)))

    def _wrapped(self, real, marker):
        hits = 0

        def hit():
            nonlocal hits
            hits += armed_by(marker).exists()
            if hits >= self.nth:
                marker.write_text(self.name)
                os.kill(os.getpid(), signal.SIGKILL)

        @functools.wraps(real)
        def call(*arguments, **named):
            if self.when == "before":
                hit()
            result = real(*arguments, **named)
            if self.when == "after" and (result or not self.something):
                hit()
            return result

        return call


def armed_by(marker):
    """The file that, once it is there, says that the agent is ready, and is to die from now on."""
    return Path(marker).with_suffix(".armed")


def _around(name, at, *, inside=None, **details):
    """Before a transaction, at its end but before the commit, and after the commit."""
    points = [Failpoint(f"{name}: before", f"triage_agent.worklist.repository:SqlWorklist.{at}", "before", **details)]
    if inside is not None:
        points.append(Failpoint(f"{name}: before its commit", f"triage_agent.worklist.{inside}", "after", **details))
    points.append(
        Failpoint(f"{name}: after its commit", f"triage_agent.worklist.repository:SqlWorklist.{at}", "after", **details)
    )
    return points


_LISTENER = {"role": "listener"}
_DURABLE = "triage_agent.intake.durable"
_SERVER = "triage_agent.dimse.server:DicomServer"

RECEIVING = (
    Failpoint("an image has come whole", f"{_SERVER}._answer", "before", **_LISTENER),
    Failpoint("spool: before its bytes are written", f"{_DURABLE}:_write_all", "before", **_LISTENER),
    Failpoint("spool: written, not synced", f"{_DURABLE}:_write_all", "after", **_LISTENER),
    Failpoint("spool: synced, not renamed", f"{_DURABLE}:DurableStore._make", "before", **_LISTENER),
    Failpoint("spool: a folder made, not renamed", f"{_DURABLE}:DurableStore._make", "after", **_LISTENER),
    Failpoint("spool: renamed, folders not synced", f"{_DURABLE}:DurableStore._sync", "before", **_LISTENER),
    Failpoint("spool: renamed, folders synced", f"{_DURABLE}:DurableStore._sync", "after", **_LISTENER),
    Failpoint(
        "spool: durable, not registered", "triage_agent.intake.receiver:Receiver._register", "before", **_LISTENER
    ),
    *_around("register", "register", inside="registration:register", **_LISTENER),
    *_around("register a second", "register", inside="registration:register", nth=2, **_LISTENER)[1:],
    Failpoint("answer: decided, not sent", f"{_SERVER}._on_store", "after", **_LISTENER),
    Failpoint("answer: sent", "pynetdicom.dimse:DIMSEServiceProvider.send_msg", "after", **_LISTENER),
)
DECIDING = (
    *_around("complete", "complete", inside="registration:complete"),
    *_around("claim images", "claim_images", inside="scoring:claim_images", something=True)[1:],
    Failpoint("score: before", "support.launcher:QuickScorer.score", "before"),
    Failpoint("score: after", "support.launcher:QuickScorer.score", "after"),
    *_around("record an assessment", "record_assessment", inside="scoring:record_assessment"),
    *_around("raise a flag", "raise_flag", inside="scoring:raise_flag"),
    *_around("claim a study", "claim_study", inside="scoring:claim_study", something=True)[1:],
    Failpoint("decide: not decided yet", "triage_agent.pipeline:decide", "before"),
    Failpoint("build results: before", "triage_agent.pipeline:build_each", "before"),
    Failpoint("build results: after", "triage_agent.pipeline:build_each", "after"),
    *_around("decide", "decide", inside="scoring:decide"),
    Failpoint("decide: outbox not filled", "triage_agent.worklist.scoring:enqueue", "before"),
)
DELIVERING = (
    *_around("claim a delivery", "claim_deliveries", inside="sending:claim_deliveries", something=True)[1:],
    Failpoint("send to the PACS: before", "triage_agent.delivery.dimse:DimseTransport.send", "before"),
    Failpoint("send to the PACS: before the C-STORE", "triage_agent.dimse.client:exchange", "before"),
    Failpoint("send to the PACS: answered", "triage_agent.dimse.client:exchange", "after"),
    Failpoint("send to the PACS: after", "triage_agent.delivery.dimse:DimseTransport.send", "after"),
    Failpoint("send to the RIS: before", "triage_agent.delivery.mllp:MllpTransport.send", "before"),
    Failpoint("send to the RIS: after", "triage_agent.delivery.mllp:MllpTransport.send", "after"),
    *_around("mark sent", "delivery_sent", inside="outbox:delivery_sent"),
    *_around("mark the second sent", "delivery_sent", inside="outbox:delivery_sent", nth=2),
)
FAILPOINTS = (*RECEIVING, *DECIDING, *DELIVERING)

_CLIENT = "triage_agent.dimse.commitment_client:CommitmentClient"
_DESK = "triage_agent.dimse.commitment:CommitmentDesk"
_ANSWERER = "triage_agent.delivery.answering:Answerer"
_RETRIEVAL = "triage_agent.dimse.retrieving:RetrievalClient"
_FETCHER = "triage_agent.intake.fetching:Fetcher"
_SUB_OPERATIONS = "triage_agent.dimse.sub_operations:SubOperationsServer"
_ON_ANOTHER = {"needs": "another association", **_LISTENER}
_ON_THE_SAME = {"needs": "the same association"}

COMMITTING = (
    *_around("claim what to ask about", "claim_commitments", inside="committing:claim", something=True)[1:],
    Failpoint("ask to commit: before", f"{_CLIENT}.ask", "before"),
    Failpoint("ask to commit: taken", f"{_CLIENT}.ask", "after"),
    *_around("mark asked", "commitments_asked", inside="committing:asked"),
    *_around("mark not asked", "commitments_not_asked", inside="committing:not_asked", needs="refuses a question"),
    Failpoint("a report comes", f"{_DESK}.on_report", "before", **_ON_ANOTHER),
    Failpoint("a report is kept, not answered", f"{_DESK}.on_report", "after", **_ON_ANOTHER),
    Failpoint(
        "a report comes where it was asked for",
        "triage_agent.dimse.commitment_client:take_report",
        "before",
        **_ON_THE_SAME,
    ),
    Failpoint(
        "a report is kept where it was asked for, not answered",
        "triage_agent.dimse.commitment_client:take_report",
        "after",
        **_ON_THE_SAME,
    ),
    *_around("commit", "commitment_reported", inside="committing:reported", **_ON_ANOTHER),
    *_around("send again", "commitment_reported", inside="committing:reported", needs="has lost it", **_LISTENER),
    *_around("mark sent again", "delivery_sent", inside="outbox:delivery_sent", nth=7, needs="has lost it")[1:],
)
ANSWERING = (
    *_around("keep a request", "keep_commitment_request", inside="commitments:keep", **_LISTENER),
    Failpoint("a request is kept, not answered", f"{_DESK}.on_action", "after", **_LISTENER),
    *_around("claim a request", "claim_commitment_request", inside="commitments:claim", something=True, **_LISTENER)[
        1:
    ],
    Failpoint("look whether it is kept: before", f"{_ANSWERER}._report", "before", **_LISTENER),
    Failpoint("look whether it is kept: after", f"{_ANSWERER}._report", "after", **_LISTENER),
    *_around("hold a request", "hold_commitment_request", inside="commitments:hold", **_LISTENER)[1:],
    Failpoint("report: before", f"{_CLIENT}.report", "before", **_LISTENER),
    Failpoint("report: after", f"{_CLIENT}.report", "after", **_LISTENER),
    *_around("mark answered", "commitment_answered", inside="commitments:answered", **_LISTENER),
    *_around(
        "mark unanswered",
        "commitment_unanswered",
        inside="commitments:unanswered",
        needs="hangs up on a report",
        **_LISTENER,
    ),
)
FETCHING = (
    *_around("want a study fetched", "want_retrieval", inside="retrievals:_want"),
    *_around("claim a retrieval", "claim_retrieval", inside="retrievals:_claim", something=True)[1:],
    Failpoint("ask what the PACS has: before", f"{_RETRIEVAL}.study", "before"),
    Failpoint("ask what the PACS has: it has listed it", f"{_RETRIEVAL}.instances", "after"),
    *_around("note what is missing", "retrieval_learnt"),
    Failpoint("retrieve: before the question", f"{_RETRIEVAL}._request", "before"),
    *_around("register what is fetched", "register", inside="registration:register", nth=4, **_LISTENER),
    Failpoint("retrieve: an image comes by C-GET", f"{_SUB_OPERATIONS}._on_store", "before", needs="C-GET"),
    Failpoint("retrieve: an image is kept, not answered", f"{_SUB_OPERATIONS}._on_store", "after", needs="C-GET"),
    Failpoint("retrieve: the last answer has come", "triage_agent.dimse.retrieving:judge_retrieve", "before"),
    Failpoint("retrieve: after", f"{_RETRIEVAL}.retrieve", "after"),
    Failpoint("see that it came: after", f"{_FETCHER}._until_here", "after"),
    *_around("end a retrieval", "retrieval_ended", inside="retrievals:_end"),
)
SERVICES = (*COMMITTING, *ANSWERING, *FETCHING)
"""Those that only a site with storage commitment and fetching comes to."""
