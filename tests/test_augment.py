"""Options of training: colours move no pixel, mirrors follow the table, mosaics and pasted signs keep their boxes exact."""

import csv

import albumentations as A
import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from rtsd_nb.augment import (MIRRORED, NEVER, SYMMETRIC, Around, ColorDataset, FlipDataset, MosaicDataset, PasteDataset, codec_effects,
                             flip_labels, flip_sample, flipped_class, free_corner, lens_effects, mosaic, night, paste, rare_signs,
                             strong_augment, weather_effects)
from rtsd_nb.data import Frame, no_boxes, no_labels
from rtsd_nb.samples import FrameDataset, Target, crop_transform, fit_transform, make_loader

from folders import real


def target(boxes, labels=None, ignore=None, **kwargs):
    boxes = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    labels = torch.arange(len(boxes)) if labels is None else torch.tensor(labels, dtype=torch.int64)
    return Target(boxes, labels, no_boxes() if ignore is None else torch.tensor(ignore, dtype=torch.float32), 1.0, (720, 1280), 'a.jpg', **kwargs)


def painted(t, size=(96, 128)):
    "A black image in which box k is of grey 100 + 20 k, (3, H, W)."
    image = torch.zeros(3, *size, dtype=torch.uint8)
    for k, (x1, y1, x2, y2) in enumerate(t.boxes.int().tolist()):
        image[:, y1:y2, x1:x2] = 100 + 20 * k
    return image


def equal(a, b):
    return a[0].equal(b[0]) and all(getattr(a[1], n).equal(getattr(b[1], n)) for n in ('boxes', 'labels', 'ignore'))


# ---------------------------------------------------------------- colours
@pytest.mark.parametrize('name, effect', [*weather_effects().items(), *lens_effects().items(), *codec_effects().items()])
def test_effects_change_pixels_and_move_none(name, effect):
    "The centre of a bright square stays where it is, on average over seeds."
    image = np.full((96, 96, 3), 90, np.uint8)
    image[30:60, 36:66] = 200
    centres, changed = [], 0
    for seed in range(20):
        out = A.Compose([effect], seed=seed)(image=image)['image']
        assert out.shape == image.shape and out.dtype == np.uint8
        changed += not np.array_equal(out, image)
        inside = cv2.GaussianBlur(out.astype(np.float32).mean(2), (0, 0), 2)
        ys, xs = np.nonzero(inside > (inside.min() + inside.max()) / 2)
        centres.append((ys.mean(), xs.mean()))
    assert changed >= 18
    if name not in ('low sun', 'shadow', 'snow'):  # these paint things of their own
        assert np.abs(np.median(centres, axis=0) - [44.5, 50.5]).max() < 1.5


def test_night_is_dark_but_not_black():
    for grey in (60, 200):
        out = A.Compose([night()], seed=0)(image=np.full((64, 64, 3), grey, np.uint8))['image']
        assert 8 < out.mean() < 0.7 * grey


def test_strong_augment_is_taken_by_crops_and_repeats(dataset):
    strong = FrameDataset(dataset.frames, crop_transform((48, 64), augment=strong_augment(1, 1, 1)), seed=7)
    plain = FrameDataset(dataset.frames, crop_transform((48, 64), augment=None), seed=7)
    assert all(equal(strong[i], strong[i]) and strong[i][1].boxes.equal(plain[i][1].boxes) for i in range(10))
    assert sum(not strong[i][0].equal(plain[i][0]) for i in range(10)) == 10


# ---------------------------------------------------------------- mirroring
def test_table_covers_every_class_once():
    with open(real('classes') / 'sign_classes.csv', encoding='utf-8') as f:
        classes = [row['sign_class'] for row in csv.DictReader(f)]
    assert len(classes) == 155
    groups = [sum(c in group for group in (SYMMETRIC, MIRRORED, NEVER)) for c in classes]
    assert groups == [1] * 155, [c for c, n in zip(classes, groups) if n != 1]
    assert NEVER <= set(classes)
    flips = flip_labels(classes)
    assert flips.shape == (155,) and flips.dtype == torch.int64
    kept = flips >= 0
    assert flips[flips[kept]].tolist() == kept.nonzero()[:, 0].tolist()  # twice in a mirror
    named = {classes[i]: classes[j] for i, j in enumerate(flips.tolist()) if 0 <= j != i}
    assert named == {a: b for x, y in (('1_20_2', '1_20_3'), ('2_3_2', '2_3_3'), ('2_3_4', '2_3_5'), ('4_1_2', '4_1_3'), ('4_1_4', '4_1_5'),
                                       ('4_2_1', '4_2_2'), ('5_7_1', '5_7_2'), ('6_8_2', '6_8_3'), ('8_3_1', '8_3_2')) for a, b in ((x, y), (y, x))}


def test_table_by_hand():
    assert flipped_class('1_11_1') == '1_11_2' and flipped_class('5_19_2') == '5_19_1' and flipped_class('3_27') == '3_27'
    assert [flipped_class(c) for c in ('2_5', '3_24', '3_24_n40', '3_20', '6_4', '1_23', '', 'stop')] == [None] * 8
    assert all(flipped_class(flipped_class(c)) == c for c in SYMMETRIC | MIRRORED.keys())
    assert flip_labels(('4_1_2', '2_5', '4_1_3', '2_1')).tolist() == [2, -1, 0, 3]
    assert flip_labels(('4_1_2', '2_1')).tolist() == [-1, 1] and flip_labels(()).shape == (0,)


def test_pictograms_are_what_the_table_says():
    "Drawings of symmetric classes nearly equal their mirror images; those of a pair are nearer to the partner's mirror image than to the partner."
    folder = real('sign_pictograms')
    with open(folder / 'map.csv', encoding='utf-8') as f:
        files = {row['sign_class']: row['file'] for row in csv.DictReader(f)}

    def drawing(sign_class):
        picture = Image.open(folder / 'png128' / f'{files[sign_class]}.png').convert('RGBA').resize((64, 64))
        return np.asarray(Image.alpha_composite(Image.new('RGBA', picture.size, 'grey'), picture).convert('RGB')).astype(float)

    def apart(a, b):
        return np.abs(a - b).mean()
    drawn = SYMMETRIC & files.keys() - {'1_1', '8_13'}  # pickets that shift by half a picket; a code for both directions
    odd = {c: apart(drawing(c), drawing(c)[:, ::-1]) for c in drawn}
    assert len(drawn) > 15 and max(odd.values()) < 8, odd
    pairs = [(a, b) for a, b in MIRRORED.items() if a in files and b in files]
    assert pairs
    for a, b in pairs:
        assert apart(drawing(a)[:, ::-1], drawing(b)) < apart(drawing(a), drawing(b)), (a, b)


def test_flip_moves_boxes_with_pixels_and_twice_is_nothing():
    t = target([[10, 20, 40, 50], [60, 5, 100, 90]], [0, 1], [[0, 0, 8, 8]])
    flips = torch.tensor([1, 0])
    image, mirrored = flip_sample(painted(t), t, flips)
    assert mirrored.boxes.tolist() == [[88, 20, 118, 50], [28, 5, 68, 90]] and mirrored.labels.tolist() == [1, 0]
    assert mirrored.ignore.tolist() == [[120, 0, 128, 8]] and image.equal(painted(mirrored))
    assert equal(flip_sample(image, mirrored, flips), (painted(t), t))


def test_one_forbidden_sign_forbids_the_flip_and_ignored_ones_do_not():
    t = target([[10, 20, 40, 50], [60, 5, 100, 90]], [0, 1])
    assert equal(flip_sample(painted(t), t, torch.tensor([0, -1])), (painted(t), t))
    empty = target([], [], [[0, 0, 8, 8]])
    assert flip_sample(painted(empty), empty, torch.tensor([-1]))[1].ignore.tolist() == [[120, 0, 128, 8]]


# ---------------------------------------------------------------- data sets around a data set
def test_options_repeat_and_change_with_the_epoch(dataset):
    signs = rare_signs(dataset.frames, [0])
    options = [FlipDataset(dataset, torch.tensor([0, 1])), MosaicDataset(dataset), PasteDataset(dataset, signs), ColorDataset(dataset, strong_augment())]
    for option in options:
        first = [option[i] for i in range(len(dataset))]
        assert len(option) == 10 and all(equal(s, option[i]) for i, s in enumerate(first))
        changed = sum(not s[0].equal(dataset[i][0]) for i, s in enumerate(first))
        assert 1 <= changed <= 10, type(option).__name__
        option.set_epoch(1)
        assert option.epoch == dataset.epoch == 1 and not all(equal(s, option[i]) for i, s in enumerate(first))
        option.set_epoch(0)
    assert len({o.number for o in options}) == len(options)


def test_options_go_through_the_loader(dataset):
    options = MosaicDataset(FlipDataset(dataset, torch.tensor([0, 1])), share=0.4)
    alone, shared = (list(make_loader(options, 4, shuffle=True, seed=1, workers=w)) for w in (0, 2))
    assert len(alone) == len(shared) == 2
    for (images, targets), (others, theirs) in zip(alone, shared):
        assert images.equal(others) and all(a.boxes.equal(b.boxes) and a.labels.equal(b.labels) for a, b in zip(targets, theirs))


def test_options_want_one_crop_a_frame(dataset):
    several = FrameDataset(dataset.frames, dataset.transform, crops_per_frame=2)
    with pytest.raises(ValueError, match='MosaicDataset wants crops_per_frame=1'):
        MosaicDataset(several)
    assert issubclass(MosaicDataset, Around)


def test_mosaic_keeps_boxes_on_their_pixels_and_loses_none_silently():
    samples = []
    for k in range(4):
        t = target([[20, 30, 44, 60], [90, 10, 110, 34], [60, 60, 126, 94]], [0, 1, 2])
        samples.append((painted(t), t))
    for seed in range(40):
        rng = np.random.default_rng(seed)
        split = (int(rng.integers(30, 66)), int(rng.integers(40, 88)))
        image, t = mosaic(samples, split, rng)
        assert image.shape == (3, 96, 128) and len(t.boxes) == len(t.labels)
        for (x1, y1, x2, y2), label in zip(t.boxes.int().tolist(), t.labels.tolist()):
            assert (image[:, y1:y2, x1:x2] == 100 + 20 * label).all()
        marked = torch.zeros(96, 128, dtype=torch.bool)
        for x1, y1, x2, y2 in torch.cat([t.boxes, t.ignore]).int().tolist():
            assert 0 <= x1 < x2 <= 128 and 0 <= y1 < y2 <= 96
            marked[y1:y2, x1:x2] = True
        assert (image[0] > 0).equal(marked)  # every painted pixel is in a box or an ignore region, and nothing else is


def test_mosaic_of_streets_without_signs():
    empty = target([], [])
    image, t = mosaic([(painted(empty), empty)] * 4, (48, 64), np.random.default_rng(0))
    assert len(t.boxes) == 0 and t.labels.dtype == torch.int64 and image.shape == (3, 96, 128)


@pytest.fixture
def white_sign(tmp_path):
    "A black frame with one white sign, and a dataset of grey frames to paste it into."
    frame = np.zeros((72, 128, 3), np.uint8)
    frame[20:40, 50:66] = 255
    cv2.imwrite(str(tmp_path / 'white.png'), frame)
    cv2.imwrite(str(tmp_path / 'grey.png'), np.full((72, 128, 3), 60, np.uint8))
    white = Frame('white.png', tmp_path / 'white.png', (72, 128), torch.tensor([[50., 20, 66, 40]]), torch.tensor([3]))
    taken = torch.tensor([[0., 0, 40, 72]])
    grey = Frame('grey.png', tmp_path / 'grey.png', (72, 128), taken, torch.tensor([0]), torch.tensor([[100., 0, 128, 72]]))
    return white, grey


def test_pasted_box_is_exact_and_covers_nothing(white_sign):
    white, grey = white_sign
    pasted = PasteDataset(FrameDataset([grey], fit_transform((72, 128))), rare_signs([white, grey], [3]), share=1)
    found = 0
    for epoch in range(40):
        pasted.set_epoch(epoch)
        image, t = pasted[0]
        assert t.labels.tolist()[0] == 0 and t.boxes[0].tolist() == [0, 0, 40, 72] and t.ignore.tolist() == [[100, 0, 128, 72]]
        if len(t.boxes) == 1:
            assert (image == 60).all()
            continue
        found += 1
        x1, y1, x2, y2 = t.boxes[1].int().tolist()
        assert t.labels.tolist() == [0, 3] and (x2 - x1, y2 - y1) == (16, 20) and 44 <= x1 and x2 <= 96 and abs(y1 - 20) <= 6
        assert image[:, y1 + 1:y2 - 1, x1 + 1:x2 - 1].min() > 200  # white up to a pixel of interpolation
        outside = image.clone()
        outside[:, y1 - 3:y2 + 3, x1 - 3:x2 + 3] = 60
        assert (outside == 60).all()
    assert found > 20


def test_no_place_leaves_the_sample(white_sign):
    full = target([[0, 0, 128, 96]])
    assert free_corner((10, 10), 20, full, (96, 128), np.random.default_rng(0)) is None
    assert free_corner((10, 10), -40, target([]), (96, 128), np.random.default_rng(0)) is None  # its row is above the crop
    y, x = free_corner((10, 10), 20, target([]), (96, 128), np.random.default_rng(0))
    assert 17 <= y <= 23 and 0 <= x <= 118
    with pytest.raises(ValueError, match='no signs to paste'):
        PasteDataset(FrameDataset([white_sign[1]], fit_transform((72, 128))), [])


def test_paste_at_the_edge_of_the_image():
    image = np.zeros((20, 20, 3), np.uint8)
    paste(image, np.full((10, 10, 3), 100, np.uint8), (0, 14), margin=2)
    assert (image[0:6, 14:20] == 100).all() and (image[8:] == 0).all() and 0 < image[3, 13, 0] < 100


def test_rare_signs_of_frames_without_any():
    assert rare_signs([Frame('a', labels=no_labels())], [0]) == []
