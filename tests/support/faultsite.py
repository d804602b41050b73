"""A site to break: agents that start in an instant and die anywhere, a PACS, a RIS, and senders that do not give up."""

import contextlib
import os
import select
import signal
import threading
import time
from pathlib import Path
from types import SimpleNamespace

from support.agent import Agent, eventually
from support.failpoints import armed_by
from support.launcher import PROBABILITIES, QuickScorer
from support.peers import KeepingPacs, KeepingRis
from support.xrays import picture, radiograph, send

from triage_agent.domain.errors import WorklistUnavailableError
from triage_agent.imaging.load import load_for_scoring

PATIENCE_SECONDS = 60.0  # how long a trial may take that takes one or two where nothing else runs
_ROWS, _COLUMNS = 72, 64  # as small as the quality gate lets images be
_RETRY_SECONDS = 0.05
# Long enough for an image to be scored while its study is receiving: only then it is flagged at once.
TABLES = """
[worker]
lease_seconds = 1
[delivery]
first_retry_seconds = 0.1
longest_retry_seconds = 0.5
[study]
quiet_seconds = 1.0
"""


class FaultAgent(Agent):
    """An agent of a launcher's, which can be started to die."""

    def __init__(self, folder, launcher, *, role="all", data_dir=None, disk=None, tables=TABLES, dicom="", **site):
        """`dicom` are more keys of that table."""
        place = SimpleNamespace(data_dir=data_dir or Path(folder) / "var")
        super().__init__(folder, bundle="embedded", role=role, shares_data_with=place, tables=tables, **site)
        if dicom:
            self.config.write_text(self.config.read_text().replace("[dicom]\n", f"[dicom]\n{dicom}\n", 1))
        self._launcher = launcher
        self._disk = disk
        self._pid = None
        self.marker = self.folder / "died-at"
        self.clock = self.folder / "seconds-ahead"

    def start(self, *, wait=False, failpoint=None, mutations=()):
        """Start; with `wait`, return when it is ready."""
        for file in (self.marker, armed_by(self.marker)):
            file.unlink(missing_ok=True)
        self._pid = self._launcher.start(
            config=str(self.config),
            role=self.role,
            log=str(self.log),
            failpoint=failpoint.as_json() if failpoint else None,
            marker=str(self.marker),
            clock=str(self.clock) if self.clock.exists() else None,
            disk=self._disk.place if self._disk else None,
            mutations=list(mutations),
        )
        if wait:
            eventually(self.ready, every=0.02)
        armed_by(self.marker).touch()
        return self

    def ready(self):
        assert self.running, f"serve ended: {self.log_tail}"
        return self.get("readyz")[0] == 200

    @property
    def pid(self):
        return self._pid

    @property
    def running(self):
        return self._pid is not None and not self._gone(0)

    @property
    def reached(self):
        """Whether the failpoint it was started with was reached."""
        return self.marker.exists()

    def dies(self, seconds=PATIENCE_SECONDS):
        """Wait until it has died; False if it has not."""
        return self._gone(seconds)

    def kill(self):
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGKILL)
        assert self._gone(PATIENCE_SECONDS)

    def terminate(self):
        os.kill(self._pid, signal.SIGTERM)

    def wait(self, seconds=30):
        assert self._gone(seconds), "it did not end"

    def forget(self):
        """Close the worklist, as must be done before the database's file is taken away."""
        if self._engine is not None:
            self._engine.dispose()
            self._engine = None

    def _gone(self, seconds):
        try:
            process = os.pidfd_open(self._pid)
        except ProcessLookupError:
            return True
        try:
            return bool(select.select([process], [], [], seconds)[0])
        finally:
            os.close(process)


class Images:
    """Tiny radiographs whose probability is known."""

    def __init__(self, folder, seed=0):
        self._file = Path(folder) / "image.dcm"
        self._seed = seed

    def study(self, probability, images=1, **elements):
        """A study of `images` images, each of which the quick scorer gives that probability."""
        pictures = [self._picture(probability) for _ in range(images)]
        first = radiograph(pictures[0], **elements)
        rest = [radiograph(one, study=first.StudyInstanceUID, **elements) for one in pictures[1:]]
        return [first, *rest]

    def mixture(self, studies):
        """Studies of every probability and priority, of one and of two images."""
        words = (None, "HIGH", "STAT")
        made = []
        for number in range(studies):
            priority = {"RequestedProcedurePriority": words[number // 2 % 3]} if number // 2 % 3 else {}
            made.append(self.study(PROBABILITIES[-1 - number % 3], 1 + number % 2, **priority))
        return made

    def _picture(self, probability):
        while True:
            self._seed += 1
            pixels = picture(self._seed, _ROWS, _COLUMNS)
            radiograph(pixels).save_as(self._file, enforce_file_format=True)
            if QuickScorer._probability(load_for_scoring(self._file).image) == probability:
                return pixels


class Modality(threading.Thread):
    """Sends studies, an association each, and sends again what was not acknowledged, until it is told to stop."""

    def __init__(self, port, studies, pause=0.0):
        super().__init__(daemon=True)
        self._port = port
        self._studies = studies
        self._pause = pause
        self._told = threading.Event()
        self.acknowledged = {}  # SOP Instance UID: the image
        self.refused = []  # statuses that were not success

    def run(self):
        while not self._told.is_set() and (left := self._left()):
            for images in left:
                self._send(images)
                if self._told.wait(self._pause):
                    return
            self._told.wait(_RETRY_SECONDS)

    def stop(self):
        self._told.set()
        self.join(PATIENCE_SECONDS)

    def _left(self):
        left = [[one for one in images if one.SOPInstanceUID not in self.acknowledged] for images in self._studies]
        return [images for images in left if images]

    def _send(self, images):
        answers = send(self._port, *images)
        for image in images:
            status = answers.get(image.SOPInstanceUID)
            if status == 0x0000:
                self.acknowledged[str(image.SOPInstanceUID)] = image
            elif status is not None:
                self.refused.append(status)


class Peers:
    """A PACS and a RIS, for as many trials as like."""

    def __init__(self, pacs=None):
        self.pacs = pacs or KeepingPacs()
        self.ris = KeepingRis()

    def __enter__(self):
        self.pacs.start()
        self.ris.start()
        return self

    def __exit__(self, *_):
        self.pacs.stop()
        self.ris.stop()

    @property
    def ports(self):
        return {"pacs_port": self.pacs.port, "ris_port": self.ris.port}


def all_delivered(agent, studies, seconds=PATIENCE_SECONDS, look=lambda items: None):
    """The worklist once it has all these studies and each is delivered; `look` sees it each time before."""
    uids = {str(images[0].StudyInstanceUID) for images in studies}
    deadline = time.monotonic() + seconds
    while True:
        try:
            items = agent.worklist()
        except WorklistUnavailableError:  # its tables have not been made yet
            items = []
        look(items)
        found = {item["study_instance_uid"]: item for item in items}
        if uids <= found.keys() and all(found[uid]["status"] == "delivered" for uid in uids):
            return items
        waiting = [(uid, found.get(uid, {}).get("status")) for uid in uids]
        assert time.monotonic() < deadline, f"still waiting for {waiting}: {agent.log_tail}"
        time.sleep(0.05)
