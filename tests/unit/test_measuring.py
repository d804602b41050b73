"""What is measured around parts that know nothing of it: real ones, but for a model that does what it is told to."""

import numpy as np
import pytest
from support.instances import dx, encode, request_for, write_part10
from support.story import MODEL, RULE, T0
from support.xrays import radiograph

from triage_agent.domain.errors import InvalidDatasetError, StorageExhaustedError, WorklistUnavailableError
from triage_agent.domain.study import ImageScore
from triage_agent.imaging.loader import DirectLoader
from triage_agent.intake.receiver import Receiver
from triage_agent.intake.spool import Spool
from triage_agent.measuring import OTHER, CountingReceiver, MeasuredLoader, MeasuredScorer, sender_names
from triage_agent.ops.journey import Journey
from triage_agent.ops.metrics import Metrics
from triage_agent.settings import Settings
from triage_agent.worklist import MemoryWorklist

PEERS = [
    {"name": "pacs", "ae_title": "PACS", "host": "127.0.0.1", "port": 104},
    {"name": "ct-1", "ae_title": "CT", "host": "10.0.0.1", "port": 104},
    {"name": "ct-2", "ae_title": "CT", "host": "10.0.0.2", "port": 104},
]
TOKEN = {"name": "router", "token": "0123456789abcdef0123", "may": ["store"]}


@pytest.fixture
def settings(tmp_path):
    return Settings(data_dir=tmp_path, dicom={"peers": PEERS}, web={"stow": True, "tokens": [TOKEN]})


class Counted:
    """A receiver, counted, and what a scrape shows of it."""

    def __init__(self, settings):
        self.told = []
        self.metrics = Metrics(Journey(self.told.append))
        self.worklist = MemoryWorklist()
        spool = Spool(settings.data_dir / "spool", low_water_percent=0)
        self.receiver = CountingReceiver(Receiver(spool, self.worklist, RULE, lambda: T0), settings, self.metrics)

    def receive(self, data_set, source="PACS"):
        incoming = self.receiver.begin(**request_for(data_set), source=source)
        try:
            incoming.write(encode(data_set))
            return self.receiver.keep(incoming)
        finally:
            incoming.close()

    def totals(self, counter):
        (family,) = counter.collect()
        return {tuple(one.labels.values()): one.value for one in family.samples if one.name.endswith("_total")}

    @property
    def images(self):
        return self.totals(self.metrics.timings.received)


@pytest.fixture
def counted(settings):
    return Counted(settings)


def test_images_are_counted_by_who_sent_them_and_what_became_of_them(counted):
    image = dx()
    counted.receive(image)
    counted.receive(image)
    image.PatientComments = "other bytes"
    counted.receive(image)
    with pytest.raises(InvalidDatasetError):
        counted.receive(dx(StudyInstanceUID=None))
    assert counted.images == {
        ("pacs", "new"): 1,
        ("pacs", "duplicate"): 1,
        ("pacs", "conflict"): 1,
        ("pacs", "invalid"): 1,
    }
    assert counted.totals(counted.metrics.timings.received_bytes)[("pacs",)] > 3 * 100


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (StorageExhaustedError("full"), "no_room"),
        (WorklistUnavailableError("away"), "database_away"),
        (RuntimeError("Doe^Jane"), "failed"),
    ],
)
def test_what_is_refused_is_counted_by_why_and_goes_on_as_an_error(counted, monkeypatch, error, outcome):
    def register(received, rule):
        raise error

    monkeypatch.setattr(counted.worklist, "register", register)
    with pytest.raises(type(error)):
        counted.receive(dx())
    assert counted.images == {("pacs", outcome): 1}
    assert counted.totals(counted.metrics.timings.received_bytes) == {}


def test_strangers_make_no_series_of_their_own(counted):
    for number in range(50):
        counted.receive(dx(), source=f"STRANGER{number}")
    assert counted.images == {(OTHER, "new"): 50}


def test_peers_with_one_title_are_counted_together_and_tokens_by_their_names(settings, counted):
    assert sender_names(settings) == {"PACS": "pacs", "CT": "ct-1,ct-2", "router": "router"}
    counted.receive(dx(), source="CT ")
    counted.receive(dx(), source="router")
    assert counted.images == {("ct-1,ct-2", "new"): 1, ("router", "new"): 1}


def test_an_image_that_is_durable_is_a_step_of_its_study(counted):
    image = dx()
    counted.receive(image)
    (step,) = counted.told
    assert (step.name, step.study_instance_uid) == ("receive", image.StudyInstanceUID)
    assert step.details == {"peer": "pacs", "outcome": "new", "bytes": len(encode(image))}


def count_of(histogram, **labels):
    (family,) = histogram.collect()
    values = {one.name.rpartition("_")[2]: one.value for one in family.samples if one.labels == labels}
    return values.get("count"), values.get("sum")


def test_each_image_that_is_read_is_timed(tmp_path):
    metrics = Metrics()
    path = write_part10(tmp_path / "a.dcm", radiograph())
    loader = MeasuredLoader(DirectLoader(), metrics)
    loader.load(path)
    assert loader.header(path).Modality == "DX"
    number, seconds = count_of(metrics.timings.decode_seconds)
    assert number == 1
    assert seconds > 0


class Model:
    identity = MODEL
    broken = False

    def score(self, images, anatomies=()):
        if self.broken:
            raise RuntimeError("broken")
        return [ImageScore(probability=0.5) for _ in images]


def test_calls_of_the_model_are_timed_by_bundle_with_their_batch_and_failures_are_counted():
    metrics, model = Metrics(), Model()
    scorer = MeasuredScorer(model, metrics)
    assert scorer.identity is MODEL
    picture = np.zeros((4, 4), dtype=np.float32)
    assert len(scorer.score([picture] * 3)) == 3
    scorer.score([picture])
    model.broken = True
    with pytest.raises(RuntimeError):
        scorer.score([picture])
    bundle = {"bundle": MODEL.label}
    assert count_of(metrics.timings.model_seconds, **bundle)[0] == 2
    assert count_of(metrics.timings.batch_images, **bundle) == (2, 4)
    (failures,) = metrics.timings.model_failures.collect()
    assert [one.value for one in failures.samples if one.name.endswith("_total")] == [1]
