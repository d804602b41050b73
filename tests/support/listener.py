"""A listener with everything behind it, on a port of its own."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from triage_agent.dimse.peers import AccessPolicy, Peer
from triage_agent.dimse.server import DicomServer, ServerSettings
from triage_agent.domain.study import CompletenessRule
from triage_agent.intake.part10 import decode_preamble
from triage_agent.intake.receiver import Receiver
from triage_agent.intake.spool import Spool
from triage_agent.worklist.memory import MemoryWorklist

RULE = CompletenessRule(quiet=timedelta(seconds=30), max_wait=timedelta(seconds=900))
PEERS = (
    Peer(name="pacs", ae_title="PACS", host="127.0.0.1", port=104, may=frozenset({"store", "query"})),
    Peer(name="ris", ae_title="RIS", host="127.0.0.1", port=104, may=frozenset({"query"})),
    Peer(name="elsewhere", ae_title="FAR", host="192.0.2.1", port=104, may=frozenset({"store"})),
)


def utc_now():
    return datetime.now(UTC)


@dataclass
class Listening:
    """A running listener and what it keeps."""

    server: DicomServer
    spool: Spool
    worklist: MemoryWorklist
    audit: list = field(default_factory=list)

    @property
    def port(self):
        return self.server.address[1]

    def kept(self):
        """{SOP Instance UID: encoded data set} of everything in the spool."""
        found = {}
        for path in self.spool.instances():
            whole = (self.spool.root / path).read_bytes()
            meta = decode_preamble(memoryview(whole))
            found[meta.sop_instance_uid] = whole[meta.data_set_offset :]
        return found


def listen(
    root, receive=None, begin=None, peers=PEERS, accept_unknown=False, own=None, port=0, serves=None, **settings
):
    """Start a listener that keeps what it gets under `root`; the caller stops `server`.

    `serves` is given the worklist, and gives a service beside storing.
    """
    spool, worklist, audit = Spool(root, low_water_percent=0), MemoryWorklist(), []
    receiver = Receiver(spool, worklist, RULE, utc_now)
    server = DicomServer(
        ServerSettings(ae_title="TRIAGE", host="127.0.0.1", port=port, **settings),
        begin=begin or receiver.begin,
        receive=receive or receiver.keep,
        policy=AccessPolicy(peers, accept_unknown=accept_unknown, own=own),
        audit=audit.append,
        clock=utc_now,
        services=[serves(worklist)] if serves else [],
    )
    server.start()
    return Listening(server, spool, worklist, audit)
