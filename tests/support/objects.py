"""A machine whose spool is an object store: its parts, made as the agent makes them, and a worklist."""

from datetime import UTC, datetime

from support.instances import dx, encode, header_of, request_for
from support.s3 import KEY, SECRET
from support.story import RULE

from triage_agent.intake.objects.ahead import WriteAhead
from triage_agent.intake.objects.cache import Cache
from triage_agent.intake.objects.files import Files
from triage_agent.intake.objects.s3 import Access, S3Store
from triage_agent.intake.objects.spool import ObjectSpool
from triage_agent.intake.objects.uploading import Uploader
from triage_agent.intake.receiver import Receiver
from triage_agent.intake.reconcile import adopt, reconcile
from triage_agent.worklist import MemoryWorklist

MEGABYTE = 1 << 20


def utc_now():
    return datetime.now(UTC)


def store_at(endpoint, bucket, *, seconds=60.0, prefix="site/spool"):
    return S3Store(Access(bucket=bucket, prefix=prefix, endpoint=endpoint, key=KEY, secret=SECRET, seconds=seconds))


class Machine:
    """One machine; `stands_in`: it may acknowledge while the store is away."""

    def __init__(self, folder, store, worklist=None, *, stands_in=False, cache_bytes=64 * MEGABYTE, clock=utc_now):
        self.folder = folder
        self.store = store
        self.worklist = worklist or MemoryWorklist()
        self.ahead = WriteAhead(folder / "write-ahead", 0)
        self.files = Files(store, Cache(folder / "cache", cache_bytes), self.ahead.root)
        self.spool = ObjectSpool(self.files, self.ahead, acknowledge_when_away=stands_in)
        self.receiver = Receiver(self.spool, self.worklist, RULE, clock)
        self.clock = clock
        self.uploader = Uploader(self.spool, self.worklist, clock, adopt=self._adopt, walk=self.walk)

    def _adopt(self, key, received_at):
        return adopt(self.spool, self.worklist, RULE, self.clock, key, received_at=received_at)

    def walk(self):
        return reconcile(self.spool, self.worklist, RULE, self.clock)

    def receive(self, data_set=None, **values):
        """What `Receiver.receive` says of a data set."""
        data_set = data_set or dx(**values)
        return self.receiver.receive(encode(data_set), **request_for(data_set), source="PACS")

    def keys(self, prefix=""):
        """Of the objects, without the spool's own."""
        return [one.key for one in self.store.listed(prefix) if not one.key.startswith(".")]

    def patient(self):
        """Forget that the store was away: the next request is made at once."""
        self.files.reach._until = 0.0

    def content(self, path):
        """The bytes that a reader of a path gets."""
        with self.files.opened(path) as file:
            return file.read_bytes()


def large(**values):
    """A data set that is too long for memory."""
    data_set = dx(**values)
    data_set.add_new(0x00420011, "OB", b"x" * 300_000)  # Encapsulated Document
    return data_set


__all__ = ["MEGABYTE", "Machine", "dx", "encode", "header_of", "large", "store_at", "utc_now"]
