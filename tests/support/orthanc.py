"""Debian's Orthanc as the PACS: a storage server on loopback that is asked over its REST API."""

import base64
import json
import subprocess
import urllib.error
import urllib.request
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

from pydicom import dcmread
from support.agent import eventually, free_port
from support.programs import require_program

DICOMWEB = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
PASSWORD = "open sesame"  # noqa: S105 - of a server that lives as long as a test
_AS_ALICE = {"Authorization": "Basic " + base64.b64encode(f"alice:{PASSWORD}".encode()).decode()}


class Orthanc:
    """A running server: `port` speaks DICOM, its AE title is PACS."""

    def __init__(self, port, web_port):
        self.port = port
        self.web_port = web_port
        self._web = f"http://127.0.0.1:{web_port}"

    def ask(self, path, query=None):
        """What the REST API answers; a query is posted as JSON."""
        body = json.dumps(query).encode() if query is not None else None
        request = urllib.request.Request(f"{self._web}/{path}", data=body, headers=_AS_ALICE)  # noqa: S310
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
            return answer.read()

    def knows(self, agent):
        """Tell it of the agent: where it is, and that storage commitment goes both ways."""
        modality = {"AET": "TRIAGE", "Host": "127.0.0.1", "Port": agent.port, "AllowStorageCommitment": True}
        self._send("PUT", "modalities/triage", modality)

    def upload(self, path):
        """Give it a file; returns its number there."""
        return json.loads(self._send("POST", "instances", path.read_bytes()))["ID"]

    def forget(self, sop_instance_uid):
        """Lose an instance that it has taken."""
        query = {"Level": "Instance", "Query": {"SOPInstanceUID": sop_instance_uid}}
        (number,) = json.loads(self.ask("tools/find", query))
        self._send("DELETE", f"instances/{number}", b"")

    def store_at_agent(self, *numbers):
        """C-STORE what it has to the agent."""
        self.ask("modalities/triage/store", list(numbers))

    def ask_for_commitment(self, *references):
        """N-ACTION to the agent for [SOP Class UID, SOP Instance UID]; returns the Transaction UID."""
        return json.loads(self.ask("modalities/triage/storage-commitment", {"DicomInstances": references}))["ID"]

    def commitment(self, transaction_uid):
        """What it knows of a transaction: (status, {UIDs that are kept}, {UID: failure reason})."""
        said = json.loads(self.ask(f"storage-commitment/{transaction_uid}"))
        kept = {one["SOPInstanceUID"] for one in said.get("Success", [])}
        return said["Status"], kept, {one["SOPInstanceUID"]: one["FailureReason"] for one in said.get("Failures", [])}

    def _send(self, method, path, content):
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        request = urllib.request.Request(f"{self._web}/{path}", data=body, headers=_AS_ALICE, method=method)  # noqa: S310
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
            return answer.read()

    def ready(self):
        try:
            return bool(self.ask("system"))
        except (urllib.error.URLError, OSError):
            return False

    def reports(self, study_instance_uid):
        """The structured reports of a study, as it stores them."""
        query = {"Level": "Instance", "Query": {"StudyInstanceUID": str(study_instance_uid), "Modality": "SR"}}
        found = json.loads(self.ask("tools/find", query))
        return [dcmread(BytesIO(self.ask(f"instances/{number}/file"))) for number in found]


def _require_plugin():
    if not DICOMWEB.exists():
        require_program("orthanc-dicomweb")  # it is no program: skips, or fails, as for one that is not installed
    return str(DICOMWEB)


@contextmanager
def orthanc_server(folder, dicomweb=False, servers=(), stable_age=None):
    """Run Orthanc with its database in `folder`; with its DICOMweb plug-in it answers at /dicom-web, to alice only.

    `servers` are DICOMweb servers that it can send to, by name; `stable_age` are seconds, in place of its own default.
    """
    port, web_port = free_port(), free_port()
    configuration = {
        "Name": "test PACS",
        "StorageDirectory": str(folder),
        "IndexDirectory": str(folder),
        "DicomAet": "PACS",
        "DicomPort": port,
        "HttpPort": web_port,
        "DicomAlwaysAllowStore": True,
        "DicomCheckCalledAet": True,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "Plugins": [],
    }
    if stable_age is not None:
        configuration["StableAge"] = stable_age
    if dicomweb:
        configuration |= {
            "Plugins": [_require_plugin()],
            "DicomWeb": {"Enable": True, "Root": "/dicom-web/", "Servers": dict(servers)},
            "AuthenticationEnabled": True,
            "RegisteredUsers": {"alice": PASSWORD},
        }
    settings = folder / "orthanc.json"
    settings.write_text(json.dumps(configuration))
    program = require_program("/usr/sbin/Orthanc", "Orthanc")
    with (
        (folder / "orthanc.log").open("wb") as log,
        subprocess.Popen([program, str(settings)], stdout=log, stderr=log) as server,
    ):
        try:
            orthanc = Orthanc(port, web_port)
            eventually(orthanc.ready)
            yield orthanc
        finally:
            server.kill()  # asked to end, it waits ten seconds for associations that are kept open
