"""How fast DICOM files become scores on the way of the agent: decoder processes, reading ahead, batches of threads."""

import statistics
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial

import numpy as np
import torch
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, JPEG2000Lossless, JPEGLSLossless, generate_uid

from triage_agent.assessing import assess_ahead
from triage_agent.domain.vocabulary import Outcome
from triage_agent.imaging.ahead import ReadAhead
from triage_agent.imaging.loader import load_instance
from triage_agent.models.bundle import BundleSpec, EncoderSpec, HeadSpec, write_bundle
from triage_agent.models.head import build_head
from triage_agent.models.registry import REGISTRY, tuned_spec

LARGE = (2500, 2048)  # pixels of 16 bits: 10.24 MB
CODINGS = {"uncompressed": None, "JPEG-LS": JPEGLSLossless, "JPEG 2000": JPEG2000Lossless}


def write_tower_bundle(folder, kind, config, device=None):
    """A bundle of a tower with random weights, which bfloat16 can hold."""
    torch.manual_seed(1)
    with torch.device(device or "cpu"):
        encoder = REGISTRY[kind].load()(config)
    encoder = encoder.to("cpu", torch.bfloat16).float()
    torch.manual_seed(2)
    head = HeadSpec(kind="mlp", input_dim=encoder.embedding_dim, hidden=(64,))
    base = EncoderSpec(kind=kind, source="bundle", image_size=encoder.image_size)
    spec = BundleSpec(
        name=kind,
        version="1.0.0",
        created=datetime(2026, 1, 2, tzinfo=UTC),
        encoder=tuned_spec(encoder, base),
        head=head,
    )
    return write_bundle(folder, spec, build_head(head).state_dict(), encoder.state_dict(), "# Random weights\n")


def picture(seed, shape):
    """A bone, soft tissue and grain, uint16 of 12 bits; each seed has its own grain."""
    y, x = np.mgrid[: shape[0], : shape[1]] / max(shape)
    bone = 0.2 + 0.6 * np.exp(-(((x - 0.4 - 0.01 * (seed % 7)) / 0.12) ** 2)) * (0.8 + 0.2 * np.sin(9 * y))
    grain = np.random.default_rng(seed).normal(0, 0.01, (256, shape[1]))
    return (np.clip(bone + np.resize(grain, shape), 0, 1) * 4095).astype(np.uint16)


def radiograph(pixels):
    """A DX for presentation with a window, as modalities write it."""
    one = Dataset()
    one.file_meta = FileMetaDataset()
    one.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    one.SOPClassUID, one.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.1.1", generate_uid()
    one.StudyInstanceUID, one.SeriesInstanceUID = generate_uid(), generate_uid()
    one.PatientName, one.PatientID, one.AccessionNumber = "Bench^Mark", "B1", "A1"
    one.Modality, one.BodyPartExamined, one.PresentationIntentType = "DX", "KNEE", "FOR PRESENTATION"
    one.ViewPosition, one.ImageLaterality = "AP", "R"
    one.SamplesPerPixel, one.PhotometricInterpretation = 1, "MONOCHROME2"
    one.Rows, one.Columns = pixels.shape
    one.BitsAllocated, one.BitsStored, one.HighBit, one.PixelRepresentation = 16, 12, 11, 0
    one.WindowCenter, one.WindowWidth = 2048, 4096
    one.PixelData = pixels.tobytes()
    one["PixelData"].VR = "OW"
    return one


def write_radiographs(folder, count, shape=LARGE, coding="uncompressed"):
    """Files with different pixels; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for seed in range(count):
        one = radiograph(picture(seed, shape))
        if CODINGS[coding] is not None:
            one.compress(CODINGS[coding], generate_instance_uid=False)
        paths.append(folder / f"{seed}.dcm")
        one.save_as(paths[-1], enforce_file_format=True)
    return paths


class _Turns:
    """Claims of so many images, up to a count, for several threads."""

    def __init__(self, images, claim, count):
        self._images, self._claim, self._count = images, claim, count
        self._starts = iter(range(0, count, claim))
        self._lock = threading.Lock()

    def __iter__(self):
        while True:
            with self._lock:
                start = next(self._starts, None)
            if start is None:
                return
            yield [self._images[n % len(self._images)] for n in range(start, min(start + self._claim, self._count))]


def _rate(work, turns, loops, count):
    """Images a second of `count`, where `loops` threads each do `work` with their turns."""
    with ThreadPoolExecutor(loops) as threads:
        begun = time.perf_counter()
        done = [threads.submit(lambda: [work(chunk) for chunk in turns]) for _ in range(loops)]
        for one in done:
            one.result()
        return count / (time.perf_counter() - begun)


def files_to_scores(paths, loader, scorer, *, decoders, loops, claim, together, count):
    """`count` images through `loops` loops, which claim `claim` at a time; images a second and each file's probability.

    Decoder processes are started, and the model is warmed up, before the clock is.
    """
    side, found, ahead = getattr(scorer, "sampled_side", None), {}, ReadAhead(decoders)

    def read(path):
        return load_instance(loader, path, side=side)

    def work(chosen):
        for group in assess_ahead([(str(path), partial(read, path)) for path in chosen], scorer, ahead, together):
            for one in group:
                assert one.outcome is Outcome.SCORED, one.reason
                found[one.sop_instance_uid] = one.probability

    (warm,) = ahead.groups([partial(read, paths[0])] * (decoders * 2), decoders * 2)
    scorer.score([warm[0].image])
    return _rate(work, _Turns(paths, claim, count), loops, count), found


def long_enough(measured, seconds, count):
    """Images a second of `measured(count)`, for twice as many each time until that takes so long."""
    while (rate := measured(count)) * seconds > count:
        count *= 2
    return rate


def ready_to_scores(images, scorer, *, loops, together, count):
    """As `files_to_scores`, of images that are in memory already: what the model takes when nothing holds it up."""
    scorer.score(images[:1])
    return _rate(scorer.score, _Turns(images, together, count), loops, count)


def milliseconds(run, repeats=7):
    """Median of what a call takes."""
    took = []
    for _ in range(repeats + 1):
        begun = time.perf_counter()
        run()
        took.append(time.perf_counter() - begun)
    return statistics.median(took[1:]) * 1000
