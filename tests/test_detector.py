"""Head, detector, assignment, loss and training: defects of the notebook that the course grew from, none of which may come back.

The number in a test's name is the defect's; the comment gives its measured price there.
"""
import ast
import copy
import inspect
import math
import textwrap
import types
from dataclasses import replace
from functools import partial
from itertools import count

import numpy as np
import pytest
import torch
from torchmetrics.detection import MeanAveragePrecision

from rtsd_nb.assignment import assign_atss, assign_by_iou
from rtsd_nb.boxes import Detections, box_iou
from rtsd_nb.data import Frame, open_dataset
from rtsd_nb.samples import Target
from rtsd_nb.detector import (DetectorConfig, Float32Forward, Outputs, build_detector, folded, is_depthwise, load_detector,
                              predict_frames, quick_on_cpu, read_checkpoint, save_detector)
from rtsd_nb.postprocess import postprocess
from rtsd_nb.head import (Head, anchor_shapes, decode_boxes, encode_boxes, grid_anchors, level_anchors, map_sizes, rtsd_like_sizes,
                          unreached_share)
from rtsd_nb.loss import atss, detection_loss, iou_thresholds
from rtsd_nb.training import (BestWeights, Budget, TrainSettings, detector_config, fit, rate_factor, start_run, time_precisions,
                              validate)

import folders
from conftest import SHARED
from folders import square_frames

SIZES = rtsd_like_sizes(1500)
SHAPES = anchor_shapes(SIZES, 5)


def tiny_detector(**kwargs):
    return folders.tiny_detector(shapes=(tuple(map(tuple, SHAPES.tolist())),), **kwargs)


def random_signs(n, generator, size=(720, 1280)):
    "`n` boxes of RTSD's sizes that do not overlap much, anywhere in the frame."
    boxes = torch.zeros(0, 4)
    while len(boxes) < n:
        wh = SIZES[torch.randint(len(SIZES), (1,), generator=generator)]
        xy = torch.rand(1, 2, generator=generator) * (torch.tensor([size[1], size[0]]) - wh)
        box = torch.cat([xy, xy + wh], 1)
        if not len(boxes) or box_iou(box, boxes).max() < 0.3:
            boxes = torch.cat([boxes, box])
    return boxes


@pytest.fixture(scope='module')
def anchors():
    return grid_anchors(map_sizes((720, 1280), [8]), [8], [SHAPES])


RULES = {'iou': assign_by_iou, 'atss': lambda a, b: assign_atss(a, b, n_shapes=5)}


@pytest.mark.parametrize('rule', RULES)
def test_defects_1_and_3_every_positive_target_decodes_to_its_sign(rule, anchors):
    # there: 62 % of the targets clamped to -13.8, decoded IoU mean 0.81, worst 0.0
    boxes = random_signs(40, torch.Generator().manual_seed(1))
    a = RULES[rule](anchors, boxes)
    targets = encode_boxes(boxes[a.matched[a.positive]], anchors[a.positive])
    decoded = decode_boxes(targets, anchors[a.positive])
    iou = box_iou(decoded, boxes)[torch.arange(len(decoded)), a.matched[a.positive]]
    assert iou.min() > 0.999
    assert targets.abs().max() < 5, 'no clamped target: nothing near -13.8'
    assert (targets[:, :2] < 0).any(), 'a sign left of or above its anchor can be expressed'


@pytest.mark.parametrize('rule', RULES)
def test_defect_2_a_predictor_that_answers_its_targets_is_perfect(rule, anchors):
    # there: mAP 0.50, mAP50 0.76
    generator, metric = torch.Generator().manual_seed(2), MeanAveragePrecision(backend='faster_coco_eval')
    for _ in range(25):
        boxes, labels = random_signs(6, generator), torch.randint(0, 4, (6,), generator=generator)
        a = RULES[rule](anchors, boxes)
        scores, deltas = torch.zeros(len(anchors), 4), torch.zeros(len(anchors), 4)
        owner = a.matched[a.positive]
        scores[a.positive, labels[owner]] = 1.
        deltas[a.positive] = encode_boxes(boxes[owner], anchors[a.positive])
        d = postprocess(scores, deltas, anchors, (720, 1280))
        metric.update([dict(boxes=d.boxes, scores=d.scores, labels=d.labels)], [dict(boxes=boxes, labels=labels)])
    assert metric.compute()['map'] >= 0.99


def test_defect_4_signs_have_anchors_at_the_default_settings():
    # there: 88 % of real signs without an anchor of IoU >= 0.5
    assert unreached_share(rtsd_like_sizes(3000, seed=5), [8], [SHAPES]) < 0.05


def test_defect_4_real_rtsd_boxes_have_anchors():
    if not (SHARED / 'rtsd_annotations').is_dir():
        pytest.skip('no ../shared/data/rtsd_annotations')
    data = open_dataset(SHARED / 'rtsd_annotations' / 'full_gt_reduced.csv', need_images=False)
    sizes = torch.cat([f.boxes[:, 2:] - f.boxes[:, :2] for f in data.frames])
    share = unreached_share(sizes, [8], [anchor_shapes(sizes, 5)])
    print(f'share of {len(sizes)} real signs without an anchor of IoU >= 0.5: {share:.4f}')
    assert len(sizes) > 9000 and share < 0.05


def test_defect_5_anchors_sit_on_cell_centres_and_cover_the_frame():
    # there: 8 px off, a strip of 16 px uncovered
    shape = torch.tensor([[16., 16]])
    a = level_anchors((3, 4), 16, shape)
    assert a[0].tolist() == [0, 0, 16, 16]
    assert a[-1].tolist() == [48, 32, 64, 48], 'the last cell reaches the corner of the 48 x 64 input'


def test_defect_6_a_forced_match_never_takes_another_signs_anchor(anchors):
    # there: the class row of the robbed anchor becomes two-hot
    generator = torch.Generator().manual_seed(6)
    for _ in range(50):
        near = torch.rand(6, 2, generator=generator) * 20 + 300          # six small signs in one spot: all want the same anchors
        boxes = torch.cat([near, near + 9 + 6 * torch.rand(6, 2, generator=generator)], 1)
        for rule in RULES.values():
            a = rule(anchors, boxes)
            assert sorted(set(a.matched[a.positive].tolist())) == list(range(6)), 'every sign has an anchor of its own'
    a = assign_by_iou(torch.tensor([[0., 0, 10, 10]]), torch.tensor([[0., 0, 10, 10], [0, 0, 10, 9]]))
    assert a.matched.tolist() == [0], 'one anchor, two signs: the better fit keeps it'


def test_defect_7_sizes_are_height_width():
    # there: a non-square input puts 99 % of the cells elsewhere, mean 534 px
    detector = tiny_detector().eval()
    outputs = detector(torch.zeros(1, 3, 96, 256, dtype=torch.uint8))
    centres = (outputs.anchors[:, :2] + outputs.anchors[:, 2:]) / 2
    assert centres.max(0).values.tolist() == [256 - 4, 96 - 4]
    assert outputs.class_logits.shape[1] == len(outputs.anchors) == 12 * 32 * 5


def test_defect_8_boxes_are_finite_and_inside_the_frame(anchors):
    # there: width inf; 19 % of the boxes leave the image at zero output
    for value in (0., 1e4, -1e4):
        deltas = torch.full((len(anchors), 4), value)
        assert decode_boxes(deltas, anchors).isfinite().all()
        d = postprocess(torch.full((len(anchors), 1), 0.9), deltas, anchors, (720, 1280))
        if len(d):
            assert d.boxes.min() >= 0 and d.boxes[:, [0, 2]].max() <= 1280 and d.boxes[:, [1, 3]].max() <= 720


@pytest.mark.parametrize('n_classes', [1, 4])
@pytest.mark.parametrize('objectness', [True, False])
def test_defect_13_scores_are_those_that_the_loss_trains(n_classes, objectness):
    # there: trained with BCE, read with softmax: one class always scores 1; background 0.01 reads 0.25 with four
    logits = torch.full((1, 3, n_classes), -4.595)
    outputs = Outputs(logits, torch.zeros(1, 3, 4), torch.full((1, 3), 20.) if objectness else None, torch.zeros(3, 4), (3,), 1, (8, 8))
    assert outputs.scores().max().item() == pytest.approx(0.01, abs=1e-3)


def test_defect_14_a_checkpoint_loads_at_any_input_size(tmp_path):
    # there: anchors in the state dict, 640 x 640 or nothing
    detector = tiny_detector().eval()
    save_detector(detector, tmp_path / 'a.pt')
    again = load_detector(tmp_path / 'a.pt')
    for size in ((64, 64), (100, 180)):
        images = torch.randint(0, 256, (1, 3, *size), dtype=torch.uint8)
        assert torch.equal(again(images).deltas, detector(images).deltas)
    assert (again.classes, again.size) == (detector.classes, detector.size)
    assert all(torch.equal(p, q) for p, q in zip(again.shapes, detector.shapes))


def test_checkpoint_never_runs_code_and_refuses_foreign_files(tmp_path):
    class Evil:
        def __reduce__(self): return (print, ('this must not run',))
    torch.save({'format': 1, 'weights': Evil()}, tmp_path / 'evil.pt')
    (tmp_path / 'cut.pt').write_bytes(b'PK\x03\x04 cut off')
    torch.save({'weights': {}}, tmp_path / 'foreign.pt')
    for name in ('evil', 'cut', 'foreign'):
        with pytest.raises(ValueError, match=f'{name}.pt is not a checkpoint'):
            read_checkpoint(tmp_path / f'{name}.pt')
    with pytest.raises(FileNotFoundError, match='no such checkpoint'):
        read_checkpoint(tmp_path / 'none.pt')


def test_defects_15_and_16_small_signs_beside_a_large_one_survive(anchors):
    # there: NMS on xy-wh..xy+wh loses 57 of 727 signs; the top 8 before NMS are all copies of the large sign
    boxes = torch.tensor([[400., 300, 500, 400], [505, 300, 525, 320], [505, 330, 525, 350]])
    a = assign_atss(anchors, boxes, n_shapes=5)
    near_large = box_iou(anchors, boxes[:1])[:, 0] > 0.2
    owner = torch.where(a.positive, a.matched, 0)
    scores, deltas = torch.zeros(len(anchors), 1), encode_boxes(boxes[owner], anchors)
    scores[near_large] = 0.95
    scores[a.positive] = torch.where(owner[a.positive] == 0, 0.99, 0.6)[:, None]
    assert int((scores > 0.9).sum()) > 8, 'more copies of the large sign than the old limit'
    d = postprocess(scores, deltas, anchors, (720, 1280), iou_threshold=0.1)
    assert (box_iou(boxes, d.boxes).max(1).values > 0.99).all()


def test_defect_18_predictions_come_back_in_frame_pixels(tmp_path):
    # there: predictions stay in network pixels, IoU 0.0 with the CSV box
    import cv2
    frame_size, sign = (360, 640), torch.tensor([[200., 120, 260, 180]])
    cv2.imwrite(str(tmp_path / 'f.png'), np.full((*frame_size, 3), 90, np.uint8))
    frame = Frame('f.png', path=tmp_path / 'f.png', size=frame_size, boxes=sign, labels=torch.tensor([0]))
    detector = tiny_detector(classes=('a',)).eval()

    def answer_rightly(images, **kwargs):
        scale = images.shape[-1] / frame_size[1]
        return [Detections(sign * scale, torch.tensor([0.9]), torch.tensor([0])) for _ in images]
    detector.predict = answer_rightly
    found = predict_frames(detector, [frame], size=(180, 320))[0]
    assert box_iou(found.boxes, sign).item() == pytest.approx(1, abs=1e-3)


def test_defect_19_best_weights_are_a_copy():
    # there: a live reference to the state dict, so the best weights were never restored
    model, best = torch.nn.Linear(2, 2), BestWeights()
    first = copy.deepcopy(model.state_dict())
    assert best.update(0.5, model)
    with torch.no_grad():
        model.weight += 1
    assert not best.update(0.3, model)
    best.restore(model)
    assert torch.equal(model.weight, first['weight'])


QUICK = TrainSettings(trainable_blocks=None, epochs=2, crop=(96, 96), batch_size=3, validations=2)


def test_defect_20_two_experiments_do_not_touch_each_other(tmp_path):
    # there: the runner restores through globals; a second experiment rewrites the first one's model
    frames = square_frames(tmp_path)
    first = tiny_detector()
    fit(first, frames[:4], frames[4:], QUICK, progress=False)
    before = copy.deepcopy(first.state_dict())
    fit(tiny_detector(), frames[:4], frames[4:], QUICK, progress=False)
    assert all(torch.equal(before[k], v) for k, v in first.state_dict().items())


def test_a_run_repeats_bit_for_bit_and_epochs_can_be_counted(tmp_path):
    frames, runs = square_frames(tmp_path), []
    for _ in range(2):
        detector = tiny_detector()
        history = fit(detector, frames[:4], frames[4:], QUICK, progress=False)
        runs.append((detector.state_dict(), history))
    assert all(torch.equal(runs[0][0][k], v) for k, v in runs[1][0].items())
    assert runs[0][1].steps == runs[1][1].steps
    assert [e['epoch'] for e in runs[0][1].epochs] == [1, 2] and all('map' in e for e in runs[0][1].epochs)


def test_validations_are_spread_over_the_run_also_within_an_epoch(tmp_path):
    frames, settings = square_frames(tmp_path), replace(QUICK, epochs=1)
    history = fit(tiny_detector(), frames[:4], frames[4:], settings, progress=False)
    assert [(e['epoch'], e['step']) for e in history.epochs] == [(0.5, 3), (1, 6)] and all('map' in e for e in history.epochs)
    losses = [s['loss'] for s in history.steps]
    assert [e['train_loss'] for e in history.epochs] == pytest.approx([sum(losses[:3]) / 3, sum(losses[3:]) / 3])


def test_a_validation_that_uses_up_the_minutes_is_the_last(tmp_path, monkeypatch):
    import rtsd_nb.training as training
    clock = count()
    monkeypatch.setattr(training.time, 'monotonic', lambda: next(clock))  # a second passes whenever somebody looks

    def slow(*args, **kwargs):
        for _ in range(40):
            training.time.monotonic()
        return {'loss': 1., 'map': 0.5, 'map_50': 0.5}
    monkeypatch.setattr(training, 'validate', slow)
    frames = square_frames(tmp_path)
    history = fit(tiny_detector(), frames[:4], frames[4:], replace(QUICK, minutes=1.), progress=False)
    assert [e['map'] for e in history.epochs if 'map' in e] == [0.5]
    assert 'map' in history.epochs[-1] and history.epochs[-1]['step'] == len(history.steps)


def perfect_outputs(anchors, boxes, labels, n_classes, rule):
    "Outputs of a network that has learnt its lesson perfectly."
    a = rule(anchors, boxes)
    class_logits, objectness = torch.full((1, len(anchors), n_classes), -14.), torch.full((1, len(anchors)), -14.)
    deltas, owner = torch.zeros(1, len(anchors), 4), a.matched[a.positive]
    class_logits[0, a.positive, labels[owner]] = 14.
    objectness[0, a.positive] = 14.
    deltas[0, a.positive] = encode_boxes(boxes[owner], anchors[a.positive])
    return Outputs(class_logits, deltas, objectness, anchors, (len(anchors),), 5, (720, 1280))


def target(boxes, labels, ignore=None):
    return Target(boxes, labels, torch.zeros(0, 4) if ignore is None else ignore, 1., (720, 1280), 'test')


def test_defect_21_validation_loss_of_a_perfect_network_is_zero(anchors):
    # there: true loss 0.0, reported 145; the wrong epoch was picked as the best
    boxes, labels = random_signs(5, torch.Generator().manual_seed(3)), torch.tensor([0, 1, 2, 0, 1])
    outputs = perfect_outputs(anchors, boxes, labels, 3, RULES['atss'])
    assert detection_loss(outputs, [target(boxes, labels)]).total < 0.01
    worse = copy.copy(outputs)
    worse.objectness = -outputs.objectness
    assert detection_loss(worse, [target(boxes, labels)]).total > 1


def test_defect_21_validation_uses_the_loss_of_training(tmp_path):
    detector = tiny_detector().eval()
    frames = square_frames(tmp_path, 2)
    from rtsd_nb.samples import FrameDataset, collate, fit_transform
    images, targets = collate([FrameDataset(frames, fit_transform(detector.size))[i] for i in range(2)])
    with torch.inference_mode():
        by_hand = detection_loss(detector(images), targets).total.item()
    assert validate(detector, frames, batch_size=2)['loss'] == pytest.approx(by_hand, rel=0.02)


def test_defect_22_every_parameter_of_an_assigner_is_used():
    # there: two parameters of assign_target were never read, and the saved error came from an older version of the cell
    for function in (assign_by_iou, assign_atss, detection_loss, postprocess, fit):
        body = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0].body
        read = {node.id for part in body for node in ast.walk(part) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
        assert set(inspect.signature(function).parameters) <= read, f'{function.__name__} does not use all its parameters'


def test_defect_23_positives_are_heard_in_the_objectness_loss(anchors):
    # there: 0.015 % of the gradient at the start
    boxes, labels = random_signs(3, torch.Generator().manual_seed(4)), torch.tensor([0, 1, 2])
    prior = math.log(0.01 / 0.99)
    logits = torch.full((1, len(anchors)), prior, requires_grad=True)
    outputs = Outputs(torch.zeros(1, len(anchors), 3), torch.zeros(1, len(anchors), 4), logits, anchors, (len(anchors),), 5, (720, 1280))
    losses = detection_loss(outputs, [target(boxes, labels)])
    losses.objectness.backward()
    share = logits.grad[0, atss(outputs, target(boxes, labels)).positive].abs().sum() / logits.grad.abs().sum()
    assert share > 0.3
    assert Head(8, 1, 1).objectness.bias.item() == pytest.approx(prior)


def test_defect_23_the_loss_does_not_depend_on_how_much_background_there_is():
    shapes, box, label = [torch.tensor([[24., 24]])], torch.tensor([[20., 20, 44, 44]]), torch.tensor([0])
    values = []
    for cells in (10, 40):
        a = grid_anchors([(cells, cells)], [8], shapes)
        o = Outputs(torch.zeros(1, len(a), 1), torch.zeros(1, len(a), 4), torch.full((1, len(a)), -9.), a, (len(a),), 1, (cells * 8,) * 2)
        values.append(detection_loss(o, [target(box, label)]).total.item())
    assert values[0] == pytest.approx(values[1], rel=0.01)


def test_defect_24_the_learning_rate_never_climbs_again():
    # there: CosineAnnealingLR(T_max=10) is back at 1e-3 in epoch 21
    factors = [rate_factor(p) for p in np.linspace(0.06, 1, 200)]
    assert all(a >= b for a, b in zip(factors, factors[1:])) and factors[-1] == pytest.approx(0.01)
    assert Budget(10).progress(10) == 1, 'the end of the schedule is the end of the run'


def test_defect_33_kmeans_anchors_are_those_that_the_detector_uses(tmp_path):
    # there: computed and then not passed; the tuple did not fit the Detector
    frames = square_frames(tmp_path)
    config = detector_config(frames, ('a', 'b', 'c'), backbone='mobilenetv3_small_050', channels=16)
    detector = build_detector(config, weights=None)
    assert torch.allclose(detector.shapes[0], torch.tensor([[27., 27]]), atol=0.01), 'signs of 24 px, enlarged to 27'
    a = detector(torch.zeros(1, 3, 96, 128, dtype=torch.uint8)).anchors
    assert torch.allclose(a[:, 2:] - a[:, :2], torch.tensor(27.), atol=0.01)


def test_unknown_signs_are_excused_by_every_rule(anchors):
    boxes, unknown = torch.tensor([[100., 100, 124, 124]]), torch.tensor([[600., 300, 640, 340]])
    for rule in (lambda: assign_by_iou(anchors, boxes, unknown), lambda: assign_atss(anchors, boxes, unknown, n_shapes=5),
                 lambda: assign_by_iou(anchors, boxes[:0], unknown)):
        a = rule()
        inside = ((anchors[:, :2] >= unknown[0, :2]) & (anchors[:, 2:] <= unknown[0, 2:])).all(1)
        assert inside.any() and a.ignored[inside].all()


def test_an_unknown_sign_has_no_loss(anchors):
    unknown = torch.tensor([[600., 300, 640, 340]])
    logits = torch.full((1, len(anchors)), -14.)
    inside = ((anchors[:, :2] >= unknown[0, :2]) & (anchors[:, 2:] <= unknown[0, 2:])).all(1)
    logits[0, inside] = 14.                                        # the network is sure that there is a sign, and it is right
    o = Outputs(torch.zeros(1, len(anchors), 2), torch.zeros(1, len(anchors), 4), logits, anchors, (len(anchors),), 5, (720, 1280))
    empty = torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64)
    assert detection_loss(o, [target(*empty, ignore=unknown)]).objectness < 0.01
    assert detection_loss(o, [target(*empty)]).objectness > 10


@pytest.mark.parametrize('rule', [atss, iou_thresholds])
@pytest.mark.parametrize('objectness', [True, False])
def test_a_few_steps_learn_coloured_squares(tmp_path, rule, objectness):
    # the loss, not AP, which is unstable on a handful of frames
    frames = square_frames(tmp_path)
    detector = tiny_detector(objectness=objectness)
    settings = TrainSettings(trainable_blocks=None, epochs=25, crop=(96, 96), batch_size=3, validations=1, learning_rate=1e-2)
    history = fit(detector, frames, settings=settings, loss=partial(detection_loss, assign=rule), progress=False)
    losses = history.step_table().loss
    assert losses.tail(4).mean() < 0.7 * losses.head(4).mean()


def test_loss_that_is_not_finite_names_the_frames(tmp_path):
    detector = tiny_detector()
    with torch.no_grad():
        detector.head.deltas.bias.fill_(float('nan'))
    with pytest.raises(FloatingPointError, match=r'\.png'):
        fit(detector, square_frames(tmp_path), settings=QUICK, progress=False)


def test_early_stopping_restores_the_best_and_stops(tmp_path, monkeypatch):
    import rtsd_nb.training as training
    scores, weights = iter([0.5, 0.4, 0.3, 0.2, 0.1]), []

    def keep(run):
        if len(run.history.epochs) > len(weights):
            weights.append(copy.deepcopy(run.average.module.state_dict()))
    monkeypatch.setattr(training, 'validate', lambda *args, **kwargs: {'loss': 1., 'map': next(scores), 'map_50': 0.})
    frames, detector = square_frames(tmp_path), tiny_detector()
    settings = TrainSettings(trainable_blocks=None, epochs=5, crop=(96, 96), batch_size=3, validations=5, patience=2)
    history = fit(detector, frames[:4], frames[4:], settings, progress=False, after_step=keep)
    assert [e['epoch'] for e in history.epochs] == [1, 2, 3]
    assert all(torch.equal(weights[0][k], v) for k, v in detector.state_dict().items())


def test_minutes_bound_a_run(tmp_path, monkeypatch):
    import rtsd_nb.training as training
    clock = iter(range(10_000))                                    # each look at the clock is one second later
    monkeypatch.setattr(training, 'time', types.SimpleNamespace(monotonic=lambda: float(next(clock))))
    settings = TrainSettings(trainable_blocks=None, minutes=1, crop=(96, 96), batch_size=3)
    rates = fit(tiny_detector(), square_frames(tmp_path), settings=settings, progress=False).step_table().lr
    assert 10 < len(rates) < 60, 'a minute of such a clock holds fewer than 60 steps'
    assert rates.iloc[-1] < 0.1 * rates.max(), 'the schedule is fitted to the minute'


@pytest.mark.parametrize('backbone', ['tf_efficientnet_lite0', 'mobilenetv3_small_050'])
def test_odd_sizes_do_not_shift_the_features(backbone):
    # convolutions of stride 2 align differently over an odd number of rows: boxes once came out 6 px too low on frames of 602 rows
    torch.manual_seed(0)
    config = DetectorConfig(classes=('a',), shapes=((tuple(SHAPES[0].tolist()),),), backbone=backbone, channels=16)
    detector = build_detector(config, weights=None).eval()
    images = torch.randint(0, 256, (1, 3, 192, 192), dtype=torch.uint8)
    whole = detector(images).class_logits.reshape(-1, 24)[:10, :10]
    for height in (181, 186, 190):
        odd = detector(images[:, :, :height]).class_logits.reshape(-1, 24)[:10, :10]
        assert torch.corrcoef(torch.stack([whole.flatten(), odd.flatten()]))[0, 1] > 0.98


def test_depthwise_convolutions_train_in_float32_beside_bfloat16(tmp_path):
    detector = tiny_detector()
    depthwise = [m for m in detector.modules() if is_depthwise(m)]
    assert depthwise and all(isinstance(m, Float32Forward) for m in depthwise)
    dtypes = []
    for layer in depthwise:
        layer.register_forward_hook(lambda layer, args, out: dtypes.append(out.dtype))
    images = torch.zeros(1, 3, 64, 64, dtype=torch.uint8)
    with torch.autocast('cpu', torch.bfloat16):
        outputs = detector(images)
        assert outputs.deltas.dtype == torch.bfloat16, 'the rest of the network keeps the short numbers'
        outputs.deltas.float().sum().backward()
        assert all(layer.weight.grad.isfinite().all() for layer in depthwise)
        with torch.no_grad():
            detector.eval()(images)
    n = len(depthwise)
    assert dtypes[n:] == [torch.bfloat16] * n, 'without gradients the short numbers are quicker'
    plain = torch.nn.Conv2d(8, 8, 3, groups=8)
    twin, x = copy.deepcopy(plain), torch.randn(2, 8, 9, 9)
    quick_on_cpu(twin)
    quick_on_cpu(twin)
    assert type(twin).__mro__.count(Float32Forward) == 1
    with torch.autocast('cpu', torch.bfloat16):
        twin(x).sum().backward()
    plain(x).sum().backward()
    assert torch.equal(twin.weight.grad, plain.weight.grad), 'gradients are those of float32'
    save_detector(copy.deepcopy(detector), tmp_path / 'best.pt')
    assert load_detector(tmp_path).state_dict().keys() == detector.state_dict().keys()


def test_precision_is_chosen_by_name_and_by_measurement(tmp_path):
    with pytest.raises(ValueError, match="half.*native, float32, bfloat16"):
        start_run(tiny_detector(), square_frames(tmp_path), TrainSettings(precision='half'))
    seen = []
    detector = tiny_detector()
    detector.head.register_forward_hook(lambda head, args, out: seen.append(out[0].dtype))
    times = time_precisions(detector, TrainSettings(batch_size=2, crop=(64, 64)))
    assert min(times.values()) > 0 and list(times) == ['float32', 'bfloat16'][:len(times)]
    assert set(seen) == {torch.float32, torch.bfloat16} if len(times) == 2 else {torch.float32}
    for precision in ('float32', 'bfloat16'):
        seen.clear()
        fit(detector, square_frames(tmp_path)[:2], settings=replace(QUICK, epochs=1, precision=precision), progress=False)
        assert set(seen) == {getattr(torch, precision)}


def test_a_compiled_run_trains_the_detector_itself(tmp_path, monkeypatch):
    made = []
    def fake_compile(module):  # a compiler need not be there: what is asked for is what counts
        made.append(module)
        return module
    monkeypatch.setattr(torch, 'compile', fake_compile)
    detector = tiny_detector()
    before = copy.deepcopy(detector.state_dict())
    fit(detector, square_frames(tmp_path)[:2], settings=replace(QUICK, epochs=1, compile=True), progress=False)
    assert made == [detector]
    assert any(not torch.equal(before[k], v) for k, v in detector.state_dict().items())


def with_statistics(detector):
    "`detector` with batch norms that do something, as after training."
    torch.manual_seed(1)
    for norm in detector.modules():
        if isinstance(norm, torch.nn.BatchNorm2d):
            for values, low, high in ((norm.running_mean, -.2, .2), (norm.running_var, .5, 2.), (norm.weight, .5, 1.5), (norm.bias, -.2, .2)):
                torch.nn.init.uniform_(values, low, high)
    return detector.eval()


@pytest.mark.parametrize('backbone, neck, left', [('mobilenetv3_small_050', 'BiFPN', 0), ('resnet10t', 'PAN', 0), ('densenet121', 'FPN', None),
                                                  ('convnext_atto', 'UNeck', None)])
def test_folding_batch_norm_changes_no_answer(backbone, neck, left):
    shapes = tuple(tuple(map(tuple, s.tolist())) for s in (SHAPES[:2], 2 * SHAPES[:2]))
    config = DetectorConfig(('a', 'b'), shapes, (96, 128), backbone, neck=neck, channels=16, strides=(8, 16))
    detector = with_statistics(build_detector(config, weights=None))
    before = copy.deepcopy(detector.state_dict())
    light = folded(detector)
    images = torch.randint(0, 256, (1, 3, 96, 128), generator=torch.Generator().manual_seed(2), dtype=torch.uint8)
    with torch.no_grad():
        a, b = detector(images), light(images)
    for name in ('class_logits', 'deltas', 'objectness'):
        torch.testing.assert_close(getattr(a, name), getattr(b, name), rtol=1e-2, atol=1e-2)
    assert all(torch.equal(before[k], v) for k, v in detector.state_dict().items()), 'the original is left alone'
    norms = sum(isinstance(m, torch.nn.BatchNorm2d) for m in light.modules())
    assert norms == left if left is not None else norms > 0, 'densenet normalises before its convolutions, the U enlarges by transposed ones'


def test_relu_by_bits_has_the_gradient_of_relu():
    x = torch.cat([torch.linspace(-8, 8, 257), torch.tensor([-0., 0., 6., 1e30, -1e30])]).bfloat16()
    for kind in (torch.nn.ReLU, torch.nn.ReLU6):
        for inplace in (False, True):
            plain, quick = kind(inplace), kind(inplace)
            quick_on_cpu(quick)
            a, b = x.clone().requires_grad_(), x.clone().requires_grad_()
            one, two = plain(a * 1), quick(b * 1)
            (one.float() * torch.arange(len(x))).sum().backward()
            (two.float() * torch.arange(len(x))).sum().backward()
            assert torch.equal(one, two) and torch.equal(a.grad, b.grad)
