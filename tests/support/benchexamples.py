"""Files as benchmarks write them, with figures that mean nothing: for tests of what reports them."""

_WORK = {"p50_ms": 2.0, "p95_ms": 3.0, "cpu_p50_ms": 1.0}
_WAIT = {"p50": 0.2, "p90": 0.4, "p95": 0.5, "p99": 0.6, "max": 0.7}


def _grown(by, sizes, kinds):
    runs = [{by: size, "work": dict.fromkeys(kinds, _WORK), "resident_mb": 90.0, "database_mb": 5.0} for size in sizes]
    return {"by": by, "runs": runs, "exponents": dict.fromkeys(kinds, 0.01)}


def _received(**changes):
    peers = ("agent", "agent, 2 processes", "storescp", "storescp, PDUs of 128 KiB", "orthanc")
    row = {"bytes": 1 << 20, "images": 5, "associations": 1, "seconds": dict.fromkeys(peers, 1.0)}
    return row | {"peak_mb": {"agent": 200.0}} | changes


def _case(ratio):
    peers = ("agent", "agent, 2 processes", "storescp", "storescp, PDUs of 128 KiB", "orthanc")
    return {"median": dict.fromkeys(peers, 1.0), "ratios": {"agent / storescp": ratio, "agent / orthanc": ratio}}


def _tower(share):
    from_files = {"uncompressed": {"images_per_second": 100.0, "share_of_encoder": 0.95}}
    encoder = {"encoder_images_per_second": 110.0, "encoder_share_of_ceiling": share, "goal_share_of_ceiling": 0.5}
    return encoder | {"from_files": from_files}


def documents():
    """By name of the file."""
    made = {"date": "2026-11-23", "cores": 2, "cpu": "some CPU", "commit": "abc", "command": "make bench"}
    flagged = {
        "wait_s": _WAIT,
        "waits_s": [0.2, 0.7],
        "goal_p95_s": 1.06,
        "stages_s": dict.fromkeys(("received", "scored", "told"), _WAIT),
    }
    orthanc = {"wait_s": _WAIT, "waits_s": [60.5], "stable_age_s": 60, "version": "1.10"}
    scaled = [{"count": count, "images_a_second": 20.0 * count, "of_linear": 1.0} for count in (1, 2)]
    day = {
        "studies_a_day": 10_000, "images_a_study": 2, "compress": 96.0, "load": 12.0, "burst": 40, "studies_sent": 1250,
        "studies_a_second_can": 4.0, "studies_a_second_peak": 2.7, "backlog_most_s": 12.0, "goal_s": 60.0,
        "agent_core_seconds_a_study": 0.3, "picture": {"model_seconds": 0.06}, "looks": [[0.0, 0.0], [900.0, 12.0]],
    }  # fmt: skip
    cpu = {"bare_images_per_second": 16.0, "files_images_per_second": 15.0, "ratio": 0.94}
    stored = {"local": {"seconds_an_image": 0.02}, "object_store": {"seconds_an_image": 0.03}, "ratio": 1.5}
    route = {"p50_ms": 100.0, "p95_ms": 200.0, "p99_ms": 300.0, "max_ms": 400.0, "acknowledged": 10}
    found = {
        "flag": {
            "embedded": flagged,
            "fixed model": flagged,
            "orthanc": orthanc,
            "documented": {"mercure": {"seconds": 60}},
        },
        "day": day,
        "growth": {
            "studies on sqlite": _grown("studies", (1000, 10_000), ("receive", "decide", "one study")),
            "images": _grown("images", (1, 500), ("decide, with its results",)),
            "loops on sqlite": {"by": "loops", "runs": [{"loops": 1, "images_a_second": 100.0}]},
        },
        "ingest": {
            "cases": {"10 MB": _case(0.9), "0.5 MB, JPEG-LS": _case(1.1)},
            "growth": {"size": [_received(), _received(bytes=5 << 20)], "associations": [_received(associations=8)]},
        },
        "gpu": {"device": "a GPU", "towers": {"medsiglip": _tower(0.7), "medgemma": _tower(0.4)}} | made,
        "cpu_pipeline": {"goal_ratio": 0.9, "bundles": {"embedded": cpu}},
        "scale_out": {"ray_replicas": scaled, "postgres_workers": scaled},
        "object_store": {"sizes": {"10 MB": stored}},
        "routes": {"groups": {"sr": {"routes": {"sr": route}}}},
        "queue": {"kinds": {"sr": {"studies": 300, "results_a_second": 100.0, "agent_core_ms": 6.0}}},
        "site": {"lists on sqlite": {"p95_s": 0.02, "wanted_p95_s": 0.1, "slowest": "search k"}},
    }
    return {name: {"made": made} | document for name, document in found.items()}
