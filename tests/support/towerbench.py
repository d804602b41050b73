"""How fast a vision tower runs beside what its device can do at most: plain functions, any size, any device."""

import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass

import torch

from triage_agent.imaging.load import Displayable, load_for_scoring
from triage_agent.models.registry import REGISTRY

SO400M = {
    "hidden_size": 1152,
    "intermediate_size": 4304,
    "num_hidden_layers": 27,
    "num_attention_heads": 16,
    "patch_size": 14,
}
# Vision towers of the published checkpoints, and the share of the ceiling that is the goal for each.
TOWERS = {
    "medgemma": ({**SO400M, "image_size": 896, "pooling": "mean"}, 0.5),
    "medsiglip": ({**SO400M, "image_size": 448, "pooling": "head"}, 0.6),
}


@dataclass(frozen=True)
class Speed:
    """Of one batch size; memory in bytes, None where the device does not say."""

    batch: int
    compiled: bool
    seconds: float
    images_per_second: float
    share_of_ceiling: float
    peak_memory: int | None


def flops_of(config):
    """Floating-point operations of one image: a multiplication and an addition count two; norms and GELU count none."""
    width, hidden = config["hidden_size"], config["intermediate_size"]
    tokens = (config["image_size"] // config["patch_size"]) ** 2
    patches = 2 * tokens * 3 * config["patch_size"] ** 2 * width
    projections = 4 * 2 * tokens * width * width
    attention = 2 * 2 * tokens * tokens * width
    perceptron = 2 * 2 * tokens * width * hidden
    total = patches + config["num_hidden_layers"] * (projections + attention + perceptron)
    if config["pooling"] == "head":  # one query asks all tokens, then a perceptron on one vector
        total += (2 * 2 * tokens + 2 * 2) * width * width + 2 * 2 * tokens * width + 2 * 2 * width * hidden
    return total


def random_tower(kind, config, device):
    """A tower with random weights as it would score on `device`: speed does not depend on the values."""
    with torch.device(device):
        encoder = REGISTRY[kind].load()(config)
    return encoder.for_inference(device)


def seconds_of(run, device, repeats, warm_up=2):
    """Median duration of `run()`, the device's queue drained before and after."""
    durations = []
    for number in range(warm_up + repeats):
        _drain(device)
        begun = time.perf_counter()
        run()
        _drain(device)
        if number >= warm_up:
            durations.append(time.perf_counter() - begun)
    return statistics.median(durations)


def ceiling_of(device, dtype, sides=(4096, 8192, 16384), repeats=10):
    """The most floating-point operations a second that square matrix products reach here, of several sizes."""
    found = []
    for side in sides:
        one, other = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
        found.append(2 * side**3 / seconds_of(lambda a=one, b=other: a @ b, device, repeats))
    return max(found)


def speed_of(encoder, config, device, batch, ceiling, *, compiled=False, repeats=10):
    """How fast `batch` images, already on the device, become embeddings."""
    run = torch.compile(encoder) if compiled else encoder
    images = torch.rand(batch, 3, config["image_size"], config["image_size"], device=device) * 2 - 1
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    with torch.inference_mode():
        seconds = seconds_of(lambda: run(images), device, repeats, warm_up=3)
    peak = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None
    rate = batch / seconds
    return Speed(batch, compiled, seconds, rate, rate * flops_of(config) / ceiling, peak)


def from_dicom(encoder, paths, device, batch, workers):
    """Part 10 files to embeddings as the agent does it: decode and display, preprocess, and the tower, batch by batch.

    Reading runs `workers` files ahead in threads, beside the tower. Returns images a second over all files, and the
    seconds that one image takes in each step when nothing else runs.
    """

    def ready(path):
        loaded = load_for_scoring(path)
        assert isinstance(loaded, Displayable), loaded
        return encoder.preprocess(loaded.image)

    with torch.inference_mode(), ThreadPoolExecutor(workers) as pool:
        encoder(torch.stack([ready(paths[0])] * batch).to(device))
        _drain(device)
        begun = time.perf_counter()
        embedded, waiting = [], []
        for tensor in pool.map(ready, paths):
            waiting.append(tensor)
            if len(waiting) == batch:
                embedded.append(encoder(torch.stack(waiting).to(device)))
                waiting = []
        if waiting:
            embedded.append(encoder(torch.stack(waiting).to(device)))
        embeddings = torch.cat(embedded).cpu()
        seconds = time.perf_counter() - begun
    return embeddings, {"images_per_second": len(paths) / seconds, "workers": workers, "batch": batch} | _steps(
        encoder, paths[0], device, batch
    )


def _steps(encoder, path, device, batch):
    host = torch.device("cpu")
    display = load_for_scoring(path).image
    tensor = encoder.preprocess(display)
    stacked = torch.stack([tensor] * batch).to(device)
    with torch.inference_mode():
        return {
            "seconds_load": seconds_of(lambda: load_for_scoring(path), host, 3, warm_up=1),
            "seconds_preprocess": seconds_of(lambda: encoder.preprocess(display), host, 3, warm_up=1),
            "seconds_tower": seconds_of(lambda: encoder(stacked), device, 3, warm_up=1) / batch,
        }


def report_of(kind, config, goal, device, speeds, ceiling, end_to_end):
    """What a benchmark writes: one JSON object."""
    best = max(speeds, key=lambda speed: speed.share_of_ceiling)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    return {
        "tower": kind,
        "image_size": config["image_size"],
        "device": name,
        "torch": torch.__version__,
        "precision": "bfloat16" if device.type == "cuda" else "float32",
        "weights": "random",
        "flops_per_image": flops_of(config),
        "ceiling_flops_per_second": ceiling,
        "speeds": [asdict(speed) for speed in speeds],
        "best_share_of_ceiling": best.share_of_ceiling,
        "goal_share_of_ceiling": goal,
        "from_dicom": end_to_end,
    }


def _drain(device):
    if device.type == "cuda":
        torch.cuda.synchronize(device)
