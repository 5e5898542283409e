"""Unlabelled is unknown: a sign of a class that was not asked for costs nothing, from the annotation file to the loss and the score."""
import numpy as np
import pytest
import torch

from rtsd_nb.assignment import assign_atss, assign_by_iou
from rtsd_nb.boxes import Detections
from rtsd_nb.data import open_dataset
from rtsd_nb.detector import Outputs
from rtsd_nb.head import grid_anchors, map_sizes
from rtsd_nb.loss import atss, detection_loss, iou_thresholds
from rtsd_nb.metrics import evaluate
from rtsd_nb.samples import FrameDataset, crop_transform, fit_transform
from rtsd_nb.training import score_detections

from folders import folder_of

SIZE = (256, 320)
SHAPES = torch.tensor([[16., 16], [24, 24], [34, 34], [60, 60]])
ANCHORS = grid_anchors(map_sizes(SIZE, (8,)), (8,), (SHAPES,))
NO_BOX = torch.zeros(0, 4)


def outputs(n_classes=1, objectness=True, seed=0):
    "Raw answers of a network for one frame, on which gradients can be asked for."
    g = torch.Generator().manual_seed(seed)
    logits = torch.randn(1, len(ANCHORS), n_classes, generator=g).requires_grad_()
    deltas = torch.randn(1, len(ANCHORS), 4, generator=g).requires_grad_()
    sure = torch.randn(1, len(ANCHORS), generator=g).requires_grad_() if objectness else None
    return Outputs(logits, deltas, sure, ANCHORS, (len(ANCHORS),), len(SHAPES), SIZE)


@pytest.fixture
def two_classes(tmp_path):
    "One frame with signs of two classes side by side, and one with a sign of the second class alone."
    rows = ['a.jpg,40,40,24,24,2_1,-1', 'a.jpg,150,100,30,30,5_16,-1', 'b.jpg,80,60,18,18,5_16,-1']
    return folder_of(tmp_path, rows, size=SIZE)


@pytest.mark.parametrize('rule', ['atss', 'iou'])
def test_no_anchor_that_a_sign_would_claim_is_background_when_it_is_unknown(rule):
    rng = np.random.default_rng(0)
    assign = (lambda boxes, ignore: assign_atss(ANCHORS, boxes, ignore, n_shapes=len(SHAPES))) if rule == 'atss' else \
        (lambda boxes, ignore: assign_by_iou(ANCHORS, boxes, ignore))
    claimed = 0
    for _ in range(200):
        corner, side = rng.uniform(0, 180, 2), rng.uniform(14, 50) * np.array([1, rng.uniform(0.5, 2)])
        box = torch.tensor(np.concatenate([corner, corner + side]), dtype=torch.float32)[None]
        positive, unknown = assign(box, None).positive, assign(NO_BOX, box)
        claimed += int(positive.sum())
        assert not unknown.positive.any() and unknown.ignored[positive].all()
    assert claimed > 500


@pytest.mark.parametrize('assign', [atss, iou_thresholds])
@pytest.mark.parametrize('objectness', [True, False])
def test_a_filtered_sign_gives_no_gradient(two_classes, assign, objectness):
    "From the file to the gradient: what the filter removes, the network hears nothing about."
    kept, asked = open_dataset(two_classes), open_dataset(two_classes, classes=['2_1'])
    both, one = (FrameDataset(a.frames, fit_transform(SIZE))[0][1] for a in (kept, asked))
    assert len(both.boxes) == 2 and len(one.boxes) == len(one.ignore) == 1
    o = outputs(objectness=objectness)
    on_unknown = assign(o, both).matched == 1
    on_known = assign(o, both).matched == 0
    detection_loss(o, [one], assign).total.backward()
    gradient = (o.objectness if objectness else o.class_logits).grad[0].reshape(len(ANCHORS), -1).abs().sum(1)
    assert on_unknown.any() and (gradient[on_unknown] == 0).all() and (o.deltas.grad[0][on_unknown] == 0).all()
    assert (gradient[on_known] > 0).all()
    # deleting the box instead punishes a network that sees the sign
    one.ignore = NO_BOX
    o = outputs(objectness=objectness)
    detection_loss(o, [one], assign).total.backward()
    gradient = (o.objectness if objectness else o.class_logits).grad[0].reshape(len(ANCHORS), -1).abs().sum(1)
    assert (gradient[on_unknown] > 0).all()


def test_training_crops_keep_unknown_signs_unknown(two_classes):
    frame = open_dataset(two_classes, classes=['2_1']).frames[1]
    assert len(frame.boxes) == 0 and len(frame.ignore) == 1
    dataset, seen = FrameDataset([frame], crop_transform((96, 96), augment=None)), 0
    for epoch in range(40):
        dataset.set_epoch(epoch)
        image, target = dataset[0]
        assert target.boxes.shape == (0, 4) and target.labels.shape == (0,)
        seen += len(target.ignore)
    assert seen > 3


def test_finding_a_filtered_sign_is_no_false_alarm(two_classes):
    asked = open_dataset(two_classes, classes=['2_1'])
    everything = [torch.cat([f.boxes, f.ignore]) for f in asked.frames]
    # sure of all three signs, surest of the two unknown ones
    found = [Detections(b, torch.tensor([0.5, 0.9] if len(b) == 2 else [0.9]), torch.zeros(len(b), dtype=torch.int64)) for b in everything]
    result = evaluate(found, asked.frames, asked.classes)
    assert result.map == pytest.approx(1) and result.ignored == 2
    assert score_detections(found, asked.frames)['map'] == pytest.approx(1)
    for f in asked.frames: f.ignore = NO_BOX
    assert evaluate(found, asked.frames, asked.classes).map == pytest.approx(1 / 3, abs=0.01)
    assert score_detections(found, asked.frames)['map'] == pytest.approx(1 / 3, abs=0.01)


def test_a_false_alarm_beside_an_unknown_sign_stays_one(two_classes):
    asked = open_dataset(two_classes, classes=['2_1'])
    beside = asked.frames[1].ignore + torch.tensor([30., 0, 30, 0])
    found = [Detections(asked.frames[0].boxes, torch.tensor([0.5]), torch.tensor([0])), Detections(beside, torch.tensor([0.9]), torch.tensor([0]))]
    result = evaluate(found, asked.frames, asked.classes)
    assert result.map == pytest.approx(0.5, abs=0.01) and result.ignored == 0
