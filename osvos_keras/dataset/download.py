"""Download of DAVIS 2016: resumable, checked by SHA-256, and unpacked safely."""

import http.client
import re
import shutil
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import unquote, urlsplit

from tqdm import tqdm

from osvos_keras.davis import Davis
from osvos_keras.errors import DataError, FolderError, OsvosError
from osvos_keras.io.files import FULL, explain_unwritable, lock_folder, replace, sha256

DAVIS_2016_URL = "https://graphics.ethz.ch/Downloads/Data/Davis/DAVIS-data.zip"
TIMEOUT = 30  # seconds without a byte
BLOCK = 1 << 20  # bytes
LARGEST_RATIO = 100  # unpacked to packed size; photographs hardly shrink, so a higher ratio is no data set


def download_davis(folder: str | Path, url: str = DAVIS_2016_URL, checksum: str | None = None) -> Davis:
    """Download and unpack DAVIS 2016 into `folder`.

    A later call continues an interrupted download, and does not repeat a finished one. The archive is
    unpacked into a temporary folder, which is then renamed; so the data set is complete or absent.

    Args:
        folder: where the archive and the data set go; it is locked, so a second download cannot write there.
        url: the archive (.zip). Its top level, or the one folder on it, has DAVIS's layout.
        checksum: the archive's expected SHA-256, or None. The actual one is always printed.

    Returns:
        The data set, in `<folder>/DAVIS`.

    Raises:
        DataError: the download fails, the checksum is none or differs, or the archive does not hold DAVIS.
        FolderError: the folder cannot be written, or the disk is full.
    """
    name = _archive_name(url)
    expected = checksum if checksum is None else checksum.strip().lower()
    if expected is not None and not re.fullmatch("[0-9a-f]{64}", expected):
        raise DataError(f"the checksum {checksum!r} is no SHA-256, which has 64 digits, 0 to 9 and a to f.")
    with lock_folder(folder) as folder:
        target = folder / "DAVIS"
        if not target.exists():
            archive = folder / name
            if not archive.is_file():
                _download(url, archive)
            found = sha256(archive)
            print(f"{archive}: sha256 {found}")
            if expected not in (None, found):
                raise DataError(
                    f"{archive}: sha256 is {found}, expected {expected}. Delete the file and try again."
                )
            _unpack(archive, target)
    return Davis(target)


def _archive_name(url: str) -> str:
    """Check the address, and return the file name under which the archive is kept."""
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018  raises if it is not a port number
    except ValueError as error:
        raise DataError(f"{url}: not an address ({error}). Give --url https://…/DAVIS-data.zip.") from error
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise DataError(
            f"{url}: not an address that starts with http:// or https://. Give --url "
            "https://…/DAVIS-data.zip, or put an archive that you have into the folder --to, named "
            "DAVIS-data.zip."
        )
    name = re.sub(r"[^\w.-]", "_", Path(unquote(parts.path)).name)[-100:].lstrip(".") or "DAVIS-data"
    return name if name.lower().endswith(".zip") else f"{name}.zip"  # DAVIS is the data set's own folder


def _download(url: str, path: Path) -> None:
    """Fetch `url` to `path`, through a `.part` file with which a later call continues."""
    part = path.with_name(f"{path.name}.part")
    start = part.stat().st_size if part.exists() else 0
    try:
        request = urllib.request.Request(url, headers={"Range": f"bytes={start}-"} if start else {})
        with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
            if response.status == 206:
                _check_range(response.headers.get("Content-Range", ""), start, part)
            else:
                start = 0  # the server ignores the range and sends the whole file
            expected = None if response.length is None else response.length + start
            _check_room(path.parent, (expected or 0) - start, f"for {url}")
            with explain_unwritable(part, FULL):
                _receive(response, part, start, expected)
    except urllib.error.HTTPError as error:
        if not start or error.code != 416:
            raise _failed(url, error, part) from error
        _check_range(error.headers.get("Content-Range", ""), start, part)  # 416: the part is complete
    except OsvosError:
        raise
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise _failed(url, error, part) from error
    part.replace(path)


def _failed(url: str, error: Exception, part: Path) -> DataError:
    again = f"Run the same command again to go on from {part}" if part.exists() else "Try again"
    reason = " ".join(str(error).split())
    return DataError(
        f"{url}: the download failed ({type(error).__name__}: {reason}). {again}, give another --url, or "
        f"download the file with a browser and put it into {part.parent}."
    )


def _check_range(header: str, start: int, part: Path) -> None:
    """Refuse a Content-Range (`bytes START-END/ALL`, `bytes */ALL`) that does not continue `part`."""
    found = re.match(r"\s*bytes\s+(\*|\d+)", header)
    total = re.search(r"\*/(\d+)", header)
    if (found and found[1] not in ("*", str(start))) or (total and int(total[1]) != start):
        raise DataError(
            f"{part}: holds {start} bytes, but the server answers {header!r}: these are different files. "
            "Delete the file and run the same command again."
        )


def _receive(response: http.client.HTTPResponse, part: Path, start: int, expected: int | None) -> None:
    bar = {"total": expected, "initial": start, "desc": part.stem, "unit": "B", "unit_scale": True}
    with part.open("ab" if start else "wb") as file, tqdm.wrapattr(file, "write", **bar) as counted:
        shutil.copyfileobj(response, counted, BLOCK)
    size = part.stat().st_size
    if expected is not None and size != expected:
        raise DataError(f"{part}: {size} of {expected} bytes arrived. Run the same command again to go on.")


def _check_room(folder: Path, needed: int, purpose: str) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise FolderError(
            f"{folder}: {free:,} bytes are free, but {needed:,} are needed {purpose}. Make room, or "
            "choose another folder with --to."
        )


def _unpack(archive: Path, target: Path) -> None:
    """Unpack the archive and move its folder in DAVIS layout to `target`; a broken archive leaves nothing."""
    part = target.with_name("DAVIS.part")
    shutil.rmtree(part, ignore_errors=True)  # left by another archive or by a killed run
    part.mkdir()
    try:
        with explain_unwritable(target, FULL), zipfile.ZipFile(archive) as zipped:
            members = zipped.infolist()
            _check_members(archive, part, members)
            for member in tqdm(members, desc="unpack", unit="file"):
                zipped.extract(member, part)
        for found in (part, *sorted(part.iterdir())):
            if (found / "JPEGImages").is_dir():
                replace(found, target)
                return
    except OsvosError:
        raise
    except OSError as error:
        raise DataError(f"{archive}: its files cannot be unpacked ({error}). Check --url.") from error
    except Exception as error:  # a damaged archive raises exceptions of many kinds
        raise DataError(
            f"{archive}: not a whole zip archive ({error}). Delete it and run the same command again."
        ) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    raise DataError(f"{archive}: it has no folder JPEGImages, so it is not DAVIS. Check --url.")


def _check_members(archive: Path, part: Path, members: Iterable[zipfile.ZipInfo]) -> None:
    """Refuse an archive that is encrypted, writes outside its folder, or does not fit on the disk."""
    for member in members:
        inside = (part / member.filename).resolve().is_relative_to(part.resolve())
        is_link = (member.external_attr >> 16) & 0o170000 == 0o120000
        if not inside or is_link:
            raise DataError(
                f"{archive}: its entry {member.filename!r} points outside the archive. Do not use it."
            )
        if member.flag_bits & 1:
            raise DataError(f"{archive}: it is encrypted, but DAVIS is not. Check --url.")
    unpacked, packed = sum(member.file_size for member in members), archive.stat().st_size
    if unpacked > LARGEST_RATIO * packed:
        raise DataError(
            f"{archive}: its {packed:,} bytes would become {unpacked:,}, so it does not hold photographs. Do "
            "not use it; check --url."
        )
    _check_room(part.parent, unpacked, f"to unpack {archive.name}")
