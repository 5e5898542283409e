"The embedded data set"
import hashlib
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from rtsd_nb.faces import SCENE_CLASSES, draw_face
from rtsd_nb.scenes import (LOOKS, LOOK_CYCLE, Camera, Drive, Seen, Sign, Thing, draw_things, is_plate, make_scenes, mask_box, plan_drives, readable,
                            sign_distances, sign_mount, visible_signs)

SIZE = (360, 640)
CAMERA = Camera(f=500, u0=320, v0=200)


def bytes_of(folder):
    return {p.name: hashlib.md5(p.read_bytes()).hexdigest() for p in sorted(folder.rglob('*')) if p.is_file()}


@pytest.fixture(scope='module')
def small(tmp_path_factory):
    return make_scenes(tmp_path_factory.mktemp('scenes') / 'small', frames=8, size=SIZE, workers=1)


def test_same_seed_same_bytes_in_a_fresh_process(small, tmp_path):
    code = (f'from rtsd_nb.scenes import make_scenes; make_scenes({str(tmp_path / "again")!r}, frames=8, size={SIZE}, workers=1)')
    subprocess.run([sys.executable, '-c', code], check=True)
    assert bytes_of(small) == bytes_of(tmp_path / 'again')


def test_boxes_are_inside_and_large_enough(small):
    boxes, frames = pd.read_csv(small / 'full-gt.csv'), pd.read_csv(small / 'frames.csv')
    assert len(boxes) > 0 and set(boxes.filename) <= set(frames.filename) and len(frames) == 8
    assert (boxes.x_from >= 1).all() and (boxes.y_from >= 1).all()
    assert (boxes.x_from + boxes.width < SIZE[1]).all() and (boxes.y_from + boxes.height < SIZE[0]).all()
    sides = boxes[['width', 'height']]
    assert sides.max(axis=1).between(8, 55).all() and sides.min(axis=1).min() >= 5   # half of 16, 110 and 10: the frame is half as large


def test_only_the_classes_asked_for(tmp_path):
    folder = make_scenes(tmp_path / 'two', frames=8, size=SIZE, workers=1, classes=('2_1', '3_1'))
    assert set(pd.read_csv(folder / 'full-gt.csv').sign_class) == {'2_1', '3_1'}


@pytest.mark.parametrize('classes', [(), ('2_1', '3_24_n40')])
def test_classes_that_cannot_be_drawn(classes, tmp_path):
    with pytest.raises(ValueError, match='cannot be drawn; known: 1_17'):
        make_scenes(tmp_path / 'none', classes=classes)


@pytest.fixture(scope='module')
def drives():
    return plan_drives()


def test_every_class_stands_on_six_drives(drives):
    "Where it can be seen; so a split by drive can leave it on both sides"
    seen = {(s.sign_class, d.index) for d in drives for s in d.signs if np.isfinite(sign_distances(d, s)).any()}
    counts = pd.Series([c for c, _ in seen]).value_counts()
    assert set(counts.index) == set(SCENE_CLASSES)
    assert counts.min() >= 6 and counts['5_19_1'] > 40


def test_hard_light_is_a_minority(drives):
    assert set(LOOK_CYCLE) == set(LOOKS)
    dark = sum(len(d.names) for d in drives if d.look in ('night', 'dusk'))
    assert .08 < dark / 600 < .18


def test_plates_hang_under_signs(drives):
    plates = [(d, s) for d in drives for s in d.signs if is_plate(s.sign_class)]
    under = [any(abs(t.z - s.z) < .01 and t.y > s.y for t in d.signs) for d, s in plates]
    assert len(plates) >= 5 and np.mean(under) > .8


# One sign, one frame, plain grey: what is drawn where, and what is labelled.
def one_sign(mount='pipe', z=12.0, **at):
    sign = Sign('5_20', 7, x=2.0, y=2.2, z=z, width=.7, height=.7, mount=mount)
    return replace(sign, **at)


def scene(signs, things=(), look=LOOKS['overcast']):
    "The frame (uint8) and the signs drawn into it."
    drive = Drive(0, ['a.jpg'], CAMERA, 3.0, 'overcast', (4.0, -5.0), list(signs))
    image = np.full((*SIZE, 3), 120, np.uint8)
    seen = visible_signs(drive, CAMERA, {s.sign_id: draw_face(s.sign_class) for s in signs}, 0, SIZE)
    return image, draw_things(image, list(things), seen, CAMERA, look)


def wall(sign, share):
    "A board 2 m before the sign that covers its left `share`, seen from the camera."
    z = sign.z - 2
    edge = (sign.x - sign.width / 2 + share * sign.width) * z / sign.z
    return Thing(np.full((256, 256, 4), 255, np.uint8), edge - 2, z, 4.0, 6.0), z


def test_the_box_is_tight():
    sign = one_sign()
    image, (seen,) = scene([sign])
    x, y, w, h = seen.box
    ys, xs = np.where((image != 120).any(-1))
    assert abs(xs.min() - x) <= 1 and abs(xs.max() + 1 - x - w) <= 1 and abs(ys.min() - y) <= 1 and abs(ys.max() + 1 - y - h) <= 1
    assert w == h == pytest.approx(500 * .7 / 12, abs=1)                       # f w / d


def test_a_sign_half_hidden_keeps_a_smaller_box():
    sign = one_sign()
    whole = scene([sign])[1][0].box
    image, (seen,) = scene([sign], [wall(sign, .4)])
    x, y, w, h = seen.box
    assert seen.visible == pytest.approx(.6, abs=.06)
    assert x + w == whole[0] + whole[2] and w == pytest.approx(.6 * whole[2], abs=1.5) and (y, h) == (whole[1], whole[3])
    assert (image[y + h // 2, x - 3] > 140).all() and image[y + h // 2, x - 3].std() < 3  # the board is there


def test_what_would_hide_more_than_half_is_left_out():
    sign = one_sign()
    with_wall, (seen,) = scene([sign], [wall(sign, .7)])
    alone, (whole,) = scene([sign])
    assert (with_wall == alone).all() and seen.box == whole.box


def test_two_signs_in_one_line_are_both_honest():
    "The near one hides nearly all of the far one: the far one is neither drawn nor labelled"
    near, far = one_sign(z=12.0), one_sign(z=14.0, x=2.35, y=2.35, sign_id=8)
    image, drawn = scene([near, far])
    assert [s.sign.sign_id for s in drawn] == [7]
    assert (image == scene([near])[0]).all()


def test_nothing_in_sight():
    image, drawn = scene([one_sign(z=500.0)])
    assert drawn == [] and (image == 120).all()
    assert mask_box(np.zeros((5, 5)), (0, 0)) is None
    assert not readable(Seen(one_sign(), np.zeros((5, 5, 4), np.uint8), (0, 0), 5.0), SIZE)


@pytest.mark.parametrize('mount', ['pipe', 'striped', 'concrete', 'bracket', 'cable', 'gantry', 'none'])
def test_mounts_stand_behind_the_sign(mount):
    sign = one_sign(mount)
    image, (seen,) = scene([sign], [(t, sign.z + .03) for t in sign_mount(sign, sign.z)])
    x, y, w, h = seen.box
    assert seen.visible == 1
    assert (image[y + 2:y + h - 2, x + 2:x + w - 2] == scene([sign])[0][y + 2:y + h - 2, x + 2:x + w - 2]).all()


def test_signs_throw_the_light_back_at_night():
    night = LOOKS['night']
    sign = one_sign()
    board = Thing(draw_face('5_20'), 5.0, 12.0, .7, .7, 1.8)
    image, (seen,) = scene([sign], [(board, 12.0)], night)
    x, y, w, h = seen.box
    left, top = CAMERA.project([(4.65, 2.5, 12.0)])[0].astype(int)
    assert image[y:y + h, x:x + w].mean() > 2 * image[top + 2:top + h - 2, left + 2:left + w - 2].mean()
