"""The mask tool as a person meets it: JupyterLab in a real browser, and the mouse."""

import base64
import io
import json
import os
import re
import secrets
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from types import SimpleNamespace

import cv2
import nbformat
import numpy as np
import pytest
from PIL import Image

from osvos_keras.davis import Davis
from osvos_keras.io.paths import PROJECT
from osvos_keras.marking.drawing import line_mask
from osvos_keras.marking.marks import read_objects, write_objects
from osvos_keras.metrics import region_similarity
from tests.browser import open_browser
from tests.conftest import free_port

SETUP = """
from osvos_keras.davis import Davis
from osvos_keras.marking.tool import MaskTool

frame, _ = Davis("data/sample").first("flower")
"""
TOOLS = "polygon", "brush", "box", "known", "zoom"  # a cell with a tool for each test, each with its own file


@contextmanager
def serve_lab(folder):
    """JupyterLab on this machine alone, its files and settings in `folder`; the address with its token."""
    port, token = free_port(), secrets.token_hex(16)
    settings = folder / "config" / "labconfig" / "page_config.json"
    settings.parent.mkdir(parents=True)
    settings.write_text(
        json.dumps({"disabledExtensions": {"@jupyterlab/apputils-extension:announcements": True}})
    )
    places = {f"JUPYTER_{kind.upper()}_DIR": str(folder / kind) for kind in ("config", "data", "runtime")}
    command = [
        *(sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", f"--notebook-dir={folder}"),
        *("--ServerApp.ip=127.0.0.1", f"--ServerApp.port={port}", "--ServerApp.port_retries=0"),
        f"--IdentityProvider.token={token}",
        # Should the test itself be killed, kernel and server end by themselves.
        *("--MappingKernelManager.cull_idle_timeout=120", "--MappingKernelManager.cull_interval=30"),
        "--ServerApp.shutdown_no_activity_timeout=120",
    ]
    with (folder / "lab.log").open("w") as log:
        server = subprocess.Popen(
            command,
            cwd=folder,
            env=os.environ | places | {"IPYTHONDIR": str(folder / "ipython"), "PYTHONPATH": str(PROJECT)},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        address = f"http://127.0.0.1:{port}"
        wait_for_answer(address + f"/api?token={token}", server, folder / "lab.log")
        yield SimpleNamespace(address=address, token=token)
    finally:
        server.terminate()  # it ends its kernels
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()  # a kernel ends by itself when its server is gone
            server.wait()


def wait_for_answer(url, server, log, seconds=120):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            return urllib.request.urlopen(url, timeout=5).close()
        except OSError:
            assert server.poll() is None, f"JupyterLab ended:\n{log.read_text()}"
            time.sleep(0.3)
    raise AssertionError(f"JupyterLab did not answer in {seconds} s:\n{log.read_text()}")


def kernel_is_ready(lab):
    """Whether the page is connected to its kernel; a cell run before that may ask for a kernel instead."""
    try:
        with urllib.request.urlopen(f"{lab.address}/api/kernels?token={lab.token}", timeout=30) as answer:
            return any(k["connections"] and k["execution_state"] == "idle" for k in json.load(answer))
    except OSError:  # HTTP 500: the server counts a kernel that it is still starting
        return False


def wait_until(condition, seconds=60):
    """Wait for what the page does not say in words."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not so in {seconds} s"
        time.sleep(0.3)


def write_notebook(path):
    """A notebook whose cells each show a tool that saves to a file beside it."""
    cells = [SETUP, *(f'MaskTool(frame, "{path.parent}/{name}.png")' for name in TOOLS)]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in cells])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(notebook, path)


def run_cell(page, cell):
    """Run a cell to its end; JupyterLab may drop the key while it still connects to the kernel."""
    prompt = cell.locator(".jp-InputPrompt")
    before = prompt.inner_text()

    def is_done():
        text = prompt.inner_text()
        if re.search(r"\d", text) and text != before:
            return True
        if "*" not in text:
            cell.locator(".cm-content").click()
            page.keyboard.press("Control+Enter")
        page.wait_for_timeout(500)
        return False

    wait_until(is_done, seconds=120)


class Tool:
    """A tool on the page, used as a hand uses it; points are pixels of the frame."""

    def __init__(self, page, cell, file):
        self.page, self.file = page, file
        self.box = cell.locator(".jp-OutputArea-output .widget-vbox").first
        self.canvas = cell.locator("canvas").last
        self.canvas.wait_for()
        self.canvas.scroll_into_view_if_needed()

    def press(self, name):
        self.box.locator("button", has_text=name).click()

    def move(self, point):
        """The mouse, to the middle of a pixel, wherever and however large the frame is shown."""
        shown = self.canvas.bounding_box()
        scale = shown["width"] / self.canvas.evaluate("canvas => canvas.width")
        assert shown["height"] == pytest.approx(
            scale * self.canvas.evaluate("canvas => canvas.height"), abs=1
        )
        self.page.mouse.move(
            *(shown[side] + (at + 0.5) * scale for side, at in zip("xy", point, strict=True))
        )

    def click(self, point):
        self.move(point)
        self.page.mouse.down()
        self.page.mouse.up()

    def drag(self, *points):
        self.move(points[0])
        self.page.mouse.down()
        for point in points[1:]:
            self.move(point)
        self.page.mouse.up()

    def wait_for(self, status):
        """The status line, once it matches."""
        line = self.box.locator(".widget-html").last.filter(has_text=re.compile(status))
        line.wait_for()
        return line.inner_text()

    def picture(self):
        """What is shown, (H, W, 3) uint8 at the frame's size."""
        data = self.canvas.evaluate("canvas => canvas.toDataURL('image/png')").partition(",")[2]
        return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"))


@pytest.fixture(scope="module")
def flower():
    """The frame and the annotation that are drawn on."""
    return Davis(PROJECT / "data" / "sample").first("flower")


@pytest.fixture(scope="module")
def open_tool(tmp_path_factory, flower):
    """A function from a tool's name to the tool, in one notebook on one page."""
    folder = tmp_path_factory.mktemp("lab")
    write_notebook(folder / "draw.ipynb")
    write_objects(folder / "known.png", flower[1].astype(np.uint8))
    with open_browser() as browser, serve_lab(folder) as lab:
        page = browser.new_page()
        page.goto(f"{lab.address}/doc/tree/draw.ipynb?token={lab.token}", timeout=120_000)
        cells = page.locator(".jp-Notebook .jp-CodeCell")
        cells.first.wait_for(timeout=120_000)
        wait_until(lambda: kernel_is_ready(lab), seconds=120)
        run_cell(page, cells.first)

        def run(name):
            cell = cells.nth(1 + TOOLS.index(name))
            run_cell(page, cell)
            return Tool(page, cell, folder / f"{name}.png")

        yield run


def overlap(tool, annotation):
    return region_similarity(read_objects(tool.file, annotation.shape) == 1, annotation)


def test_a_polygon_along_the_contour_is_saved(open_tool, flower):
    frame, annotation = flower
    tool = open_tool("polygon")
    tool.wait_for("New mask")
    wait_until(lambda: np.array_equal(tool.picture(), frame))
    contours, _ = cv2.findContours(annotation.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    corners = cv2.approxPolyDP(contours[0], 3, True)[:, 0].tolist()
    for corner in [*corners, corners[0]]:
        tool.click(corner)
    tool.wait_for("object 1 covers .* not saved yet")
    assert not tool.file.exists()
    tool.press("Save")
    tool.wait_for("Saved")
    assert overlap(tool, annotation) >= 0.95
    wait_until(lambda: (tool.picture() != frame).any(axis=-1)[annotation].mean() > 0.95)


def test_a_brush_stroke_is_painted_and_undone(open_tool):
    tool = open_tool("brush")
    tool.wait_for("New mask")
    tool.press("Brush")
    tool.drag((200, 200), (240, 200), (240, 240))
    first = tool.wait_for("object 1 covers")
    tool.press("Save")
    tool.wait_for("Saved")
    saved = read_objects(tool.file, (480, 854))
    expected = line_mask([(200, 200), (240, 200), (240, 240)], 854 // 40, (480, 854))
    assert region_similarity(saved == 1, expected) >= 0.9  # the page rounds the mouse to its own pixels
    tool.drag((600, 100), (700, 100))
    tool.wait_for("not saved yet")
    tool.press("Undo")
    tool.wait_for(re.escape(first))
    tool.press("Save")
    tool.wait_for("Saved")
    np.testing.assert_array_equal(read_objects(tool.file, (480, 854)), saved)


def test_a_rough_box_finds_the_object(open_tool, flower):
    _, annotation = flower
    tool = open_tool("box")
    tool.press("Box")
    y, x = np.nonzero(annotation)
    tool.drag((x.min() - 15, y.min() - 15), (300, 200), (x.max() + 15, y.max() + 15))
    tool.wait_for("object 1 covers")
    tool.press("Save")
    tool.wait_for("Saved")
    assert overlap(tool, annotation) >= 0.85


def test_a_saved_mask_is_opened_again_and_gets_a_second_object(open_tool, flower):
    frame, annotation = flower
    tool = open_tool("known")
    assert f"{annotation.mean():.1%}" in tool.wait_for("Opened .*known.png")
    wait_until(lambda: ((tool.picture() != frame).any(axis=-1) == annotation).mean() > 0.999)
    tool.box.locator("input[type=number]").fill("2")
    tool.page.keyboard.press("Enter")
    for corner in [(600, 50), (700, 50), (700, 100), (600, 100), (600, 50)]:
        tool.click(corner)
    tool.wait_for("object 2 covers")
    tool.press("Save")
    tool.wait_for("Saved")
    expected = annotation.astype(np.uint8)
    expected[50:101, 600:701] = 2
    np.testing.assert_array_equal(read_objects(tool.file, annotation.shape) == 1, expected == 1)
    assert region_similarity(read_objects(tool.file, annotation.shape) == 2, expected == 2) >= 0.95


def test_what_cannot_be_saved_is_said_on_the_page(open_tool):
    tool = open_tool("brush")
    tool.press("Clear")
    tool.press("Save")
    assert "brush.png: the mask is empty" in tool.wait_for("mask is empty")


def test_scrolling_zooms_at_the_mouse_and_ctrl_z_undoes(open_tool, flower):
    """Two steps of 1.5 at the point (200, 100): 1 / 2.25 of the frame is shown, that point kept."""
    frame, _ = flower
    tool = open_tool("zoom")
    tool.wait_for("New mask")
    wait_until(lambda: np.array_equal(tool.picture(), frame))
    tool.move((200, 100))
    tool.page.mouse.wheel(0, -80)
    tool.page.mouse.wheel(0, -80)
    columns, rows = (
        ((np.arange(side) + 0.5 - at) / 2.25 + at).astype(int) for side, at in ((854, 200.5), (480, 100.5))
    )
    expected = frame[rows[:, None], columns]
    wait_until(lambda: np.abs(tool.picture().astype(int) - expected).mean() < 5)
    tool.press("Brush")
    tool.drag((200, 100), (425, 100))  # 100 pixels of the frame
    first = tool.wait_for("object 1 covers .* not saved yet")
    tool.press("Save")
    tool.wait_for("Saved")
    stroke = line_mask([(200, 100), (300, 100)], 854 // 40, (480, 854))
    assert region_similarity(read_objects(tool.file, (480, 854)) == 1, stroke) >= 0.9
    tool.drag((600, 300), (650, 300))
    tool.wait_for("not saved yet")
    tool.page.keyboard.press("Control+z")
    tool.wait_for(re.escape(first))
    tool.page.keyboard.press("0")
    outside = line_mask([(200, 100), (300, 100)], 854 // 40 + 6, (480, 854)) == 0
    wait_until(lambda: np.array_equal(tool.picture()[outside], frame[outside]))
