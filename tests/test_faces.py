"The drawn sign faces"
import csv

import numpy as np
import pytest
from folders import real

from rtsd_nb.faces import FACES, RED, SCENE_CLASSES, WHITE, YELLOW, draw_face, sign_image

DRAWINGS = [(c, v) for c in SCENE_CLASSES for v in range(len(FACES[c]))]


def test_the_thirty_most_frequent_classes_are_drawn():
    with open(real('classes') / 'sign_classes.csv', encoding='utf-8') as f:
        rows = sorted(csv.DictReader(f), key=lambda r: -int(r['boxes_val']))
    assert int(rows[29]['boxes_val']) > int(rows[30]['boxes_val'])  # no tie at the edge
    assert set(SCENE_CLASSES) == {r['sign_class'] for r in rows[:30]} | {'2_5'}


@pytest.mark.parametrize('sign_class, variant', DRAWINGS)
def test_a_drawing_fills_its_face(sign_class, variant):
    "Boxes are tight around what is drawn, so a face must reach all four edges of its rectangle"
    alpha = draw_face(sign_class, variant)[..., 3]
    ys, xs = np.where(alpha.any(1))[0], np.where(alpha.any(0))[0]
    assert ys[0] <= 12 and xs[0] <= 12
    assert ys[-1] >= alpha.shape[0] - 13 and xs[-1] >= alpha.shape[1] - 13
    assert set(np.unique(alpha)) <= {0, 255}


@pytest.mark.parametrize('sign_class, variant', DRAWINGS)
def test_a_drawing_has_the_shape_that_it_has_on_the_road(sign_class, variant):
    face = FACES[sign_class][variant]
    height, width = draw_face(sign_class, variant).shape[:2]
    assert max(height, width) == 512
    assert width / height == pytest.approx(face.width / face.height, rel=.01)


def test_colours_premultiplied():
    "Outside the sign all four channels are zero, at full size and after shrinking"
    for sign_class, variant in DRAWINGS:
        for face in (draw_face(sign_class, variant), sign_image(sign_class, 24, variant)):
            assert (face[..., :3].max(-1) <= face[..., 3]).all(), sign_class


def test_colours_by_hand():
    assert tuple(draw_face('3_1')[256, 256]) == (*WHITE, 255)          # the bar of no entry
    assert tuple(draw_face('3_1')[60, 256]) == (*RED, 255)
    assert tuple(draw_face('2_1')[256, 256]) == (*YELLOW, 255)
    works = [tuple(draw_face('1_25', v)[256, 205, :3]) for v in (0, 1)]
    assert works == [WHITE, YELLOW]                                    # temporary works have a yellow field


def test_variants_wrap_and_differ():
    speeds = [draw_face('3_24', v) for v in range(7)]
    assert all((a != b).any() for i, a in enumerate(speeds) for b in speeds[:i])
    assert (draw_face('3_24', 7) == speeds[0]).all()


def test_end_of_one_way_is_crossed_out():
    a, b = draw_face('5_5'), draw_face('5_6')
    changed = (a != b).any(-1)
    assert (b[changed][:, :3] == RED).all() and .05 < changed.mean() < .2


def test_unknown_class():
    with pytest.raises(ValueError, match="'3_24_n40'; known: 1_17"):
        draw_face('3_24_n40')
