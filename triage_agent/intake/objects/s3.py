"""An S3-compatible object store by fsspec's s3fs: its session, its loop and its ways to find credentials.

What it is asked goes through the client of s3fs and not through its files, since these neither say `If-None-Match` nor
look at what the store says of what it has.
"""

import asyncio
import base64
import hashlib
import re
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

from aiobotocore.session import AioSession
from botocore.exceptions import ClientError
from fsspec.asyn import sync
from fsspec.exceptions import FSTimeoutError
from s3fs import S3FileSystem

from triage_agent.domain.errors import TriageError
from triage_agent.intake.objects.port import ObjectInfo, StoreAwayError

_PIECE = 8 << 20  # bytes of a longer object that are put, or in memory, at once
_MOST_WHOLE = 16 << 20  # bytes of an object that is put by one request
_PUTS_AT_ONCE = 8  # so that 128 MiB are in memory at most
_SLOWEST = 1 << 18  # bytes a second that a transfer must be fast
_CONNECT_SECONDS = 5.0
_FAREWELL_SECONDS = 5.0  # to let go of an upload that failed
_UNFINISHED = timedelta(days=1)
_CODE = re.compile("[A-Za-z0-9]{1,64}")  # all that a log may show of what a server says
_MISSING = frozenset({"404", "NoSuchKey", "NotFound"})
_THERE_ALREADY = frozenset({"412", "PreconditionFailed", "409", "ConditionalRequestConflict"})
_NOT_KNOWN = frozenset({"501", "NotImplemented"})
_REMEDY = "see [spool] in the configuration, and `triage-agent check`"


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Where a bucket is, and as whom it is asked.

    Attributes:
        endpoint: URL of the server; empty for AWS's own of the region.
        key: access key and `secret`; empty: what botocore finds (environment, its files, the machine's role).
        ca: PEM file of who signed the endpoint's certificate; None for the system's.
        seconds: how long it may take to answer a request, beside the time for an object's bytes.
    """

    bucket: str
    prefix: str = ""
    endpoint: str = ""
    region: str = ""
    key: str = ""
    secret: str = ""
    token: str = ""
    ca: Path | None = None
    seconds: float = 20.0


@dataclass(frozen=True, slots=True)
class _Sum:
    """What an object should be: its size, and SHA-256 as the store reports it (of the parts' where it has parts)."""

    size: int
    checksum: str
    kind: str = "FULL_OBJECT"


class _ThereAlreadyError(StoreAwayError):
    """An object that was to be new is there."""


class _DiskError(Exception):
    """The file that is read into cannot be written."""


class _ConditionNotKnownError(StoreAwayError):
    """The server does not implement a request that depends on what is there."""


class S3Store:
    """See `ObjectStore`; connects with the first request."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._prefix = f"{access.prefix.strip('/')}/" if access.prefix.strip("/") else ""
        self._fs = _file_system(access)
        self._connecting = asyncio.Lock()
        self._places = threading.Semaphore(_PUTS_AT_ONCE)
        self._conditions = True  # the server knows If-None-Match

    def put(self, key: str, body: memoryview, *, sha256: str = "") -> bool:
        """See `ObjectStore.put`: an object is looked at after it was put, so that no lie is acknowledged."""
        note = {"sha256": sha256} if sha256 else {}
        with self._places:
            if sha256 and self._conditions:
                try:
                    return self._put(key, body, note, {"IfNoneMatch": "*"})
                except _ThereAlreadyError:
                    pass
                except _ConditionNotKnownError:
                    self._conditions = False
            if sha256 and self._has(key, body, sha256):
                return False
            return self._put(key, body, note, {})

    def put_new(self, key: str, body: memoryview) -> bool:
        """See `ObjectStore.put_new`; of two at once on a server that knows no conditions, the last one stays."""
        if self._conditions:
            try:
                return self._put(key, body, {}, {"IfNoneMatch": "*"})
            except _ThereAlreadyError:
                return False
            except _ConditionNotKnownError:
                self._conditions = False
        return self.head(key) is None and self._put(key, body, {}, {})

    def head(self, key: str) -> ObjectInfo | None:
        """See `ObjectStore.head`."""
        try:
            answer = self._run(self._head, key)
        except FileNotFoundError:
            self.probe()  # a HEAD has no body that would say whether it is the bucket that is not there
            return None
        said = answer.get("Metadata", {}).get("sha256", "")
        return ObjectInfo(key=key, size=answer["ContentLength"], modified=answer["LastModified"], sha256=said)

    def fetch(self, key: str, into: Path) -> None:
        """See `ObjectStore.fetch`."""
        with into.open("xb") as file:
            try:
                self._run(self._fetch, key, file, seconds=0)  # it knows its time when it knows its length
            except _DiskError as error:
                raise OSError(str(error)) from error
            except FileNotFoundError:
                self.probe()  # what stands before a store that is away may answer so, too
                raise

    def listed(self, prefix: str) -> Iterator[ObjectInfo]:
        """See `ObjectStore.listed`."""
        last = ""
        more: dict[str, str] = {}
        while True:
            answer = self._run(self._list, prefix, more)
            for one in answer.get("Contents", ()):
                key = one["Key"].removeprefix(self._prefix)
                if key <= last:
                    raise TriageError("the object store does not list keys in their order", remedy="use another one")
                last = key
                yield ObjectInfo(key=key, size=one["Size"], modified=one["LastModified"])
            if not answer.get("IsTruncated"):
                return
            more = {"ContinuationToken": answer["NextContinuationToken"]}

    def copy(self, key: str, to: str) -> None:
        """See `ObjectStore.copy`."""
        before = self.head(key)
        if before is None:
            raise FileNotFoundError(key)
        self._run(self._copy, key, to)
        after = self.head(to)
        if after is None or after.size != before.size:
            raise StoreAwayError("the object store has not what it says that it has copied", remedy=_REMEDY)

    def delete(self, keys: Sequence[str]) -> None:
        """See `ObjectStore.delete`."""
        for start in range(0, len(keys), _PUTS_AT_ONCE):
            self._run(self._delete, keys[start : start + _PUTS_AT_ONCE])

    def remove_unfinished(self) -> int:
        """See `ObjectStore.remove_unfinished`."""
        before = datetime.now(UTC) - _UNFINISHED
        uploads = self._run(self._uploads).get("Uploads", ())
        old = [(one["Key"], one["UploadId"]) for one in uploads if one["Initiated"] < before]
        for key, upload in old:
            self._run(self._abort, key, upload)
        return len(old)

    def _has(self, key: str, body: memoryview, sha256: str) -> bool:
        """Whether this very object is there: one that was refused, since it came out otherwise, has our note, too."""
        there = self.head(key)
        if there is None or there.sha256 != sha256:
            return False
        return _fits(self._run(self._head, key), _sum_of(body))

    def probe(self) -> None:
        """See `ObjectStore.probe`."""
        self._run(self._list, "", {"MaxKeys": 1})

    def _put(self, key: str, body: memoryview, note: dict[str, str], condition: dict[str, str]) -> bool:
        seconds = self._access.seconds + len(body) / _SLOWEST
        if len(body) <= _MOST_WHOLE:
            whole = bytes(body)
            expected = _sum_of(body)
            self._run(self._put_whole, key, whole, expected.checksum, note, condition, seconds=seconds)
        else:
            expected = self._run(self._put_parts, key, body, note, condition, seconds=seconds)
        self._verify(key, expected)
        return True

    def _verify(self, key: str, expected: _Sum) -> None:
        """Look at what was put: its length, and its checksum where the server has one.

        Raises:
            StoreAwayError: it is not there, or not what was put.
        """
        try:
            answer = self._run(self._head, key)
        except FileNotFoundError:
            raise StoreAwayError("the object store has not what it says that it has", remedy=_REMEDY) from None
        if not _fits(answer, expected):
            raise StoreAwayError("the object store has something else than what was put", remedy=_REMEDY)

    async def _put_whole(
        self, key: str, whole: bytes, checksum: str, note: dict[str, str], condition: dict[str, str]
    ) -> None:
        client = await self._client()
        await client.put_object(**self._at(key), Body=whole, ChecksumSHA256=checksum, Metadata=note, **condition)

    async def _put_parts(self, key: str, body: memoryview, note: dict[str, str], condition: dict[str, str]) -> _Sum:
        client = await self._client()
        begun = await client.create_multipart_upload(**self._at(key), Metadata=note, ChecksumAlgorithm="SHA256")
        upload = begun["UploadId"]
        try:
            parts = []
            for number, start in enumerate(range(0, len(body), _PIECE), 1):
                piece, checksum = await asyncio.to_thread(_piece, body, start)
                put = await client.upload_part(
                    **self._at(key), UploadId=upload, PartNumber=number, Body=piece, ChecksumSHA256=checksum
                )
                parts.append({"PartNumber": number, "ETag": put["ETag"], "ChecksumSHA256": checksum})
            together = {"Parts": parts}
            await client.complete_multipart_upload(
                **self._at(key), UploadId=upload, MultipartUpload=together, **condition
            )
        except BaseException:
            with suppress(Exception):
                await asyncio.wait_for(self._abort(self._prefix + key, upload), _FAREWELL_SECONDS)
            raise
        return _of_parts(len(body), [part["ChecksumSHA256"] for part in parts])

    async def _client(self) -> Any:
        async with self._connecting:  # two that begin at once would make two, one of which nobody closes
            return await self._fs.set_session()

    async def _head(self, key: str) -> Any:
        client = await self._client()
        return await client.head_object(**self._at(key), ChecksumMode="ENABLED")

    async def _fetch(self, key: str, file: BinaryIO) -> None:
        client = await self._client()
        async with asyncio.timeout(self._access.seconds) as limit:
            answer = await client.get_object(**self._at(key))
            length = answer["ContentLength"]
            limit.reschedule(asyncio.get_running_loop().time() + self._access.seconds + length / _SLOWEST)
            async with answer["Body"] as body:
                while piece := await body.read(1 << 20):
                    _write(file, piece)
        if file.tell() != length:
            raise StoreAwayError("the object store sent less than the object's length", remedy=_REMEDY)

    async def _list(self, prefix: str, more: dict[str, Any]) -> Any:
        client = await self._client()
        return await client.list_objects_v2(Bucket=self._access.bucket, Prefix=self._prefix + prefix, **more)

    async def _copy(self, key: str, to: str) -> None:
        client = await self._client()
        await client.copy_object(**self._at(to), CopySource=self._at(key))

    async def _delete(self, keys: Sequence[str]) -> None:
        client = await self._client()
        await asyncio.gather(*(client.delete_object(**self._at(key)) for key in keys))

    async def _uploads(self) -> Any:
        client = await self._client()
        return await client.list_multipart_uploads(Bucket=self._access.bucket, Prefix=self._prefix)

    async def _abort(self, key: str, upload: str) -> None:
        client = await self._client()
        await client.abort_multipart_upload(Bucket=self._access.bucket, Key=key, UploadId=upload)

    def _at(self, key: str) -> dict[str, str]:
        return {"Bucket": self._access.bucket, "Key": self._prefix + key}

    def _run(self, action: Callable[..., Awaitable[Any]], *given: Any, seconds: float | None = None) -> Any:
        """What the loop's coroutine returns, its errors as ours; 0 seconds: it ends by itself."""
        limit = self._access.seconds if seconds is None else seconds
        try:
            return sync(self._fs.loop, action, *given, timeout=limit or None)
        except ClientError as error:
            raise _understood(error, asked_for_one=action in (self._head, self._fetch)) from error
        except FSTimeoutError as error:
            raise StoreAwayError("the object store did not answer in its time", remedy=_REMEDY) from error
        except (TriageError, _DiskError):
            raise
        except Exception as error:
            raise StoreAwayError(
                f"the object store cannot be reached ({type(error).__name__})", remedy=_REMEDY
            ) from error


@lru_cache(maxsize=1)
def _session() -> AioSession:
    """One a process: each reads botocore's descriptions of AWS anew."""
    return AioSession()


def _file_system(access: Access) -> Any:
    """The session's owner, one a store: s3fs would else share it with whoever asks with the same values."""
    client = {"endpoint_url": access.endpoint, "region_name": access.region, "verify": access.ca and str(access.ca)}
    return S3FileSystem(
        session=_session(),
        key=access.key or None,
        secret=access.secret or None,
        token=access.token or None,
        client_kwargs={name: value for name, value in client.items() if value},
        config_kwargs={
            "connect_timeout": _CONNECT_SECONDS,
            "read_timeout": access.seconds,
            "retries": {"mode": "standard", "total_max_attempts": 3},
            "max_pool_connections": 4 * _PUTS_AT_ONCE,
            "s3": {"addressing_style": "path" if access.endpoint else "auto"},
            # By default botocore writes checksums in trailers, which many servers do not understand; ours is a header.
            "request_checksum_calculation": "when_required",
            "response_checksum_validation": "when_required",
        },
        use_listings_cache=False,
        skip_instance_cache=True,
    )


def _fits(answer: Any, expected: _Sum) -> bool:
    """By length, and by the checksum where the server has one; of parts it ends with their number, or not."""
    said = answer.get("ChecksumSHA256")
    known = said is not None and answer.get("ChecksumType", expected.kind) == expected.kind
    return bool(answer["ContentLength"] == expected.size and (not known or said.partition("-")[0] == expected.checksum))


def _write(file: BinaryIO, piece: bytes) -> None:
    try:
        file.write(piece)
    except OSError as error:
        raise _DiskError(error.strerror or "it cannot be written") from error


def _understood(error: ClientError, *, asked_for_one: bool) -> Exception:
    """Ours; only who asked for one object may be told that it is not there."""
    code = str(error.response.get("Error", {}).get("Code", ""))
    if code in _MISSING and asked_for_one:
        return FileNotFoundError("no such object")
    if code in _THERE_ALREADY:
        return _ThereAlreadyError("the object store has such an object already", remedy=_REMEDY)
    if code in _NOT_KNOWN:
        return _ConditionNotKnownError("the object store does not know such a request", remedy=_REMEDY)
    said = code if _CODE.fullmatch(code) else "an error"
    return StoreAwayError(f"the object store answers {said}", remedy=_REMEDY)


def _sum_of(body: memoryview) -> _Sum:
    """What `put` makes of it."""
    if len(body) <= _MOST_WHOLE:
        return _Sum(len(body), _checksum(body))
    return _of_parts(len(body), [_piece(body, start)[1] for start in range(0, len(body), _PIECE)])


def _of_parts(size: int, checksums: Sequence[str]) -> _Sum:
    return _Sum(size, _checksum(b"".join(map(base64.b64decode, checksums))), "COMPOSITE")


def _piece(body: memoryview, start: int) -> tuple[bytes, str]:
    piece = bytes(body[start : start + _PIECE])
    return piece, _checksum(piece)


def _checksum(of: bytes | memoryview) -> str:
    return base64.b64encode(hashlib.sha256(of).digest()).decode()
