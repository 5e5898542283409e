"""Error analysis: the six kinds against a second implementation, intervals against resampling by hand, the page on odd input."""
import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from folders import paint
from rtsd_nb.boxes import Detections, box_iou
from rtsd_nb.data import Frame
from rtsd_nb.errors import (KINDS, bootstrap, calibration, class_record, confusion, error_table, judge, mean_ap, mended, missing_labels,
                            operating_points, recall_table, weighted_ap)
from rtsd_nb.evalreport import write_evaluation_report
from rtsd_nb.metrics import evaluate

CLASSES = ('a', 'b', 'c')


def random_case(seed, n_frames=12, unknown=False):
    "Frames with signs of three classes, and detections of all kinds: right, shifted, of another class, doubled, on nothing."
    rng, frames, found = np.random.default_rng(seed), [], []
    for i in range(n_frames):
        n = int(rng.integers(0, 5))
        corner = rng.uniform(0, 600, (n, 2))
        truth = np.hstack([corner, corner + rng.uniform(15, 70, (n, 2))])
        labels = rng.integers(0, 3, n)
        rows = [(box + rng.normal(0, s, 4) * (box[2] - box[0]), (label + (rng.random() < .3)) % 3, rng.random())
                for box, label in zip(truth, labels) for s in rng.choice([.02, .15, .4], rng.integers(0, 3))]
        rows += [(np.array([x, y, x + 30, y + 30]), rng.integers(0, 3), rng.random()) for x, y in rng.uniform(0, 600, (rng.integers(0, 3), 2))]
        boxes = torch.tensor(np.array([np.sort(r[0].reshape(2, 2), 0).ravel() for r in rows]).reshape(-1, 4), dtype=torch.float32)
        found.append(Detections(boxes, torch.tensor([r[2] for r in rows], dtype=torch.float32), torch.tensor([int(r[1]) for r in rows], dtype=torch.int64)))
        ignore = torch.tensor([[100., 100, 300, 300]]) if unknown else torch.zeros(0, 4)
        frames.append(Frame(f'{i}.jpg', size=(720, 1280), boxes=torch.tensor(truth, dtype=torch.float32).reshape(-1, 4), labels=torch.tensor(labels),
                            drive=str(i // 3), ignore=ignore))
    return frames, found


@pytest.mark.parametrize('unknown', [False, True])
@pytest.mark.parametrize('seed', range(10))
def test_hits_are_those_of_the_evaluation(seed, unknown):
    frames, found = random_case(seed, unknown=unknown)
    judged = judge(found, frames)
    labels = sorted(judged.truths.label.unique())
    assert mean_ap(*mended(judged, 'nothing'), labels) == pytest.approx(evaluate(found, frames, CLASSES).map_50, abs=1e-6)
    assert len(judged.truths) == sum(len(f.boxes) for f in frames)
    assert set(judged.detections.kind) <= {'hit', *KINDS} and (judged.detections.kind == 'hit').sum() == judged.truths.found.sum()


def test_all_tables_leave_out_the_same_detections():
    "In an ignore region a detection of one class on a sign of another is a mistake, for the mAP as for intervals and thresholds"
    region = torch.tensor([[100., 100, 300, 300]])
    frame = Frame('a.jpg', size=(720, 1280), boxes=torch.tensor([[150., 150, 180, 180], [500., 500, 530, 530]]), labels=torch.tensor([1, 0]), ignore=region)
    found = [Detections(frame.boxes, torch.tensor([.9, .5]), torch.tensor([0, 0]))]
    result = evaluate(found, [frame], CLASSES)
    assert result.per_class.ap_50[0] == pytest.approx(0.5) and result.ignored == 0
    assert weighted_ap(class_record(found, [frame], 0), np.ones(1)) == pytest.approx(result.per_class.ap[0])
    assert operating_points(found, [frame], CLASSES).precision[0] == 0.5


@pytest.mark.parametrize('seed', range(5))
def test_the_score_over_all_frames_is_that_of_the_evaluation(seed):
    frames, found = random_case(seed, unknown=True)
    table = bootstrap(found, frames, CLASSES, n=2, seed=0)
    assert table.ap.iloc[0] == pytest.approx(evaluate(found, frames, CLASSES).map, abs=1e-6)


def kind_by_definition(frame, own, i, hits):
    "The kind of detection `i`, which is no hit, by the paper's words."
    iou = box_iou(own.boxes[i:i + 1].double(), frame.boxes.double())[0]
    same = frame.labels == own.labels[i]
    most = lambda v: v.max().item() if len(v) else 0.
    if 0.1 <= most(iou[same]) < 0.5: return 'location'
    if most(iou[~same]) >= 0.5: return 'class'
    if most(iou[same]) >= 0.5: return 'duplicate'
    return 'background' if most(iou) < 0.1 else 'both'


@pytest.mark.parametrize('seed', range(10))
def test_kinds_are_those_of_the_definition(seed):
    frames, found = random_case(seed)
    for row in judge(found, frames).detections.itertuples():
        if row.kind != 'hit':
            assert row.kind == kind_by_definition(frames[row.frame], found[row.frame], row.index, None)


@pytest.mark.parametrize('seed', range(6))
def test_prices_are_those_of_tidecv(seed):
    tidecv = pytest.importorskip('tidecv', reason='tidecv is not installed: its own prices are not compared')
    frames, found = random_case(seed)
    truth, said = tidecv.Data('truth'), tidecv.Data('said')
    for i, (frame, own) in enumerate(zip(frames, found)):
        for data in (truth, said): data.add_image(i, str(i))
        xywh = lambda b: [b[0], b[1], b[2] - b[0], b[3] - b[1]]
        for box, label in zip(frame.boxes.tolist(), frame.labels.tolist()): truth.add_ground_truth(i, label, xywh(box))
        for box, label, score in zip(own.boxes.tolist(), own.labels.tolist(), own.scores.tolist()): said.add_detection(i, label, score, xywh(box))
    run = tidecv.TIDE().evaluate(truth, said, mode=tidecv.TIDE.BOX)
    prices = {str(k.short_name).lower(): v / 100 for k, v in run.fix_main_errors().items()}
    ours = error_table(judge(found, frames)).costs
    names = {'both': 'both', 'duplicate': 'dupe', 'background': 'bkg', 'missed': 'miss'}
    claims = judge(found, frames).detections.query("kind in ('class', 'location')").groupby(['frame', 'truth']).kind.nunique()
    if not (claims > 1).any():                                     # else tidecv lets the surest of both kinds claim the sign, see 10a_errors
        names |= {'class': 'cls', 'location': 'loc'}
    for kind, short in names.items():
        assert ours[kind] == pytest.approx(prices[short], abs=0.005), f'{kind}: {prices}'


def test_mending_never_costs():
    for seed in range(10):
        frames, found = random_case(seed)
        assert (error_table(judge(found, frames)).costs > -1e-9).all()


@pytest.mark.parametrize('seed', range(4))
def test_weighted_ap_is_the_ap_of_repeated_frames(seed):
    frames, found = random_case(seed)
    weights = np.random.default_rng(seed).integers(0, 3, len(frames))
    for label in range(3):
        record = class_record(found, frames, label)
        repeated = [(f, d) for f, d, w in zip(frames, found, weights) for _ in range(w)]
        again = class_record([d for _, d in repeated], [f for f, _ in repeated], label)
        assert weighted_ap(record, weights.astype(float)) == pytest.approx(weighted_ap(again, np.ones(len(repeated))), abs=0.02, nan_ok=True)


def test_intervals_hold_the_score_and_repeat():
    frames, found = random_case(1, 60)
    table = bootstrap(found, frames, CLASSES, n=60, seed=3)
    assert table['class'].tolist() == ['all classes', *CLASSES] and table.ap[0] == pytest.approx(evaluate(found, frames, CLASSES).map, abs=1e-6)
    assert (table.low <= table.ap).all() and (table.ap <= table.high).all() and (table.high - table.low > 0.01).all()
    pd.testing.assert_frame_equal(table, bootstrap(found, frames, CLASSES, n=60, seed=3))


def test_confusion_counts_every_sign_and_detection_once():
    frames, found = random_case(2, unknown=True)
    table = confusion(found, frames, CLASSES, min_score=0.4)
    assert table.drop(index='nothing there').to_numpy().sum() == sum(len(f.boxes) for f in frames)
    assert table.drop(columns='missed').to_numpy().sum() <= sum(int((d.scores >= 0.4).sum()) for d in found)


def test_calibration_and_recall_tables_add_up():
    frames, found = random_case(3)
    judged = judge(found, frames)
    table = calibration(judged)
    assert table.detections.sum() == len(judged.detections) and table.hits.between(0, 1).all()
    for by in ('size', 'column', 'row', 'drive', 'label'):
        table = recall_table(judged, frames, by)
        assert table.signs.sum() == len(judged.truths) and np.average(table.recall, weights=table.signs) == pytest.approx(judged.truths.found.mean())


@pytest.mark.parametrize('seed', range(5))
def test_a_threshold_gives_what_is_said_of_it(seed):
    frames, found = random_case(seed, 30)
    for row in operating_points(found, frames, CLASSES, 0.6).itertuples():
        label = CLASSES.index(row[1])
        shown = judge([d.select((d.labels == label) & (d.scores >= row.threshold)) for d in found],
                      [replace(f, boxes=f.boxes[f.labels == label], labels=f.labels[f.labels == label]) for f in frames])
        hits = (shown.detections.kind == 'hit').sum()
        assert hits / max(len(shown.detections), 1) == pytest.approx(row.precision) and hits / row.boxes == pytest.approx(row.recall)


def test_missing_labels_lists_what_is_sure_and_on_nothing():
    frame = Frame('a.jpg', size=(720, 1280), boxes=torch.tensor([[0., 0, 30, 30]]), labels=torch.tensor([0]))
    own = Detections(torch.tensor([[0., 0, 30, 30], [200, 200, 230, 240], [300, 300, 330, 330]]), torch.tensor([.9, .8, .2]), torch.tensor([0, 1, 1]))
    table = missing_labels(judge([own], [frame]), [frame], [own], CLASSES)
    assert table.values.tolist() == [['a.jpg', 200, 200, 30, 40, 'b', -1, 0.8]]


def test_the_page_of_frames_with_files_without_and_of_nothing(tmp_path):
    frames, found = random_case(4)
    for f in frames[:6]:
        paint(tmp_path / f.filename, (720, 1280))
        f.path = tmp_path / f.filename
    page = write_evaluation_report(found, frames, CLASSES, tmp_path / 'report' / 'index.html', 'Title <b>', draws=10).read_text(encoding='utf-8')
    assert 'Title &lt;b&gt;' in page and 'data:image/jpeg' in page and 'src="http' not in page and '95 % interval' in page
    again = write_evaluation_report(found, frames, CLASSES, tmp_path / 'again.html', 'Title <b>', draws=10).read_text(encoding='utf-8')
    assert page == again, 'the same data gives the same bytes'
    one_drive = [replace(f, drive='x') for f in frames]
    assert '95 % interval' not in write_evaluation_report(found, one_drive, CLASSES, tmp_path / 'one.html').read_text(encoding='utf-8')
    nothing = write_evaluation_report([Detections.empty()] * 12, frames, CLASSES, tmp_path / 'none.html', draws=5).read_text(encoding='utf-8')
    assert 'mAP50 0.000' in nothing
    with pytest.raises(ValueError): write_evaluation_report(found[:2], frames, CLASSES, tmp_path / 'bad.html')
    assert math.isnan(error_table(judge([Detections.empty()], [Frame('e.jpg', size=(9, 9))])).costs.iloc[0])
