"""The last resort of `osvos`: whatever goes wrong is one sentence and an exit status."""

import errno
import io
import os
import subprocess
import sys

import pytest

from osvos_keras import __version__, cli
from osvos_keras.errors import ConfigError, DataError, first_line
from osvos_keras.io.files import list_files
from osvos_keras.io.paths import PROJECT, resolve_output
from tests.conftest import call

ERRORS = [
    (DataError("a.png: no such file."), "osvos: error: a.png: no such file."),
    (PermissionError(errno.EACCES, "Permission denied", "b.png"), "osvos: error: b.png: Permission denied."),
    (RuntimeError("first\nsecond"), "RuntimeError: first (unexpected: `osvos --debug …` shows where)"),
    (MemoryError(), "memory ran out"),
    (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid"), "UnicodeDecodeError"),
]


def fail_with(monkeypatch, error):
    def fail(args):
        """Fail."""
        raise error

    monkeypatch.setitem(cli.COMMANDS, "student", (lambda command: None, fail))


@pytest.mark.parametrize(("error", "message"), ERRORS, ids=lambda value: type(value).__name__)
def test_an_error_is_one_sentence(monkeypatch, error, message):
    fail_with(monkeypatch, error)
    said = call(["student"])
    assert message in said and "\n" not in said


def test_ctrl_c_is_status_130_and_says_what_is_kept(monkeypatch, capsys):
    stopped = KeyboardInterrupt()
    for kept in ("", "a is kept", "b too"):
        if kept:
            stopped.add_note(kept)
        fail_with(monkeypatch, stopped)
        assert call(["student"]) == 130
    assert capsys.readouterr().err.splitlines() == [
        "osvos: stopped; run the same command again to go on.",
        "osvos: stopped; a is kept; run the same command again to go on.",
        "osvos: stopped; a is kept; b too; run the same command again to go on.",
    ]


def test_debug_shows_the_traceback(monkeypatch):
    fail_with(monkeypatch, RuntimeError("first"))
    with pytest.raises(RuntimeError):
        cli.main(["--debug", "student"])


@pytest.mark.parametrize("closed", [">&-", "<&- >&- 2>&-"])
def test_closed_streams_change_nothing(tmp_path, closed):
    """As in a cron job: `osvos notebooks` writes its files, and none of them gets a stream's number."""
    command = f"{sys.executable} -m osvos_keras.cli notebooks --to {tmp_path / 'out'} {closed}"
    done = subprocess.run(["bash", "-c", command], cwd=PROJECT, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(list_files(tmp_path / "out", ".ipynb")) == 8


def test_the_version_is_printed(capsys):
    assert call(["--version"]) == 0
    assert capsys.readouterr().out == f"osvos-keras {__version__}\n"


def test_a_working_folder_that_is_gone_is_said(tmp_path, monkeypatch):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert resolve_output(tmp_path / "file") == tmp_path / "file"
    with pytest.raises(ConfigError, match="the working folder is gone"):
        resolve_output("file")


def test_a_reader_that_closes_the_pipe_ends_it_quietly(tiny):
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "osvos_keras.cli", "data", "verify", "--davis", tiny.root]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert done.returncode == 1 and "error" not in done.stderr


@pytest.mark.parametrize("encoding", ["latin-1", "ascii"])
@pytest.mark.parametrize("command", ["", "run", "mark", "segment", "parent", "evaluate", "data", "weights"])
def test_help_under_every_encoding(monkeypatch, encoding, command):
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding))
    assert call([*command.split(), "--help"]) == 0
    sys.stdout.flush()
    assert b"usage: osvos" in written.getvalue()


@pytest.mark.parametrize(
    ("text", "line"), [("one\ntwo", "one"), ("\n two\n", "two"), ("", "ValueError"), ("\n", "ValueError")]
)
def test_first_line_of_an_error_is_never_empty(text, line):
    assert first_line(ValueError(text)) == line
