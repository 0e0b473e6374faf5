"""Networks that others have trained and that metrics and recipes need: which they are, and how they come to be here.

They are in no package. Each is kept as it was published, in the user's cache directory, and used only when it is whole:
it is held to the hash that is published, and, where that is no sha256, to that of the first copy taken on this machine.
"""

import hashlib
import json
import re
import shutil
import stat
import tarfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from email.message import Message
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import NamedTuple
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import platformdirs
from filelock import FileLock, Timeout

from kcolor import __version__, files
from kcolor.errors import DataError

# The member of the archive that holds the network of the FID.
INCEPTION_MEMBER = "classify_image_graph_def.pb"
# A tensor that the safetensors file of a VGG has.
VGG_MEMBER = "features.0.weight"
# Layers that Keras' file of a VGG-16 with its classes has, the first and the last.
KERAS_VGG_MEMBERS = ("block1_conv1", "predictions")
# What every HDF5 file begins with.
_HDF5 = b"\x89HDF\r\n\x1a\n"

TIMEOUT = 30.0  # seconds that a server may say nothing
BLOCK = 1 << 18
LONGEST_HEADER = 100_000_000  # bytes; safetensors allows no longer one
OFF_LINE = "or take the file from elsewhere with `kcolor weights add FILE`"


@dataclass(frozen=True)
class Weights:
    """A file of weights that has been published.

    Args:
        name: What it is called here.
        file: The name it is kept under. An ending ``.tgz``, ``.safetensors`` or ``.h5`` also says how it is made up.
        url: Where it is published.
        bytes: Its size, if that is known.
        sha256: Its hash in hexadecimal digits, if one is published.
        licence: SPDX identifier of the licence it is under.
        about: What it is, in a line.
        needed_for: What is done with it.
        md5: Its MD5, if that is the hash that is published. It tells a damaged file; for one that was made to deceive
            there is the sha256 of the first copy.
    """

    name: str
    file: str
    url: str
    bytes: int | None
    sha256: str | None
    licence: str
    about: str
    needed_for: str
    md5: str | None = None


CATALOGUE = {
    weights.name: weights
    for weights in (
        Weights(
            name="inception",
            file="inception-2015-12-05.tgz",
            url="http://download.tensorflow.org/models/image/imagenet/inception-2015-12-05.tgz",
            # As the script that it came with reported it to everyone who ran it; a hash has not been published.
            bytes=88_931_400,
            sha256=None,
            licence="Apache-2.0",
            about="the Inception of December 2015 whose features are those of the FID; 89 MB",
            needed_for="FID",
        ),
        Weights(
            name="vgg16",
            file="vgg16.tv_in1k.safetensors",
            url="https://huggingface.co/timm/vgg16.tv_in1k/resolve/main/model.safetensors",
            bytes=None,
            sha256="57b026918159a6bf9faf8405c3a551903768e7138989d9c6224a14227203fad8",
            licence="BSD-3-Clause",
            about="VGG16 with torchvision's weights, the trunk of LPIPS; about 553 MB",
            needed_for="LPIPS",
        ),
        Weights(
            name="vgg16-imagenet",
            file="vgg16_weights_tf_dim_ordering_tf_kernels.h5",
            url="https://storage.googleapis.com/tensorflow/keras-applications/vgg16/"
            "vgg16_weights_tf_dim_ordering_tf_kernels.h5",
            bytes=None,
            sha256=None,
            licence="CC-BY-4.0",
            about="VGG-16 with ImageNet's 1000 classes, by its authors, as keras.applications has it; about 553 MB",
            needed_for="the recipe chromagan, and any with classification.target = teacher",
            md5="64373286793e3c8b2b4e3219cbf3544b",
        ),
    )
}


class Taken(NamedTuple):
    """A file that is here.

    Attributes:
        weights: Which it is.
        path: Where it lies.
        note: What the user should know of it, in a line; None if there is nothing.
    """

    weights: Weights
    path: Path
    note: str | None


class _MismatchError(DataError):
    """A file is not the one it should be."""


class _Record(NamedTuple):
    """What was found out of a file when it was last hashed."""

    sha256: str
    bytes: int
    mtime_ns: int


def folder() -> Path:
    """Where the files are kept, in the user's cache directory; it need not exist."""
    return platformdirs.user_cache_path("kcolor") / "weights"


def path_of(weights: Weights, folder: Path | None = None) -> Path:
    """Where the file is kept, whether it is there or not; `folder()` if no folder is named."""
    return (_default() if folder is None else folder) / weights.file


# The functions below have an argument of the name of this one.
_default = folder


def status(weights: Weights, folder: Path | None = None) -> str:
    """What is here of it: ``absent``, ``here``, ``damaged`` or ``partly here: <n> bytes``.

    A file is hashed once; after that its size and the time of its last change are enough, as long as they stay.

    Raises:
        DataError: It cannot be read.
    """
    path = path_of(weights, folder)
    if _exists(path):
        return "here" if _is_whole(weights, path) else "damaged"
    held = _size(_part(path))
    return f"partly here: {held} bytes" if held else "absent"


def find(weights: Weights, folder: Path | None = None) -> Path | None:
    """The path of the file if it is here and whole, else None.

    Raises:
        DataError: It cannot be read.
    """
    path = path_of(weights, folder)
    return path if _exists(path) and _is_whole(weights, path) else None


def sha256_of(path: Path) -> str:
    """The sha256 of a file, in hexadecimal digits.

    Raises:
        DataError: It cannot be read.
    """
    return _digest(path, "sha256")


def _digest(path: Path, kind: str) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, kind).hexdigest()
    except OSError as error:
        raise _unreadable(path, error) from error


def fetch(
    weights: Weights,
    folder: Path | None = None,
    *,
    url: str | None = None,
    on_progress: Callable[[int, int | None], None] | None = None,
) -> Taken:
    """Download the file, going on where an earlier download broke off; nothing is done if it is here and whole.

    Until it is whole and its hash is right, what has come is kept beside it as ``<file>.part``.

    Args:
        weights: What to fetch.
        folder: Where to; `folder()` if None.
        url: Where from, http or https; where it is published if None.
        on_progress: Called with the bytes that are here and those of the whole, None if the server does not say.

    Raises:
        DataError: The server cannot be reached, does not have it, breaks off, or has something else; it cannot be
            written; another process is fetching it.
    """
    path = path_of(weights, folder)
    url = weights.url if url is None else url
    if not url.lower().startswith(("http://", "https://")):
        raise DataError(f"{url}: not an address to fetch from: give one that begins with http:// or https://")
    if find(weights, folder):
        return Taken(weights, path, None)
    with _locked(weights, path):
        if find(weights, folder):  # another process was quicker
            return Taken(weights, path, None)
        part = _part(path)
        try:
            _download(weights, path, url, on_progress)
            try:
                sha256, note = _verify(weights, path, part, url)
            except _MismatchError:
                _forget(part)
                raise
            _write_record(path, part, sha256)
            part.replace(path)
            _forget(part)
        except OSError as error:
            raise DataError(f"{part}: cannot be written: {_reason(error)}; mend that, and run it again") from error
    return Taken(weights, path, note)


def add(file: Path, weights: Weights | None = None, folder: Path | None = None) -> Taken:
    """Take a copy of a file that was fetched elsewhere; the file itself stays as it is.

    Args:
        file: The file as it was published, under any name.
        weights: What it is; if None, the entry of `CATALOGUE` that is made up like it.
        folder: Where to; `folder()` if None.

    Raises:
        DataError: It cannot be read, is something else, or is damaged; its copy cannot be written; another process is
            fetching the same. What was here stays.
    """
    made_up = _structure(file)
    if weights is None:
        alike = [entry for entry in CATALOGUE.values() if Path(entry.file).suffix == made_up]
        if len(alike) != 1:
            known = " or ".join(f"{entry.file} ({entry.name})" for entry in CATALOGUE.values())
            raise DataError(f"{file}: none of the files that kcolor needs; give it {known}, as published")
        weights = alike[0]
    path = path_of(weights, folder)
    # Before half a gigabyte is copied for nothing.
    _verify_structure(weights, file, str(file), made_up)
    _verify_size(weights, _size(file), str(file))
    with _locked(weights, path):
        try:
            with files.replacing(path) as copy:
                shutil.copyfile(file, copy)
                sha256, note = _verify(weights, path, copy, str(file))
                _write_record(path, copy, sha256)
            _forget(_part(path))
        except OSError as error:
            raise DataError(
                f"{file}: cannot be copied to {path}: {_reason(error)}; mend that, and add it again"
            ) from error
    return Taken(weights, path, note)


def _exists(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise _unreadable(path, error) from error


def _size(path: Path) -> int:
    """The bytes of a file, 0 if there is none."""
    return path.stat().st_size if _exists(path) else 0


def _part(path: Path) -> Path:
    return path.with_name(f"{path.name}.part")


def _validator(part: Path) -> Path:
    """What the server said by which its file can be told from a later one, for ``If-Range``."""
    return part.with_name(f"{part.name}.validator")


def _forget(part: Path) -> None:
    # The validator last: without it, a part is not gone on with.
    for path in (part, _validator(part)):
        path.unlink(missing_ok=True)


def _record(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


def _read_record(path: Path) -> _Record | None:
    record = _record(path)
    try:
        found = json.loads(record.read_text(encoding="utf-8"))
        return _Record(str(found["sha256"]), int(found["bytes"]), int(found["mtime_ns"]))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise _unreadable(record, error) from error
    except (ValueError, KeyError, TypeError) as error:
        # Not passed over: it may hold the only hash there is to go by.
        raise DataError(
            f"{record}: not a record of kcolor's; remove it, and the next copy counts as the first"
        ) from error


def _write_record(path: Path, file: Path, sha256: str) -> None:
    """Record the hash of what lies at `file` and is, or will be, moved to `path`."""
    found = file.stat()
    record = _Record(sha256, found.st_size, found.st_mtime_ns)
    files.write_text(_record(path), json.dumps(record._asdict(), indent=2) + "\n")


def _is_whole(weights: Weights, path: Path) -> bool:
    try:
        found = path.stat()
    except OSError as error:
        raise _unreadable(path, error) from error
    record = _read_record(path)
    expected = weights.sha256 or (record.sha256 if record else None)
    if record == (expected, found.st_size, found.st_mtime_ns):
        return True
    try:
        sha256, _ = _verify(weights, path, path, str(path))
    except _MismatchError:
        return False
    # In a folder that cannot be written to it is merely hashed anew each time.
    with suppress(DataError, OSError):
        _write_record(path, path, sha256)
    return True


def _verify(weights: Weights, path: Path, file: Path, source: str) -> tuple[str, str | None]:
    """Hold `file`, which is to lie at `path`, to all that is known of it; its sha256, and what the user should know."""
    _verify_size(weights, _size(file), source)
    record = _read_record(path)
    found = sha256_of(file)
    if weights.md5 and (md5 := _digest(file, "md5")) != weights.md5:
        raise _MismatchError(
            f"{source}: not {weights.file} as published, or damaged: its MD5 is {md5}, not {weights.md5}; "
            f"fetch it again, {OFF_LINE}"
        )
    if weights.sha256:
        if found != weights.sha256:
            raise _MismatchError(
                f"{source}: not {weights.file} as published, or damaged: its sha256 is {found}, not {weights.sha256}; "
                f"fetch it again, {OFF_LINE}"
            )
        return found, None
    if record:
        if found != record.sha256:
            raise _MismatchError(
                f"{source}: its sha256 is {found}, that of the first {weights.file} taken here was {record.sha256}; "
                f"fetch it again, or remove {_record(path)} if this is the one to trust"
            )
        return found, None
    _verify_structure(weights, file, source, _structure(file))
    if weights.md5:
        return found, None
    note = f"no hash of {weights.file} is published; {found} of this first copy is recorded, to hold later ones to it"
    return found, note


def _verify_size(weights: Weights, size: int, source: str) -> None:
    if weights.bytes not in (None, size):
        raise _MismatchError(
            f"{source}: {size} bytes, while {weights.file} has {weights.bytes}: cut off, or another file; "
            f"fetch it again, {OFF_LINE}"
        )


def _verify_structure(weights: Weights, file: Path, source: str, made_up: str | None) -> None:
    kinds = {
        ".tgz": f"a .tgz with {INCEPTION_MEMBER} in it",
        ".safetensors": f"a safetensors file with {VGG_MEMBER}",
        ".h5": f"an HDF5 file with the layers from {' to '.join(KERAS_VGG_MEMBERS)}",
    }
    wanted = Path(weights.file).suffix
    if wanted in kinds and wanted != made_up:
        raise _MismatchError(f"{source}: not {weights.file}, which is {kinds[wanted]}; give it that file, as published")


def _structure(file: Path) -> str | None:
    """How a file is made up, whatever it is called: ``.tgz``, ``.safetensors``, ``.h5``, or None for other things.

    An archive is read to its end, so that one that is cut off is not taken for a whole one.

    Raises:
        DataError: It cannot be read.
    """
    try:
        with file.open("rb") as opened:
            start = opened.read(8)
            length = int.from_bytes(start, "little")
            header = opened.read(length) if len(start) == 8 and length <= LONGEST_HEADER else b""
        if start == _HDF5:
            return ".h5" if _has_layers(file) else None
        if header[:1] == b"{" and VGG_MEMBER in json.loads(header):
            return ".safetensors"
    except OSError as error:
        raise _unreadable(file, error) from error
    except (ValueError, RecursionError):
        return None
    # Errors of zlib are not OSError, and those of gzip and tarfile are.
    with suppress(tarfile.TarError, EOFError, zlib.error, OSError), tarfile.open(file, "r:gz") as archive:
        if INCEPTION_MEMBER in [Path(name).name for name in archive.getnames()]:
            return ".tgz"
    return None


def _has_layers(file: Path) -> bool:
    import h5py  # here, as what only lists these files has no need of it

    try:
        with h5py.File(file) as opened:
            return set(KERAS_VGG_MEMBERS) <= set(opened)
    except OSError:  # cut off
        return False


@contextmanager
def _locked(weights: Weights, path: Path) -> Iterator[None]:
    """Keep other processes from writing the same file; the lock goes with the process, however it ends."""
    lock = FileLock(path.with_name(f"{path.name}.lock"), timeout=0)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout as error:
        raise DataError(f"{weights.name}: another process is fetching {path}; wait for it, or stop it") from error
    except OSError as error:
        raise DataError(f"{path.parent}: cannot be written: {_reason(error)}; mend that, and run it again") from error
    try:
        yield
    finally:
        lock.release()


def _download(weights: Weights, path: Path, url: str, on_progress: Callable[[int, int | None], None] | None) -> None:
    """Bring the whole file to ``<file>.part``.

    By hand, since neither `keras.utils.get_file` nor pooch goes on with a download that broke off, and one of the files
    is half a gigabyte.

    Raises:
        DataError: It did not come, or not as a whole; what did come is kept.
        OSError: It cannot be written.
    """
    part = _part(path)
    done, validator = _size(part), _read_validator(part)
    if done and done == weights.bytes:  # stopped between the last byte and the check
        return
    if not validator and not (weights.sha256 or _read_record(path)):
        done = 0  # nothing would tell if the file has changed since, and two halves of two files were joined
    response, start, total = _ask(weights, url, done, validator)
    if response is None:
        return
    with response:
        if total is not None:
            _verify_size(weights, total, url)
        with part.open("ab" if start else "wb") as file:
            # After the part was emptied and before anything is in it, so that it never tells of another one.
            files.write_text(_validator(part), _validator_of(response.headers))
            done = start
            while True:
                if on_progress:
                    on_progress(done, total)
                try:
                    block = response.read1(BLOCK)
                except (OSError, HTTPException) as error:
                    raise _broken_off(weights, url, done, total, _reason(error)) from error
                if not block:
                    break
                file.write(block)
                done += len(block)
    expected = weights.bytes if total is None else total
    if expected is not None and done < expected:
        raise _broken_off(weights, url, done, expected, "the connection was closed")


def _ask(weights: Weights, url: str, done: int, validator: str) -> tuple[HTTPResponse | None, int, int | None]:
    """Ask a server for all but the first `done` bytes.

    Returns:
        Its answer, None if there is nothing more to come; the number of the first byte in it, `done` or 0; the bytes of
        the whole file, if it says so.
    """
    headers = {"User-Agent": f"kcolor/{__version__}", "Accept-Encoding": "identity"}
    if done:
        headers["Range"] = f"bytes={done}-"
        if validator:
            headers["If-Range"] = validator  # if the file has changed since, all of it is sent
    kept = f"; the {done} bytes that are here are kept" if done else ""
    try:
        response = urlopen(Request(url, headers=headers), timeout=TIMEOUT)
    except HTTPError as error:
        with error:
            if error.code == 416 and done:
                if _range_of(error.headers)[1] == done:
                    return None, done, done
                return _ask(weights, url, 0, "")
            answer = f"{error.code} {error.reason}".strip()
        raise DataError(f"{weights.name}: {url} answers {answer}{kept}; try again later, {OFF_LINE}") from error
    except (OSError, HTTPException, ValueError) as error:  # ValueError: an address that is none
        raise DataError(
            f"{weights.name}: {url} cannot be reached: {_reason(error)}{kept}; try again on line, {OFF_LINE}"
        ) from error
    length = response.headers.get("Content-Length", "")
    if response.status == 200:
        return response, 0, int(length) if length.isdecimal() else None
    start, total = _range_of(response.headers)
    if response.status == 206 and done and start == done:
        return response, done, total
    response.close()
    if done:
        return _ask(weights, url, 0, "")
    raise DataError(f"{weights.name}: {url} answers {response.status}, not with the file; try again later, {OFF_LINE}")


def _range_of(headers: Message) -> tuple[int | None, int | None]:
    """The first byte and the bytes of the whole, of a header ``Content-Range``; None for what it does not say."""
    found = re.fullmatch(r"bytes (?:(\d+)-\d+|\*)/(?:(\d+)|\*)", headers.get("Content-Range", "").strip())
    start, total = found.groups() if found else (None, None)
    return (int(start) if start else None), (int(total) if total else None)


def _validator_of(headers: Message) -> str:
    tag = headers.get("ETag", "")
    # RFC 9110, section 13.1.5: a weak one does not say that the bytes are the same.
    return headers.get("Last-Modified", "") if not tag or tag.startswith("W/") else tag


def _read_validator(part: Path) -> str:
    try:
        return " ".join(_validator(part).read_text(encoding="utf-8").split())
    except (OSError, ValueError):
        return ""


def _broken_off(weights: Weights, url: str, done: int, total: int | None, reason: str) -> DataError:
    of = "" if total is None else f" of {total}"
    return DataError(
        f"{weights.name}: the download from {url} broke off ({reason}); {done}{of} bytes are here: "
        f"run it again to go on, {OFF_LINE}"
    )


def _unreadable(path: Path, error: OSError) -> DataError:
    return DataError(f"{path}: cannot be read: {_reason(error)}; mend that, and run it again")


def _reason(error: BaseException) -> str:
    """What happened, in a line."""
    reason = getattr(error, "reason", error)  # urllib wraps what it met with
    return " ".join(str(getattr(reason, "strerror", None) or reason).split()) or type(reason).__name__
