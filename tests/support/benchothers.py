"""The tables and goals of receiving, of the model's speed, of growth over machines and of the object store."""

from support.benchgoals import Goal, at, fixed
from support.benchreading import MISSING, number, table

_LARGE, _SMALL = "10 MB", "0.5 MB, JPEG-LS"
_AT_ONCE = ", 8 associations"
_AGENTS = ("agent", "agent, 2 processes")
_PEERS = ("storescp", "storescp, PDUs of 128 KiB", "orthanc")
_TOWERS = {"medsiglip": "MedSigLIP's tower, 448 px", "medgemma": "MedGemma's tower, 896 px"}


def _ratio(case, peer, agent=_AGENTS[0]):
    """Seconds of the agent, unless it is said otherwise as it is installed, over those of a peer."""
    return at("ingest", "cases", case, "ratios", f"{agent} / {peer}")


def _least(*path):
    """Of rows of scale_out.json, the least share of what so many times the first would give."""

    def read(bench):
        shares = [row["of_linear"] for row in bench.at(*path) or [] if row["count"] > 1]
        return min(shares, default=None)

    return read


def _tower(kind, *path):
    return at("gpu", "towers", kind, *path)


GOALS = (
    Goal("receiving 10 MB images: time over storescp's", _ratio(_LARGE, "storescp"), fixed(1.0)),
    Goal("receiving 10 MB images: time over Orthanc's", _ratio(_LARGE, "orthanc"), fixed(0.5)),
    Goal("receiving 0.5 MB compressed images: time over Orthanc's", _ratio(_SMALL, "orthanc"), fixed(1.0)),
    Goal("the same, 8 associations at once", _ratio(_SMALL + _AT_ONCE, "orthanc"), fixed(1.0)),
    Goal(
        "receiving 10 MB images, 8 associations: time over Orthanc's", _ratio(_LARGE + _AT_ONCE, "orthanc"), fixed(1.0)
    ),
    Goal(
        "the same, with two listener processes (`[dicom] processes`)",
        _ratio(_LARGE + _AT_ONCE, "orthanc", _AGENTS[1]),
        fixed(1.0),
    ),
    *(
        Goal(
            f"{said}: share of the bf16 ceiling",
            _tower(kind, "encoder_share_of_ceiling"),
            _tower(kind, "goal_share_of_ceiling"),
            least=True,
        )
        for kind, said in _TOWERS.items()
    ),
    *(
        Goal(
            f"{said}: from files to scores, share of the encoder alone",
            _tower(kind, "from_files", "uncompressed", "share_of_encoder"),
            fixed(0.9),
            least=True,
        )
        for kind, said in _TOWERS.items()
    ),
    Goal(
        "on a CPU: files to scores over a bare loop, embedded bundle",
        at("cpu_pipeline", "bundles", "embedded", "ratio"),
        at("cpu_pipeline", "goal_ratio"),
        least=True,
    ),
    Goal("replicas on Ray: share of linear", _least("scale_out", "ray_replicas"), fixed(0.9), least=True),
    Goal("workers on Postgres: share of linear", _least("scale_out", "postgres_workers"), fixed(0.9), least=True),
)


def ingest(bench):
    """Seconds beside those of the peers."""
    cases = bench.at("ingest", "cases") or {}
    head = ("seconds, median", *_AGENTS, *_PEERS, "agent / storescp", "agent / Orthanc")
    rows = []
    for name, found in cases.items():
        median, ratios = found["median"], found["ratios"]
        times = [number(median.get(peer)) for peer in (*_AGENTS, *_PEERS)]
        rows.append((name, *times, *(number(ratios.get(f"agent / {one}")) for one in ("storescp", "orthanc"))))
    if not rows:
        return bench.made("ingest")
    return "\n\n".join([table(head, rows), *_grown(bench), bench.made("ingest")])


def _grown(bench):
    for name, what in (("size", "bytes"), ("associations", "associations")):
        found = bench.at("ingest", "growth", name)
        if not found:
            continue
        rows = [
            (
                f"{row[what] / 1e6:g} MB" if what == "bytes" else row[what],
                number(row["seconds"].get("agent"), 2),
                number(row["seconds"].get("storescp"), 2),
                number(row["seconds"].get("orthanc"), 2),
                number(row["peak_mb"].get("agent"), 0),
            )
            for row in found
        ]
        yield table((name, "agent, s", "storescp, s", "Orthanc, s", "agent's memory at most, MB"), rows)


def model(bench):
    """Images a second, alone and from files."""
    rows = []
    for kind, said in _TOWERS.items():
        found = bench.at("gpu", "towers", kind) or {}
        from_files = (found.get("from_files") or {}).get("uncompressed") or {}
        rows.append(
            (
                said,
                number(found.get("encoder_images_per_second"), 0),
                number(found.get("encoder_share_of_ceiling")),
                number(from_files.get("images_per_second"), 0),
                number(from_files.get("share_of_encoder")),
            )
        )
    head = ("images a second, on a GPU", "encoder alone", "of the ceiling", "from files", "of the encoder")
    cpu = []
    for name, found in (bench.at("cpu_pipeline", "bundles") or {}).items():
        speeds = (found["bare_images_per_second"], found["files_images_per_second"])
        cpu.append((name, *(number(one, 1) for one in speeds), number(found["ratio"])))
    cpu = cpu or [("embedded", *[MISSING] * 3)]
    on_cpu = table(("images a second, on a CPU", "bare loop", "from files", "ratio"), cpu)
    device = bench.at("gpu", "device")
    said = [bench.made("gpu"), *([f"The GPU: {device}."] if device else []), bench.made("cpu_pipeline")]
    return "\n\n".join([table(head, rows), on_cpu, " ".join(said)])


def scale(bench):
    """Images a second and their share of linear, by how many."""
    kinds = {"ray_replicas": "replicas on Ray", "postgres_workers": "workers on Postgres"}
    parts = []
    for name, said in kinds.items():
        rows = bench.at("scale_out", name)
        if rows:
            speeds = [number(row["images_a_second"], 1) for row in rows]
            shares = [number(row["of_linear"]) for row in rows]
            head = (said, *(str(row["count"]) for row in rows))
            parts.append(table(head, [("images a second", *speeds), ("share of linear", *shares)]))
    return "\n\n".join([*parts, bench.made("scale_out")])


def store(bench):
    """What a server costs each image."""
    sizes = bench.at("object_store", "sizes") or {}
    rows = [
        (
            size,
            number(found["local"]["seconds_an_image"], 4),
            number(found["object_store"]["seconds_an_image"], 4),
            number(found["ratio"]),
        )
        for size, found in sizes.items()
    ]
    if not rows:
        return bench.made("object_store")
    head = ("seconds an image", "local spool", "object store", "ratio")
    return f"{table(head, rows)}\n\n{bench.made('object_store')}"


SECTIONS = {"ingest": ingest, "model": model, "scale": scale, "store": store}
