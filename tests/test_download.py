"""Downloading DAVIS, from a server on this machine: progress, resume, checksum, safe unpacking."""

import functools
import hashlib
import http.server
import threading
import zipfile

import numpy as np
import pytest

from osvos_keras.dataset.download import download_davis
from osvos_keras.errors import DataError, FolderError
from osvos_keras.io.files import lock_folder
from tests.conftest import call


def send(handler, status, content=b"", **headers):
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(content)


class Ranges(http.server.SimpleHTTPRequestHandler):
    """Serves files, and the rest of a file where a range is asked for; `cut` ends answers early."""

    cut = None

    def do_GET(self):
        content = (self.server.folder / self.path.lstrip("/")).read_bytes()
        start = int(self.headers.get("Range", "bytes=0-")[6:-1])
        self.asked.append(start)
        if start >= len(content):
            self.send_error(416)
        else:
            length = len(content) - start
            send(self, 206 if start else 200, content[start : self.cut], Content_Length=length)

    def log_message(self, *_):
        pass


@pytest.fixture
def server(tmp_path):
    handler = type("Handler", (Ranges,), {"asked": []})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.folder = tmp_path / "served"
        server.folder.mkdir()
        server.handler = handler
        server.url = f"http://127.0.0.1:{server.server_port}/DAVIS-data.zip"
        threading.Thread(target=functools.partial(server.serve_forever, 0.05), daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def archive(server, tiny):
    path = server.folder / "DAVIS-data.zip"
    with zipfile.ZipFile(path, "w") as zipped:
        for file in sorted(tiny.root.rglob("*.*")):
            zipped.write(file, f"DAVIS/{file.relative_to(tiny.root)}")
    return path


def test_download_unpacks_a_data_set_that_reads_like_the_original(server, archive, tiny, tmp_path):
    checksum = hashlib.sha256(archive.read_bytes()).hexdigest()
    davis = download_davis(tmp_path / "data", server.url, checksum)
    assert davis.sequences("train") == tiny.sequences("train")
    assert davis.frames("ant")[1].read_bytes() == tiny.frames("ant")[1].read_bytes()
    download_davis(tmp_path / "data", server.url, checksum)
    assert len(server.handler.asked) == 1  # nothing is fetched twice


def test_the_command_downloads_and_says_how_to_check(server, archive, tmp_path, capsys):
    checksum = hashlib.sha256(archive.read_bytes()).hexdigest()
    where = ["--to", str(tmp_path / "data"), "--url", server.url]
    assert f"expected {64 * 'f'}" in call(["data", "download", *where, "--sha256", 64 * "F"])
    assert call(["data", "download", *where, "--sha256", checksum]) == 0
    root = tmp_path / "data" / "DAVIS"
    said = f"{root}: 3 sequences. Check them with `osvos data verify --davis {root}`.\n"
    assert capsys.readouterr().out.endswith(said)


def test_broken_download_goes_on_where_it_stopped(server, archive, tmp_path):
    server.handler.cut = 1000
    with pytest.raises(DataError, match="Run the same command again to go on"):
        download_davis(tmp_path, server.url)
    assert not (tmp_path / "DAVIS").exists()
    server.handler.cut = None
    assert download_davis(tmp_path, server.url).all_sequences() == ["ant", "bee", "cow"]
    assert server.handler.asked == [0, 1000]


def test_download_killed_just_before_its_end_is_not_repeated(server, archive, tmp_path):
    (tmp_path / "DAVIS-data.zip.part").write_bytes(archive.read_bytes())
    assert download_davis(tmp_path, server.url).all_sequences() == ["ant", "bee", "cow"]
    assert server.handler.asked == [archive.stat().st_size]


def test_an_address_that_ends_in_davis(server, archive, tmp_path):
    archive.rename(server.folder / "DAVIS")
    download_davis(tmp_path, server.url.replace("DAVIS-data.zip", "DAVIS"))
    assert (tmp_path / "DAVIS.zip").is_file()


def test_wrong_checksum_unpacks_nothing(server, archive, tmp_path):
    with pytest.raises(DataError, match=r"DAVIS-data\.zip: sha256 is [0-9a-f]{64}, expected f{64}\."):
        download_davis(tmp_path, server.url, 64 * "f")
    assert not (tmp_path / "DAVIS").exists()


@pytest.mark.parametrize("checksum", ["", "00ff", 64 * "g"])
def test_a_checksum_with_a_typing_mistake_is_refused_before_the_download(server, archive, tmp_path, checksum):
    with pytest.raises(DataError, match=f"the checksum '{checksum}' is no SHA-256, which has 64 digits"):
        download_davis(tmp_path, server.url, checksum)
    assert not server.handler.asked


@pytest.mark.parametrize("name", ["../outside.txt", "/etc/outside.txt", "DAVIS/../../outside.txt"])
def test_archive_cannot_write_outside_its_folder(server, tmp_path, name):
    with zipfile.ZipFile(server.folder / "DAVIS-data.zip", "w") as zipped:
        zipped.writestr("DAVIS/JPEGImages/480p/ant/00000.jpg", "x")
        zipped.writestr(name, "evil")
    with pytest.raises(DataError, match="points outside the archive"):
        download_davis(tmp_path / "data" / "deep", server.url)
    assert not list(tmp_path.rglob("outside.txt"))


def test_no_server_is_an_error_within_seconds(tmp_path):
    with pytest.raises(DataError, match="the download failed"):
        download_davis(tmp_path, "http://127.0.0.1:9/DAVIS-data.zip")


def answer_with(server, answer):
    """Let `answer`, a function of the handler, answer."""
    server.RequestHandlerClass = type("Odd", (Ranges,), {"do_GET": answer})


def chunk_that_breaks(handler):
    handler.protocol_version = "HTTP/1.1"
    send(handler, 200, b"100\r\nonly this", Transfer_Encoding="chunked")
    handler.close_connection = True


ODD_ANSWERS = {
    "cut in a chunk": (chunk_that_breaks, "IncompleteRead"),
    "redirected in a circle": (lambda handler: send(handler, 302, Location=handler.path), "redirect"),
    "not found": (lambda handler: handler.send_error(404), "404"),
    "forbidden": (lambda handler: handler.send_error(403), "403"),
    "server error": (lambda handler: handler.send_error(500), "500"),
    "range refused at once": (lambda handler: handler.send_error(416), "416"),
    "no HTTP": (lambda handler: handler.wfile.write(b"220 mail.example ready\r\n"), "BadStatusLine"),
    "closed": (lambda handler: handler.connection.close(), ""),
}


@pytest.mark.parametrize(("answer", "message"), ODD_ANSWERS.values(), ids=ODD_ANSWERS)
def test_an_odd_answer_is_one_sentence(server, tmp_path, answer, message):
    answer_with(server, answer)
    with pytest.raises(DataError, match=f"^[^\n]*the download failed [^\n]*{message}[^\n]*$"):
        download_davis(tmp_path / "data", server.url)


@pytest.mark.parametrize("length", ["many", "-5", "1e3", ""])
def test_a_length_that_is_no_number_is_not_believed(server, archive, tmp_path, length):
    answer_with(server, lambda handler: send(handler, 200, archive.read_bytes(), Content_Length=length))
    assert download_davis(tmp_path / "data", server.url).all_sequences() == ["ant", "bee", "cow"]


@pytest.mark.parametrize("header", ["bytes 0-99/100", "bytes 7-99/100", "bytes */3"])
def test_parts_of_different_files_are_not_put_together(server, tmp_path, header):
    status = 206 if "*" not in header else 416
    answer_with(server, lambda handler: send(handler, status, Content_Range=header, Content_Length=0))
    part = tmp_path / "DAVIS-data.zip.part"
    part.write_bytes(b"12345")
    with pytest.raises(DataError, match=r"\.part: holds 5 bytes, but the server answers .*Delete the file"):
        download_davis(tmp_path, server.url)
    assert part.read_bytes() == b"12345"


@pytest.mark.parametrize(
    "url",
    [
        "DAVIS.zip",
        " ",
        "http://",
        "http:///x.zip",
        "ftp://host/x.zip",
        "file:///etc/passwd",
        "http://h:9x/a.zip",
        "http://[::1/x.zip",
        "https://exa mple/x.zip",
        "http://127.0.0.1:9/a\nb.zip",
        "http://\x00/",
    ],
)
def test_a_bad_address_is_named(tmp_path, url):
    with pytest.raises(DataError, match=r"not an address|the download failed"):
        download_davis(tmp_path, url)


@pytest.mark.parametrize("end", ["DAVIS-data.zip?download=1", "..%2f..%2fevil.zip", "", "%00.zip"])
def test_the_archive_is_kept_under_a_plain_name(server, archive, tmp_path, end):
    answer_with(server, lambda handler: send(handler, 200, archive.read_bytes()))
    folder = tmp_path / "a" / "data"
    download_davis(folder, server.url.replace("DAVIS-data.zip", end))
    assert len([path for path in tmp_path.rglob("*.zip") if path.parent == folder]) == 1
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["data"]


def test_what_another_archive_left_does_not_enter_the_data_set(server, archive, tmp_path):
    stale = tmp_path / "DAVIS.part" / "DAVIS" / "JPEGImages" / "480p" / "zebra" / "00000.jpg"
    stale.parent.mkdir(parents=True)
    stale.write_bytes(b"of another archive")
    assert download_davis(tmp_path, server.url).all_sequences() == ["ant", "bee", "cow"]
    assert not (tmp_path / "DAVIS.part").exists()


def test_two_downloads_into_one_folder_do_not_mix(server, archive, tmp_path):
    with lock_folder(tmp_path), pytest.raises(FolderError, match="another run is writing there"):
        download_davis(tmp_path, server.url)


def disk_of(free, monkeypatch):
    usage = type("Usage", (), {"free": free})
    monkeypatch.setattr("osvos_keras.dataset.download.shutil.disk_usage", lambda folder: usage)


@pytest.mark.parametrize("share", [0.5, 1.01])
def test_a_disk_without_room_is_found_before_it_is_full(server, archive, tmp_path, monkeypatch, share):
    """Half of the archive's size stops the download, a little more than it the unpacking."""
    with zipfile.ZipFile(archive, "a") as zipped:
        zipped.writestr("DAVIS/zeros", bytes(100_000), zipfile.ZIP_DEFLATED)
    disk_of(int(archive.stat().st_size * share), monkeypatch)
    with pytest.raises(FolderError, match=r"bytes are free, but [\d,]+ are needed"):
        download_davis(tmp_path / "data", server.url)
    assert not (tmp_path / "data" / "DAVIS").exists()
    assert (tmp_path / "data" / "DAVIS-data.zip").exists() == (share > 1)


def zip_with(path, mode="w", **entries):
    with zipfile.ZipFile(path, mode, zipfile.ZIP_DEFLATED) as zipped:
        for name, content in entries.items():
            zipped.writestr(name, content)


def link(path):
    entry = zipfile.ZipInfo("DAVIS/link")
    entry.external_attr = 0o120777 << 16
    with zipfile.ZipFile(path, "w") as zipped:
        zipped.writestr(entry, "/etc")


def rotten(path):
    zip_with(path, **{"DAVIS/JPEGImages/480p/a/00000.jpg": np.random.default_rng(0).bytes(5000)})
    content = bytearray(path.read_bytes())
    content[1000:1100] = bytes(100)
    path.write_bytes(content)


def encrypted(path):
    zip_with(path, **{"DAVIS/JPEGImages/480p/a/00000.jpg": b"secret"})
    content = bytearray(path.read_bytes())
    content[6] |= 1
    content[content.index(b"PK\1\2") + 8] |= 1
    path.write_bytes(content)


def unknown_method(path):
    zip_with(path, **{"DAVIS/JPEGImages/480p/a/00000.jpg": b"text"})
    content = bytearray(path.read_bytes())
    content[8] = content[content.index(b"PK\1\2") + 10] = 97
    path.write_bytes(content)


BAD_ARCHIVES = {
    "no archive": (lambda path: path.write_bytes(b"text"), "not a whole zip"),
    "no entry": (zip_with, "no folder JPEGImages"),
    "something else": (lambda path: zip_with(path, readme=b"hello"), "no folder JPEGImages"),
    "a link": (link, "points outside the archive"),
    "rotten": (rotten, "not a whole zip"),
    "encrypted": (encrypted, "encrypted"),
    "an unknown method": (unknown_method, "not a whole zip.*compression"),
    "a bomb": (lambda path: zip_with(path, **{"DAVIS/a": bytes(30_000_000)}), "would become 30,000,000"),
    "a file that is a folder too": (
        lambda path: zip_with(path, a=b"1", **{"a/b": b"2"}),
        "cannot be unpacked",
    ),
    "a long name": (lambda path: zip_with(path, **{"a" * 300: b"1"}), "cannot be unpacked"),
}


@pytest.mark.parametrize(("make", "message"), BAD_ARCHIVES.values(), ids=BAD_ARCHIVES)
def test_a_bad_archive_is_named_and_leaves_nothing_unpacked(server, tmp_path, make, message):
    make(server.folder / "DAVIS-data.zip")
    with pytest.raises(DataError, match=rf"DAVIS-data\.zip: .*{message}"):
        download_davis(tmp_path / "data", server.url)
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == [".lock", "DAVIS-data.zip"]
