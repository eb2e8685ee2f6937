"""What keeps uploads, as the settings say it."""

from __future__ import annotations

from urllib.parse import urlsplit

from benchhost.errors import SettingsError
from benchhost.server.secrets import secret
from benchhost.settings import Settings
from benchhost.uploads import Bucket, Spool, Uploads
from benchhost.uploads.bucket import check_obstore_is_installed

UPLOADS, KEY = "uploads", "upload.key"
"""The folder of the uploads, and the file of what signs their URLs, in the state folder."""

MB = 1024 * 1024


def uploads_of(settings: Settings) -> Uploads | None:
    """Make what keeps uploads, or nothing if there are to be none.

    Raises :class:`~benchhost.errors.SettingsError` as :func:`check_uploads` does.
    """
    check_uploads(settings)
    if not settings.allow_uploads:
        return None
    if settings.upload_bucket is not None and settings.upload_region is not None:
        return Bucket(
            settings.upload_bucket,
            settings.upload_region,
            settings.upload_endpoint,
            largest=settings.max_upload_bytes,
        )
    return Spool(
        settings.state / UPLOADS,
        secret(settings.state / KEY),
        largest=settings.max_upload_bytes,
        per_tenant=settings.max_upload_mb_per_tenant * MB,
        kept=settings.keep_uploads,
    )


def check_uploads(settings: Settings) -> None:
    """Make sure that the settings about uploads go together.

    Raises :class:`~benchhost.errors.SettingsError`, also when what speaks S3 is wanted and not installed.
    """
    if settings.upload_bucket is not None and settings.upload_region is None:
        raise SettingsError(
            f"upload_bucket is {settings.upload_bucket!r}, and nothing says in which region it is: set AWS_REGION or "
            "upload_region"
        )
    if settings.upload_endpoint is not None and settings.upload_bucket is None:
        raise SettingsError("upload_endpoint says where a bucket is, and no upload_bucket is set")
    for name in ("upload_endpoint", "public_url"):
        url = getattr(settings, name)
        if url is not None and not _is_base(url):
            raise SettingsError(f"{name}: expected a URL such as https://bench.example.org, got {url!r}")
    if settings.upload_bucket is not None:
        check_obstore_is_installed()


def _is_base(url: str) -> bool:
    try:
        parts = urlsplit(url)
        sound = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    return sound and parts.username is None and not parts.query and not parts.fragment
