"""PACS to fetch from: Orthanc and dcmtk's dcmqrscp as they are, and one of pynetdicom that misbehaves as told."""

import json
import subprocess
import urllib.request
from contextlib import contextmanager

from pydicom import Dataset, dcmread
from pydicom.uid import generate_uid
from pynetdicom import build_context, evt
from pynetdicom.sop_class import (
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
    StudyRootQueryRetrieveInformationModelMove,
    Verification,
)
from support.agent import free_port
from support.callees import client as storage_client
from support.callees import scp, until_it_answers
from support.instances import DX, EXPLICIT, IMPLICIT, dx, write_part10
from support.programs import require_program

from triage_agent.dimse.peers import Peer
from triage_agent.dimse.retrieving import RetrievalClient

PENDING, SUCCESS = 0xFF00, 0x0000
QUERY_RETRIEVE = (
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelMove,
    StudyRootQueryRetrieveInformationModelGet,
)


def study_files(folder, series=(2, 1), **values):
    """A study of DX files with so many instances in each series; returns their data sets."""
    folder.mkdir(parents=True, exist_ok=True)
    first = dx(**values)
    data_sets = []
    for number, instances in enumerate(series, 1):
        uid = generate_uid()
        for _ in range(instances):
            one = dx(**{"StudyInstanceUID": first.StudyInstanceUID, "SeriesInstanceUID": uid, **values})
            one.StudyID, one.SeriesNumber, one.InstanceNumber = "1", number, len(data_sets) + 1
            one.StudyDate, one.StudyTime = "20260301", "093000"
            data_sets.append(dcmread(write_part10(folder / f"{one.SOPInstanceUID}.dcm", one)))
    return data_sets


def retrieval_client(port, receiver, way="move", called="PACS", calling="TRIAGE", **waits):
    peer = Peer(name="pacs", ae_title=called, host="127.0.0.1", port=port, may=frozenset())
    waits = {"connect_seconds": 60.0, "answer_seconds": 60.0, "request_seconds": 120.0} | waits
    return RetrievalClient(peer, calling_ae_title=calling, way=way, keeper=receiver, listening_at="here:104", **waits)


def fill(port, files, called="PACS"):
    """C-STORE files to a PACS."""
    command = [require_program("/usr/bin/storescu"), "-R", "-aet", "MODALITY", "-aec", called, "127.0.0.1", str(port)]
    done = subprocess.run([*command, *map(str, files)], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


def introduce(orthanc, port):
    """Tell Orthanc where TRIAGE listens; it lets only those ask and move whom it knows."""
    body = json.dumps({"AET": "TRIAGE", "Host": "127.0.0.1", "Port": port}).encode()
    request = urllib.request.Request(f"{orthanc._web}/modalities/triage", data=body, method="PUT")  # noqa: S310
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
        answer.read()


@contextmanager
def dcmqrscp_server(folder, agent_port):
    """dcmtk's archive, which knows TRIAGE as a move destination; gives its port. Its AE title is PACS."""
    program = require_program("/usr/bin/dcmqrscp")
    port, storage = free_port(), folder / "storage"
    storage.mkdir(parents=True)
    configuration = folder / "dcmqrscp.cfg"
    configuration.write_text(
        f"NetworkTCPPort = {port}\nMaxPDUSize = 65536\nMaxAssociations = 8\n"
        f"HostTable BEGIN\ntriage = (TRIAGE, localhost, {agent_port})\nHostTable END\n"
        "VendorTable BEGIN\nVendorTable END\n"
        f"AETable BEGIN\nPACS {storage} RW (200, 1024mb) ANY\nAETable END\n"
    )
    with (
        (folder / "dcmqrscp.log").open("wb") as log,
        subprocess.Popen([program, "-c", str(configuration)], stdout=log, stderr=log) as server,
    ):
        try:
            until_it_answers(storage_client(port, ae_title="PACS"))
            yield port
        finally:
            server.kill()


class ScriptedArchive:
    """A PACS of pynetdicom; what tests change is how it lies, stops and refuses.

    Attributes:
        promised: what it says that a study has, None for the truth; "" leaves the number out.
        listed: how many instances it lists.
        moves: for each C-MOVE or C-GET, what is done: a function of (archive, event) that yields answers.
    """

    def __init__(self, data_sets, destination_port=None):
        self.data_sets = list(data_sets)
        self.destination = destination_port
        self.promised = None
        self.listed = None
        self.lists = True
        self.asked = []
        self.moves = []
        self.endless_find = False

    def handlers(self):
        return [
            (evt.EVT_C_FIND, self.on_find),
            (evt.EVT_C_MOVE, self.on_retrieve),
            (evt.EVT_C_GET, self.on_retrieve),
        ]

    # --- what it answers ---------------------------------------------------------------------------------------------
    def on_find(self, event):
        question = event.identifier
        while self.endless_find:
            answer = Dataset()
            answer.QueryRetrieveLevel = question.QueryRetrieveLevel
            answer.StudyInstanceUID = question.StudyInstanceUID
            yield PENDING, answer
        if question.QueryRetrieveLevel == "IMAGE" and not self.lists:
            yield 0xA900, None
            return
        for answer in self._matches(question):
            answer.QueryRetrieveLevel = question.QueryRetrieveLevel
            yield PENDING, answer
        yield SUCCESS, None

    def _matches(self, question):
        found = [one for one in self.data_sets if question.get("StudyInstanceUID") in {one.StudyInstanceUID, "", None}]
        if question.get("AccessionNumber"):
            found = [one for one in found if one.AccessionNumber == question.AccessionNumber]
        if question.QueryRetrieveLevel == "STUDY":
            for uid in dict.fromkeys(one.StudyInstanceUID for one in found):
                answer = Dataset()
                answer.StudyInstanceUID = uid
                answer.AccessionNumber = next(one.AccessionNumber for one in found if one.StudyInstanceUID == uid)
                number = sum(one.StudyInstanceUID == uid for one in found)
                answer.NumberOfStudyRelatedInstances = number if self.promised is None else self.promised
                yield answer
        elif question.QueryRetrieveLevel == "SERIES":
            for uid in dict.fromkeys(one.SeriesInstanceUID for one in found):
                answer = Dataset()
                answer.SeriesInstanceUID = uid
                yield answer
        else:
            for one in [one for one in found if one.SeriesInstanceUID == question.SeriesInstanceUID][: self.listed]:
                answer = Dataset()
                answer.SOPInstanceUID, answer.SOPClassUID = one.SOPInstanceUID, one.SOPClassUID
                yield answer

    def matching(self, identifier):
        """What a C-MOVE or C-GET asks for."""
        keys = ["StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"]
        wanted = {key: identifier[key].value for key in keys if key in identifier}
        sets = {key: {value} if isinstance(value, str) else {*value} for key, value in wanted.items()}
        return [one for one in self.data_sets if all(getattr(one, key) in values for key, values in sets.items())]

    def on_retrieve(self, event):
        self.asked.append(event.identifier)
        script = self.moves.pop(0) if self.moves else sends_all
        yield from script(self, event)


def sends_all(archive, event, only=None):
    """What a PACS should do."""
    found = archive.matching(event.identifier)
    if hasattr(event, "move_destination"):
        yield ("127.0.0.1", archive.destination, {"contexts": _storage_contexts()})
    yield len(found)
    for one in found[:only]:
        yield PENDING, one


def refuses(status):
    """Ends at once with a status."""

    def script(archive, event):
        if event.event is evt.EVT_C_MOVE:
            yield ("127.0.0.1", archive.destination, {"contexts": _storage_contexts()})
        yield 1
        yield status, None

    return script


def _storage_contexts():
    return [build_context(DX, [EXPLICIT, IMPLICIT])]


def running(archive):
    """Serve, as a context; gives the port."""
    contexts = [*QUERY_RETRIEVE, Verification, (DX, [EXPLICIT, IMPLICIT])]
    return scp(archive.handlers(), contexts, ae_title="PACS", both_roles={DX})
