"""Downloads: a file that arrives whole and with the right checksum, or not at all."""

import contextlib
import hashlib
import http.client
import os
import secrets
import urllib.error
import urllib.request
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import BinaryIO

from tqdm import tqdm

from ..errors import DataError

__all__ = ["download"]

TIMEOUT = 30  # seconds without a byte
CHUNK = 2**16
MAX_BYTES = 2**26  # of a file: a server that never ends must not fill the disk


class _BrokenDownloadError(Exception):
    """What a server did wrong, so that the next one may be tried."""


def download(urls: Sequence[str], path: Path, sha256: str) -> None:
    """Put what the first of ``urls`` that works sends at ``path``, if it has this checksum.

    The directory is made. ``path`` appears in one step, whole; other files are left in no case, not even after Ctrl-C.
    Shows a progress bar in a terminal.

    Raises DataError that says why no server helped, or what the disk refused.
    """
    partial = path.with_name(f".{path.name}.{secrets.token_hex(8)}.part")
    failures = []
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for url in urls:
            try:
                with partial.open("wb") as file:
                    _receive(url, file, path.name, sha256)
            except _BrokenDownloadError as failure:
                failures.append(f"{url}: {failure}")
            else:
                os.replace(partial, path)
                return
    except OSError as error:  # of the disk: those of the network are _BrokenDownloadError by now
        raise DataError(
            f"{path} could not be stored: {error.strerror or error}. Make room for it there, set MINIDL_DATA to "
            "another directory, or pass folder= with files that you have."
        ) from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink()
    raise DataError(
        f"{path.name} could not be downloaded: {'; '.join(failures)}. Try again later, or get the file elsewhere and "
        "pass folder= with the directory that holds it."
    )


def _receive(url: str, file: BinaryIO, name: str, sha256: str) -> None:
    """Copy what ``url`` sends into ``file``. Raises _BrokenDownloadError, or OSError where writing fails."""
    digest = hashlib.sha256()
    with contextlib.closing(_chunks(url, name)) as chunks:
        for chunk in chunks:
            digest.update(chunk)
            file.write(chunk)
    if digest.hexdigest() != sha256:
        raise _BrokenDownloadError(f"the SHA-256 checksum is {digest.hexdigest()}, expected {sha256}")


def _chunks(url: str, name: str) -> Generator[bytes, None, None]:
    """Yield what ``url`` sends. Raises _BrokenDownloadError for all that can go wrong in the network."""
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT) as response:
            yield from _body(response, name)
    except urllib.error.HTTPError as error:
        error.close()
        raise _BrokenDownloadError(f"the server answered {error.code} ({error.reason})") from error
    except urllib.error.URLError as error:
        raise _BrokenDownloadError(f"no connection ({error.reason})") from error
    except TimeoutError as error:
        raise _BrokenDownloadError(f"nothing came for {TIMEOUT} seconds") from error
    except (OSError, http.client.HTTPException) as error:
        raise _BrokenDownloadError(f"the connection broke ({error or type(error).__name__})") from error


def _body(response: http.client.HTTPResponse, name: str) -> Generator[bytes, None, None]:
    total = response.length
    received = 0
    # disable=None: no bar where the output is not a terminal
    with tqdm(total=total, unit="B", unit_scale=True, desc=name, disable=None) as bar:
        while chunk := response.read(CHUNK):
            received += len(chunk)
            if received > MAX_BYTES:
                raise _BrokenDownloadError(f"more than {MAX_BYTES} bytes came")
            bar.update(len(chunk))
            yield chunk
    if total is not None and received < total:
        raise _BrokenDownloadError(f"the connection ended after {received} of {total} bytes")
