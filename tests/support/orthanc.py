"""Debian's Orthanc as the PACS: a storage server on loopback that is asked over its REST API."""

import json
import subprocess
import urllib.error
import urllib.request
from contextlib import contextmanager
from io import BytesIO

from pydicom import dcmread
from support.agent import eventually, free_port
from support.programs import require_program


class Orthanc:
    """A running server: `port` speaks DICOM, its AE title is PACS."""

    def __init__(self, port, web_port):
        self.port = port
        self._web = f"http://127.0.0.1:{web_port}"

    def ask(self, path, query=None):
        """What the REST API answers; a query is posted as JSON."""
        body = json.dumps(query).encode() if query is not None else None
        with urllib.request.urlopen(f"{self._web}/{path}", data=body, timeout=30) as answer:  # noqa: S310
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


@contextmanager
def orthanc_server(folder):
    """Run Orthanc with its database in `folder`."""
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
