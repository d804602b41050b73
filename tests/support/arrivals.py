"""Studies that come at their moments: schedules of them, and senders that are processes of their own."""

import contextlib
import random
import time
from dataclasses import dataclass

from pydicom import dcmread
from pydicom.uid import generate_uid
from pynetdicom import AE, evt
from pynetdicom.presentation import build_context
from support.routepeers import forking

SENDERS = 3
_WAIT_SECONDS = 60
_TRIES = 5
_LEAD_SECONDS = 0.5  # for all senders to stand at the start
_P_DATA_TF, _CONTROL = 0x04, 11  # PS3.8 section 9.3.5; where the message control header of a PDU's first value stands
_KIND, _LAST_OF_DATA_SET = 0b11, 0b10  # PS3.8 annex E.2: no command, and the last fragment
_ONE_PATIENT = {"PatientID": "P1", "PatientName": "Bench^Mark", "PatientBirthDate": "19700203", "PatientSex": "O"}


class NotTakenError(Exception):
    """An image was refused, or not answered."""


@dataclass(frozen=True)
class Arrival:
    """A study: seconds after the beginning, whether its first image raises it, and the files of its images."""

    moment: float
    raising: bool
    files: tuple[str, ...]


@dataclass(frozen=True)
class Sent:
    """What became of an arrival.

    `ended` is time.time() when the last byte of its first image had been given to the network; `late` are the seconds
    by which it was begun after its moment.
    """

    study: str
    raising: bool
    ended: float
    late: float


def at_random(pairs, *, seconds, rate, images, raising=1 / 3, seed=1):
    """Arrivals as they come from many rooms: so many a second on average, each independent of the others."""
    chance, moment, found = random.Random(seed), 0.0, []
    while (moment := moment + chance.expovariate(rate)) < seconds:
        found.append(of_pair(pairs[len(found) % len(pairs)], moment, images, raising=chance.random() < raising))
    return found


def of_pair(pair, moment, images, *, raising):
    """A study of `images` images of one region, the first of which raises it or not."""
    first = pair.raising if raising else pair.calm
    return Arrival(moment, raising, (str(first), *[str(pair.calm)] * (images - 1)))


class Senders:
    """Send arrivals, an association each, at their moments; one that comes late skips none."""

    def __init__(self, port, arrivals, number=SENDERS):
        processes = forking()
        self._lines, self._processes = [], []
        for share in (arrivals[first::number] for first in range(number)):
            line, theirs = processes.Pipe()
            sender = processes.Process(target=_send_share, args=(port, share, theirs), daemon=True)
            sender.start()
            theirs.close()
            self._lines.append(line)
            self._processes.append(sender)

    def start(self):
        """Begin, once each has read its files; returns time.time() of the beginning."""
        for line in self._lines:
            assert line.recv() == "ready"
        began = time.time() + _LEAD_SECONDS
        for line in self._lines:
            line.send(began)
        return began

    @property
    def running(self):
        return any(sender.is_alive() for sender in self._processes)

    def sent(self):
        """What became of each, once all are sent; fails where one was not taken."""
        found = [one for line in self._lines for one in line.recv()]
        for sender in self._processes:
            sender.join(_WAIT_SECONDS)
        assert [sender.exitcode for sender in self._processes] == [0] * len(self._processes)
        return sorted(found, key=lambda one: one.ended)

    def close(self):
        for sender in self._processes:
            if sender.is_alive():
                sender.kill()
            sender.join()
        for line in self._lines:
            line.close()


def send_timed(port, images, *, calling="PACS", called="TRIAGE"):
    """Send images over one association; time.time() when the last byte of each had been given to the network."""
    ends = []

    def on_data(event):
        data = event.data
        if data[0] == _P_DATA_TF and data[_CONTROL] & _KIND == _LAST_OF_DATA_SET:
            ends.append(time.time())

    entity = AE(calling)
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = _WAIT_SECONDS
    pairs = {(str(one.SOPClassUID), str(one.file_meta.TransferSyntaxUID)) for one in images}
    entity.requested_contexts = [build_context(sop_class, [syntax]) for sop_class, syntax in sorted(pairs)]
    association = entity.associate("127.0.0.1", port, ae_title=called, evt_handlers=[(evt.EVT_DATA_SENT, on_data)])
    if not association.is_established:
        raise NotTakenError("no association")
    try:
        for image in images:
            answer = association.send_c_store(image)
            if (status := answer.get("Status")) != 0x0000:
                raise NotTakenError(f"answered with {status}")
    finally:
        if association.is_established:
            association.release()
    return ends


def _send_share(port, arrivals, line):
    loaded = {file: dcmread(file) for arrival in arrivals for file in arrival.files}
    line.send("ready")
    began = line.recv()
    told = []
    for number, arrival in enumerate(arrivals):
        time.sleep(max(0.0, began + arrival.moment - time.time()))
        late = time.time() - began - arrival.moment
        study = generate_uid()
        # One and the same data set may stand in the list twice: each is named when its turn comes.
        ends = _send_surely(port, _Named([loaded[file] for file in arrival.files], study, number))
        told.append(Sent(str(study), arrival.raising, ends[0], late))
    line.send(told)


def _send_surely(port, images):
    """What was not taken is sent again, with the same names, as modalities do."""
    for _ in range(_TRIES - 1):
        with contextlib.suppress(NotTakenError):
            return send_timed(port, images)
        time.sleep(1.0)
    return send_timed(port, images)


class _Named:
    """Data sets as images of one new study of one patient."""

    def __init__(self, data_sets, study, number):
        self._data_sets, self._study, self._number = data_sets, study, number
        self._series, self._uids = generate_uid(), [generate_uid() for _ in data_sets]

    def __iter__(self):
        for place, (one, uid) in enumerate(zip(self._data_sets, self._uids, strict=True), 1):
            for name, value in _ONE_PATIENT.items():
                setattr(one, name, value)
            one.StudyInstanceUID, one.SeriesInstanceUID, one.SOPInstanceUID = self._study, self._series, uid
            one.file_meta.MediaStorageSOPInstanceUID = one.SOPInstanceUID
            one.AccessionNumber, one.InstanceNumber = f"A{self._number}", place
            yield one
