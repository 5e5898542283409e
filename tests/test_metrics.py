"""Metrics: the defects that belong to this chapter, oracles on many cases, and large inputs."""
import contextlib
import io
import json
import math
import time
from pathlib import Path
from types import SimpleNamespace

import matplotlib
import numpy as np
import pytest
import torch
from torchmetrics.detection import MeanAveragePrecision

matplotlib.use('Agg')
import matplotlib.pyplot as plt

from rtsd_nb.boxes import Detections, xywh_to_xyxy, xyxy_to_xywh
from rtsd_nb.data import Frame, open_dataset
from rtsd_nb.metrics import (IOU_THRESHOLDS, RECALLS, average_precision, evaluate, longest_side, outside_ignored,
                             plot_precision_recall, plot_truth_and_predictions)

DATA = Path(__file__).resolve().parents[2] / 'shared' / 'data'
NONE = torch.zeros(0, 4)


def make_frame(boxes, labels, ignore=(), name='a.jpg', size=(720, 1280)):
    return Frame(name, size=size, boxes=torch.as_tensor(boxes, dtype=torch.float32).reshape(-1, 4),
                 labels=torch.as_tensor(labels, dtype=torch.int64).reshape(-1),
                 ignore=torch.as_tensor(ignore, dtype=torch.float32).reshape(-1, 4))


def perfect(frame, score=0.9):
    return Detections(frame.boxes.clone(), torch.full((len(frame.boxes),), score), frame.labels.clone())


def random_case(seed, frames=40, classes=3, detections=8, ties=False):
    "Frames (some empty) and detections near the truth and elsewhere, several classes."
    rng = np.random.default_rng(seed)
    truth, answers = [], []
    for i in range(frames):
        n = int(rng.integers(0, 5))
        xy, wh = rng.uniform(0, 600, (n, 2)), np.exp(rng.uniform(2.6, 4.6, (n, 2)))
        boxes, labels = np.hstack([xy, xy + wh]), rng.integers(0, classes, n)
        truth.append(make_frame(boxes, labels, name=f'{i}.jpg'))
        near = boxes.repeat(2, 0) + rng.normal(0, 4, (2 * n, 4))
        near_labels = np.where(rng.random(2 * n) < .8, labels.repeat(2), rng.integers(0, classes, 2 * n))
        k = int(rng.integers(0, detections))
        xy, wh = rng.uniform(0, 600, (k, 2)), rng.uniform(12, 110, (k, 2))
        boxes = np.vstack([near, np.hstack([xy, xy + wh])])
        boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2] + 1)
        scores = rng.random(len(boxes))
        if ties: scores = np.ceil(scores * 4) / 4
        answers.append(Detections(torch.tensor(boxes).float(), torch.tensor(scores).float(),
                                  torch.tensor(np.append(near_labels, rng.integers(0, classes, k))).long()))
    return answers, truth, tuple(f'class {c}' for c in range(classes))


def torchmetrics_says(answers, truth, backend='faster_coco_eval', crowds=None, **options):
    metric = MeanAveragePrecision(backend=backend, class_metrics=True, **options)
    metric.warn_on_many_detections = False
    targets = [dict(boxes=f.boxes, labels=f.labels) for f in truth]
    for target, crowd in zip(targets, crowds or ()):
        n, extra, label = len(target['boxes']), crowd[0], crowd[1]
        target['boxes'] = torch.cat([target['boxes'], extra])
        target['labels'] = torch.cat([target['labels'], torch.full((len(extra),), label)])
        target['iscrowd'] = torch.tensor([0] * n + [1] * len(extra))
    metric.update([dict(boxes=d.boxes, scores=d.scores, labels=d.labels) for d in answers], targets)
    return metric.compute()


EXACT = dict(iou_thresholds=list(IOU_THRESHOLDS), rec_thresholds=RECALLS.tolist())


@pytest.mark.parametrize('backend', ['faster_coco_eval', 'pycocotools'])
@pytest.mark.parametrize('seed', range(6))
def test_evaluate_against_torchmetrics(seed, backend):
    "mAP, AP50, AP75 and AP by class, ties included, exactly; and with torchmetrics' own float32 thresholds closely."
    answers, truth, classes = random_case(seed, ties=seed % 2 == 1)
    ours, theirs = evaluate(answers, truth, classes), torchmetrics_says(answers, truth, backend, **EXACT)
    assert [ours.map, ours.map_50, ours.map_75] == pytest.approx([theirs[k].item() for k in ('map', 'map_50', 'map_75')], abs=1e-6)
    by_class = ours.per_class.ap[theirs['classes'].tolist()].fillna(-1)
    assert by_class.tolist() == pytest.approx(theirs['map_per_class'].tolist(), abs=1e-6)
    assert ours.map == pytest.approx(torchmetrics_says(answers, truth, backend)['map'].item(), abs=0.01)


@pytest.mark.parametrize('seed', range(6))
def test_average_precision_from_scratch_against_evaluate(seed):
    "Every class and every size bin: our own loop says what the library says."
    answers, truth, classes = random_case(seed, ties=seed % 2 == 1)
    result = evaluate(answers, truth, classes, size_edges=(24, 32, 64))
    ranges = [(0, 24), (24, 32), (32, 64), (64, math.inf)]
    by_size = np.full((len(ranges), len(classes)), np.nan)
    for c in range(len(classes)):
        own = [d.select(d.labels == c) for d in answers], [(f.boxes[f.labels == c], f.ignore) for f in truth]
        assert average_precision(*own, IOU_THRESHOLDS) == pytest.approx(result.per_class.ap[c], abs=1e-9, nan_ok=True)
        assert average_precision(*own, 0.5) == pytest.approx(result.per_class.ap_50[c], abs=1e-9, nan_ok=True)
        by_size[:, c] = [average_precision(*own, IOU_THRESHOLDS, size_range=r) for r in ranges]
    assert not np.isnan(by_size).all(1).any()
    assert result.by_size.ap.tolist() == pytest.approx(np.nanmean(by_size, 1).tolist(), abs=1e-9)


@pytest.mark.parametrize('seed', range(3))
def test_by_size_against_pycocotools(seed):
    "The original COCO code, told to compare the longest side with our bins."
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval
    answers, truth, classes = random_case(seed)

    def coco(items, scored):
        rows = []
        for i, item in enumerate(items):
            for j, (box, side, label) in enumerate(zip(xyxy_to_xywh(item.boxes).double().tolist(), longest_side(item.boxes), item.labels.tolist())):
                rows.append(dict(id=len(rows) + 1, image_id=i, category_id=label, bbox=box, area=float(side), iscrowd=0))
                if scored: rows[-1]['score'] = item.scores[j].item()
        out = COCO()
        out.dataset = dict(info={}, images=[dict(id=i) for i in range(len(items))], annotations=rows,
                           categories=[dict(id=c, name=str(c)) for c in range(len(classes))])
        out.createIndex()
        return out

    with contextlib.redirect_stdout(io.StringIO()):
        run = COCOeval(coco(truth, False), coco(answers, True), 'bbox')
        run.params.areaRng, run.params.areaRngLbl = [[0, 16], [16, 24], [24, 32], [32, 64], [64, 1e9]], list('abcde')
        run.params.maxDets = [300]
        run.evaluate(); run.accumulate()
    precision = run.eval['precision'][..., 0]
    for i, ap in enumerate(evaluate(answers, truth, classes).by_size.ap):
        valid = precision[..., i][precision[..., i] > -1]
        assert ap == pytest.approx(valid.mean() if valid.size else math.nan, abs=1e-9, nan_ok=True)


def test_size_bins_count_each_truth_once():
    "A sign of exactly 24 px belongs to 24-32, and only there."
    frame = make_frame([[0, 0, 24, 10], [100, 0, 132, 32], [200, 0, 264, 5]], [0, 0, 0])
    result = evaluate([perfect(frame)], [frame], ('a',))
    assert result.by_size.boxes.tolist() == [0, 0, 1, 1, 1]
    assert result.by_size.ap.tolist()[2:] == pytest.approx([1, 1, 1]) and math.isnan(result.by_size.ap[0])


def test_defect_13_equal_scores_lose_the_ranking():
    "One class read through a softmax: every score is 1. The metric must show the damage."
    answers, truth, classes = random_case(3, frames=60, classes=1)
    flat = [Detections(d.boxes, torch.softmax(d.scores[:, None], 1)[:, 0], d.labels) for d in answers]
    for d, f in zip(answers, truth):
        d.scores[:] = 0.1
        if len(f.boxes): d.scores[:2 * len(f.boxes)] = torch.linspace(.9, .5, 2 * len(f.boxes))
    assert all((d.scores == 1).all() for d in flat)
    flat = [d.select(torch.arange(len(d)).flip(0)) for d in flat]
    assert evaluate(flat, truth, classes).map_50 < evaluate(answers, truth, classes).map_50 - 0.1


def test_defect_18_predictions_must_be_in_frame_pixels():
    "The same answer in pixels of a smaller network input scores nothing; in frame pixels it is perfect."
    frame = make_frame([[668, 379, 685, 395], [143, 372, 169, 407], [1000, 212, 1078, 277]], [0, 1, 0])
    small = Detections(frame.boxes * 0.5, torch.ones(3), frame.labels)
    assert evaluate([small], [frame], ('5_19_1', '5_16')).map == 0
    back = Detections(small.boxes / 0.5, small.scores, small.labels)
    assert evaluate([back], [frame], ('5_19_1', '5_16')).map == pytest.approx(1)


def test_defect_25_a_perfect_answer_scores_one():
    "xyxy against xyxy is 1; the old xywh against xyxy is refused, not scored 0."
    frame = make_frame(xywh_to_xyxy(torch.tensor([[668., 379, 17, 16], [143, 372, 26, 35]])), [0, 1])
    result = evaluate([perfect(frame)], [frame], ('5_19_1', '5_16'))
    assert [result.map, result.map_50, result.map_75] == pytest.approx([1, 1, 1])
    with pytest.raises(ValueError, match='xyxy'):
        Detections(xyxy_to_xywh(frame.boxes), torch.ones(2), frame.labels)


def test_defect_26_weak_detections_count():
    "Scores of 0.02 that are right raise the AP: nothing is cut before the metric."
    frame = make_frame([[i * 60, 0, i * 60 + 30, 30] for i in range(10)], [0] * 10)
    weak = Detections(frame.boxes, torch.tensor([.9] * 5 + [.02] * 5), frame.labels)
    assert evaluate([weak], [frame], ('a',)).map == pytest.approx(1)
    assert evaluate([weak.select(weak.scores >= .1)], [frame], ('a',)).map == pytest.approx(51 / 101)


def test_defect_26_no_small_limit_of_boxes():
    "150 signs of one class in one frame, all found: 1.0, not 8/150 and not 100/150."
    frame = make_frame([[i % 15 * 60, i // 15 * 60, i % 15 * 60 + 30, i // 15 * 60 + 30] for i in range(150)], [0] * 150)
    assert evaluate([perfect(frame)], [frame], ('a',)).map == pytest.approx(1)
    own = [perfect(frame)], [(frame.boxes, NONE)]
    assert average_precision(*own) == pytest.approx(1)
    assert average_precision(*own, max_detections=100) == pytest.approx(67 / 101)


def test_ignore_regions_cost_nothing():
    "Detections on unlabelled signs change no number, and are counted."
    answers, truth, classes = random_case(1, frames=12)
    clean = evaluate(answers, truth, classes)
    for f in truth: f.ignore = torch.tensor([[2000., 2000, 2100, 2100]])
    extra = Detections(torch.tensor([[2010., 2010, 2040, 2040]]), torch.tensor([.99]), torch.tensor([0]))
    both = [Detections(*(torch.cat([getattr(d, n), getattr(extra, n)]) for n in ('boxes', 'scores', 'labels'))) for d in answers]
    result = evaluate(both, truth, classes)
    assert result.map == pytest.approx(clean.map, abs=1e-9) and result.ignored == len(truth)
    assert evaluate(both, [make_frame(f.boxes, f.labels) for f in truth], classes).map < clean.map


def test_ignore_regions_against_coco_crowds():
    "Where a detection lies wholly in a region, COCO's crowd rule and ours agree."
    answers, truth, classes = random_case(2, frames=10, classes=1)
    region = torch.tensor([[300., 300, 420, 420]])
    answers = [d.select(~(((d.boxes[:, 2:] > 290) & (d.boxes[:, :2] < 430)).all(1))) for d in answers]
    truth = [make_frame(f.boxes[k := ~(((f.boxes[:, 2:] > 290) & (f.boxes[:, :2] < 430)).all(1))], f.labels[k], region) for f in truth]
    inside = Detections(torch.tensor([[320., 320, 350, 350]]), torch.tensor([.95]), torch.tensor([0]))
    answers = [Detections(*(torch.cat([getattr(d, n), getattr(inside, n)]) for n in ('boxes', 'scores', 'labels'))) for d in answers]
    theirs = torchmetrics_says(answers, truth, crowds=[(region, 0)] * len(truth), **EXACT)
    assert evaluate(answers, truth, classes).map == pytest.approx(theirs['map'].item(), abs=1e-6)


def test_a_right_detection_in_an_ignore_region_stays():
    frame = make_frame([[10, 10, 40, 40]], [0], [[0, 0, 100, 100]])
    assert len(outside_ignored(perfect(frame), frame.boxes, frame.ignore)) == 1
    assert evaluate([perfect(frame)], [frame], ('a',)).map == pytest.approx(1)


def test_no_truth_no_detection():
    "No detection: 0. No truth: NaN, listed, and its detections are counted as not scored."
    frame = make_frame([[10, 10, 40, 40]], [0])
    nothing = evaluate([Detections.empty()], [frame], ('a', 'b'))
    assert nothing.map == nothing.map_50 == 0 and nothing.classes_without_truth == ['b']
    stray = Detections(frame.boxes, torch.ones(1), torch.tensor([1]))
    result = evaluate([stray], [frame], ('a', 'b'))
    assert result.map == 0 and result.unscored == 1 and result.classes_with_truth == 1
    assert math.isnan(result.per_class.ap[1]) and 'not averaged: b' in result.table()
    for answers, frames in (([stray], [make_frame([], [])]), ([Detections.empty()], [make_frame([], [])]), ([], [])):
        result = evaluate(answers, frames, ('a', 'b'))
        assert math.isnan(result.map) and result.classes_with_truth == 0 and result.n_boxes == 0
        assert 'mAP 0.5:0.95 -' in str(result)


def test_json_is_json():
    answers, truth, classes = random_case(0)
    result = evaluate(answers, truth, classes + ('never seen',))
    text = json.dumps(result.to_json(), allow_nan=False)
    back = json.loads(text)
    assert {'map', 'map_50', 'map_75', 'per_class', 'by_size', 'classes_with_truth', 'n_frames', 'n_boxes'} <= set(back)
    assert back['per_class'][-1] == {'class': 'never seen', 'boxes': 0, 'ap': None, 'ap_50': None}
    assert back['map'] == pytest.approx(result.map) and [r['size'] for r in back['by_size']] == ['0-16', '16-24', '24-32', '32-64', '64+']


def test_wrong_input_is_named():
    frame = make_frame([[10, 10, 40, 40]], [0], name='autosave01.jpg')
    with pytest.raises(ValueError, match='2 detections for 1 frames'):
        evaluate([perfect(frame)] * 2, [frame], ('a',))
    with pytest.raises(ValueError, match='autosave01.jpg: detection with label 3'):
        evaluate([Detections(frame.boxes, torch.ones(1), torch.tensor([3]))], [frame], ('a',))
    with pytest.raises(ValueError, match='autosave01.jpg: truth with label 0'):
        evaluate([Detections.empty()], [frame], ())


def test_anything_like_a_frame_will_do():
    like = SimpleNamespace(filename='x.jpg', boxes=torch.tensor([[0., 0, 9, 9]]), labels=torch.tensor([0]), ignore=NONE)
    assert evaluate([perfect(like)], [like], ('a',)).map == pytest.approx(1)


def test_evaluate_changes_nothing():
    answers, truth, classes = random_case(5)
    before = [(d.boxes.clone(), d.scores.clone()) for d in answers]
    first, second = evaluate(answers, truth, classes), evaluate(answers, truth, classes)
    assert json.dumps(first.to_json()) == json.dumps(second.to_json())
    assert all(torch.equal(d.boxes, b) and torch.equal(d.scores, s) for d, (b, s) in zip(answers, before))


def test_five_thousand_frames():
    "Linear in the frames: eight times as many take far less than 64 times as long, and a minute or two at most."
    def seconds(n):
        case = random_case(0, frames=n, classes=12, detections=30)
        start = time.perf_counter()
        evaluate(*case)
        return time.perf_counter() - start
    seconds(50)
    few, many = seconds(625), seconds(5000)
    assert many < 120 and many < 24 * max(few, 0.5), (few, many)


def test_real_rtsd_annotation_answers_itself():
    "A sixth of the real frames: the annotation scores 1 against itself, 2 px of noise cost small signs most."
    folder = DATA / 'rtsd_annotations'
    if not folder.exists(): pytest.skip('real annotation not there: ../shared/data/rtsd_annotations')
    data = open_dataset(folder / 'full_gt_reduced.csv', need_images=False)
    frames = data.frames[::6]
    own = evaluate([perfect(f) for f in frames], frames, data.classes)
    assert own.map == pytest.approx(1) and own.n_boxes == sum(len(f.boxes) for f in frames)
    assert own.classes_with_truth + len(own.classes_without_truth) == len(data.classes)
    shift = torch.tensor([2., 2, 2, 2])
    moved = [Detections(f.boxes + shift, torch.ones(len(f.boxes)), f.labels) for f in frames]
    by_size = evaluate(moved, frames, data.classes).by_size.ap.dropna()  # no sign is under 16 px
    assert by_size.is_monotonic_increasing and by_size.iloc[-1] > by_size.iloc[0] + 0.2


def test_defect_17_one_frame_is_enough_to_draw():
    "Pictures of one frame, with and without boxes, detections and ignore regions; nothing global is needed."
    image = np.full((720, 1280, 3), 90, np.uint8)
    full = make_frame([[668, 379, 685, 395], [1270, 0, 1280, 12]], [0, 1], [[0, 700, 30, 720]])
    for frame in (full, make_frame([], [])):
        for answer in (perfect(frame), Detections.empty(), Detections(torch.tensor([[1., 701, 20, 719]]), torch.ones(1), torch.tensor([1]))):
            for zoom in (True, False):
                axes = plot_truth_and_predictions(frame, answer, ('a', 'b'), 0.3, image=image, zoom=zoom)
                assert len(axes) == 2
                plt.close('all')
    assert plot_precision_recall([perfect(full)], [full], ('a', 'b')) is not None
    assert plot_precision_recall([Detections.empty()], [make_frame([], [])], ('a', 'b')) is not None
    plt.close('all')
