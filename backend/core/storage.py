"""Object store: any S3, the embedded SeaweedFS included, through boto3.

Keys: images ``shops/{shop}/images/{sha256}.{ext}``, what jobs make ``shops/{shop}/jobs/{job}/{attempt}/{name}``,
checkpoints ``shops/{shop}/jobs/{job}/checkpoint/{name}``. Browsers read objects through ``/media/…`` with a signed,
expiring address, never from the store itself.
"""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from backend.core.config import Settings
from backend.core.errors import NotFound, StorageUnavailable
from backend.core.security import check_signature, sign

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client

IMMUTABLE = "private, max-age=31536000, immutable"
"""Cache-Control of objects whose key changes whenever their bytes do, which is all of ours."""

_DAY = 86_400
_CHUNK = 256 * 1024
_DELETE_AT_ONCE = 1000
_MISSING = {"404", "NoSuchKey", "NotFound"}


@dataclass(frozen=True)
class ObjectInfo:
    """What the store knows of an object: bytes, entity tag with its quotes, media type."""

    size: int
    etag: str
    content_type: str


@dataclass(frozen=True)
class PresignedPost:
    """An upload that a browser may send by itself: a form to `url` with `fields`, then the file as `file`."""

    url: str
    fields: dict[str, str]


class ObjectStore:
    """A bucket. Safe to share between threads.

    Raises:
        StorageUnavailable: from every method, when the store does not answer or refuses us.
        NotFound: from `get`, `stream` and `download`, when there is no such object.
    """

    def __init__(self, settings: Settings) -> None:
        self.bucket = settings.s3_bucket
        self._client = _client(settings, settings.s3_endpoint)
        # A presigned address is signed for the host that the browser will use.
        public = settings.s3_public_endpoint
        self._signer = _client(settings, public) if public else self._client

    def ensure_bucket(self) -> None:
        """Create the bucket when it is missing."""
        with _translated():
            try:
                self._client.head_bucket(Bucket=self.bucket)
            except ClientError as error:
                if _code(error) not in _MISSING | {"NoSuchBucket"}:
                    raise
                self._client.create_bucket(Bucket=self.bucket)

    def put(self, key: str, data: bytes, content_type: str, cache: str = IMMUTABLE) -> None:
        """Write an object, replacing one of the same key."""
        with _translated():
            self._client.put_object(
                Bucket=self.bucket, Key=key, Body=data, ContentType=content_type, CacheControl=cache
            )

    def put_file(self, key: str, path: Path, content_type: str, cache: str = IMMUTABLE) -> None:
        """Write an object from a file, in parts when it is large."""
        with _translated():
            self._client.upload_file(
                str(path), self.bucket, key, ExtraArgs={"ContentType": content_type, "CacheControl": cache}
            )

    def get(self, key: str) -> bytes:
        """Return a whole object."""
        with _translated():
            return self._client.get_object(Bucket=self.bucket, Key=key)["Body"].read()

    def stream(self, key: str, start: int | None = None, end: int | None = None) -> Iterator[bytes]:
        """Yield an object in chunks, or its bytes `start` to `end`, both included.

        The object is opened at once, so a missing one is reported before the first byte.
        """
        extra: dict[str, Any] = {}
        if start is not None:
            extra["Range"] = f"bytes={start}-{'' if end is None else end}"
        with _translated():
            body = self._client.get_object(Bucket=self.bucket, Key=key, **extra)["Body"]

        def chunks() -> Iterator[bytes]:
            try:
                with _translated():
                    yield from body.iter_chunks(_CHUNK)
            finally:
                body.close()

        return chunks()

    def download(self, key: str, path: Path) -> None:
        """Write an object to a file; the file appears only once it is complete."""
        draft = path.with_name(f".{path.name}.part")
        with _translated():
            self._client.download_file(self.bucket, key, str(draft))
        draft.replace(path)

    def head(self, key: str) -> ObjectInfo | None:
        """Return what is known of an object, None when there is none."""
        with _translated():
            try:
                found = self._client.head_object(Bucket=self.bucket, Key=key)
            except ClientError as error:
                if _code(error) in _MISSING:
                    return None
                raise
        return ObjectInfo(found["ContentLength"], found["ETag"], found.get("ContentType", "application/octet-stream"))

    def exists(self, key: str) -> bool:
        """Whether there is such an object."""
        return self.head(key) is not None

    def list(self, prefix: str) -> Iterator[str]:
        """Yield the keys that start with `prefix`, in order."""
        with _translated():
            for page in self._client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix):
                for item in page.get("Contents", []):
                    yield item["Key"]

    def size(self, prefix: str) -> int:
        """Return the bytes under a prefix."""
        with _translated():
            pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix)
            return sum(item["Size"] for page in pages for item in page.get("Contents", []))

    def delete(self, keys: Iterable[str]) -> None:
        """Delete objects; one that is already gone is fine."""
        remaining = list(keys)
        while remaining:
            batch, remaining = remaining[:_DELETE_AT_ONCE], remaining[_DELETE_AT_ONCE:]
            with _translated():
                answer = self._client.delete_objects(
                    Bucket=self.bucket, Delete={"Objects": [{"Key": key} for key in batch], "Quiet": True}
                )
            if failed := [item for item in answer.get("Errors", []) if item.get("Code") not in _MISSING]:
                raise StorageUnavailable(f"{len(failed)} objects could not be deleted; they will be tried again.")

    def presigned_get(self, key: str, seconds: int, filename: str | None = None) -> str:
        """Return an address from which anyone may read the object for a while; a browser saves it as `filename`."""
        params: dict[str, Any] = {"Bucket": self.bucket, "Key": key}
        if filename:
            params["ResponseContentDisposition"] = f"attachment; filename*=UTF-8''{quote(filename)}"
        with _translated():
            return self._signer.generate_presigned_url("get_object", Params=params, ExpiresIn=seconds)

    def presigned_post(self, key: str, max_bytes: int, content_type: str, seconds: int) -> PresignedPost:
        """Return an upload, of 1 to `max_bytes` bytes and one media type, that a browser may send by itself."""
        with _translated():
            post = self._signer.generate_presigned_post(
                self.bucket,
                key,
                Fields={"Content-Type": content_type},
                Conditions=[["content-length-range", 1, max_bytes], {"Content-Type": content_type}],
                ExpiresIn=seconds,
            )
        return PresignedPost(post["url"], post["fields"])

    def check(self) -> None:
        """Raise StorageUnavailable when the bucket cannot be reached."""
        with _translated():
            self._client.head_bucket(Bucket=self.bucket)


def media_url(key: str, settings: Settings, *, now: float | None = None) -> str:
    """Return the address under which browsers may read an object for one to two days.

    The expiry is the end of a whole day, so the address, and with it the browser's cache, stays the same all day.
    """
    expiry = (int(time.time() if now is None else now) // _DAY + 2) * _DAY
    query = urlencode({"e": expiry, "s": sign(f"media:{expiry}:{key}", settings)})
    return f"/media/{quote(key)}?{query}"


def check_media_signature(
    key: str, expiry: int, signature: str, settings: Settings, *, now: float | None = None
) -> bool:
    """Whether a media address (its `e` and `s`) was made by us for this key and has not expired."""
    current = time.time() if now is None else now
    return current < expiry and check_signature(f"media:{expiry}:{key}", signature, settings)


def _client(settings: Settings, endpoint: str) -> "S3Client":
    session = boto3.session.Session()
    return session.client(
        "s3",
        endpoint_url=endpoint or None,
        region_name=settings.s3_region,
        # Empty keys leave the choice to boto3: instance roles, profiles.
        aws_access_key_id=settings.s3_access_key or None,
        aws_secret_access_key=settings.s3_secret_key or None,
        config=Config(
            signature_version="s3v4",
            s3={"addressing_style": "path"},
            connect_timeout=3,
            read_timeout=30,
            retries={"mode": "standard", "total_max_attempts": 3},
            max_pool_connections=32,
            # Not every S3 knows the checksums that boto3 adds unasked since 1.36.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


@contextmanager
def _translated() -> Iterator[None]:
    """Turn boto3's errors into ours."""
    try:
        yield
    except ClientError as error:
        if _code(error) in _MISSING:
            raise NotFound("This file is not there any more.") from error
        raise StorageUnavailable from error
    except (BotoCoreError, OSError) as error:
        raise StorageUnavailable from error
