"""What the tests share: folders made here, the real data beside the checkout, and small detectors."""
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from rtsd_nb.backbone import make_backbone
from rtsd_nb.data import Frame
from rtsd_nb.detector import Detector, DetectorConfig, build_detector
from rtsd_nb.head import Head
from rtsd_nb.neck import LateralNeck, group_norm

SHARED = Path(__file__).resolve().parents[2] / 'shared' / 'data'
HEADER = 'filename,x_from,y_from,width,height,sign_class,sign_id\n'
GOOD = 'a.jpg,10,20,30,25,2_1,-1'


def real(part):
    "A folder of the real data, or a skip that says what is missing."
    if not (SHARED / part).exists():
        pytest.skip(f'real data not here: ../shared/data/{part}')
    return SHARED / part


def paint(path, size=(72, 128), seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    assert cv2.imwrite(str(path), cv2.GaussianBlur(image, (0, 0), 3))


def folder_of(tmp_path, rows, header=HEADER, frames=('a.jpg', 'b.jpg'), name='gt.csv', size=(72, 128)):
    for i, f in enumerate(frames):
        paint(tmp_path / 'images' / f, size, seed=i)
    (tmp_path / name).write_text(header + '\n'.join(rows) + '\n')
    return tmp_path


def adds_up(a):
    rows = a.summary().query("action in ('kept', 'repaired', 'dropped')").rows.sum()
    return rows == a.n_rows


def only(a, reason):
    "The one problem row whose reason contains `reason`."
    found = a.problems[a.problems.reason.str.contains(reason)]
    assert len(found) == 1, a.problems.to_string()
    assert adds_up(a)
    return found.iloc[0]


# ---- training on coloured squares ----

SQUARE_COLOURS = [(30, 30, 220), (30, 220, 30), (220, 30, 30)]  # BGR, one a class
SHAPE = ((20., 20.), (24., 24.), (28., 28.), (24., 18.), (18., 24.))


def square_frames(folder, n=6):
    "Frames with one square each, its colour tells the class, as PNG files (written where they are not there yet)."
    rng, frames = np.random.default_rng(0), []
    for i in range(n):
        x, y = (int(v) for v in (rng.integers(10, 90), rng.integers(10, 60)))
        path = folder / f'{i}.png'
        if not path.exists():
            image = np.full((96, 128, 3), 100, np.uint8)
            image[y:y + 24, x:x + 24] = SQUARE_COLOURS[i % 3]
            assert cv2.imwrite(str(path), image)
        box = torch.tensor([[x, y, x + 24, y + 24]], dtype=torch.float32)
        frames.append(Frame(path.name, path=path, size=(96, 128), boxes=box, labels=torch.tensor([i % 3]), drive=str(i), sign_ids=torch.tensor([-1])))
    return frames


def squares_on_disk(folder, n=10):
    "The same as a data set in RTSD's layout, each frame a drive of its own; the folder."
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for i, frame in enumerate(square_frames(folder, n)):
        name = f'autosave0{i % 9 + 1}_0{i // 9 + 1}_2013_10_00_00_0.png'
        frame.path.rename(folder / name)
        x1, y1, x2, y2 = frame.boxes[0].int().tolist()
        rows.append(f'{name},{x1},{y1},{x2 - x1},{y2 - y1},{("1_1", "2_1", "3_1")[i % 3]},{i}')
    (folder / 'signs.csv').write_text(HEADER + '\n'.join(rows) + '\n')
    return folder


def tiny_config(classes=('a', 'b', 'c'), **kwargs):
    return DetectorConfig(**{'classes': classes, 'shapes': (SHAPE,), 'backbone': 'mobilenetv3_small_050', 'size': (96, 128), 'channels': 16, **kwargs})


def tiny_detector(**kwargs):
    torch.manual_seed(0)
    return build_detector(tiny_config(**kwargs), weights=None)


def norm_free_detector():
    "A detector in which no batch norm learns: its answer for a frame does not depend on the others in the batch (`trainable_blocks=0`)."
    torch.manual_seed(0)
    backbone = make_backbone('mobilenetv3_small_050', weights=None, max_stride=16)
    neck = LateralNeck(backbone.channels, backbone.strides, channels=16, norm=group_norm)
    return Detector(backbone, neck, Head(16, len(SHAPE), 3, channels=16, depth=0), shapes=[torch.tensor(SHAPE)], classes=('a', 'b', 'c'), size=(96, 128))

