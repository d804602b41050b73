"""How many cores, GPUs and disks a site needs, from what benchmarks measured and what it has; each input is named."""

import math
from dataclasses import dataclass

from support.benchreading import MISSING, table

SITES = (1_000, 10_000, 50_000, 100_000)  # studies a day
_BUSIEST = 2.16  # 9 of 100 studies in an hour, `daybench.HOURS`


@dataclass(frozen=True)
class Input:
    """One figure of the reckoning, and where it comes from."""

    what: str
    value: float | None
    source: str
    unit: str = ""

    def row(self):
        shown = MISSING if self.value is None else f"{self.value:,.4g}{self.unit}"
        return self.what, shown, self.source


@dataclass(frozen=True)
class Inputs:
    """All of them."""

    images_a_study: Input
    peak: Input  # the busiest hour's share of the day, as a multiple of the mean
    busy: Input  # the share of its time that a core or a GPU is let work in that hour
    images_a_core_second: Input
    images_a_gpu_second: Input
    core_seconds_a_study: Input
    megabytes_an_image: Input
    database_kb_a_study: Input
    retention_days: Input

    def all(self):
        """In the order in which they are shown."""
        return list(vars(self).values())


@dataclass(frozen=True)
class Size:
    """What one site needs; None where an input was not measured."""

    studies_a_day: int
    images_a_second: float
    cores: int | None  # embedded bundle: model and everything else
    cores_beside_gpu: int | None  # everything but the model
    gpus: int | None
    disk_tb: float | None
    database_gb_a_year: float | None


def size_of(studies_a_day, inputs):
    """The reckoning for one site. Pure.

    The model's cores and all others' are added: what a study costs beside the model is asked of the time of a whole
    run, so that receiving, deciding and sending are in it.
    """
    studies = studies_a_day / 86_400 * inputs.peak.value
    images = studies * inputs.images_a_study.value
    model = _divided(images, inputs.images_a_core_second.value, inputs.busy.value)
    rest = _times(studies, inputs.core_seconds_a_study.value, 1 / inputs.busy.value)
    gpus = _divided(images, inputs.images_a_gpu_second.value, inputs.busy.value)
    kept = studies_a_day * inputs.images_a_study.value * inputs.retention_days.value
    disk = _times(kept, inputs.megabytes_an_image.value, 1e-6)
    database = _times(studies_a_day * 365, inputs.database_kb_a_study.value, 1e-6)
    return Size(
        studies_a_day=studies_a_day,
        images_a_second=images,
        cores=None if model is None or rest is None else max(1, math.ceil(model + rest)),
        cores_beside_gpu=None if rest is None else max(1, math.ceil(rest)),
        gpus=None if gpus is None else max(1, math.ceil(gpus)),
        disk_tb=disk,
        database_gb_a_year=database,
    )


def _divided(amount, each, busy):
    return None if each is None else amount / (each * busy)


def _times(amount, each, factor):
    return None if each is None else amount * each * factor


def inputs_of(bench):
    """The inputs as the benchmarks' files have them."""
    images = bench.at("day", "images_a_study")
    model = bench.at("day", "picture", "model_seconds")
    used, beside = bench.at("day", "agent_core_seconds_a_study"), None
    if used and model and images:
        beside = max(0.0, used - images * model)
    peak = None
    if bench.at("day", "studies_a_second_peak") and bench.at("day", "load") and bench.at("day", "studies_a_day"):
        mean = bench.at("day", "studies_a_day") / 86_400
        peak = bench.at("day", "studies_a_second_peak") / bench.at("day", "load") / mean
    grown = (bench.at("growth", "studies on sqlite", "runs") or [{}])[-1]
    database = None
    if grown.get("database_mb") and grown.get("studies"):
        database = grown["database_mb"] * 1024 / grown["studies"]
    return Inputs(
        images_a_study=Input("images a study", 2.7, "MURA: 40,561 images of 14,863 studies (Rajpurkar et al. 2017)"),
        peak=Input(
            "busiest hour over the mean",
            peak or _BUSIEST,
            "`day.json` (a made-up day)" if peak else "chosen: that of the day which `make bench` makes up",
        ),
        busy=Input("busy at the most", 0.5, "chosen: room for bursts, and for a machine that is away"),
        images_a_core_second=Input(
            "embedded bundle, images a second and core",
            cpu_speed(bench) or (1 / model if model else None),
            "`cpu_pipeline.json`, else `day.json`",
        ),
        images_a_gpu_second=Input(
            "MedGemma's encoder at 896 px, images a second and GPU", gpu_speed(bench), "`gpu.json`"
        ),
        core_seconds_a_study=Input("beside the model, core seconds a study", beside, "`day.json`, `growth.json`"),
        megabytes_an_image=Input("megabytes an image", 10.0, "chosen: 5 megapixels of 16 bits, not compressed"),
        database_kb_a_study=Input("database, kB a study", database, "`growth.json`"),
        retention_days=Input("days that images are kept", 30.0, "`[storage] retention_days`, its default"),
    )


def cpu_speed(bench):
    """Images a second from DICOM files to scores by the embedded bundle on one core."""
    return bench.at("cpu_pipeline", "bundles", "embedded", "files_images_per_second")


def gpu_speed(bench):
    """Images a second from DICOM files to scores on one GPU; None where it was not measured."""
    return bench.at("gpu", "towers", "medgemma", "from_files", "uncompressed", "images_per_second")


def tables(bench):
    """The inputs, and what follows from them for some sites."""
    inputs = inputs_of(bench)
    sizes = [size_of(studies, inputs) for studies in SITES]
    head = (
        "studies a day", "images a second, busiest hour", "cores, embedded bundle", "cores beside GPUs", "GPUs",
        "disk for originals, TB", "database, GB a year",
    )  # fmt: skip
    rows = [
        (
            f"{one.studies_a_day:,}",
            f"{one.images_a_second:.2f}",
            _shown(one.cores),
            _shown(one.cores_beside_gpu),
            _shown(one.gpus),
            _shown(one.disk_tb, ".1f"),
            _shown(one.database_gb_a_year, ",.0f"),
        )
        for one in sizes
    ]
    given = table(("input", "value", "from"), [one.row() for one in inputs.all()])
    return f"{table(head, rows)}\n\n{given}"


def _shown(value, form="d"):
    return MISSING if value is None else format(value, form)
