"""What the tests of data, split, samples and report share: folders made here, and the real data beside the checkout."""
from pathlib import Path

import cv2
import numpy as np
import pytest

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
