"""Drawn photographs of a hand showing 0 to 5 fingers: a data set that needs no file and no network.

The image is a height field seen from above. Every part of the hand is the set of points within a radius r of a core -
a line segment (finger, thumb, wrist, forearm) or a rectangle (the palm) - so a point at offset v from its nearest core
point, with |v| < r, lies at height sqrt(r^2 - |v|^2) and has the unit normal (v, sqrt(r^2 - |v|^2)) / r. The highest
part is seen, lit by one directional light, and is drawn at twice the size and averaged down. The frame is the square
[-1, 1]^2 with y upwards; a hand at scale 1 has a palm about 0.6 wide.

Source: signed distances to a segment and to a rounded box as in I. Quilez, "2D distance functions"; Lambert's law.
"""

import functools
import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from conformance.data.randomness import keyed_generator

Floats = NDArray[np.float32]
Point = tuple[float, float]

IMAGE_SIDE = 64  # pixels, as in the course's hand signs
CLASS_COUNT = 6
SUPERSAMPLING = 2
UNDERSIDE = 0.3  # added to every height, so that even the arm, which lies lowest, is over the empty canvas

# Which of (thumb, index, middle, ring, little) may be raised for a count; repeated rows are drawn more often.
FINGER_SETS: tuple[tuple[tuple[int, ...], ...], ...] = (
    ((),),
    ((1,), (1,), (1,), (4,), (0,)),
    ((1, 2), (1, 2), (1, 2), (0, 1)),
    ((1, 2, 3), (1, 2, 3), (0, 1, 2), (2, 3, 4)),
    ((1, 2, 3, 4),),
    ((0, 1, 2, 3, 4),),
)

# Index, middle, ring, little: knuckle position, raised length, radius, direction from the vertical per unit of spread.
KNUCKLE_X = (-0.225, -0.075, 0.075, 0.22)
KNUCKLE_Y = (0.22, 0.26, 0.24, 0.18)
FINGER_LENGTH = (0.53, 0.60, 0.54, 0.43)
FINGER_RADIUS = (0.074, 0.077, 0.074, 0.066)
FINGER_ANGLE = (0.27, 0.08, -0.11, -0.34)  # radians, anticlockwise

PALM_CORE = (0.125, 0.145)  # half-widths of the rectangle that the palm is rounded around
PALM_RADIUS = 0.175
# A folded finger lies on the palm and a folded thumb on both, so their cores are raised towards the viewer.
FOLDED_HEIGHT = 0.135
FOLDED_THUMB_HEIGHT = 0.215

SKIN_TONES = ((244, 205, 178), (224, 172, 138), (190, 132, 98), (141, 93, 66), (98, 63, 46))  # RGB bytes, light to dark
AMBIENT, DIFFUSE = 0.40, 0.70  # shares of the light; they sum to more than 1 so that the brightest skin is overexposed
FRAME_MARGIN = 0.06  # of the frame's half-width, kept free beyond every fingertip


@dataclass(frozen=True)
class Capsule:
    """The points near a core: a segment from start to end, or a rectangle around it if half_width is not 0.

    The radius runs linearly from start_radius to end_radius; `height` lifts the core towards the viewer.
    """

    start: Point
    end: Point
    start_radius: float
    end_radius: float
    height: float = 0.0
    half_width: float = 0.0


@dataclass(frozen=True)
class Pose:
    """Where the hand stands: frame = shift + scale rotation(angle) mirror hand; mirror is 1 or -1 (left or right)."""

    angle: float
    scale: float
    mirror: float
    shift: Point = (0.0, 0.0)

    def place_point(self, point: Point) -> Point:
        """The point of the frame at which a point of the hand stands."""
        x, y = self.scale * self.mirror * point[0], self.scale * point[1]
        cosine, sine = math.cos(self.angle), math.sin(self.angle)
        return self.shift[0] + cosine * x - sine * y, self.shift[1] + sine * x + cosine * y

    def place(self, part: Capsule) -> Capsule:
        """The part moved from hand to frame coordinates."""
        return Capsule(
            start=self.place_point(part.start),
            end=self.place_point(part.end),
            start_radius=self.scale * part.start_radius,
            end_radius=self.scale * part.end_radius,
            height=self.scale * part.height,
            half_width=self.scale * part.half_width,
        )


@dataclass(frozen=True)
class Canvas:
    """Samples of the frame, each array (side, side): the height seen, its brightness and the share that is covered."""

    height: Floats
    brightness: Floats
    coverage: Floats


def step(point: Point, angle: float, length: float) -> Point:
    """The point at `length` from `point`, in the direction `angle` anticlockwise (radians) from the vertical."""
    return point[0] - length * math.sin(angle), point[1] + length * math.cos(angle)


def finger_capsule(finger: int, raised: bool, spread: float, length: float) -> Capsule:
    """Finger 1 to 4 (index to little): a long tapered capsule if raised, a knuckle bump lying on the palm if folded."""
    x, y, radius = KNUCKLE_X[finger - 1], KNUCKLE_Y[finger - 1], FINGER_RADIUS[finger - 1]
    if not raised:
        return Capsule((x, y + 0.03), (0.94 * x, y - 0.17), radius, radius, FOLDED_HEIGHT)
    tip = step((x, y), spread * FINGER_ANGLE[finger - 1], length * FINGER_LENGTH[finger - 1])
    return Capsule((x, y), tip, radius, 0.85 * radius)


def thumb_capsules(raised: bool, spread: float, length: float) -> list[Capsule]:
    """The thumb's two segments: pointing away from the palm if raised, lying across it if folded."""
    base = (-0.20, -0.16)
    if not raised:
        joint, tip = (-0.23, 0.0), (0.03, -0.02)
        return [
            Capsule(base, joint, 0.10, 0.082, FOLDED_THUMB_HEIGHT - 0.08),
            Capsule(joint, tip, 0.082, 0.066, FOLDED_THUMB_HEIGHT),
        ]
    angle = 0.85 + 0.2 * (spread - 1.0)
    joint = step(base, angle, 0.30)
    return [Capsule(base, joint, 0.115, 0.084), Capsule(joint, step(joint, angle - 0.2, 0.32 * length), 0.084, 0.068)]


def arm_capsules(bend: float) -> list[Capsule]:
    """Wrist and forearm, which runs out of the frame `bend` to the side; both lie under the palm."""
    wrist, elbow = (0.0, -0.42), (bend, -2.4)
    return [Capsule((0.0, -0.15), wrist, 0.25, 0.19, -0.12), Capsule(wrist, elbow, 0.19, 0.27, -0.12)]


def hand_capsules(raised: tuple[int, ...], generator: np.random.Generator) -> list[Capsule]:
    """Palm, fingers and thumb in hand coordinates, for the raised fingers (0 thumb, 1 index ... 4 little)."""
    spread = float(generator.uniform(0.9, 1.25))
    lengths = generator.uniform(0.92, 1.08) * generator.uniform(0.97, 1.03, size=5)
    half_width, half_height = PALM_CORE
    palm = Capsule((0.0, -half_height), (0.0, half_height), PALM_RADIUS, PALM_RADIUS, half_width=half_width)
    fingers = [finger_capsule(finger, finger in raised, spread, float(lengths[finger])) for finger in range(1, 5)]
    return [palm, *fingers, *thumb_capsules(0 in raised, spread, float(lengths[0]))]


def draw_pose(parts: list[Capsule], generator: np.random.Generator) -> Pose:
    """A random pose in which the palm and every fingertip stay inside the frame."""
    angle, scale = generator.uniform(-0.3, 0.3), generator.uniform(0.95, 1.15)
    pose = Pose(float(angle), float(scale), mirror=float(generator.choice([-1.0, 1.0])))
    wanted = generator.uniform((-0.12, -0.32), (0.12, -0.16))
    tips = np.array([pose.place_point(point) for part in parts for point in (part.start, part.end)])
    room = 1.0 - FRAME_MARGIN - max(FINGER_RADIUS) * pose.scale
    x, y = np.clip(wanted, -room - tips.min(axis=0), room - tips.max(axis=0))
    return replace(pose, shift=(float(x), float(y)))


def core_offset(part: Capsule, x: Floats, y: Floats) -> tuple[Floats, Floats, Floats]:
    """Offset of each point from the nearest point of the part's core, and the part's radius there.

    With u the unit vector from start to end, n = (-u_y, u_x), L the length of the core and w its half-width:
    t = (p - start).u, s = (p - start).n, v = (t - clip(t, 0, L)) u + (s - clip(s, -w, w)) n,
    r = start_radius + clip(t, 0, L) / L (end_radius - start_radius).

    Args:
        part: in frame coordinates.
        x, y: frame coordinates, shapes (1, columns) and (rows, 1).

    Returns:
        v_x, v_y and r, each (rows, columns).
    """
    length = math.hypot(part.end[0] - part.start[0], part.end[1] - part.start[1])
    unit_x, unit_y = (part.end[0] - part.start[0]) / length, (part.end[1] - part.start[1]) / length
    along = (x - part.start[0]) * unit_x + (y - part.start[1]) * unit_y
    across = (y - part.start[1]) * unit_x - (x - part.start[0]) * unit_y
    nearest = np.clip(along, 0.0, length)
    radius = part.start_radius + nearest * ((part.end_radius - part.start_radius) / length)
    along -= nearest
    if part.half_width > 0.0:
        across -= np.clip(across, -part.half_width, part.half_width)
    offset_x, offset_y = along * unit_x - across * unit_y, along * unit_y + across * unit_x
    return np.asarray(offset_x, np.float32), np.asarray(offset_y, np.float32), np.asarray(radius, np.float32)


def bounding_window(part: Capsule, side: int) -> tuple[slice, slice]:
    """Rows and columns of the samples that the part can touch, with one more all round for the fading edge."""
    reach = max(part.start_radius, part.end_radius) + part.half_width
    (left, right), (bottom, top) = (sorted((part.start[axis], part.end[axis])) for axis in (0, 1))
    edges = (1.0 - (top + reach), 1.0 - (bottom - reach), 1.0 + left - reach, 1.0 + right + reach)
    first_row, last_row, first_column, last_column = (min(max(int(edge * side / 2), 0), side) for edge in edges)
    return slice(max(first_row - 1, 0), last_row + 2), slice(max(first_column - 1, 0), last_column + 2)


def paint(canvas: Canvas, part: Capsule, light: tuple[float, float, float]) -> None:
    """Paint one part onto the canvas wherever it is the highest yet.

    brightness = (ambient + diffuse max(0, n.l)) (1 + n_z) / 2; the last factor darkens what turns away from the viewer,
    which outlines a finger that lies in front of the palm.

    Args:
        canvas: changed in place.
        part: in frame coordinates.
        light: unit vector towards the light, in frame coordinates.
    """
    window = bounding_window(part, canvas.height.shape[0])
    centres = sample_centres(canvas.height.shape[0])
    offset_x, offset_y, radius = core_offset(part, centres[None, window[1]], -centres[window[0], None])
    squared = offset_x**2 + offset_y**2
    depth = radius - np.sqrt(squared)
    rise = np.sqrt(np.maximum(radius**2 - squared, 0.0))
    facing = np.maximum(offset_x * light[0] + offset_y * light[1] + rise * light[2], 0.0) / radius
    brightness = (AMBIENT + DIFFUSE * facing) * (0.5 + 0.5 * rise / radius)
    # A sample just outside every part takes its brightness from the nearest: depth is negative there.
    height = np.where(rise > 0.0, UNDERSIDE + part.height + rise, depth)
    np.copyto(canvas.brightness[window], brightness, where=height > canvas.height[window])
    np.maximum(canvas.height[window], height, out=canvas.height[window])
    covered = np.clip(0.5 + depth * (canvas.height.shape[0] / 2), 0.0, 1.0)
    np.maximum(canvas.coverage[window], covered, out=canvas.coverage[window])


@functools.cache
def sample_centres(side: int) -> Floats:
    """Frame coordinates of the centres of `side` samples from -1 to 1, shape (side,)."""
    return (2.0 * np.arange(side, dtype=np.float32) + 1.0) / np.float32(side) - np.float32(1.0)


def average_blocks(samples: Floats) -> Floats:
    """The mean of each pixel's samples: (128, 128) to (64, 64)."""
    corners = np.ndindex(SUPERSAMPLING, SUPERSAMPLING)
    shifted = [samples[row::SUPERSAMPLING, column::SUPERSAMPLING] for row, column in corners]
    return np.asarray(np.mean(shifted, axis=0), np.float32)


def render(parts: list[Capsule], light: tuple[float, float, float]) -> tuple[Floats, Floats]:
    """Share of each pixel that the hand covers, and its brightness times that share; both (64, 64)."""
    side = IMAGE_SIDE * SUPERSAMPLING
    blank = np.zeros((side, side), np.float32)
    canvas = Canvas(height=np.full_like(blank, -np.inf), brightness=blank.copy(), coverage=blank)
    for part in parts:
        paint(canvas, part, light)
    return average_blocks(canvas.coverage), average_blocks(canvas.brightness * canvas.coverage)


def draw_background(skin: Floats, generator: np.random.Generator) -> Floats:
    """A linear gradient between two muted colours that stand out from lit and shaded skin: (64, 64, 3), bytes."""
    # Grey to blue-green walls: skin is redder than they are at any brightness, as in the course's photographs.
    grey = generator.uniform(50.0, 235.0, size=(6, 1)).astype(np.float32)
    tint = generator.uniform((-40.0, -12.0, 0.0), (0.0, 20.0, 20.0), size=(6, 3)).astype(np.float32)
    candidates = grey + generator.uniform(0.0, 1.0, size=(6, 1)).astype(np.float32) * tint
    shades = np.stack([0.45 * skin, 0.7 * skin, skin])
    # The colour whose nearest skin shade is farthest: a hand must be seen against it.
    separation = np.abs(candidates[:, None, :] - shades[None]).mean(axis=2).min(axis=1)
    first = candidates[separation.argmax()]
    change = (generator.uniform(-30.0, 30.0) + generator.uniform(-8.0, 8.0, size=3)).astype(np.float32)
    direction, centres = float(generator.uniform(0.0, 2.0 * np.pi)), sample_centres(IMAGE_SIDE)
    fraction = 0.5 + 0.35 * (math.cos(direction) * centres[None, :] - math.sin(direction) * centres[:, None])
    return np.asarray(first + fraction[:, :, None] * change, np.float32)


def draw_light(generator: np.random.Generator) -> tuple[float, float, float]:
    """A unit vector towards the light: 40 to 65 degrees in front of the frame, from above."""
    elevation, azimuth = np.radians(generator.uniform((40.0, 20.0), (65.0, 160.0))).tolist()
    flat = math.cos(elevation)
    return flat * math.cos(azimuth), flat * math.sin(azimuth), math.sin(elevation)


def draw_skin(generator: np.random.Generator) -> Floats:
    """A colour between two neighbours of SKIN_TONES: (3,), RGB bytes."""
    tone = generator.uniform(0.0, len(SKIN_TONES) - 1.0)
    return np.array(
        [np.interp(tone, range(len(SKIN_TONES)), band) for band in zip(*SKIN_TONES, strict=True)], np.float32
    )


def draw_hand(label: int, generator: np.random.Generator) -> NDArray[np.uint8]:
    """One photograph of a hand that shows `label` fingers: uint8 (64, 64, 3)."""
    choices = FINGER_SETS[label]
    hand = hand_capsules(choices[int(generator.integers(len(choices)))], generator)
    pose = draw_pose(hand, generator)
    arm = arm_capsules(float(generator.uniform(-0.5, 0.5)))
    coverage, lit = render([pose.place(part) for part in arm + hand], draw_light(generator))
    skin = draw_skin(generator)
    background = draw_background(skin, generator)
    image = background * (1.0 - coverage[:, :, None]) + lit[:, :, None] * skin
    noise = generator.standard_normal(image.shape, dtype=np.float32) * np.float32(generator.uniform(1.0, 5.0))
    return np.asarray(np.clip(np.rint(image + noise), 0, 255), np.uint8)


def balanced_labels(count: int, seed: int, stream: str) -> NDArray[np.int64]:
    """Labels (count,) in which every run of six from the start holds each class once, in an order of its own."""
    blocks = range(-(-count // CLASS_COUNT))
    orders = [keyed_generator(seed, f"hand signs {stream} labels", block).permutation(CLASS_COUNT) for block in blocks]
    return np.concatenate([np.empty(0, np.int64), *orders])[:count].astype(np.int64)


def draw_hand_signs(count: int, seed: int, *, stream: str = "train") -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Draw labelled images of hands that show 0 to 5 fingers.

    Each image depends on (seed, stream, its index) alone, so a draw of 10 is the start of a draw of 30. Classes are
    balanced: their counts differ by at most one.

    Args:
        count: how many images, at least 0.
        seed: of all the draws.
        stream: "train" or "test"; any other word gives further independent images for the same seed.

    Returns:
        images uint8 (count, 64, 64, 3), RGB bytes; labels int64 (count,), the number of raised fingers 0 to 5.

    Raises:
        ValueError: if count is negative.

    >>> images, labels = draw_hand_signs(6, seed=0)
    >>> images.shape, sorted(labels.tolist())
    ((6, 64, 64, 3), [0, 1, 2, 3, 4, 5])
    """
    if count < 0:
        raise ValueError(f"draw_hand_signs: count is {count}; allowed: 0 or more")
    labels = balanced_labels(count, seed, stream)
    images = np.empty((count, IMAGE_SIDE, IMAGE_SIDE, 3), np.uint8)
    for index, label in enumerate(labels):
        images[index] = draw_hand(int(label), keyed_generator(seed, f"hand signs {stream} image", index))
    return images, labels
