"""What the conformance statement says is what associations negotiate, with the listener of the same configuration."""

import json
import subprocess
from contextlib import suppress

import pytest
from pydicom._uid_dict import UID_dictionary
from pynetdicom import AE, build_context, build_role, evt
from support.instances import DX
from support.listener import utc_now
from support.ports import free_port
from support.programs import require_program
from support.statements import tables
from typer.testing import CliRunner

from triage_agent.bootstrap import open_worklist
from triage_agent.builders import migrate_own
from triage_agent.cli.app import application
from triage_agent.conformance.statement import build_statement
from triage_agent.dimse.client import DicomClient
from triage_agent.dimse.commitment_client import CommitmentClient
from triage_agent.dimse.peers import Peer
from triage_agent.dimse.proposals import PROPOSALS, Purpose, kept_by_get
from triage_agent.dimse.retrieving import RetrievalClient
from triage_agent.dimse.ups_client import ReportClient
from triage_agent.dimse.ups_push import WorkitemClient
from triage_agent.domain.commitment import CommitmentReport
from triage_agent.domain.errors import TriageError
from triage_agent.domain.vocabulary import ArtifactKind
from triage_agent.domain.workitem import ReportType, StepReport
from triage_agent.listening import build_listener
from triage_agent.ops.metrics import Metrics
from triage_agent.results.examples import example_artifact
from triage_agent.settings import load_settings

MOST = 128  # presentation contexts of one association, PS3.8 table 9-18
PERMISSIONS = ("store", "query", "ups", "commit")
HERE = "127.0.0.1"
EVENT = StepReport(
    report_id=1, subscriber="CALLEE", workitem_uid="1.2.3", type=ReportType.PROGRESS, information={}, attempt=1
)


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    """A site with a peer for each permission, and one that has none."""
    root = tmp_path_factory.mktemp("site")
    peers = "".join(
        f'[[dicom.peers]]\nname = "{may}"\nae_title = "{may.upper()}"\nhost = "{HERE}"\nport = 104\nmay = ["{may}"]\n'
        for may in PERMISSIONS
    )
    peers += f'[[dicom.peers]]\nname = "none"\nae_title = "NONE"\nhost = "{HERE}"\nport = 104\n'
    file = root / "agent.toml"
    file.write_text(f'data_dir = "{root}/var"\n[dicom]\nport = {free_port()}\ntimeout_seconds = 10\n{peers}')
    return file


@pytest.fixture(scope="module")
def settings(config):
    return load_settings(config)


@pytest.fixture(scope="module")
def listening(settings):
    """The listener that `serve` would start."""
    settings.data_dir.mkdir()
    migrate_own(settings)
    listener = build_listener(settings, open_worklist(settings), Metrics(), utc_now, lambda *_: None)
    listener.server.start()
    yield listener.server.address[1]
    listener.server.stop(2)


@pytest.fixture(scope="module")
def stated(settings):
    """[(SOP class, transfer syntaxes, permissions, role, peers)], as the statement's tables have them."""
    made = tables(build_statement(settings))
    sets = {
        title.removeprefix("Transfer syntaxes "): [row[2] for row in rows]
        for title, rows in made.items()
        if title.startswith("Transfer syntaxes")
    }
    return [
        (uid, sets[syntaxes], role, [] if peers == "nobody" else peers.split(", "))
        for _name, uid, role, syntaxes, _permission, peers in made["Accepted presentation contexts"]
    ]


def accepted(port, calling, contexts, roles=()):
    """Of (abstract syntax, transfer syntax) pairs, those that are accepted, in as many associations as they need."""
    entity, found = AE(calling.upper()), []
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = 30
    for start in range(0, len(contexts), MOST):
        some = [build_context(*one) for one in contexts[start : start + MOST]]
        association = entity.associate(HERE, port, contexts=some, ae_title="TRIAGE", ext_neg=list(roles))
        assert association.is_established or association.rejected_contexts
        found += [(str(one.abstract_syntax), str(one.transfer_syntax[0])) for one in association.accepted_contexts]
        if association.is_established:
            association.release()
    return found


@pytest.mark.parametrize("peer", [*PERMISSIONS, "none"])
def test_every_context_that_the_statement_promises_is_accepted_and_no_other_of_those(listening, stated, peer):
    promised = [(uid, one) for uid, syntaxes, _role, peers in stated if peer in peers for one in syntaxes]
    assert sorted(accepted(listening, peer, promised)) == sorted(promised)
    others = [(uid, syntaxes[0]) for uid, syntaxes, _role, peers in stated if peer not in peers]
    assert accepted(listening, peer, others) == []


def test_what_the_statement_does_not_list_is_refused(listening, stated):
    listed = {uid for uid, *_ in stated}
    known = {uid for uid, entry in UID_dictionary.items() if entry[1] in {"SOP Class", "Meta SOP Class"}}
    others = [(uid, "1.2.840.10008.1.2") for uid in sorted(known - listed)]
    assert len(others) > 50
    for peer in PERMISSIONS:
        assert accepted(listening, peer, [*others, ("1.2.3.4", "1.2.840.10008.1.2")]) == []


def test_a_transfer_syntax_that_the_statement_does_not_list_for_a_class_is_refused(listening, stated):
    every = {one for _uid, syntaxes, *_ in stated for one in syntaxes}
    for peer in PERMISSIONS:
        unlisted = [
            (uid, one) for uid, syntaxes, _role, peers in stated if peer in peers for one in every - {*syntaxes}
        ]
        assert unlisted
        assert accepted(listening, peer, unlisted) == []


def test_of_several_transfer_syntaxes_the_first_of_the_table_is_taken(listening, stated):
    uid, syntaxes = next((uid, syntaxes) for uid, syntaxes, _role, peers in stated if peers == ["store"])
    for count in (2, 5, len(syntaxes)):
        worst_first = list(reversed(syntaxes[-count:]))
        assert accepted(listening, "store", [(uid, worst_first)]) == [(uid, syntaxes[-count])]


def test_both_roles_are_accepted_where_the_statement_says_so(listening, stated):
    both = {uid for uid, _syntaxes, role, _peers in stated if role == "SCP, SCU"}
    assert both == {"1.2.840.10008.1.20.1"}
    for uid, syntaxes, _role, peers in stated:
        if peers and (uid in both or "commit" in peers):
            entity = AE(peers[0].upper())
            association = entity.associate(
                HERE,
                listening,
                contexts=[build_context(uid, syntaxes[0])],
                ae_title="TRIAGE",
                ext_neg=[build_role(uid, scp_role=True)],
            )
            (context,) = association.accepted_contexts
            assert context.as_scp == (uid in both)
            association.release()


class Callee:
    """Notes what is proposed to it, and takes it all."""

    def __init__(self):
        self.proposed, self.roles = [], set()
        self._entity, self._port = AE("CALLEE"), free_port()
        for proposal in PROPOSALS.values():
            for abstract, syntax in proposal.contexts:
                self._entity.add_supported_context(abstract, syntax, scu_role=True, scp_role=True)

    def __enter__(self):
        handlers = [(evt.EVT_REQUESTED, self._on_requested)]
        self._server = self._entity.start_server((HERE, self._port), block=False, evt_handlers=handlers)
        return self

    def __exit__(self, *_):
        self._server.shutdown()

    @property
    def peer(self):
        return Peer(name="callee", ae_title="CALLEE", host=HERE, port=self._port, may=frozenset())

    def _on_requested(self, event):
        request = event.assoc.requestor.primitive
        contexts = request.presentation_context_definition_list
        self.proposed = [(str(one.abstract_syntax), str(one.transfer_syntax[0])) for one in contexts]
        self.roles = {uid for uid, role in event.assoc.requestor.role_selection.items() if role.scp_role}


def ask(purpose, peer):
    """Have the agent's own client call for this; what the peer answers does not matter."""
    known = {"calling_ae_title": "TRIAGE", "answer_seconds": 5.0}
    made = {
        Purpose.ECHO: lambda: DicomClient(peer, **known).echo(),
        Purpose.COUNT: lambda: DicomClient(peer, **known).check_find(),
        Purpose.MOVE: lambda: RetrievalClient(peer, way="move", keeper=None, **known).check(),
        Purpose.GET: lambda: RetrievalClient(peer, way="get", keeper=None, **known).check(),
        Purpose.COMMITMENT: lambda: CommitmentClient(peer, **known).check(),
        Purpose.COMMITMENT_REPORT: lambda: CommitmentClient(peer, **known).report(
            CommitmentReport(transaction_uid="1.2.3")
        ),
        Purpose.WORKITEM: lambda: WorkitemClient(peer, connect_seconds=5.0, **known).put(
            example_artifact(ArtifactKind.UPS).body
        ),
        Purpose.WORKITEM_REPORT: lambda: ReportClient(peer, **known).tell(EVENT),
    }
    with suppress(TriageError):
        made[purpose]()


@pytest.mark.parametrize("purpose", Purpose)
def test_what_the_statement_says_of_our_calls_is_what_is_proposed(purpose):
    with Callee() as callee:
        ask(purpose, callee.peer)
    proposal = PROPOSALS[purpose]
    said = [(str(abstract), str(syntax)) for abstract, syntax in proposal.contexts]
    beside = kept_by_get([DX]).contexts if purpose is Purpose.GET else ()
    assert callee.proposed == [*said, *beside]
    assert callee.roles == {abstract for abstract, _ in (said if proposal.provider else beside)}


@pytest.mark.external
def test_dcmtk_negotiates_what_is_promised_and_nothing_else(listening, stated):
    promised = {peer for uid, _syntaxes, _role, peers in stated if uid == "1.2.840.10008.5.1.4.31" for peer in peers}
    assert promised == {"query"}
    for peer in PERMISSIONS:
        words = ["-aet", peer.upper(), "-aec", "TRIAGE", HERE, str(listening)]
        asked = [require_program("findscu"), "-W", "-k", "PatientID=nobody", *words]
        done = subprocess.run(asked, capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode == 0 and "No Acceptable" not in done.stdout + done.stderr) == (peer in promised)
        subprocess.run([require_program("echoscu"), *words], check=True, timeout=60)


def test_the_command_says_the_same(config, settings):
    """No database, no listener and no network is needed for it."""
    command = ["conformance", "--config", str(config), "--json"]
    said = json.loads(CliRunner().invoke(application("conformance"), command).stdout)
    assert said["title"] == build_statement(settings).title
