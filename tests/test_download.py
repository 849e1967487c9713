"""Downloading DAVIS, from a server on this machine: progress, resume, checksum, safe unpacking."""

import functools
import hashlib
import http.server
import threading
import zipfile

import pytest

from osvos_keras.download import download_davis
from osvos_keras.errors import DataError


class Ranges(http.server.SimpleHTTPRequestHandler):
    """Serves files, and the rest of a file where a range is asked for; `cut` ends answers early."""

    cut = None
    asked = []  # noqa: RUF012

    def do_GET(self):
        content = (self.server.folder / self.path.lstrip("/")).read_bytes()
        start = int(self.headers.get("Range", "bytes=0-")[6:-1])
        self.asked.append(start)
        if start >= len(content):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        self.wfile.write(content[start : self.cut])

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


def test_wrong_checksum_unpacks_nothing(server, archive, tmp_path):
    with pytest.raises(DataError, match=r"DAVIS-data\.zip: sha256 is [0-9a-f]{64}, expected 00ff"):
        download_davis(tmp_path, server.url, "00ff")
    assert not (tmp_path / "DAVIS").exists()


@pytest.mark.parametrize("name", ["../outside.txt", "/etc/outside.txt", "DAVIS/../../outside.txt"])
def test_archive_cannot_write_outside_its_folder(server, tmp_path, name):
    with zipfile.ZipFile(server.folder / "DAVIS-data.zip", "w") as zipped:
        zipped.writestr("DAVIS/JPEGImages/480p/ant/00000.jpg", "x")
        zipped.writestr(name, "evil")
    with pytest.raises(DataError, match="points outside the archive"):
        download_davis(tmp_path / "data" / "deep", server.url)
    assert not list(tmp_path.rglob("outside.txt"))


def test_archive_with_a_link_is_refused(server, tmp_path):
    link = zipfile.ZipInfo("DAVIS/link")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(server.folder / "DAVIS-data.zip", "w") as zipped:
        zipped.writestr(link, "/etc")
    with pytest.raises(DataError, match="points outside the archive"):
        download_davis(tmp_path / "data", server.url)


def test_file_that_is_no_archive(server, tmp_path):
    (server.folder / "DAVIS-data.zip").write_text("<html>moved</html>")
    with pytest.raises(DataError, match="not a whole zip archive"):
        download_davis(tmp_path, server.url)


def test_archive_of_something_else(server, tmp_path):
    with zipfile.ZipFile(server.folder / "DAVIS-data.zip", "w") as zipped:
        zipped.writestr("readme.txt", "hello")
    with pytest.raises(DataError, match="no folder JPEGImages"):
        download_davis(tmp_path, server.url)


def test_no_server_is_an_error_within_seconds(tmp_path):
    with pytest.raises(DataError, match="the download failed"):
        download_davis(tmp_path, "http://127.0.0.1:9/DAVIS-data.zip")
