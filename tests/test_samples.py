"""Transforms, data set and loader: boxes move with the pixels, chance comes from the seed."""

import albumentations as A
import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from rtsd_nb import samples
from rtsd_nb.data import Frame, no_boxes, no_labels, open_dataset
from rtsd_nb.samples import (PADDING, FrameDataset, Window, collate, color_augment, crop_transform, cut_image, cut_signs, fit_transform,
                             make_loader, read_image, reduction, repeat_factors, repeat_rare, window_start)

from folders import GOOD, folder_of, real


# ---------------------------------------------------------------- transforms
def painted(boxes, size=(720, 1280)):
    "A black frame in which each box has its own grey."
    image = np.zeros((*size, 3), np.uint8)
    for k, (x1, y1, x2, y2) in enumerate(boxes.int().tolist()):
        image[y1:y2, x1:x2] = 100 + 20 * k
    return image


@pytest.mark.parametrize('crop', [(384, 384), (200, 300)])
def test_boxes_move_with_the_pixels(crop):
    boxes = torch.tensor([[600., 300, 660, 340], [20, 20, 60, 90], [1200, 650, 1270, 715], [610, 500, 640, 560]])
    image, labels, n = painted(boxes), torch.arange(4), 0
    transform = crop_transform(crop, sign_share=1, augment=None)
    for seed in range(60):
        out, moved, kept, ignored, s = transform(image, boxes, labels, no_boxes(), np.random.default_rng(seed))
        assert out.shape == (*crop, 3) and len(moved) >= 1 and 0.65 <= s <= 1.5
        for box, k in zip(moved, kept.tolist()):
            x, y = (max(0, int(v) - 4) for v in box[:2])
            ys, xs = np.nonzero(out[y:int(box[3]) + 5, x:int(box[2]) + 5, 0] > (100 + 20 * k) / 2)
            seen = torch.tensor([x + xs.min(), y + ys.min(), x + xs.max() + 1, y + ys.max() + 1], dtype=torch.float32)
            assert abs(float(out[ys + y, xs + x, 0].mean()) - (100 + 20 * k)) < 8  # the right sign's grey
            assert (seen - box).abs().max() <= 1.01, (seed, k, seen, box)
            n += 1
        assert (moved[:, :2] >= 0).all() and (moved[:, 2:] <= torch.tensor([crop[1], crop[0]])).all()
        assert len(moved) + len(ignored) <= 4
    assert n >= 60


def test_fit_by_hand():
    boxes = torch.tensor([[600., 300, 660, 340]])
    out, moved, _, ignore, s = fit_transform((384, 640))(painted(boxes), boxes, torch.tensor([0]), boxes * 2 - 500, None)
    assert s == 0.5 and moved.tolist() == [[300, 150, 330, 170]] and ignore.tolist() == [[350, 50, 410, 90]]
    assert out.shape == (384, 640, 3) and (out[360:] == PADDING).all() and (out[150:170, 300:330] == 100).all() and out[149, 300, 0] == 0
    out, moved, *_, s = fit_transform((1080, 1920))(painted(boxes), boxes, torch.tensor([0]), no_boxes(), None)
    assert s == 1.5 and torch.equal(moved, 1.5 * boxes) and out.shape == (1080, 1920, 3)  # enlarged
    assert (out[451:509, 901:989] == 100).all() and out[448, 900, 0] == 0
    out, moved, *_, s = fit_transform((1000, 1280))(painted(boxes), boxes, torch.tensor([0]), no_boxes(), None)
    assert s == 1 and torch.equal(moved, boxes) and (out[:720] == painted(boxes)).all() and (out[720:] == PADDING).all()


def test_a_sign_with_less_than_half_left_becomes_ignored():
    boxes, seen = torch.tensor([[100., 100, 140, 140], [300, 100, 340, 140]]), set()
    transform = crop_transform((64, 200), scale=(1, 1), sign_share=0, augment=None)
    for seed in range(800):
        _, kept, labels, ignored, _ = transform(painted(boxes, (240, 480)), boxes, torch.arange(2), no_boxes(), np.random.default_rng(seed))
        left = (kept[:, 2:] - kept[:, :2]).prod(1) / 1600
        lost = (ignored[:, 2:] - ignored[:, :2]).prod(1) / 1600
        assert (left >= 0.5).all() and (lost < 0.5).all() and (lost > 0).all()
        seen |= {('kept', len(kept)), ('ignored', len(ignored))}
    assert {('kept', 0), ('kept', 1), ('ignored', 0), ('ignored', 1)} <= seen


def test_share_of_crops_with_a_sign():
    boxes = torch.tensor([[1200., 600, 1230, 630]])
    transform = crop_transform((256, 256), sign_share=0.8, augment=None)
    image = painted(boxes)
    n = sum(len(transform(image, boxes, torch.tensor([0]), no_boxes(), np.random.default_rng(s))[1]) for s in range(400))
    assert 300 < n < 370  # 80 % around the sign, and it is hardly ever met by chance


def test_frame_smaller_than_the_crop_is_padded_with_grey():
    boxes = torch.tensor([[10., 10, 40, 40]])
    out, moved, *_ = crop_transform((200, 300), scale=(1, 1), augment=None)(painted(boxes, (80, 100)), boxes, torch.tensor([0]), no_boxes(), np.random.default_rng(0))
    assert out.shape == (200, 300, 3) and torch.equal(moved, boxes) and (out[80:] == PADDING).all() and (out[:, 100:] == PADDING).all()


def test_a_sign_larger_than_the_crop():
    boxes = torch.tensor([[0., 0, 600, 600]])
    out, kept, _, ignored, _ = crop_transform((64, 64), sign_share=1, augment=None)(painted(boxes), boxes, torch.tensor([0]), no_boxes(), np.random.default_rng(0))
    assert len(kept) == 0 and len(ignored) == 1 and (out == 100).all()


def test_defect_9_aspect_ratio_is_kept():
    boxes = torch.tensor([[600., 300, 640, 340]])
    for transform in (fit_transform((640, 640)), crop_transform((640, 640), augment=None), crop_transform((200, 640), augment=None, sign_share=1)):
        out, moved, *_, s = transform(painted(boxes), boxes, torch.tensor([0]), no_boxes(), np.random.default_rng(1))
        assert out.shape[:2] in ((640, 640), (200, 640))
        assert torch.allclose(moved[:, 2:] - moved[:, :2], torch.tensor([[40., 40]]) * s, atol=1e-3)  # a square stays a square


def test_defect_9_crops_keep_signs_large():
    a = open_dataset(real('rtsd_annotations'), need_images=False)
    width = torch.cat([f.boxes[:, 2] - f.boxes[:, 0] for f in a.frames]).median()
    boxes = torch.tensor([[600., 300, 600 + width, 300 + width]])
    t = crop_transform((384, 384), sign_share=1, augment=None)
    got = [t(painted(boxes), boxes, torch.tensor([0]), no_boxes(), np.random.default_rng(s))[1] for s in range(40)]
    assert torch.cat(got)[:, 2].sub(torch.cat(got)[:, 0]).median() > 0.8 * width > 16  # a squash leaves half of it


def test_defect_29_box_over_the_edge_does_not_stop_anything(tmp_path):
    folder_of(tmp_path, ['a.jpg,118,20,11,25,2_1,-1', 'a.jpg,-1,-1,12,12,2_1,-1', 'b.jpg,1,60,10,13,2_1,-1'])
    a = open_dataset(tmp_path)
    assert (a.problems.reason == 'box clipped to its frame').all() and len(a.problems) == 3
    for transform in (fit_transform((72, 128)), crop_transform((64, 64))):
        for image, target in FrameDataset(a.frames, transform):
            assert (target.boxes >= 0).all() and (target.boxes[:, 2] <= image.shape[2]).all() and (target.boxes[:, 3] <= image.shape[1]).all()


def test_defect_29_unclipped_boxes_pass_too():
    boxes = torch.tensor([[-3., 10, 30, 40], [1260, 700, 1281, 721]])
    for t in (fit_transform((360, 640)), crop_transform((128, 128), sign_share=1)):
        t(painted(boxes.clamp(min=0)), boxes, torch.tensor([0, 1]), no_boxes(), np.random.default_rng(0))


def test_library_way_agrees(tmp_path):
    boxes = torch.tensor([[600., 300, 660, 341], [3, 5, 20, 30]])
    library = A.Compose([A.LongestMaxSize(640), A.PadIfNeeded(384, 640, position='top_left', fill=PADDING)],
                        bbox_params=A.BboxParams('pascal_voc', label_fields=['labels']))
    theirs = library(image=painted(boxes), bboxes=boxes.numpy(), labels=np.array([0, 1]))
    out, moved, *_ = fit_transform((384, 640))(painted(boxes), boxes, torch.tensor([0, 1]), no_boxes(), None)
    assert torch.allclose(torch.tensor(theirs['bboxes'], dtype=torch.float32), moved, atol=1e-3) and theirs['image'].shape == out.shape


def test_defect_35_training_samples_are_augmented(tmp_path):
    folder_of(tmp_path, [GOOD])
    frame = open_dataset(tmp_path).frames[0]
    train, evaluate = FrameDataset([frame], crop_transform((48, 48))), FrameDataset([frame], fit_transform((72, 128)))
    passes = []
    for epoch in range(4):
        train.set_epoch(epoch); evaluate.set_epoch(epoch)
        passes.append((train[0][0], evaluate[0][0]))
    assert all(not passes[0][0].equal(p[0]) for p in passes[1:]) and all(passes[0][1].equal(p[1]) for p in passes[1:])


def test_colour_augmentation_moves_no_pixel():
    image = np.zeros((64, 64, 3), np.uint8)
    image[20:40, 24:44] = 200
    augment = color_augment()
    for seed in range(60):
        augment.set_random_seed(seed)
        out = augment(image=image)['image'].astype(float).sum(2)
        ys, xs = np.nonzero(out > (out.max() + out.min()) / 2)
        assert abs(xs.mean() - 33.5) < 0.8 and abs(ys.mean() - 29.5) < 0.8, seed
    for moving in (A.HorizontalFlip(), A.Compose([A.OneOf([A.Rotate(), A.GaussNoise()])])):
        with pytest.raises(ValueError, match='moves pixels'):
            crop_transform(augment=moving)


# ---------------------------------------------------------------- data set and loader


def same(a, b):
    return a[0].equal(b[0]) and all(x.filename == y.filename and x.scale == y.scale and x.boxes.equal(y.boxes) and x.labels.equal(y.labels)
                                    and x.ignore.equal(y.ignore) for x, y in zip(a[1], b[1]))


def test_loader_is_the_same_with_workers(dataset):
    for epoch in (0, 1):
        dataset.set_epoch(epoch)
        alone, shared = (list(make_loader(dataset, 4, shuffle=True, seed=1, workers=w)) for w in (0, 2))
        assert len(alone) == len(shared) == 2 and all(same(a, b) for a, b in zip(alone, shared))


def test_epochs_differ_and_the_same_seed_repeats(dataset):
    def epoch(n):
        dataset.set_epoch(n)
        return list(make_loader(dataset, 4, shuffle=True))
    zero, one = epoch(0), epoch(1)
    assert not same(zero[0], one[0]) and all(same(a, b) for a, b in zip(zero, epoch(0)))
    assert [t.filename for _, ts in zero for t in ts] != [t.filename for _, ts in one for t in ts]
    other = FrameDataset(dataset.frames, dataset.transform, seed=8)
    assert not same(collate([dataset[0]]), collate([other[0]]))


def test_loader_without_shuffle_keeps_order_and_all_frames(dataset):
    batches = list(make_loader(dataset, 4))
    assert [t.filename for _, ts in batches for t in ts] == [f.filename for f in dataset.frames] and [len(ts) for _, ts in batches] == [4, 4, 2]
    assert len(list(make_loader(dataset, 64, shuffle=True))) == 1  # fewer frames than a batch: not an empty epoch


def test_collate_pads_right_and_below(dataset):
    small, large = torch.zeros(3, 4, 6, dtype=torch.uint8), torch.zeros(3, 5, 2, dtype=torch.uint8)
    images, targets = collate([(small, 'a'), (large, 'b')])
    assert images.shape == (2, 3, 5, 6) and images.dtype == torch.uint8 and targets == ['a', 'b']
    assert (images[0, :, :4] == 0).all() and (images[0, :, 4:] == PADDING).all() and (images[1, :, :, 2:] == PADDING).all()


def test_unreadable_frame_raises_and_is_named(tmp_path, dataset):
    dataset.frames[0].path.write_text('gone')
    with pytest.raises(RuntimeError, match='0.jpg'):
        dataset[0]
    dataset.frames[1].path.unlink()
    with pytest.raises(RuntimeError, match='1.jpg'):
        dataset[1]
    with pytest.raises(RuntimeError, match='x.jpg has no file'):
        FrameDataset([Frame('x.jpg')], dataset.transform)[0]


def test_images_are_rgb(tmp_path):
    red = np.zeros((40, 40, 3), np.uint8)
    red[..., 2] = 255  # OpenCV writes BGR
    cv2.imwrite(str(tmp_path / 'red.png'), red)
    assert read_image(tmp_path / 'red.png')[0, 0].tolist() == [255, 0, 0]


def test_one_decode_and_no_full_size_work_a_sample(dataset, monkeypatch):
    "The window is cut before anything is resized: no resize sees much more than the window."
    calls, real_resize = [], cv2.resize
    monkeypatch.setattr(cv2, 'resize', lambda image, *a, **k: (calls.append(image.shape), real_resize(image, *a, **k))[1])
    t = crop_transform((100, 100), augment=None)
    for s in range(20):
        t(np.zeros((720, 1280, 3), np.uint8), no_boxes(), no_labels(), no_boxes(), np.random.default_rng(s))
    assert calls and max(max(c[:2]) for c in calls) <= 100 / 0.65 + 3


# ---------------------------------------------------------------- windows
def test_no_box_is_lost():
    "What goes in is kept, ignored, or wholly outside."
    g = np.random.default_rng(0)
    transform = crop_transform((120, 160), sign_share=0.5, augment=None)
    for seed in range(300):
        corner, side = g.uniform(-5, [[460, 220]] * 6), g.uniform(4, 90, (6, 2))
        boxes = torch.tensor(np.hstack([corner, corner + side]), dtype=torch.float32).clamp(min=0)
        boxes, ignore = boxes[:4], boxes[4:]
        rng = np.random.default_rng(seed)
        window = transform.plan((240, 480), boxes, torch.arange(4), rng)
        kept, labels, ignored = cut_signs(boxes, torch.arange(4), ignore, window)
        y, x = window.corner
        inside = torch.tensor([x, y, x + 160 / window.scale, y + 120 / window.scale])
        both = torch.cat([boxes, ignore])
        overlap = (torch.minimum(both[:, 2:], inside[2:]) - torch.maximum(both[:, :2], inside[:2])).clamp(min=0).prod(1)
        share = overlap / (both[:, 2:] - both[:, :2]).prod(1)
        assert labels.tolist() == (share[:4] >= 0.5).nonzero()[:, 0].tolist() and len(labels) == len(kept)
        assert len(kept) + len(ignored) == (share > 1e-6).sum()


@pytest.mark.parametrize('scale', [0.8, 1.28, 0.5, 0.96])
def test_window_agrees_with_the_librarys_crop(scale):
    rng = np.random.default_rng(3)
    image = cv2.GaussianBlur(rng.integers(0, 256, (720, 1280, 3), dtype=np.uint8), (0, 0), 2)
    boxes = torch.tensor([[600., 300, 660, 341], [500, 200, 560, 290], [20, 20, 60, 60]])
    side = round(384 / scale)
    for x, y in ((500, 250), (590, 280), (1000, 500)):
        window = Window((y, x), scale, (384, 384))
        cut = A.Crop(x, y, x + side, y + side, pad_if_needed=True, pad_position='top_left', fill=PADDING)
        library = A.Compose([cut, A.Resize(384, 384)], bbox_params=A.BboxParams('pascal_voc', label_fields=['labels'], min_visibility=0.5))
        theirs = library(image=image, bboxes=boxes.numpy(), labels=np.arange(3))
        kept, labels, _ = cut_signs(boxes, torch.arange(3), no_boxes(), window)
        assert labels.tolist() == [int(v) for v in theirs['labels']]
        assert np.allclose(kept.numpy(), np.array(theirs['bboxes']).reshape(-1, 4), atol=1e-3)
        reach = [int(min(384, (full - at) * scale)) - 2 for at, full in zip(window.corner, (720, 1280))]  # off the seam with the grey
        ours = cut_image(image, window, (720, 1280))[:reach[0], :reach[1]]
        assert np.abs(ours.astype(int) - theirs['image'][:reach[0], :reach[1]]).max() <= 1


def test_reduction_by_hand():
    assert [reduction(s) for s in (2, 1, 0.51, 0.5, 0.26, 0.25, 0.125, 0.001)] == [1, 1, 1, 2, 2, 4, 8, 8]
    starts = {window_start(700, 1001, np.random.default_rng(s), span=(333, 350), step=4) for s in range(100)}
    assert len(starts) > 30 and all(v % 4 == 0 and 0 <= v <= 301 for v in starts)


# ---------------------------------------------------------------- reading
@pytest.fixture
def street(tmp_path):
    "A JPEG of odd size with three painted signs, as a frame."
    boxes = torch.tensor([[200., 100, 248, 150], [401, 303, 461, 363], [30, 200, 90, 280]])
    image = cv2.GaussianBlur(painted(boxes, (541, 961)), (0, 0), 1)
    assert cv2.imwrite(str(tmp_path / 'street.jpg'), image, [cv2.IMWRITE_JPEG_QUALITY, 97])
    return Frame('street.jpg', tmp_path / 'street.jpg', (541, 961), boxes, torch.arange(3))


@pytest.mark.parametrize('scale', [0.5, 0.4, 0.26, 0.13])
def test_a_reduced_frame_gives_the_same_window(street, scale):
    "Pixels as from the whole frame, boxes exactly."
    whole = read_image(street.path)
    transform = crop_transform((64, 96), scale=(scale, scale), sign_share=1, augment=None)
    dataset = FrameDataset([street], transform)
    for epoch in range(12):
        dataset.set_epoch(epoch)
        image, target = dataset[0]
        expected, boxes, labels, ignore, s = transform(whole, street.boxes, street.labels, street.ignore, np.random.default_rng([0, epoch, 0]))
        assert s == target.scale and torch.equal(boxes, target.boxes) and torch.equal(ignore, target.ignore)
        off = np.abs(image.permute(1, 2, 0).numpy().astype(int) - expected)
        assert off.mean() < 1.5 and np.percentile(off, 99) < 25  # edges are cut off a little differently


def test_reading_with_and_without_simplejpeg(street, monkeypatch):
    pytest.importorskip('simplejpeg')
    for reduced, shape in ((1, (541, 961)), (2, (271, 481)), (4, (136, 241))):
        fast, exact = read_image(street.path, reduced, fast=True), read_image(street.path, reduced)
        with monkeypatch.context() as m:
            m.setattr(samples, 'simplejpeg', None)
            plain = read_image(street.path, reduced)
        assert plain.shape == (*shape, 3) and np.array_equal(plain, exact)
        assert np.abs(plain.astype(int) - fast).mean() < 1.5


def test_other_files_than_plain_jpeg(tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    Image.fromarray(image).convert('CMYK').save(tmp_path / 'cmyk.jpg', quality=95)
    Image.fromarray(image).convert('L').save(tmp_path / 'grey.jpg')
    Image.fromarray(image).save(tmp_path / 'colour.png')
    for name in ('cmyk.jpg', 'grey.jpg', 'colour.png'):
        assert read_image(tmp_path / name).shape == (40, 60, 3)
    assert np.array_equal(read_image(tmp_path / 'colour.png', reduced=4), image)  # PNG cannot be reduced
    small = FrameDataset([Frame('colour.png', tmp_path / 'colour.png')], fit_transform((10, 15)))[0][0]
    assert np.abs(small.permute(1, 2, 0).numpy() - cv2.resize(image, (15, 10), interpolation=cv2.INTER_AREA).astype(int)).max() <= 1


def test_kept_memory_does_not_change_earlier_samples(dataset):
    same_size = FrameDataset(dataset.frames, fit_transform((72, 128)))
    first = same_size[0][0]
    copy = first.clone()
    assert not first.equal(same_size[1][0]) and first.equal(copy)


def test_a_frame_of_another_size_than_its_annotations_is_named(street):
    street.size = (540, 960)
    with pytest.raises(ValueError, match='street.jpg is 541x961 px at 1/1, its annotations say 540x960'):
        FrameDataset([street], fit_transform((540, 960)))[0]


# ---------------------------------------------------------------- batches
def test_a_batch_is_its_samples(dataset):
    assert all(same(collate([a]), collate([b])) for a, b in zip(dataset.__getitems__([3, 0, 7]), (dataset[3], dataset[0], dataset[7])))


def test_several_crops_from_one_reading(dataset, monkeypatch):
    several = FrameDataset(dataset.frames, dataset.transform, seed=7, crops_per_frame=3)
    reads, real_read = [], samples.read_image
    monkeypatch.setattr(samples, 'read_image', lambda path, *a, **k: (reads.append(path), real_read(path, *a, **k))[1])
    images, targets = next(iter(make_loader(several, 7)))
    assert len(images) == len(targets) == 6 and len(reads) == 2  # 7 // 3 frames
    assert [t.filename for t in targets] == ['0.jpg'] * 3 + ['1.jpg'] * 3
    assert not images[0].equal(images[1]) and not images[1].equal(images[2])


def test_each_epoch_rounds_repeats_anew(dataset):
    weights = np.array([1.0, 2.5])
    repeated = FrameDataset(dataset.frames, dataset.transform, weights=weights)
    names = []
    for epoch in range(30):
        repeated.set_epoch(epoch)
        names.append([f.filename for f in repeated.frames])
        assert set(names[-1]) == {f.filename for f in dataset.frames}
    rare = [sum(1 in f.labels for f in dataset.frames) * 2.5, sum(1 not in f.labels for f in dataset.frames)]
    assert len(set(map(len, names))) > 1 and abs(np.mean([len(n) for n in names]) - sum(rare)) < 0.5
    repeated.set_epoch(3)
    assert [f.filename for f in repeated.frames] == names[3]
    twice = [i for i, f in enumerate(repeated.frames) if names[3].count(f.filename) > 1][:2]
    assert not repeated[twice[0]][0].equal(repeated[twice[1]][0])  # the same frame, another crop


def test_repeat_factors_by_hand():
    frames = [Frame(f'{i}', labels=torch.tensor(v)) for i, v in enumerate(([0, 0], [0, 1], [0], [0]))] + [Frame('empty')] * 4
    # class 0 is in 4 of 8 frames, class 1 in 1 of 8, class 2 nowhere
    assert np.allclose(repeat_factors(frames, 3, threshold=0.5), [1, 2, 1])
    assert np.allclose(repeat_factors(frames, 3, threshold=2), [2, 4, 1])
    assert np.allclose(repeat_factors([], 2), 1)
    shown = repeat_rare(frames, repeat_factors(frames, 3, threshold=0.5))
    assert [f.filename for f in shown] == ['0', '1', '1', '2', '3'] + ['empty'] * 4
