"""Fetching DAVIS 2016: resumable, checked, unpacked safely."""

import urllib.error
import urllib.request
import zipfile
from pathlib import Path

from tqdm import tqdm

from osvos_keras.davis import Davis
from osvos_keras.errors import DataError
from osvos_keras.files import make_folder, sha256

DAVIS_2016_URL = "https://graphics.ethz.ch/Downloads/Data/Davis/DAVIS-data.zip"
TIMEOUT = 30  # seconds without a byte
BLOCK = 1 << 20


def download_davis(folder: str | Path, url: str = DAVIS_2016_URL, checksum: str | None = None) -> Davis:
    """Download and unpack DAVIS 2016 into `folder`.

    A broken download goes on where it stopped; a finished one is not repeated. The archive is
    unpacked beside its place and renamed, so the data set is there whole or not at all.

    Args:
        folder: where the archive and the data set go.
        url: the archive (.zip) whose one top folder, or whose top, has DAVIS's layout.
        checksum: the archive's SHA-256, if known; it is printed either way.

    Raises:
        DataError: the download fails, the checksum differs, or the archive is no DAVIS.
    """
    folder = make_folder(folder)
    target = folder / "DAVIS"
    if target.is_dir():
        return Davis(target)
    archive = folder / Path(url).name
    if not archive.is_file():
        _download(url, archive)
    found = sha256(archive)
    print(f"{archive}: sha256 {found}")
    if checksum and found != checksum.lower():
        raise DataError(f"{archive}: sha256 is {found}, expected {checksum}. Delete the file and try again.")
    _unpack(archive, folder / "DAVIS.part").rename(target)
    return Davis(target)


def _download(url: str, path: Path) -> None:
    """Fetch `url` to `path`, through a `.part` file that a later call goes on from."""
    part = path.with_name(f"{path.name}.part")
    start = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={start}-"} if start else {})
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
            resumed = response.status == 206
            expected = int(response.headers.get("Content-Length", 0)) + (start if resumed else 0)
            with (
                part.open("ab" if resumed else "wb") as file,
                tqdm(
                    desc=path.name,
                    total=expected or None,
                    initial=start if resumed else 0,
                    unit="B",
                    unit_scale=True,
                ) as bar,
            ):
                while block := response.read(BLOCK):
                    file.write(block)
                    bar.update(len(block))
    except (urllib.error.URLError, OSError) as error:
        if start and getattr(error, "code", None) == 416:  # nothing is left to fetch
            part.replace(path)
            return
        raise DataError(
            f"{url}: the download failed ({error}). Run the same command again to go on from {part}, give "
            "another --url, or download the file with a browser and place it there."
        ) from error
    if expected and part.stat().st_size != expected:
        raise DataError(
            f"{part}: {part.stat().st_size} of {expected} bytes arrived. Run the same command again to go on."
        )
    part.replace(path)


def _unpack(archive: Path, part: Path) -> Path:
    """Unpack into `part`; return the folder in it that has DAVIS's layout."""
    try:
        with zipfile.ZipFile(archive) as zipped:
            for member in zipped.infolist():
                _check_member(archive, part, member)
            for member in tqdm(zipped.infolist(), desc="unpack", unit="file"):
                zipped.extract(member, part)
    except zipfile.BadZipFile as error:
        raise DataError(f"{archive}: not a whole zip archive ({error}). Delete it and try again.") from error
    for found in (part, *sorted(part.iterdir())):
        if (found / "JPEGImages").is_dir():
            return found
    raise DataError(f"{archive}: no folder JPEGImages in it, so it is not DAVIS. Check --url.")


def _check_member(archive: Path, part: Path, member: zipfile.ZipInfo) -> None:
    """No file of an archive may land outside the folder it is unpacked into."""
    inside = (part / member.filename).resolve().is_relative_to(part.resolve())
    is_link = (member.external_attr >> 16) & 0o170000 == 0o120000
    if not inside or is_link:
        raise DataError(
            f"{archive}: its entry {member.filename!r} points outside the archive. Do not use it."
        )
