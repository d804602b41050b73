"""Simulated radiographs for benchmarks: pairs of one region, of which one raises its study and the other does not."""

import statistics
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from support.launcher import PROBABILITIES, QuickScorer
from support.xrays import picture, radiograph

from triage_agent.imaging.load import Displayable, load_for_scoring
from triage_agent.simulation.phantom import ANATOMIES, simulate_study, study_datasets

_MOST_SEEDS = 30  # of a region; the embedded bundle raises at one in a few
_ROUNDS = 5


@dataclass(frozen=True)
class Pair:
    """Two files of one region: at or above the bundle's alert threshold, and below its threshold."""

    raising: Path
    calm: Path


@dataclass(frozen=True)
class Pictures:
    """What is sent, and what one of them costs where nothing else runs: seconds of decoding, and of the model alone."""

    pairs: tuple[Pair, ...]
    decode_seconds: float
    model_seconds: float
    rows: int
    columns: int
    megabytes: float

    def document(self):
        """As benchmarks write it."""
        return {
            "rows": self.rows,
            "columns": self.columns,
            "megabytes": self.megabytes,
            "decode_seconds": round(self.decode_seconds, 4),
            "model_seconds": round(self.model_seconds, 4),
        }


def draw(folder, scorer, *, pairs, long_side):
    """So many pairs in `folder`, of region after region; what the model does with each is asked, not assumed."""
    folder.mkdir(parents=True, exist_ok=True)
    found = []
    for anatomy in ANATOMIES[:pairs]:
        raising = _first(folder, scorer, anatomy, abnormal=True, long_side=long_side)
        calm = _first(folder, scorer, anatomy, abnormal=False, long_side=long_side)
        if raising is not None and calm is not None:
            found.append(Pair(raising, calm))
    assert found, "the bundle raises none of the simulated radiographs, or all"
    return measured(found, scorer)


def measured(pairs, scorer):
    """`Pictures` of these pairs; each image is decoded and scored by itself some times."""
    files = [file for pair in pairs for file in (pair.raising, pair.calm)]
    decoding, scoring = [], []
    for file in files:
        for _ in range(_ROUNDS):
            began = time.perf_counter()
            loaded = load_for_scoring(file)
            decoded = time.perf_counter()
            scorer.score([loaded.image], [loaded.region.code])
            decoding.append(decoded - began)
            scoring.append(time.perf_counter() - decoded)
    return Pictures(
        pairs=tuple(pairs),
        decode_seconds=statistics.median(decoding),
        model_seconds=statistics.median(scoring),
        rows=loaded.facts.rows,
        columns=loaded.facts.columns,
        megabytes=round(statistics.mean(file.stat().st_size for file in files) / 1e6, 3),
    )


def _first(folder, scorer, anatomy, *, abnormal, long_side):
    for seed in range(_MOST_SEEDS):
        study = simulate_study(anatomy, abnormal, seed, long_side)
        for number, data_set in enumerate(study_datasets(study, seed, now=datetime.now(UTC))):
            file = folder / f"{anatomy}-{abnormal:d}-{seed}-{number}.dcm"
            data_set.save_as(file, enforce_file_format=True)
            if _is(file, scorer, abnormal=abnormal):
                return file
            file.unlink()
    return None


def _is(file, scorer, *, abnormal):
    loaded = load_for_scoring(file)
    if not isinstance(loaded, Displayable):
        return False
    (score,) = scorer.score([loaded.image], [loaded.region.code])
    model = scorer.identity
    if score.strangeness > 1:
        return False
    return score.probability >= model.alert if abnormal else score.probability < min(model.threshold, model.alert)


def quick_pair(folder, *, rows, columns):
    """A pair for `support.launcher.QuickScorer`, which goes by the pixels alone."""
    wanted = {PROBABILITIES[-1]: "raising", PROBABILITIES[0]: "calm"}
    found, seed = {}, 0
    while len(found) < len(wanted):
        seed += 1
        file = folder / f"quick-{rows}-{seed}.dcm"
        radiograph(picture(seed, rows, columns)).save_as(file, enforce_file_format=True)
        (score,) = QuickScorer().score([load_for_scoring(file).image])
        if (name := wanted.get(score.probability)) is not None:
            found.setdefault(name, file)
    return Pair(**found)
