"""Boxes: the defects that belong to this chapter, and what the notebook's own tests leave open."""
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import torchvision
from hypothesis import given, settings, strategies as st

from rtsd_nb.boxes import (Detections, box_iou, class_nms, clip_boxes, cxcywh_to_xyxy, draw_boxes, nms,
                           xywh_to_xyxy, xyxy_to_cxcywh, xyxy_to_xywh)

DATA = Path(__file__).resolve().parents[2] / 'shared' / 'data'


def real_boxes(file):
    "All different boxes of an annotation CSV, with a group number for (frame, class)."
    path = DATA / file
    if not path.exists():
        pytest.skip(f'real annotation not there: ../shared/data/{file}')
    table = pd.read_csv(path, keep_default_na=False)
    table = table.drop_duplicates(['filename', 'x_from', 'y_from', 'width', 'height', 'sign_class'])
    boxes_xywh = torch.tensor(table[['x_from', 'y_from', 'width', 'height']].to_numpy(), dtype=torch.float32)
    group = torch.as_tensor(pd.factorize(table.filename + '|' + table.sign_class)[0])
    return boxes_xywh, group


def doubled(boxes):
    "The mistake of defect 15: xy - wh .. xy + wh."
    x, y, w, h = xyxy_to_cxcywh(boxes).unbind(-1)
    return torch.stack([x - w, y - h, x + w, y + h], -1)


@pytest.mark.parametrize('file', ['rtsd_annotations/full_gt_reduced.csv', 'icevision_annotations/icevision_gt.csv'])
def test_defect_15_nms_keeps_real_signs(file):
    "Real signs, detected perfectly, survive NMS by class; with doubled boxes many do not."
    boxes_xywh, group = real_boxes(file)
    boxes = xywh_to_xyxy(boxes_xywh)
    scores = torch.rand(len(boxes), generator=torch.Generator().manual_seed(0))
    lost = len(boxes) - len(class_nms(boxes, scores, group, 0.1))
    lost_doubled = len(boxes) - len(class_nms(doubled(boxes), scores, group, 0.1))
    assert lost <= len(boxes) * 2e-4
    assert lost_doubled >= 10 and lost_doubled > 10 * lost


def test_defect_15_neighbours_survive():
    "Two signs side by side, given by their centres: both stay, at the threshold of the old notebook."
    boxes_cxcywh = torch.tensor([[100., 100, 20, 20], [124, 100, 20, 20]])
    boxes = cxcywh_to_xyxy(boxes_cxcywh)
    assert len(nms(boxes, torch.tensor([.9, .8]), 0.1)) == 2
    assert len(nms(doubled(boxes), torch.tensor([.9, .8]), 0.1)) == 1


def test_defect_16_one_large_sign_hides_nobody():
    "NMS sees every candidate: forty boxes of a large sign and two small signs leave three boxes."
    large = torch.tensor([[60., 60, 220, 220]]) + torch.arange(40)[:, None] * 0.5
    small = torch.tensor([[330., 160, 354, 184], [480, 150, 510, 180]])
    boxes, scores = torch.cat([large, small]), torch.cat([torch.linspace(.95, .8, 40), torch.tensor([.6, .5])])
    for keep in (nms(boxes, scores, 0.5), class_nms(boxes, scores, torch.zeros(42).long(), 0.5)):
        assert keep.tolist() == [0, 40, 41]


def test_defect_25_xywh_is_refused():
    "A box that was left in xywh does not become a detection in silence."
    with pytest.raises(ValueError, match='xywh_to_xyxy'):
        Detections(torch.tensor([[668., 379, 17, 16]]), torch.tensor([.5]), torch.tensor([0]))


@pytest.mark.parametrize('file', ['rtsd_annotations/full_gt_reduced.csv'])
def test_round_trip_of_real_boxes(file):
    boxes_xywh, _ = real_boxes(file)
    assert torch.equal(xyxy_to_xywh(xywh_to_xyxy(boxes_xywh)), boxes_xywh)
    boxes = xywh_to_xyxy(boxes_xywh)
    assert torch.equal(cxcywh_to_xyxy(xyxy_to_cxcywh(boxes)), boxes)


whole = st.integers(0, 40)
a_box = st.tuples(whole, whole, whole, whole).map(lambda t: [t[0], t[1], t[0] + t[2], t[1] + t[3]])
some_boxes = st.lists(a_box, max_size=12).map(lambda rows: torch.tensor(rows, dtype=torch.float32).reshape(-1, 4))


@settings(max_examples=60, deadline=None)
@given(some_boxes, some_boxes)
def test_iou_against_counted_pixels(a, b):
    "Whole-numbered boxes: painting both and counting the pixels gives the same IoU, degenerate boxes included."
    iou = box_iou(a, b)
    assert iou.shape == (len(a), len(b)) and torch.isfinite(iou).all()
    def paint(box):
        x1, y1, x2, y2 = box.int().tolist()
        board = np.zeros((82, 82), bool)
        board[y1:y2, x1:x2] = True
        return board
    for i, p in enumerate(a):
        for j, q in enumerate(b):
            both, either = (paint(p) & paint(q)).sum(), (paint(p) | paint(q)).sum()
            assert iou[i, j].item() == pytest.approx(both / either if either else 0.0, abs=1e-6)


@settings(max_examples=60, deadline=None)
@given(some_boxes, st.sampled_from([0.0, 0.1, 0.3, 0.5, 0.7, 1.0]))
def test_nms_against_torchvision(boxes, threshold):
    "Distinct scores; boxes without area left out (torchvision's IoU of two of them is NaN)."
    boxes = boxes[(boxes[:, 2:] > boxes[:, :2]).all(1)]
    scores = torch.linspace(0.9, 0.1, max(len(boxes), 1))[:len(boxes)].flip(0)
    assert nms(boxes, scores, threshold).tolist() == torchvision.ops.nms(boxes, scores, threshold).tolist()


def test_nms_of_equal_scores_keeps_the_earlier_box():
    boxes = torch.tensor([[0., 0, 10, 10], [1, 0, 11, 10], [50, 0, 60, 10]])
    assert nms(boxes, torch.full((3,), .5), 0.5).tolist() == [0, 2]


def test_class_nms_of_many_classes_and_wide_frames():
    "155 classes on a 1920 px frame: no class disturbs another."
    box = torch.tensor([[1880., 1000, 1910, 1030]])
    boxes, labels = box.repeat(155, 1), torch.arange(155)
    assert sorted(class_nms(boxes, torch.linspace(.9, .1, 155), labels, 0.5).tolist()) == list(range(155))


@pytest.mark.parametrize('size', [(24, 24), (45, 55), (360, 640), (720, 1280), (1080, 1920)])
def test_captions_stay_inside(size):
    "A box in each corner: the image keeps its size, the text its place, and nothing raises."
    h, w = size
    corners = torch.tensor([[0., 0, 9, 9], [w - 10, 0, w - 1, 9], [0, h - 10, 9, h - 1], [w - 10, h - 10, w - 1, h - 1]])
    drawn = draw_boxes(np.full((h, w, 3), 127, np.uint8), corners, ['3_24_n40 0.91'] * 4)
    assert drawn.shape == (h, w, 3)
    for y, x in ((0, 0), (0, w - 1), (h - 2, 0), (h - 2, w - 1)):
        assert (drawn[max(y - 30, 0):y + 30, max(x - 30, 0):x + 30] != 127).any()


def test_draw_boxes_refuses_float_images():
    with pytest.raises(ValueError, match='uint8'):
        draw_boxes(np.zeros((10, 10, 3)), torch.zeros(0, 4))


def test_clip_keeps_dtype_and_order():
    boxes = clip_boxes(torch.tensor([[-50., -50, -10, -10], [1300, 800, 1400, 900]]), (720, 1280))
    assert boxes.dtype == torch.float32 and (boxes[:, 2:] >= boxes[:, :2]).all()
