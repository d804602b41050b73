"""How long things take, what came of images, and what the model says: histograms and counters of this process."""

from prometheus_client import CollectorRegistry, Counter, Histogram

# From what a flag may take to the latest that a PACS waits for it; goals are bounds, so that shares can be read off.
LONG_SECONDS = (0.25, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600)
_SHORT_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
_PROBABILITIES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1)


class Timings:
    """What is measured along a study's way; every label has a value of the site's configuration, or of our own."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.received = Counter(
            "triage_received_images",
            "Images that came, by peer and outcome: new, duplicate, conflict, invalid, no_room, database_away, failed",
            ["peer", "outcome"],
            registry=registry,
        )
        self.received_bytes = Counter(
            "triage_received_bytes", "Bytes of images that were kept, by peer", ["peer"], registry=registry
        )
        self.flag = Histogram(
            "triage_time_to_flag_seconds",
            "From an image that raised its study before it was complete, durable here, to the raise on the worklist",
            buckets=LONG_SECONDS,
            registry=registry,
        )
        self.report = Histogram(
            "triage_time_to_report_seconds",
            "From a study's last image, durable here, to its decision with all that is to be sent",
            buckets=LONG_SECONDS,
            registry=registry,
        )
        self.delivery = Histogram(
            "triage_time_to_delivery_seconds",
            "From a result in the outbox to its acknowledgement by the destination, of what was taken",
            ["destination", "kind"],
            buckets=LONG_SECONDS,
            registry=registry,
        )
        self.scores = Histogram(
            "triage_scores",
            "Probabilities of scored images, by bundle",
            ["bundle"],
            buckets=_PROBABILITIES,
            registry=registry,
        )
        self.decode_seconds = Histogram(
            "triage_decode_seconds",
            "From a stored file to a display image, one image",
            buckets=_SHORT_SECONDS,
            registry=registry,
        )
        self.model_seconds = Histogram(
            "triage_model_seconds",
            "One call of the model, whatever its batch; the built-in image of the start is one",
            ["bundle"],
            buckets=_SHORT_SECONDS,
            registry=registry,
        )
        self.batch_images = Histogram(
            "triage_batch_images", "Images in one call of the model", ["bundle"], buckets=_BATCHES, registry=registry
        )
        self.model_failures = Counter(
            "triage_model_failures", "Calls of the model that failed", ["bundle"], registry=registry
        )
