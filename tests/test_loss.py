"""The losses: against torchvision, by hand, at their limits; what they are divided by; and regions that must cost nothing."""
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torchvision.ops import (complete_box_iou_loss, distance_box_iou_loss, generalized_box_iou_loss, sigmoid_focal_loss)

from rtsd_nb.assignment import BACKGROUND, IGNORED, Assignment
from rtsd_nb.boxes import box_iou
from rtsd_nb.detector import Outputs
from rtsd_nb.head import decode_boxes, encode_boxes, grid_anchors, map_sizes
from rtsd_nb.loss import (atss, bce_loss, by_positives, by_targets, centre_sampling, ciou_loss, class_targets, detection_loss,
                          diou_loss, focal_loss, giou_loss, iou_loss, iou_quality, iou_thresholds, localisation_loss, objectness_loss,
                          quality_focal_loss, score_targets, smooth_l1_loss, task_aligned, varifocal_loss)
from rtsd_nb.samples import Target

SIZE, STRIDES = (96, 128), (8, 16)
SHAPES = [torch.tensor([[14., 14], [22, 20]]), torch.tensor([[34., 30], [50, 56]])]
ANCHORS = grid_anchors(map_sizes(SIZE, STRIDES), STRIDES, SHAPES)
LEVELS = (2 * 192, 2 * 48)
LOG2 = torch.tensor(2.).log().item()
ASSIGNERS = [atss, iou_thresholds, centre_sampling, task_aligned, iou_quality, partial(iou_quality, assign=iou_thresholds)]
SOFT = [dict(score_loss=loss, weigh=weigh) for loss in (bce_loss, quality_focal_loss, varifocal_loss)
        for weigh in (by_positives, by_targets)]
KINDS = [dict(), dict(box_loss=None, delta_loss=smooth_l1_loss), dict(box_loss=ciou_loss, delta_loss=smooth_l1_loss), *SOFT]


def name_of(value):
    "A parameter's name in the report of a test: that of its functions."
    if isinstance(value, dict):
        return '-'.join(name_of(v) for v in value.values()) or 'default'
    return name_of(value.func) + '_' + name_of(value.keywords) if isinstance(value, partial) else getattr(value, '__name__', str(value))


def random_boxes(n, seed, low=4., high=40.):
    g = torch.Generator().manual_seed(seed)
    corner = torch.rand(n, 2, generator=g) * 60
    return torch.cat([corner, corner + low + (high - low) * torch.rand(n, 2, generator=g)], 1)


def target(n=3, seed=0, ignore=None):
    boxes = random_boxes(n, seed, low=12.)
    return Target(boxes, torch.arange(n) % 3, torch.zeros(0, 4) if ignore is None else ignore, 1., SIZE, 'test')


def outputs(frames=2, objectness=True, seed=0):
    "Raw answers of a network, on which gradients can be asked for."
    g = torch.Generator().manual_seed(seed)
    logits, deltas, sure = (torch.randn(frames, len(ANCHORS), *n, generator=g) for n in ((3,), (4,), ()))
    sure = sure.requires_grad_() if objectness else None
    return Outputs(logits.requires_grad_(), (deltas * 0.2).requires_grad_(), sure, ANCHORS, LEVELS, 2, SIZE)


def slope(loss, boxes, truth):
    leaf = boxes.clone().requires_grad_()
    return torch.autograd.grad(loss(leaf, truth).sum(), leaf)[0]


LIBRARY = {giou_loss: generalized_box_iou_loss, diou_loss: distance_box_iou_loss, ciou_loss: complete_box_iou_loss}


@pytest.mark.parametrize('ours', LIBRARY)
def test_box_losses_equal_torchvisions_with_their_gradients(ours):
    for seed in range(20):
        boxes, truth = random_boxes(50, seed), random_boxes(50, seed + 100)
        for a, b in ((boxes, truth), (truth + 0.3, truth), (boxes + 200, truth)):
            assert torch.allclose(ours(a, b), LIBRARY[ours](a, b), atol=1e-6)
            assert torch.allclose(slope(ours, a, b), slope(LIBRARY[ours], a, b), atol=1e-6)


def test_iou_loss_is_one_minus_iou():
    boxes, truth = random_boxes(60, 1), random_boxes(60, 2)
    assert torch.allclose(iou_loss(boxes, truth), 1 - box_iou(boxes, truth).diagonal(), atol=1e-6)


def test_box_losses_by_hand():
    # unit squares, one apart: IoU 0, hull 3, union 2, centres 2 apart on a diagonal of sqrt(10)
    a, b = torch.tensor([[0., 0, 1, 1]]), torch.tensor([[2., 0, 3, 1]])
    values = [loss(a, b).item() for loss in (iou_loss, giou_loss, diou_loss, ciou_loss)]
    assert values == pytest.approx([1, 4 / 3, 1.4, 1.4], abs=1e-6)
    for loss in (iou_loss, giou_loss, diou_loss, ciou_loss):
        assert loss(b, b).item() == pytest.approx(0, abs=1e-6)
        assert loss(a[:0], b[:0]).shape == (0,)


def test_only_iou_is_flat_where_boxes_do_not_touch():
    a, b = torch.tensor([[30., 5, 40, 15]]), torch.tensor([[0., 5, 10, 15]])
    assert slope(iou_loss, a, b).abs().max() == 0
    for loss in (giou_loss, diou_loss, ciou_loss):
        assert (slope(loss, a, b)[0, [0, 2]].sum() > 0), 'the loss rises to the right, so a step leads to the left'


@pytest.mark.parametrize('loss', [iou_loss, giou_loss, diou_loss, ciou_loss])
def test_boxes_without_area_do_not_break_the_training(loss):
    boxes = torch.tensor([[5., 5, 5, 5], [5, 5, 9, 5], [5, 5, 5, 9], [0, 0, 0, 0], [0, 0, 20, 20]])
    truth = torch.tensor([[0., 0, 20, 20]]).expand(5, 4)
    assert loss(boxes, truth).isfinite().all() and slope(loss, boxes, truth).isfinite().all()
    assert loss(boxes[:1], boxes[:1]).isfinite().all()
    if loss in LIBRARY:
        assert torch.allclose(loss(boxes[4:], truth[4:]), LIBRARY[loss](boxes[4:], truth[4:]), atol=1e-6)
        assert torch.allclose(loss(boxes[1:3], truth[1:3]), LIBRARY[loss](boxes[1:3], truth[1:3]), atol=1e-6)


def test_smooth_l1_by_hand():
    # |d| = 1/18 < 1/9: d * d * 9 / 2; beyond: |d| - 1/18
    loss = smooth_l1_loss(torch.tensor([[1 / 18, 1, -1, 0]]), torch.zeros(1, 4))
    assert loss.item() == pytest.approx(4.5 / 324 + 2 * (1 - 1 / 18), abs=1e-6)
    assert smooth_l1_loss(torch.zeros(0, 4), torch.zeros(0, 4)).shape == (0,)


def test_focal_and_bce_equal_the_libraries():
    x, y = torch.randn(200, generator=torch.Generator().manual_seed(0)) * 4, (torch.arange(200) % 3 == 0).float()
    assert torch.equal(focal_loss(x, y), sigmoid_focal_loss(x, y))
    assert torch.equal(bce_loss(x, y), F.binary_cross_entropy_with_logits(x, y, reduction='none'))


@pytest.mark.parametrize('loss, by_hand', [(quality_focal_loss, [LOG2 / 4, 0, LOG2 / 4]),
                                           (varifocal_loss, [LOG2, LOG2 / 2, 0.75 * LOG2 / 4])])
def test_soft_losses_by_hand(loss, by_hand):
    assert loss(torch.zeros(3), torch.tensor([1., 0.5, 0])).tolist() == pytest.approx(by_hand, abs=1e-6)


@pytest.mark.parametrize('loss', [bce_loss, quality_focal_loss, varifocal_loss])
@pytest.mark.parametrize('y', [0.05, 0.3, 0.6, 0.95])
def test_a_soft_target_is_the_minimum(loss, y):
    p = torch.linspace(0.001, 0.999, 999)
    assert p[loss(p.logit(), torch.full_like(p, y)).argmin()].item() == pytest.approx(y, abs=2e-3)


@pytest.mark.parametrize('loss', [bce_loss, focal_loss, quality_focal_loss, varifocal_loss])
def test_score_losses_stay_finite_for_wild_logits(loss):
    x = torch.tensor([-200., 200, -200, 200]).requires_grad_()
    value = loss(x, torch.tensor([0., 0, 1, 1]))
    assert value.isfinite().all() and torch.autograd.grad(value.sum(), x)[0].isfinite().all()
    assert value[0] == 0 and value[3] == 0


def by_the_book(outputs, targets, assign):
    "The loss as chapter 8 first defined it, frame by frame: focal, BCE of positives, GIoU, divided by the positives."
    box = objectness = classes = torch.zeros(())
    positives = 0
    for i, t in enumerate(targets):
        a = assign(outputs, t)
        owner, known = a.matched[a.positive], ~a.ignored
        positives += len(owner)
        decoded = decode_boxes(outputs.deltas[i][a.positive], outputs.anchors[a.positive])
        box = box + generalized_box_iou_loss(decoded, t.boxes[owner], reduction='sum')
        one_hot = class_targets(a, t.labels, 3)
        if outputs.objectness is None:
            classes = classes + sigmoid_focal_loss(outputs.class_logits[i][known], one_hot[known], reduction='sum')
            continue
        classes = classes + F.binary_cross_entropy_with_logits(outputs.class_logits[i][a.positive], one_hot[a.positive], reduction='sum')
        objectness = objectness + sigmoid_focal_loss(outputs.objectness[i][known], a.positive[known].float(), reduction='sum')
    n = max(positives, 1)
    return 2. * box / n + objectness / n + classes / n


@pytest.mark.parametrize('assign', [atss, iou_thresholds])
@pytest.mark.parametrize('objectness', [True, False])
def test_the_default_is_bit_for_bit_the_loss_by_the_book(assign, objectness):
    targets = [target(3, 1), target(0), target(2, 2, ignore=torch.tensor([[60., 50, 90, 80]]))]
    ours, theirs = outputs(3, objectness), outputs(3, objectness)
    loss, book = detection_loss(ours, targets, assign).total, by_the_book(theirs, targets, assign)
    assert torch.equal(loss, book)
    loss.backward(), book.backward()
    for name in ('class_logits', 'deltas', *['objectness'] * objectness):
        assert torch.equal(getattr(ours, name).grad, getattr(theirs, name).grad)


def test_weights_and_targets():
    matched = torch.tensor([0, BACKGROUND, IGNORED, 1])
    hard, soft = Assignment(matched), Assignment(matched, torch.tensor([0.25, 0, 0, 0.5]))
    for values in (score_targets(hard), by_positives(hard), by_targets(hard), by_positives(soft)):
        assert values.tolist() == [1, 0, 0, 1]
    assert score_targets(soft).tolist() == by_targets(soft).tolist() == [0.25, 0, 0, 0.5]


def test_divided_by_positives_or_by_the_sum_of_targets():
    o, t = outputs(1), target(3, 1)
    matched = atss(o, t).matched
    half = lambda outputs, target: Assignment(matched, 0.5 * (matched >= 0).float())
    n = int((matched >= 0).sum())
    by_count, by_sum = (detection_loss(o, [t], half, weigh=weigh) for weigh in (by_positives, by_targets))
    # the box and class losses of positives are a mean in both cases; that of all anchors is divided by half as much
    assert by_sum.box.item() == pytest.approx(by_count.box.item(), rel=1e-5)
    assert by_sum.classes.item() == pytest.approx(by_count.classes.item(), rel=1e-5)
    assert by_sum.objectness.item() == pytest.approx(2 * by_count.objectness.item(), rel=1e-5)
    assert by_count.positives == by_sum.positives == n
    by_hand = objectness_loss(o.objectness[0], half(o, t)).item() / n
    assert by_count.objectness.item() == pytest.approx(by_hand, rel=1e-5)


def test_a_weak_positive_moves_the_box_less():
    o, t = outputs(1), target(1, 1)
    matched = atss(o, t).matched
    quality = torch.zeros(len(matched))
    positives = (matched >= 0).nonzero()[:, 0]
    quality[positives], quality[positives[0]] = 1., 0.01
    a = Assignment(matched, quality)
    assert len(positives) > 1
    each = {}
    for weigh in (by_positives, by_targets):
        grad = torch.autograd.grad(localisation_loss(o.frame(0), a, t.boxes, giou_loss, None, weigh), o.deltas)[0]
        each[weigh] = grad[0, positives].abs().sum(1)
    assert torch.allclose(each[by_targets], each[by_positives] * quality[positives], atol=1e-7)


@pytest.mark.parametrize('assign', [task_aligned, iou_quality])
def test_soft_targets_choose_a_loss_that_is_made_for_them(assign):
    o, t = outputs(1), target(3, 1)
    by_itself = detection_loss(o, [t], assign).total
    assert by_itself == detection_loss(o, [t], assign, score_loss=quality_focal_loss).total
    assert by_itself != detection_loss(o, [t], assign, score_loss=focal_loss).total


@pytest.mark.parametrize('assign', ASSIGNERS, ids=name_of)
@pytest.mark.parametrize('objectness', [True, False])
def test_each_assigner_sees_its_own_frame(assign, objectness):
    "The loss of a batch is that of its frames, weighed by their positives."
    o, targets = outputs(3, objectness), [target(3, 1), target(2, 2), target(4, 3)]
    batch = detection_loss(o, targets, assign)
    frames = [detection_loss(o.frame(i), [t], assign) for i, t in enumerate(targets)]
    assert batch.positives == sum(f.positives for f in frames)
    assert batch.total.item() == pytest.approx(sum(f.total.item() * f.positives for f in frames) / batch.positives, rel=1e-5)


@pytest.mark.parametrize('assign', ASSIGNERS, ids=name_of)
def test_assignment_takes_part_in_no_gradient(assign):
    "A loss that does not look at the boxes gives them no gradient, though the assigner did look."
    o = outputs(1)
    loss = detection_loss(o, [target(3, 1)], assign, box_weight=0.)
    (loss.objectness + loss.classes).backward()
    assert o.deltas.grad is None or not o.deltas.grad.any()
    assert o.objectness.grad.any()


@pytest.mark.parametrize('assign', ASSIGNERS, ids=name_of)
@pytest.mark.parametrize('kwargs', KINDS, ids=name_of)
def test_a_batch_without_signs_teaches_background_only(assign, kwargs):
    for objectness in (True, False):
        o = outputs(2, objectness)
        losses = detection_loss(o, [target(0), target(0)], assign, **kwargs)
        losses.total.backward()
        assert losses.positives == 0 and losses.box == 0 and losses.total.isfinite()
        assert not o.deltas.grad.any()
        assert (o.objectness if objectness else o.class_logits).grad.any()


@pytest.mark.parametrize('assign', ASSIGNERS, ids=name_of)
@pytest.mark.parametrize('kwargs', KINDS, ids=name_of)
@pytest.mark.parametrize('objectness', [True, False])
def test_an_unknown_sign_costs_nothing_with_any_rule_and_any_loss(assign, kwargs, objectness):
    known, unknown = torch.tensor([[10.3, 8.7, 32.1, 30.9]]), torch.tensor([[70.2, 40.6, 98.8, 66.3]])
    labels = torch.tensor([1])
    both = Target(torch.cat([known, unknown]), labels.expand(2), torch.zeros(0, 4), 1., SIZE, 'both')
    one = Target(known, labels, unknown, 1., SIZE, 'one')
    o = outputs(1, objectness)
    on_unknown, on_known = (assign(o.frame(0), both).matched == i for i in (1, 0))
    detection_loss(o, [one], assign, **kwargs).total.backward()
    gradients = [o.deltas.grad[0], o.class_logits.grad[0], *([o.objectness.grad[0, :, None]] if objectness else [])]
    assert on_unknown.any() and all((g[on_unknown] == 0).all() for g in gradients)
    assert on_known.any() and all((g[on_known] != 0).any() for g in gradients)


@pytest.mark.parametrize('assign', ASSIGNERS, ids=name_of)
@pytest.mark.parametrize('kwargs', KINDS, ids=name_of)
def test_a_step_down_the_gradient_lowers_the_loss(assign, kwargs):
    o, targets = outputs(2), [target(3, 1), target(2, 2)]
    with torch.no_grad():
        fixed = {id(t): assign(o.frame(i), t) for i, t in enumerate(targets)}
    again = lambda outputs, t: fixed[id(t)]                                # as it stands for one step
    before = detection_loss(o, targets, again, **kwargs).total
    before.backward()
    with torch.no_grad():
        for tensor in (o.class_logits, o.deltas, o.objectness):
            tensor -= 0.01 * tensor.grad
    assert detection_loss(o, targets, again, **kwargs).total < before


def test_perfect_deltas_cost_nothing_and_some_loss_must_be_given():
    o, t = outputs(1), target(3, 1)
    a = atss(o, t)
    with torch.no_grad():
        o.deltas[0, a.positive] = encode_boxes(t.boxes[a.matched[a.positive]], ANCHORS[a.positive])
    for box_loss, delta_loss in ((iou_loss, None), (None, smooth_l1_loss), (ciou_loss, smooth_l1_loss)):
        assert localisation_loss(o, a, t.boxes, box_loss, delta_loss).item() == pytest.approx(0, abs=1e-3)
    with pytest.raises(ValueError, match='give a box_loss or a delta_loss'):
        localisation_loss(o, a, t.boxes, None, None)


def test_frames_and_targets_must_be_as_many():
    with pytest.raises(ValueError, match='2 frames in the outputs, 1 targets'):
        detection_loss(outputs(2), [target()])


def test_half_precision_outputs_have_a_float32_loss():
    o = outputs(2)
    half = Outputs(o.class_logits.bfloat16(), o.deltas.bfloat16(), o.objectness.bfloat16(), ANCHORS, LEVELS, 2, SIZE)
    for assign in ASSIGNERS:
        losses = detection_loss(half, [target(3, 1), target(2, 2)], assign, delta_loss=smooth_l1_loss)
        assert losses.total.dtype == torch.float32 and losses.total.isfinite()
