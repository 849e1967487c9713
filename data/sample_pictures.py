"""Cut-outs and backgrounds for make_sample.py, from photographs inside three Python packages.

A *cut-out* is premultiplied RGBA, float32: an outline placed by hand (a disparity map for the motorcycle),
refined by GrabCut, its edge cleaned of the old background's colour and softened. A *plate* is a background.
"""

from functools import cache
from importlib.resources import files

import cv2
import numpy as np
from PIL import Image

PLATE_WIDTH, PLATE_HEIGHT = 1300, 760  # larger than a frame: room for the camera
MARGIN = 12  # transparent pixels around a cut-out
FEATHER = 0.8  # sigma, in pixels, of its soft edge
HEADROOM = 50  # mirrored rows above the cat, whose ears touch the photograph's edge
FLOOR_GAP, WALL_DISPARITY = 2.0, 38  # the motorcycle is nearer than floor (by this) and wall (than this)

PHOTOGRAPHS = {
    "astronaut": ("skimage", "data/astronaut.png"),
    "brick": ("skimage", "data/brick.png"),
    "cat": ("skimage", "data/chelsea.png"),
    "china": ("sklearn", "datasets/images/china.jpg"),
    "coffee": ("skimage", "data/coffee.png"),
    "flower": ("sklearn", "datasets/images/flower.jpg"),
    "grass": ("skimage", "data/grass.png"),
    "gravel": ("skimage", "data/gravel.png"),
    "hopper": ("matplotlib", "mpl-data/sample_data/grace_hopper.jpg"),
    "hubble": ("skimage", "data/hubble_deep_field.jpg"),
    "motorcycle": ("skimage", "data/motorcycle_left.png"),
    "retina": ("skimage", "data/retina.jpg"),
    "rocket": ("skimage", "data/rocket.jpg"),
}

# Outlines "x,y x,y ..." in the photograph's own pixels; a negative y lies in the headroom.
OUTLINES = {
    "astronaut": """150,70 165,45 200,22 225,15 255,20 285,40 300,70 300,95 290,115 275,130 258,150 256,172
        280,190 300,215 305,240 330,255 345,275 352,305 358,350 372,348 400,344 430,347 455,358 478,385
        492,420 500,460 510,512 125,520 30,520 28,470 18,415 24,350 38,295 60,260 95,228 115,210 113,195
        128,165 150,152 180,148 182,132 165,118 155,95""",
    "cat": """40,0 42,-15 50,-34 60,-46 72,-40 88,-22 106,-14 150,-20 210,-24 270,-20 316,-14 338,-24
        358,-42 372,-46 384,-30 393,-13 398,0 386,26 372,52 358,74 352,88 362,118 358,150 347,172 335,195
        318,222 310,250 300,268 310,300 14,300 6,250 8,200 10,165 22,125 38,112 32,65 38,20""",
    "coffee spoon": "392,90 398,70 408,66 420,70 424,78 410,118 395,130",
    "flower": """300,84 345,90 385,102 425,135 443,180 447,215 442,250 428,290 408,325 380,345 335,360
        290,362 245,352 215,330 185,295 170,255 167,210 175,168 188,138 215,110 255,92""",
    "hopper": """152,140 157,95 175,82 200,45 222,28 258,22 290,30 325,42 350,68 352,86 368,88 372,120
        370,160 376,185 374,220 364,255 362,285 350,300 334,308 350,330 380,350 440,372 485,388 498,410
        506,450 506,600 14,600 28,430 34,405 48,382 110,362 170,340 195,318 200,300 175,288 162,270 162,240
        152,215 152,195 160,175""",
    "motorcycle": """95,195 138,165 140,142 165,142 178,160 245,160 330,188 350,168 385,120 330,136 330,122
        370,106 420,120 465,140 475,115 497,100 494,72 506,75 545,95 560,130 575,115 585,130 560,150 555,200
        590,262 645,300 640,318 672,345 688,400 680,440 656,455 620,454 584,441 556,424 534,402 513,360
        504,330 470,365 430,385 360,380 325,368 300,362 275,375 240,402 185,400 145,370 120,320 122,280
        140,255 100,252 92,225""",
    "motorcycle tyre": "552,410 556,416 574,430 590,440 610,448 628,452 647,449 640,430 600,425 565,405",
}
COFFEE_ELLIPSES = [((278, 222), (202, 166)), ((289, 112), (117, 95))]  # saucer, rim: centre, half axes


# ---------------------------------------------------------------- photographs


@cache
def load_photograph(name):
    package, path = PHOTOGRAPHS[name]
    with files(package).joinpath(path).open("rb") as file:
        return np.asarray(Image.open(file).convert("RGB"))


def tint(photo, dark, bright):
    """Colour a grey photograph: black becomes `dark`, white becomes `bright`."""
    share = photo[..., :1].astype(np.float32) / 255
    return np.uint8(share * np.float32(bright) + (1 - share) * np.float32(dark))


def shift_colours(photo, hue=0, saturation=1.0, value=1.0):
    """Turn the hue (degrees) and scale saturation and value."""
    hsv = cv2.cvtColor(photo, cv2.COLOR_RGB2HSV).astype(np.float32)
    hsv[..., 0] = (hsv[..., 0] + hue / 2) % 180
    hsv[..., 1:] = np.clip(hsv[..., 1:] * (saturation, value), 0, 255)
    return cv2.cvtColor(np.uint8(hsv), cv2.COLOR_HSV2RGB)


def mirror_tile(photo, columns=2, rows=1):
    row = np.hstack([photo if i % 2 == 0 else photo[:, ::-1] for i in range(columns)])
    return np.vstack([row if i % 2 == 0 else row[::-1] for i in range(rows)])


# ---------------------------------------------------------------- masks


def fill_outline(mask, name, top=0):
    points = np.array([pair.split(",") for pair in OUTLINES[name].split()], np.int32)
    cv2.fillPoly(mask, [points + np.int32([0, top])], 255)


def draw_mask(name, shape, top=0):
    """The hand-placed outline of an object, 0 or 255."""
    mask = np.zeros(shape[:2], np.uint8)
    if name == "coffee":
        for centre, axes in COFFEE_ELLIPSES:
            cv2.ellipse(mask, centre, axes, 0, 0, 360, 255, -1)
    fill_outline(mask, "coffee spoon" if name == "coffee" else name, top)
    if name == "motorcycle":
        mask &= nearer_than_room()
        fill_outline(mask, "motorcycle tyre")  # where it touches the floor, the disparity is the floor's
    return mask


def nearer_than_room():
    """Where the disparity map of the motorcycle's garage is nearer than both floor and wall."""
    with files("skimage").joinpath("data/motorcycle_disp.npz").open("rb") as file:
        disparity = np.load(file)["arr_0"]
    known = np.isfinite(disparity)
    floor = np.nanmedian(np.where(known, disparity, np.nan)[:, :60], axis=1, keepdims=True)
    near = known & (disparity > np.maximum(floor + FLOOR_GAP, WALL_DISPARITY))
    return cv2.morphologyEx(np.uint8(near) * 255, cv2.MORPH_CLOSE, np.ones((7, 7), np.uint8))


def refine(photo, mask, band):
    """Let GrabCut decide the pixels within `band` of the outline of `mask`; 0 keeps the outline."""
    if not band:
        return mask
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * band + 1,) * 2)
    labels = np.where(mask > 0, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    labels[cv2.erode(mask, kernel, borderValue=255) > 0] = cv2.GC_FGD
    labels[cv2.dilate(mask, kernel) == 0] = cv2.GC_BGD
    cv2.setRNGSeed(1)
    cv2.grabCut(photo, labels, None, np.zeros((1, 65)), np.zeros((1, 65)), 4, cv2.GC_INIT_WITH_MASK)
    return np.uint8(np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD))) * 255


def largest_part(mask):
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask)
    return np.uint8(labels == 1 + stats[1:, cv2.CC_STAT_AREA].argmax()) * 255


# ---------------------------------------------------------------- cut-outs


@cache
def cut_out(name, height, band):
    """The object of a photograph, `height` pixels tall, with a transparent margin."""
    top = HEADROOM if name == "cat" else 0
    photo = cv2.copyMakeBorder(load_photograph(name), top, 0, 0, 0, cv2.BORDER_REFLECT)
    mask = largest_part(refine(photo, draw_mask(name, photo.shape, top), band))
    x, y, w, h = cv2.boundingRect(mask)
    crop = np.dstack([clean_edge(photo, mask), mask])[y : y + h, x : x + w].astype(np.float32) / 255
    method = cv2.INTER_AREA if height < h else cv2.INTER_CUBIC
    crop = cv2.resize(crop, (round(w * height / h), height), interpolation=method)
    colour = cv2.copyMakeBorder(crop[..., :3], *(MARGIN,) * 4, cv2.BORDER_REPLICATE)
    alpha = cv2.GaussianBlur(np.pad(crop[..., 3], MARGIN), (0, 0), FEATHER)
    alpha = np.clip(alpha * 1.3 - 0.22, 0, 1)[..., None]
    return np.dstack([np.clip(colour, 0, 1) * alpha, alpha])


def clean_edge(photo, mask):
    """Near the edge, replace the photograph by colours from further inside: no halo of the old background."""
    inside = cv2.erode(mask, np.ones((5, 5), np.uint8), borderValue=255)
    ring = cv2.dilate(mask, np.ones((9, 9), np.uint8)) & ~inside
    extended = cv2.inpaint(photo, ring, 3, cv2.INPAINT_TELEA)
    keep = cv2.GaussianBlur(np.float32(inside), (0, 0), 1.2)[..., None] / 255
    return photo * keep + extended * (1 - keep)


def recolour(picture, **changes):
    """The same cut-out in other colours, mirrored: a look-alike that is not the object."""
    alpha = picture[..., 3:]
    colour = np.uint8(np.clip(picture[..., :3] / np.maximum(alpha, 1e-3), 0, 1) * 255)
    colour = shift_colours(colour, **changes).astype(np.float32) / 255
    return np.ascontiguousarray(np.dstack([colour * alpha, alpha])[:, ::-1])


def make_wood(width, height, planks):
    """A beam of the coffee table's wood, opaque, lit from above."""
    wood = mirror_tile(load_photograph("coffee")[255:365, 485:600], planks)
    wood = cv2.resize(wood, (width, height), interpolation=cv2.INTER_CUBIC)
    wood = np.float32(shift_colours(wood, saturation=0.55, value=0.8)) / 255
    wood = np.clip(wood * np.linspace(1.2, 0.5, height, dtype=np.float32)[:, None, None], 0, 1)
    return np.pad(np.dstack([wood, np.ones((height, width), np.float32)]), ((2, 2), (2, 2), (0, 0)))


def make_globe(turn, size=260):
    """The retina wrapped round a lit sphere that has made `turn` of a turn."""
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j].astype(np.float32) * 1.06
    radius = np.sqrt(x * x + y * y)
    depth = np.sqrt(np.clip(1 - radius**2, 0, 1))
    texture = mirror_tile(load_photograph("retina")[250:1150, 250:1150], 2)
    side = texture.shape[0]
    across = (np.arctan2(x, depth) / np.pi + 2 * turn) % 2 * side
    down = (np.arcsin(np.clip(y, -1, 1)) / np.pi + 0.5) * side
    colour = cv2.remap(
        texture, np.float32(across), np.float32(down), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT
    )
    shade = np.clip(0.35 + 0.75 * (0.75 * depth - 0.45 * x - 0.35 * y), 0.15, 1.1)[..., None]
    alpha = np.clip((1 - radius) * size / 3.2 + 0.5, 0, 1)[..., None]
    return np.float32(np.dstack([np.clip(colour / 255 * shade, 0, 1) * alpha, alpha]))


PICTURES = {
    "astronaut": lambda: cut_out("astronaut", 310, 4) * np.float32([0.84, 0.86, 0.95, 1]),
    "cat": lambda: cut_out("cat", 285, 3),
    "grey cat": lambda: recolour(cut_out("cat", 200, 3), saturation=0.12, value=0.8),
    "cup": lambda: cut_out("coffee", 260, 0),
    "flower": lambda: cut_out("flower", 240, 6),
    "pink flower": lambda: recolour(cut_out("flower", 190, 6), hue=-75, saturation=0.9, value=0.9),
    "hopper": lambda: cut_out("hopper", 330, 4),
    "ledge": lambda: make_wood(PLATE_WIDTH, 190, 3),
    "motorcycle": lambda: cut_out("motorcycle", 255, 0),
    "blue motorcycle": lambda: recolour(cut_out("motorcycle", 170, 0), hue=215),
    "post": lambda: np.ascontiguousarray(np.rot90(make_wood(700, 64, 5))),
}


@cache
def load_picture(name):
    return PICTURES[name]()


# ---------------------------------------------------------------- plates


def make_street():
    """A brick wall, its perspective undone, above the concrete floor of the motorcycle's garage."""
    wall = cv2.rotate(load_photograph("brick"), cv2.ROTATE_90_CLOCKWISE)
    corners, size = np.float32([(0, 6), (511, 70), (511, 370), (0, 426)]), (440, 280)
    square = np.float32([(0, 0), (size[0], 0), size, (0, size[1])])
    wall = cv2.warpPerspective(wall, cv2.getPerspectiveTransform(corners, square), size, flags=cv2.INTER_AREA)
    wall = mirror_tile(tint(wall, (62, 26, 14), (236, 226, 208)), 3, 2)[-480:, :PLATE_WIDTH]
    floor = mirror_tile(load_photograph("motorcycle")[400:495, 0:180], 4)
    floor = cv2.resize(floor, (PLATE_WIDTH, PLATE_HEIGHT - 480), interpolation=cv2.INTER_CUBIC)
    corner_shadow = 0.45 + 0.55 * np.clip(np.arange(len(floor)) / 40, 0, 1)[:, None, None]
    return np.vstack([wall, np.uint8(floor * corner_shadow * 0.85)])


def make_garden():
    """The leaves behind the dahlias, which are filled in from their surroundings."""
    photo = load_photograph("flower").astype(np.float32)
    known = 1 - draw_mask("flower", photo.shape) / np.float32(255)
    known[365:] = 0
    known = cv2.erode(known, np.ones((25, 25), np.uint8), borderValue=1)
    fill = cv2.GaussianBlur(photo * known[..., None], (0, 0), 30)
    fill /= cv2.GaussianBlur(known, (0, 0), 30)[..., None]
    known = cv2.GaussianBlur(known, (0, 0), 6)[..., None]
    return np.uint8(np.clip(1.25 * (photo * known + fill * (1 - known)), 0, 255))[:370]


PLATES = {
    "garden": make_garden,
    "lake": lambda: mirror_tile(load_photograph("china")[60:400, 376:][:, ::-1]),
    "launchpad": lambda: load_photograph("rocket")[20:395],
    "meadow": lambda: tint(load_photograph("grass"), (14, 34, 8), (190, 222, 118))[100:400],
    "pebbles": lambda: tint(load_photograph("gravel"), (24, 25, 29), (205, 208, 214))[100:400],
    "stars": lambda: load_photograph("hubble")[:584],
    "street": make_street,
}


@cache
def load_plate(name):
    """A background of PLATE_WIDTH x PLATE_HEIGHT pixels, float32, slightly out of focus."""
    plate = cv2.resize(PLATES[name](), (PLATE_WIDTH, PLATE_HEIGHT), interpolation=cv2.INTER_CUBIC)
    return cv2.GaussianBlur(plate, (0, 0), 1.2).astype(np.float32) / 255
