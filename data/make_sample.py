"""Make the bundled sample: seven short sequences in the layout of DAVIS 2016.

Each sequence is rendered from real photographs (sample_pictures.py):

1. a `Scene` moves a cut-out object over another photograph: position, scale and angle follow key poses, a
   smooth displacement field bends it, the camera pans, zooms and shakes, things pass behind or in front;
2. several renderings within the shutter time are averaged (motion blur), then light and noise are added;
3. the annotation is the part of the object that is visible: mean opacity above one half, after occlusion.

The same packages on the same kind of processor give the same bytes. What is checked is the files themselves:

    python data/make_sample.py                    # writes data/sample and data/sample.sha256
    python data/make_sample.py --check            # compares the files there with data/sample.sha256
"""

import argparse
import hashlib
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from sample_pictures import PLATE_HEIGHT, PLATE_WIDTH, load_picture, load_plate, make_globe

from osvos_keras.metrics import region_similarity

WIDTH, HEIGHT = 854, 480
SHUTTER, SUBFRAMES = 0.4, 7  # share of the frame interval that is exposed; renderings in it
SHADOW_BLUR = 7  # pixels
SHADOW_LEAN = 0.3  # a shadow on the floor leans sideways
EASE = 1.25  # above 1: a sequence starts slowly, its first frame is sharp
NOISE = 1.6  # sigma of the sensor noise, in grey levels
JPEG_QUALITY = 85
ATTRIBUTES = "AC, BC, CS, DB, DEF, EA, FM, HO, IO, LR, MB, OCC, OV, ROT, SC, SV"  # DAVIS's codes
LISTS = {"training": "train.txt", "test": "val.txt"}


@dataclass(frozen=True)
class Actor:
    """One thing that moves. Poses are (x, y, scale, degrees), evenly spaced in time, in frame pixels."""

    picture: str
    poses: tuple
    wobble: float = 0.0  # amplitude of the non-rigid displacement, in pixels
    parallax: float = 0.0  # 0: the camera follows it; 1: it stays with the background
    shadow: tuple = ()  # (dx, dy, squash, strength); squash below 1: it lies on the floor
    spin: float = 0.0  # turns of a globe over the sequence


@dataclass(frozen=True)
class Scene:
    """One sequence. The camera's keys are (pan x, pan y, zoom), evenly spaced in time."""

    name: str
    split: str  # training or test, DAVIS's words
    plate: str
    actor: Actor  # the annotated object
    camera: tuple
    attributes: str
    behind: tuple = ()
    front: tuple = ()
    frames: int = 24
    shake: float = 4.0  # pixels
    light: float = 0.06  # relative change of brightness


SCENES = (
    Scene(
        "cup",
        "training",
        "meadow",
        Actor(
            "cup",
            ((250, 230, 1.0, 0), (420, 200, 1.15, 12), (560, 270, 1.0, 20), (480, 300, 0.85, -5)),
            wobble=3,
            shadow=(14, 16, 1, 0.5),
        ),
        camera=((0, 0, 1), (60, 20, 1.05), (90, -30, 1.1)),
        attributes="DEF, HO, ROT",
    ),
    Scene(
        "astronaut",
        "training",
        "launchpad",
        Actor(
            "astronaut",
            ((260, 352, 1.0, 0), (430, 345, 1.12, -5), (590, 360, 1.05, 4), (640, 355, 0.95, 0)),
            wobble=4,
        ),
        camera=((-60, 0, 1.0), (30, 10, 1.04), (110, 0, 1.08)),
        attributes="DEF, HO, OV",
        frames=26,
    ),
    Scene(
        "hopper",
        "training",
        "lake",
        Actor(
            "hopper",
            ((610, 340, 1.0, 0), (470, 352, 1.12, 5), (330, 340, 1.2, -4), (250, 350, 1.1, 0)),
            wobble=4,
        ),
        camera=((60, 0, 1.05), (0, 0, 1.0), (-90, 0, 1.05)),
        attributes="DEF, HO, OV",
    ),
    Scene(
        "globe",
        "training",
        "stars",
        Actor(
            "globe",
            ((620, 160, 0.9, 0), (470, 250, 1.1, 8), (300, 270, 1.25, 14), (220, 230, 1.1, 20)),
            wobble=1,
            spin=0.35,
        ),
        camera=((0, 0, 1), (40, 10, 1.06), (70, 30, 1.1)),
        attributes="AC, ROT, SV",
    ),
    Scene(
        "motorcycle",
        "test",
        "street",
        Actor(
            "motorcycle",
            ((235, 325, 0.9, 0), (400, 315, 1.0, -3), (560, 320, 1.1, 2), (620, 325, 1.0, -2)),
            wobble=1.5,
            shadow=(10, -12, 0.2, 0.65),
        ),
        camera=((-120, 0, 1.0), (0, 0, 1.03), (150, 0, 1.0)),
        attributes="BC, HO, MB, OCC, SC",
        frames=28,
        behind=(
            Actor(
                "blue motorcycle",
                ((580, 280, 1.0, 0), (540, 280, 1.0, 0)),
                parallax=0.9,
                shadow=(8, -8, 0.2, 0.5),
            ),
        ),
        front=(Actor("post", ((500, 240, 1.0, 0),), parallax=2.2),),
    ),
    Scene(
        "cat",
        "test",
        "garden",
        Actor(
            "cat",
            ((210, 260, 1.0, 0), (330, 228, 1.05, -8), (480, 250, 1.15, 6), (610, 240, 1.0, -3)),
            wobble=5,
        ),
        camera=((-40, 0, 1.0), (20, 8, 1.04), (60, 0, 1.06)),
        attributes="DEF, OCC",
        frames=28,
        behind=(
            Actor(
                "grey cat",
                ((700, 310, 1.0, 0), (560, 325, 1.0, 6), (330, 300, 1.0, -4), (220, 315, 1.0, 0)),
                wobble=3,
                parallax=0.3,
            ),
        ),
        front=(Actor("ledge", ((427, 460, 1.0, 0),), parallax=1.2),),
    ),
    Scene(
        "flower",
        "test",
        "pebbles",
        Actor(
            "flower",
            ((220, 200, 1.0, 0), (400, 260, 1.15, 15), (590, 300, 1.0, 28), (620, 190, 0.85, 12)),
            wobble=6,
            shadow=(16, 18, 1, 0.5),
        ),
        camera=((0, 0, 1.0), (40, 30, 1.04), (80, 0, 1.0)),
        attributes="DEF, ROT",
        frames=28,
        behind=(
            Actor(
                "pink flower",
                ((640, 330, 1.0, 0), (560, 130, 1.0, -20), (280, 180, 1.0, -30)),
                wobble=4,
                shadow=(12, 14, 1, 0.5),
            ),
        ),
    ),
)
SORTED_SCENES = sorted(SCENES, key=lambda scene: scene.name)  # as in DAVIS's own lists


# ---------------------------------------------------------------- movement


def follow(keys, time):
    """Value at `time` (0 to 1) of a smooth curve (cubic Hermite) through evenly spaced keys."""
    keys = np.asarray(keys, float)
    if len(keys) == 1:
        return keys[0]
    slopes = np.gradient(keys, axis=0)
    i = min(int(time * (len(keys) - 1)), len(keys) - 2)
    t = time * (len(keys) - 1) - i
    ahead = t * t * (3 - 2 * t)
    return (
        (1 - ahead) * keys[i]
        + ahead * keys[i + 1]
        + t * (1 - t) ** 2 * slopes[i]
        - t * t * (1 - t) * slopes[i + 1]
    )


def tremble(phases, time):
    """A smooth wandering near zero: three sines for each number asked for."""
    speeds = np.array([2.0, 4.3, 7.1])
    return (np.sin(2 * np.pi * (speeds * time + phases)) / speeds).sum(-1)


def place(x, y, scale, degrees, centre):
    """3x3 matrix that puts the point `centre` of a picture at (x, y), scaled and turned."""
    c, s = scale * np.cos(np.radians(degrees)), scale * np.sin(np.radians(degrees))
    turn = np.array([[c, -s], [s, c]])
    return np.vstack([np.column_stack([turn, (x, y) - turn @ centre]), [0, 0, 1]])


def lie_down(y, foot, dx, dy, squash):
    """3x3 matrix that turns an upright picture at height `y` into its shadow; `foot` is where it stands."""
    lean = SHADOW_LEAN if squash < 1 else 0.0
    return np.array([[1, lean, dx - lean * foot], [0, squash, dy + foot - squash * y], [0, 0, 1]])


def aim_camera(scene, phases, time):
    """The camera at `time`: its pan in pixels, and the matrix that zooms, rolls and shakes everything."""
    pan_x, pan_y, zoom = follow(scene.camera, time)
    dx, dy, roll = scene.shake * tremble(phases, time)
    centre = np.array([WIDTH, HEIGHT]) / 2
    return np.array([pan_x, pan_y]), place(centre[0] + dx, centre[1] + dy, zoom, 0.15 * roll, centre)


# ---------------------------------------------------------------- rendering

GRID_Y, GRID_X = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)


def draw(image, matrix, bend=None, border=cv2.BORDER_CONSTANT):
    """Draw `image` through `matrix` into a frame, bent by `bend(x, y, shape)` in its own pixels."""
    inverse = np.linalg.inv(matrix).astype(np.float32)
    x = inverse[0, 0] * GRID_X + inverse[0, 1] * GRID_Y + inverse[0, 2]
    y = inverse[1, 0] * GRID_X + inverse[1, 1] * GRID_Y + inverse[1, 2]
    if bend is not None:
        x, y = bend(x, y, image.shape)
    return cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=border)


def make_bend(amplitude, phases, time):
    """A smooth displacement field that changes with time: four travelling waves."""
    if not amplitude:
        return None
    turns = phases.ravel()[:4] + 1.5 * time * np.array([1, -1, 1.3, -0.8])
    a, b, c, d = np.float32(2 * np.pi * turns)

    def bend(x, y, shape):
        u, v = x * np.float32(2 * np.pi / shape[1]), y * np.float32(2 * np.pi / shape[0])
        return (
            x + amplitude * (np.sin(v + a) + 0.6 * np.sin(u + v + b)),
            y + amplitude * (np.sin(u + c) + 0.6 * np.sin(u - v + d)),
        )

    return bend


def draw_actor(actor, phases, pan, lens, time):
    """The actor's RGBA layer, and the opacity of its shadow."""
    image = make_globe(actor.spin * time) if actor.picture == "globe" else load_picture(actor.picture)
    x, y, scale, degrees = follow(actor.poses, time)
    x, y = (x, y) - actor.parallax * pan
    centre = np.array(image.shape[1::-1]) / 2
    pose, bend = place(x, y, scale, degrees, centre), make_bend(actor.wobble, phases, time)
    layer = draw(image, lens @ pose, bend)
    if not actor.shadow:
        return layer, 0.0
    dx, dy, squash, strength = actor.shadow
    foot = y + (1 - squash) * scale * (centre[1] - 14)
    flat = lie_down(y, foot, dx, dy, squash)
    shadow = draw(np.ascontiguousarray(image[..., 3]), lens @ flat @ pose, bend)
    return layer, strength * cv2.GaussianBlur(shadow, (0, 0), SHADOW_BLUR)[..., None]


def render_instant(scene, phases, time):
    """The frame at one instant (float RGB), and how much of each pixel the visible object covers."""
    pan, lens = aim_camera(scene, phases[0], time)
    backdrop = place(WIDTH / 2 - pan[0], HEIGHT / 2 - pan[1], 1, 0, (PLATE_WIDTH / 2, PLATE_HEIGHT / 2))
    frame = draw(load_plate(scene.plate), lens @ backdrop, border=cv2.BORDER_REFLECT)
    cover = np.zeros((HEIGHT, WIDTH), np.float32)
    for index, actor in enumerate((*scene.behind, scene.actor, *scene.front), start=1):
        layer, shadow = draw_actor(actor, phases[index], pan, lens, time)
        alpha = layer[..., 3]
        frame = frame * (1 - shadow) * (1 - alpha[..., None]) + layer[..., :3]
        cover = alpha if actor is scene.actor else cover * (1 - alpha)
    return frame, cover


def render_sequence(scene, seed):
    """Yield (frame, annotation): uint8 RGB, and bool."""
    rng = np.random.default_rng(seed)
    phases = rng.random((5, 3, 3))  # one row for the camera, then one for each actor
    light_phase = rng.random()
    for index in range(scene.frames):
        times = ((index + SHUTTER * np.linspace(0, 1, SUBFRAMES)) / (scene.frames - 1 + SHUTTER)) ** EASE
        frames, covers = zip(*(render_instant(scene, phases, time) for time in times), strict=True)
        light = 1 + scene.light * np.sin(2 * np.pi * (1.2 * times[0] + light_phase))
        noise = 1.7 * cv2.GaussianBlur(rng.normal(0, NOISE, (HEIGHT, WIDTH)), (0, 0), 0.6)
        frame = 255 * light * np.mean(frames, 0) + noise[..., None]
        yield np.uint8(np.clip(np.rint(frame), 0, 255)), np.mean(covers, 0) > 0.5


# ---------------------------------------------------------------- files


def write_sequence(root, scene, seed):
    """Write one sequence, print its summary, return its lines for the list."""
    lines, annotations = [], []
    for kind in ("JPEGImages", "Annotations"):
        (root / kind / "480p" / scene.name).mkdir(parents=True)
    for index, (frame, annotation) in enumerate(render_sequence(scene, seed)):
        frame_path = f"JPEGImages/480p/{scene.name}/{index:05d}.jpg"
        annotation_path = f"Annotations/480p/{scene.name}/{index:05d}.png"
        Image.fromarray(frame).save(root / frame_path, quality=JPEG_QUALITY, optimize=True)
        Image.fromarray(np.uint8(annotation) * 255).save(root / annotation_path, optimize=True)
        lines.append(f"/{frame_path} /{annotation_path}")
        annotations.append(annotation)
    areas = [100 * annotation.mean() for annotation in annotations]
    repeated = np.mean([region_similarity(annotations[0], later) for later in annotations[1:]])
    print(
        f"{scene.name:11s} {scene.split:9s} {scene.frames} frames, area {np.mean(areas):4.1f} % "
        f"({min(areas):.1f} to {max(areas):.1f}), "
        f"first mask repeated: J {repeated:.3f}"
    )
    return lines


def write_lists(root, lines):
    folder = root / "ImageSets" / "480p"
    folder.mkdir(parents=True)
    for split, file in LISTS.items():
        chosen = [line for scene in SORTED_SCENES if scene.split == split for line in lines[scene.name]]
        (folder / file).write_text("\n".join(chosen) + "\n", newline="\n")


def write_info(root):
    """db_info.yml, in DAVIS's own form; eval_t is false where the object is occluded."""
    rows = [f"attributes: [{ATTRIBUTES}]", "sets: [training,test]", "sequences:"]
    for scene in SORTED_SCENES:
        rows += [
            f"- attributes: [{scene.attributes}]",
            f"  name: {scene.name}",
            f"  num_frames: {scene.frames}",
            f"  set: {scene.split}",
            f"  eval_t: {'OCC' not in scene.attributes}",
        ]
    (root / "db_info.yml").write_text("\n".join(rows) + "\n", newline="\n")


def list_files(root):
    return sorted((path for path in root.rglob("*") if path.is_file()), key=lambda path: path.as_posix())


def digest(root):
    """One sha256 over the sorted file names and their contents."""
    total = hashlib.sha256()
    for path in list_files(root):
        total.update(f"{path.relative_to(root).as_posix()}\n{path.stat().st_size}\n".encode())
        total.update(path.read_bytes())
    return total.hexdigest()


def make_sample(out):
    """Build beside `out`, then put the finished folder in its place."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".sample-") as folder:
        root = Path(folder) / "new"
        lines = {scene.name: write_sequence(root, scene, seed) for seed, scene in enumerate(SCENES)}
        write_lists(root, lines)
        write_info(root)
        if out.exists():
            out.rename(Path(folder) / "old")
        shutil.move(root, out)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "sample")
    parser.add_argument("--check", action="store_true", help="only compare the files with their sha256")
    arguments = parser.parse_args()
    record = arguments.out.with_name(f"{arguments.out.name}.sha256")
    if not arguments.check:
        cv2.setNumThreads(1)
        make_sample(arguments.out)
        record.write_text(f"{digest(arguments.out)}  {arguments.out.name}\n")
    expected = record.read_text().split()[0]
    if digest(arguments.out) != expected:
        raise SystemExit(f"{arguments.out} is not the sample that {record} describes")
    found = list_files(arguments.out)
    size = sum(path.stat().st_size for path in found) / 1e6
    print(f"{arguments.out}: {len(found)} files, {size:.2f} MB, sha256 {expected}")


if __name__ == "__main__":
    main()
