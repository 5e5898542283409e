"""From outputs to detections: candidates, suppression hard and soft, tiles. Judges: loops by hand, torchvision, the whole frame."""
import math
from contextlib import nullcontext
from dataclasses import asdict

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from torchvision.ops import batched_nms, nms

import rtsd_nb.detector
from folders import real
from rtsd_nb.boxes import Detections, box_iou, clip_boxes
from rtsd_nb.data import Frame, open_dataset
from rtsd_nb.detector import (Detector, DetectorConfig, Outputs, build_detector, detect_tiled, eval_mode, load_detector, predict_frames,
                              predict_tiled, save_detector)
from rtsd_nb.head import CODERS, DISTANCE, LOG_SIZE, Head, decode_boxes, grid_anchors, map_sizes, point_shapes
from rtsd_nb.neck import LateralNeck
from rtsd_nb.postprocess import (class_agnostic_nms, class_wise_nms, find_candidates, gaussian_soft_nms, linear_soft_nms, merge_tiles,
                                 pick_candidates, postprocess, soft_nms, suppress, tile_grid, tile_starts, to_frame_pixels)

SIZE = (64, 96)
SHAPES = torch.tensor([[16., 16], [30, 30]])
KINDS = (class_wise_nms, class_agnostic_nms, linear_soft_nms, gaussian_soft_nms)


def random_outputs(seed=0, frames=2, n_classes=3, objectness=True, coder=LOG_SIZE):
    "Outputs of two levels with answers all over the scale of scores."
    g = torch.Generator().manual_seed(seed)
    sizes = map_sizes(SIZE, [8, 16])
    anchors = grid_anchors(sizes, [8, 16], [SHAPES, 2 * SHAPES])
    n = len(anchors)
    sure = 3 * torch.randn(frames, n, generator=g) if objectness else None
    return Outputs(4 * torch.randn(frames, n, n_classes, generator=g) - 4, 0.3 * torch.randn(frames, n, 4, generator=g), sure, anchors,
                   tuple(2 * h * w for h, w in sizes), 2, SIZE, coder)


def random_detections(n, n_classes=3, seed=0):
    g = torch.Generator().manual_seed(seed)
    corner, wh = torch.rand(n, 2, generator=g) * 60, torch.rand(n, 2, generator=g) * 40 + 4
    return Detections(torch.cat([corner, corner + wh], 1), torch.rand(n, generator=g), torch.randint(n_classes, (n,), generator=g))


def same(a, b):
    return torch.equal(a.boxes, b.boxes) and torch.equal(a.scores, b.scores) and torch.equal(a.labels, b.labels)


def before_levels(scores, deltas, anchors, size, score_threshold=0.01, iou_threshold=0.5, max_detections=300, max_candidates=5000):
    "Postprocessing in one piece, without levels, coders and kinds of suppression: the defaults must give the same bits."
    anchor, labels = (scores > score_threshold).nonzero(as_tuple=True)
    scores = scores[anchor, labels]
    if len(scores) > max_candidates:
        scores, best = scores.topk(max_candidates)
        anchor, labels = anchor[best], labels[best]
    boxes = clip_boxes(decode_boxes(deltas[anchor], anchors[anchor]), size)
    keep = (boxes[:, 2:] - boxes[:, :2] >= 1).all(1)
    boxes, scores, labels = boxes[keep], scores[keep], labels[keep]
    keep = batched_nms(boxes, scores, labels, iou_threshold)[:max_detections]
    return Detections(boxes[keep], scores[keep], labels[keep])


@pytest.mark.parametrize('limits', [{}, {'max_candidates': 20}, {'iou_threshold': 0.1, 'max_detections': 7}, {'score_threshold': 0.3}])
def test_the_default_is_class_wise_nms_bit_for_bit(limits):
    o = random_outputs()
    for scores, deltas in zip(o.scores(), o.deltas):
        assert same(postprocess(scores, deltas, o.anchors, SIZE, **limits), before_levels(scores, deltas, o.anchors, SIZE, **limits))


@pytest.mark.parametrize('seed', range(5))
def test_candidates_are_those_of_a_loop(seed):
    scores = random_outputs(seed).scores()[0]
    picked = [(a, c) for a, row in enumerate(scores.tolist()) for c, s in enumerate(row) if s > 0.1]
    anchors, labels, values = pick_candidates(scores, 0.1, 10_000)
    assert list(zip(anchors.tolist(), labels.tolist())) == picked
    assert torch.equal(values, scores[anchors, labels])
    best = sorted(picked, key=lambda pair: -scores[pair])[:15]
    anchors, labels, _ = pick_candidates(scores, 0.1, 15)
    assert set(zip(anchors.tolist(), labels.tolist())) == set(best)


def test_each_level_has_places_of_its_own():
    scores = torch.tensor([[0.9, 0.2], [0.0, 0.8], [0.3, 0.005]])
    anchors, labels, values = pick_candidates(scores, 0.01, 1, (2, 1))
    assert (anchors.tolist(), labels.tolist()) == ([0, 2], [0, 0])
    assert pick_candidates(scores, 0.01, 1, (3,))[0].tolist() == pick_candidates(scores, 0.01, 1)[0].tolist() == [0]
    assert pick_candidates(scores, 0.01, 9, (2, 0, 1))[0].tolist() == [0, 0, 1, 2], 'a level without anchors'


@pytest.mark.parametrize('seed', range(3))
def test_hard_nms_is_torchvisions(seed):
    d = random_detections(200, seed=seed)
    for threshold in (0.1, 0.5, 0.9):
        assert same(class_wise_nms(d, threshold), d.select(batched_nms(d.boxes, d.scores, d.labels, threshold)))
        assert same(class_agnostic_nms(d, threshold), d.select(nms(d.boxes, d.scores, threshold)))


def soft_by_loop(found, factor, min_score=0.001):
    left = list(zip(found.boxes.tolist(), found.scores.tolist(), found.labels.tolist()))
    kept = []
    while left:
        best = left.pop(max(range(len(left)), key=lambda i: left[i][1]))
        if best[1] < min_score:
            break
        kept.append(best)
        for i, (box, score, label) in enumerate(left):
            if label == best[2]:
                left[i] = box, score * factor(iou_by_hand(box, best[0])), label
    return kept


def iou_by_hand(a, b):
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    shared = max(width, 0) * max(height, 0)
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


@pytest.mark.parametrize('soft, factor', [(linear_soft_nms, lambda u: 1 - u if u > 0.5 else 1),
                                          (gaussian_soft_nms, lambda u: math.exp(-u * u / 0.5))], ids=['linear', 'gaussian'])
@given(n=st.integers(0, 40), seed=st.integers(0, 1000))
@settings(max_examples=40, deadline=None)
def test_soft_nms_is_the_loop(soft, factor, n, seed):
    d = random_detections(n, seed=seed)
    kept, expected = soft(d), soft_by_loop(d, factor)
    assert torch.allclose(kept.boxes, torch.tensor([box for box, _, _ in expected]).reshape(-1, 4))
    assert torch.allclose(kept.scores, torch.tensor([score for _, score, _ in expected]), atol=1e-6)
    assert kept.labels.tolist() == [label for _, _, label in expected]


def test_soft_nms_by_hand():
    halves = Detections(torch.tensor([[0., 0, 10, 10], [0, 0, 10, 20], [0, 0, 10, 20]]), torch.tensor([0.8, 0.9, 0.7]), torch.tensor([0, 0, 1]))
    linear, gaussian = linear_soft_nms(halves, 0.3), gaussian_soft_nms(halves, 0.5)
    assert linear.scores.tolist() == pytest.approx([0.9, 0.7, 0.4]) and linear.labels.tolist() == [0, 1, 0]
    assert gaussian.scores.tolist() == pytest.approx([0.9, 0.7, 0.8 * math.exp(-0.5)])
    assert halves.scores.tolist() == pytest.approx([0.8, 0.9, 0.7]), 'what is given stays as it is'


def test_soft_nms_with_a_hard_factor_is_hard_nms():
    d = random_detections(150)
    hard = soft_nms(d, lambda overlap: (overlap <= 0.5).float())
    assert same(hard, class_wise_nms(d).select(class_wise_nms(d).scores >= 0.001))


def test_scores_that_soft_nms_lowers_obey_the_threshold():
    d = random_detections(100, n_classes=1)
    left = suppress(d, score_threshold=0.2, max_detections=5, nms=gaussian_soft_nms)
    assert len(left) == 5 and (left.scores > 0.2).all() and (left.scores.diff() <= 0).all()
    assert len(suppress(d, score_threshold=0.2, nms=gaussian_soft_nms)) < int((d.scores > 0.2).sum())


@pytest.mark.parametrize('kind', KINDS)
def test_nothing_is_no_error(kind):
    o = random_outputs()
    assert len(kind(Detections.empty())) == 0
    assert len(postprocess(0 * o.scores()[0], o.deltas[0], o.anchors, SIZE, nms=kind)) == 0
    assert len(postprocess(o.scores()[0, :0], o.deltas[0, :0], o.anchors[:0], SIZE, nms=kind)) == 0


@pytest.mark.parametrize('kind', KINDS)
def test_far_apart_boxes_stay_whatever_the_kind(kind):
    d = Detections(torch.tensor([[0., 0, 10, 10], [20, 0, 30, 10], [40, 0, 50, 10]]), torch.tensor([0.3, 0.9, 0.5]), torch.tensor([0, 0, 1]))
    assert kind(d).boxes[:, 0].tolist() == [20, 40, 0]


@pytest.mark.parametrize('objectness', [True, False])
@pytest.mark.parametrize('coder', CODERS.values(), ids=CODERS)
@pytest.mark.parametrize('limits', [{}, {'score_threshold': 0.3}, {'max_candidates': 10}])
def test_scoring_only_likely_anchors_changes_nothing(objectness, coder, limits):
    o = random_outputs(objectness=objectness, coder=coder)
    for i, found in enumerate(o.detections(**limits)):
        all_scored = postprocess(o.scores()[i], o.deltas[i], o.anchors, SIZE, level_sizes=o.level_sizes, coder=coder, **limits)
        assert len(found) and torch.equal(found.labels, all_scored.labels)
        assert torch.allclose(found.boxes, all_scored.boxes, atol=1e-4) and torch.allclose(found.scores, all_scored.scores, atol=1e-6)


def test_a_score_at_the_threshold_is_not_lost_to_the_short_cut():
    scores = torch.linspace(0.0099, 0.0101, 2001).repeat(1, 1)
    anchors = torch.tensor([[0., 0, 8, 8]]).repeat(2001, 1)
    o = Outputs(torch.full((1, 2001, 1), 40.), torch.zeros(1, 2001, 4), scores.logit(), anchors, (2001,), 1, (8, 8))
    assert len(o.candidates()[0]) == int((o.scores() > 0.01).sum())


def test_a_frame_of_a_batch_and_its_boxes():
    o = random_outputs(coder=DISTANCE)
    second = o.frame(1)
    assert second.deltas.shape == (1, *o.deltas.shape[1:]) and second.deltas.data_ptr() == o.deltas[1].data_ptr()
    assert torch.allclose(second.scores()[0], o.scores()[1], rtol=1e-6)
    assert torch.equal(second.boxes()[0], DISTANCE.decode(o.deltas[1], o.anchors)) and o.boxes().shape == (2, len(o.anchors), 4)
    assert random_outputs(objectness=False).frame(0).objectness is None
    half = Outputs(o.class_logits, o.deltas.bfloat16(), None, o.anchors, o.level_sizes, 2, SIZE)
    assert half.boxes().dtype == torch.float32


def test_part_of_the_anchors_keeps_its_levels():
    o = random_outputs()
    mask = torch.zeros(len(o.anchors), dtype=torch.bool)
    mask[[0, 5, o.level_sizes[0]]] = True
    few = o.at(mask)
    assert few.level_sizes == (2, 1) and torch.equal(few.anchors, o.anchors[mask])
    assert torch.allclose(few.scores(), o.scores()[:, mask], rtol=1e-6)


def test_frame_pixels_by_hand():
    d = to_frame_pixels(Detections(torch.tensor([[10., 10, 30, 30]]), torch.tensor([0.9]), torch.tensor([0])), 0.5, (50, 100))
    assert d.boxes.tolist() == [[20, 20, 60, 50]]


def test_points_find_a_sign_exactly():
    sign = torch.tensor([[30., 20, 55, 44]])
    points = grid_anchors(map_sizes(SIZE, [8]), [8], point_shapes([8]))
    inside = ((points[:, :2] + 4 > sign[:, :2]) & (points[:, :2] + 4 < sign[:, 2:])).all(1)
    assert inside.sum() == 3 * 2, 'centres at 36, 44 and 52, and at 28 and 36'
    d = postprocess(0.9 * inside.float()[:, None], DISTANCE.encode(sign, points), points, SIZE, coder=DISTANCE)
    assert len(d) == 1 and box_iou(d.boxes, sign).item() > 0.999


# ---- tiles ----
@given(length=st.integers(1, 3000), tile=st.integers(32, 800), overlap=st.integers(0, 400), align=st.sampled_from([1, 8, 16, 32]))
@settings(max_examples=300, deadline=None)
def test_tiles_cover_overlap_and_align(length, tile, overlap, align):
    if length > tile and (tile - overlap) // align < 1:
        with pytest.raises(ValueError, match=f'tiles of {tile} px'):
            tile_starts(length, tile, overlap, align)
        return
    starts = tile_starts(length, tile, overlap, align)
    assert starts[0] == 0 and starts[-1] + tile >= length
    assert all(s % align == 0 for s in starts)
    assert all(a < b <= a + tile - overlap for a, b in zip(starts, starts[1:]))
    assert len(starts) == 1 or starts[-2] + tile < length, 'no tile more than needed'


def test_tiles_by_hand():
    assert tile_grid((60, 100), (60, 60), 20).tolist() == [[0, 0, 60, 60], [40, 0, 100, 60]]
    with pytest.raises(ValueError, match='overlap must be at least 0'):
        tile_starts(100, 40, -1)


def keep_by_loop(box, own, tiles, size, margin):
    def whole(tile):
        return ((tile[0] <= 0 or box[0] >= tile[0] + margin) and (tile[1] <= 0 or box[1] >= tile[1] + margin)
                and (tile[2] >= size[1] or box[2] <= tile[2] - margin) and (tile[3] >= size[0] or box[3] <= tile[3] - margin))
    return whole(tiles[own]) or not any(whole(tile) for tile in tiles)


@pytest.mark.parametrize('seed', range(5))
def test_the_seam_rule_is_the_loop(seed):
    rng, size = np.random.default_rng(seed), (150, 200)
    tiles = tile_grid(size, (64, 80), 24, 8)
    found, expected = [], []
    for own, (x, y, *_) in enumerate(tiles.tolist()):
        corners = rng.integers(0, [50, 40], (20, 2))
        boxes = np.concatenate([corners, corners + rng.integers(4, 40, (20, 2))], 1).clip(0, [80, 64, 80, 64])
        found.append(Detections(torch.tensor(boxes).float(), torch.full((20,), 0.5), torch.zeros(20, dtype=torch.int64)))
        for box in (boxes + [x, y, x, y]).clip(0, [200, 150, 200, 150]).tolist():
            if min(box[2] - box[0], box[3] - box[1]) >= 1 and keep_by_loop(box, own, tiles.tolist(), size, 4):
                expected.append(box)
    merged = merge_tiles(found, tiles, size)
    assert 0 < len(expected) < 20 * len(tiles)
    assert merged.boxes.tolist() == expected


def red_boxes(image):
    red = ((image[0] == 255) & (image[1] == 0)).numpy().astype(np.uint8)
    x, y, w, h, _ = cv2.connectedComponentsWithStats(red)[2][1:].T
    return torch.from_numpy(np.stack([x, y, x + w, y + h], 1)).float()


class RedPatches(torch.nn.Module):
    "Reports each connected red patch of the image that it is shown: a patch on a seam in parts."
    stride = 16

    def __init__(self):
        super().__init__()
        self.register_buffer('mean', torch.zeros(1))
        self.batches = []

    def forward(self, images):
        self.batches.append(tuple(images.shape))
        found = [red_boxes(image) for image in images]
        n = max(map(len, found))
        anchors, logits = torch.tensor([[0., 0, 20, 20]]).repeat(n, 1), torch.full((len(images), n, 1), -9.)
        deltas = torch.zeros(len(images), n, 4)
        for i, boxes in enumerate(found):
            logits[i, :len(boxes)], deltas[i, :len(boxes)] = 9., LOG_SIZE.encode(boxes, anchors[:len(boxes)])
        return Outputs(logits, deltas, None, anchors, (n,), 1, tuple(images.shape[-2:]))


def painted(seed, size=(300, 420), largest=50):
    "An image with red patches that do not touch, and their boxes."
    rng, image, boxes = np.random.default_rng(seed), torch.zeros(3, *size, dtype=torch.uint8), []
    for _ in range(40):
        w, h = rng.integers(6, largest + 1, 2)
        x, y = rng.integers(0, size[1] - w + 1), rng.integers(0, size[0] - h + 1)
        if not image[0, max(y - 2, 0):y + h + 2, max(x - 2, 0):x + w + 2].any():
            image[0, y:y + h, x:x + w] = 255
            boxes.append([x, y, x + w, y + h])
    return image, torch.tensor(boxes).float()


def in_order(boxes):
    return torch.tensor(sorted(boxes.tolist())).reshape(-1, 4)


@pytest.mark.parametrize('seed', range(8))
@pytest.mark.parametrize('tile', [(128, 128), (128, 200)])
def test_tiles_find_what_the_whole_frame_finds_and_nothing_twice(seed, tile):
    image, boxes = painted(seed)
    found = detect_tiled(RedPatches(), image, tile, overlap=64, batch_size=3)
    assert torch.allclose(in_order(found.boxes), in_order(boxes), atol=1e-3)


def test_without_overlap_seams_show():
    # the rule is needed: this is what it prevents
    image, boxes = painted(0)
    assert len(detect_tiled(RedPatches(), image, (128, 128), overlap=0)) > len(boxes)


def test_tiles_come_in_small_batches_and_a_small_image_is_one_tile():
    detector = RedPatches()
    detect_tiled(detector, painted(1)[0], (128, 128), overlap=64, batch_size=4)
    assert {shape[2:] for shape in detector.batches} == {(128, 128)} and max(shape[0] for shape in detector.batches) == 4
    detector = RedPatches()
    detect_tiled(detector, painted(1, size=(90, 100))[0], (128, 128), overlap=64)
    assert detector.batches == [(1, 3, 90, 100)]


class PatchBackbone(torch.nn.Module):
    "Each cell sees its own 8x8 pixels and nothing else."
    strides, channels, mean, std = (8,), (8,), (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)

    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 8, 8, 8)

    def forward(self, images):
        return [self.conv(images)]


def patch_detector():
    torch.manual_seed(0)
    head = Head(8, 2, 1, channels=8, depth=0)
    torch.nn.init.normal_(head.objectness.weight, std=1.)
    return Detector(PatchBackbone(), LateralNeck((8,), (8,), channels=8), head, shapes=[SHAPES], classes='a', size=SIZE).eval()


def test_tiles_of_a_network_are_the_whole_frame(monkeypatch):
    # cells that see only themselves: every difference would come from the tiles
    monkeypatch.setattr(rtsd_nb.detector, 'autocast', lambda device: nullcontext())
    image = torch.randint(0, 256, (3, 200, 304), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    limits = dict(score_threshold=0.02, max_detections=100_000, iou_threshold=0.999)                     # only copies go
    detector = patch_detector()
    whole = detector.predict(image[None], **limits)[0]
    tiled = detect_tiled(detector, image, (96, 96), overlap=48, **limits)
    assert len(whole) > 100 and len(tiled) == len(whole)
    near = (tiled.boxes[:, None] - whole.boxes).abs().amax(-1).min(1)
    assert near.values.max() < 1e-3
    assert torch.allclose(tiled.scores, whole.scores[near.indices], atol=1e-5)


def largest_output(detector, images):
    sizes = []
    hooks = [m.register_forward_hook(lambda m, a, out: sizes.append(out.nbytes) if torch.is_tensor(out) else None) for m in detector.modules()]
    with torch.inference_mode():
        detector(images)
    for hook in hooks:
        hook.remove()
    return max(sizes)


def test_a_tile_needs_as_much_less_as_it_is_smaller():
    torch.manual_seed(0)
    config = DetectorConfig(classes=('a',), shapes=(((16., 16.),),), backbone='mobilenetv3_small_050', channels=16)
    detector = build_detector(config, weights=None).eval()
    frame, tile = (largest_output(detector, torch.zeros(1, 3, *size, dtype=torch.uint8)) for size in ((512, 768), (256, 256)))
    assert tile * 6 == frame


def frame_file(folder, image):
    path = folder / 'f.png'
    assert cv2.imwrite(str(path), image.permute(1, 2, 0).numpy()[:, :, ::-1])
    return Frame('f.png', path=path, size=tuple(image.shape[1:]))


def test_frames_from_files_come_back_in_their_own_pixels(tmp_path):
    image, boxes = painted(2)
    detector = RedPatches().train()
    found = predict_tiled(detector, [frame_file(tmp_path, image)] * 2, (128, 128), overlap=64)
    assert len(found) == 2 and all(torch.allclose(in_order(d.boxes), in_order(boxes), atol=1e-3) for d in found)
    assert detector.training
    assert predict_tiled(detector, []) == []


def test_one_tile_is_predict_frames(tmp_path):
    image = torch.randint(0, 256, (3, 96, 128), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    frames, detector = [frame_file(tmp_path, image)], patch_detector()
    whole, tile = predict_frames(detector, frames, size=(96, 128)), predict_tiled(detector, frames, tile=(500, 500))
    assert len(whole[0]) and same(whole[0], tile[0])


def test_a_missing_frame_is_named(tmp_path):
    with pytest.raises(RuntimeError, match='gone.jpg'):
        predict_tiled(RedPatches(), [Frame('gone.jpg', path=tmp_path / 'gone.jpg', size=(10, 10))])


def test_the_mode_of_a_detector_survives_an_error():
    module = torch.nn.Dropout().train()
    with pytest.raises(KeyError), eval_mode(module):
        assert not module.training
        raise KeyError
    assert module.training


# ---- descriptions of detectors ----
def config(**kwargs):
    usual = dict(classes=('a', 'b'), shapes=(((16., 16.),),), size=SIZE, backbone='mobilenetv3_small_050', channels=16)
    return DetectorConfig(**(usual | kwargs))


def test_a_point_detector_saves_loads_and_predicts(tmp_path):
    points = config(shapes=(((8., 8.),), ((16., 16.),)), strides=(8, 16), neck='FPN', coder='distance', objectness=False)
    detector = build_detector(points, weights=None)
    save_detector(detector.eval(), tmp_path / 'a.pt')
    again = load_detector(tmp_path / 'a.pt')
    images = torch.randint(0, 256, (1, 3, *SIZE), dtype=torch.uint8)
    assert again.coder is DISTANCE and again(images).level_sizes == (8 * 12, 4 * 6)
    assert torch.equal(again(images).boxes(), detector(images).boxes())
    assert len(again.predict(images, score_threshold=0.)[0])


def test_a_checkpoint_from_before_the_coders_still_loads(tmp_path):
    detector = build_detector(config(), weights=None).eval()
    old = {name: value for name, value in asdict(detector.config).items() if name != 'coder'}
    torch.save({'format': 1, 'config': old, 'weights': detector.state_dict()}, tmp_path / 'old.pt')
    again = load_detector(tmp_path / 'old.pt')
    images = torch.randint(0, 256, (1, 3, *SIZE), dtype=torch.uint8)
    assert again.coder is LOG_SIZE and torch.equal(again(images).scores(), detector(images).scores())


def test_an_unknown_coder_is_named():
    with pytest.raises(ValueError, match="no box coder 'polar'; there are log_size, linear, distance"):
        build_detector(config(coder='polar'), weights=None)


def test_the_coder_of_the_outputs_decides_what_candidates_are():
    o = random_outputs()
    by_log = find_candidates(o.scores()[0], o.deltas[0], o.anchors, SIZE)
    by_distance = find_candidates(o.scores()[0], o.deltas[0], o.anchors, SIZE, coder=DISTANCE)
    assert len(by_log) and not torch.equal(by_log.boxes, by_distance.boxes[:len(by_log)])


def test_real_signs_do_not_hide_each_other():
    # no pair in a frame overlaps by more than NMS tolerates: hard suppression loses no sign, so soft-NMS has nothing to save
    frames = open_dataset(real('rtsd_annotations') / 'full_gt_reduced.csv', need_images=False).frames
    overlap = torch.cat([box_iou(f.boxes, f.boxes).triu(1).flatten() for f in frames])
    longest = torch.cat([(f.boxes[:, 2:] - f.boxes[:, :2]).amax(1) for f in frames])
    print(f'{len(longest)} boxes in {len(frames)} frames; pairs of IoU > 0.5: {int((overlap > 0.5).sum())}, > 0.1: {int((overlap > 0.1).sum())}')
    print(f'longest side: 95 % {longest.quantile(0.95):.0f}, 99 % {longest.quantile(0.99):.0f}, largest {longest.max():.0f} px; '
          f'up to 184 px: {(longest <= 184).float().mean():.4f}')
    assert len(longest) > 9000 and overlap.max() <= 0.5
    assert (longest <= 192 - 2 * 4).float().mean() > 0.995, 'the default overlap and margin are enough'
