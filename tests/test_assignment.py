"""Which anchor learns which sign: each rule against its loop, cases by hand, ties, and what must hold for all of them."""
import pytest
import torch
from torchmetrics.detection import MeanAveragePrecision
from torchvision.models.detection._utils import Matcher

from rtsd_nb.assignment import (BACKGROUND, IGNORED, Assignment, aligned_quality, assign_atss, assign_atss_naive, assign_by_centre,
                                assign_by_centre_naive, assign_by_iou, assign_by_iou_naive, assign_task_aligned,
                                assign_task_aligned_naive, atss_candidates, excuse, force_matches, force_naive, iou_naive, level_ranges,
                                paired_iou, positives_by_size, take_offers)
from rtsd_nb.boxes import box_ioa, box_iou, xyxy_to_cxcywh
from rtsd_nb.postprocess import postprocess
from rtsd_nb.head import encode_boxes, grid_anchors, map_sizes

SIZE, STRIDES = (160, 224), (8, 16)
SHAPES = [torch.tensor([[14., 14], [22, 20]]), torch.tensor([[34., 30], [50, 56]])]
POINTS = [torch.tensor([[8., 8]]), torch.tensor([[16., 16]])]
# in double precision the loops, which count in Python's floats, see the same numbers
ANCHORS, POINT_ANCHORS = (grid_anchors(map_sizes(SIZE, STRIDES), STRIDES, shapes).double() for shapes in (SHAPES, POINTS))
LEVELS, POINT_LEVELS = (2 * 560, 2 * 140), (560, 140)
NO_BOX = torch.zeros(0, 4)


def answers(anchors, boxes):
    "Scores and decoded boxes of a network that is neither fresh nor good; the same for the same anchors and boxes."
    g = torch.Generator().manual_seed(len(boxes))
    scores = torch.rand(len(anchors), len(boxes), generator=g, dtype=anchors.dtype)
    return scores, anchors + 3 * torch.randn(anchors.shape, generator=g, dtype=anchors.dtype)


def with_answers(assign):
    "A rule that asks the network, in the form of the others."
    return lambda anchors, boxes, *ignore, **kwargs: assign(anchors, boxes, *answers(anchors, boxes), *ignore, **kwargs)


# name: (tensor form, loop, anchors, keyword arguments)
RULES = {
    'iou': (assign_by_iou, assign_by_iou_naive, ANCHORS, {}),
    'atss': (assign_atss, assign_atss_naive, ANCHORS, dict(level_sizes=LEVELS, n_shapes=2)),
    'atss on points': (assign_atss, assign_atss_naive, POINT_ANCHORS, dict(level_sizes=POINT_LEVELS)),
    'centre': (assign_by_centre, assign_by_centre_naive, POINT_ANCHORS, dict(level_sizes=POINT_LEVELS, reach=3.)),
    'centre with shapes': (assign_by_centre, assign_by_centre_naive, ANCHORS, dict(level_sizes=LEVELS, radius=1.)),
    'aligned': (with_answers(assign_task_aligned), with_answers(assign_task_aligned_naive), ANCHORS, {}),
    'aligned on points': (with_answers(assign_task_aligned), with_answers(assign_task_aligned_naive), POINT_ANCHORS, dict(k=5)),
}


def random_signs(n, seed, sides=(3, 60), size=SIZE):
    "`n` boxes anywhere in the frame, some cut off at its border, some on top of each other."
    g = torch.Generator().manual_seed(seed)
    corner = torch.rand(n, 2, generator=g) * torch.tensor([size[1], size[0]])
    sides = sides[0] + (sides[1] - sides[0]) * torch.rand(n, 2, generator=g) ** 2
    boxes = torch.cat([corner - sides / 2, corner + sides / 2], 1).clamp(min=0)
    return torch.minimum(boxes, torch.tensor([size[1], size[0]] * 2)).double()


def assert_same(rule, boxes, **kwargs):
    fast, loop, anchors, settings = RULES[rule]
    ours, theirs = fast(anchors, boxes, **settings, **kwargs), loop(anchors, boxes, **settings, **kwargs)
    assert torch.equal(ours.matched, theirs.matched)
    assert (ours.quality is None) == (theirs.quality is None)
    if ours.quality is not None:
        assert torch.allclose(ours.quality.float(), theirs.quality.float(), atol=1e-5)
    return ours


@pytest.mark.parametrize('rule', RULES)
def test_the_loop_agrees_on_random_frames(rule):
    positives = 0
    for seed in range(24):
        boxes = random_signs([1, 2, 5, 12][seed % 4], seed)
        positives += int(assert_same(rule, boxes, force=seed % 3 > 0).positive.sum())
    assert positives > 100, 'frames on which there is something to agree on'


@pytest.mark.parametrize('rule', RULES)
def test_the_loop_agrees_without_signs(rule):
    a = assert_same(rule, NO_BOX.double())
    assert a.background.all() and (a.quality is None or not a.quality.any())


@pytest.mark.parametrize('rule', RULES)
def test_signs_smaller_than_a_cell_and_on_the_border(rule):
    "Between four cell centres, in each corner of the frame, and one pixel thin: each gets one anchor, forced where it must be."
    h, w = SIZE
    boxes = torch.tensor([[61., 62, 64, 65], [0.3, 0.4, 3.1, 2.7], [w - 3.3, 0.2, w, 3.9], [0.1, h - 2.3, 3.7, h], [w - 2.1, h - 3.4, w, h],
                          [100.2, 50.3, 101.2, 90.1]]).double()
    a = assert_same(rule, boxes)
    assert a.matched[a.positive].unique().tolist() == list(range(6))
    overlap = paired_iou(RULES[rule][2][a.positive], boxes[a.matched[a.positive]])
    assert (overlap > 0).all(), 'no anchor from elsewhere'
    without = assert_same(rule, boxes, force=False)
    assert len(without.matched[without.positive].unique()) < 6, 'some of them would go without'


@pytest.mark.parametrize('rule', RULES)
def test_identical_signs_share_and_the_first_comes_first(rule):
    "Every offer is a tie here: the first sign takes what it wants, the others are forced, and nobody goes without."
    boxes = torch.tensor([[70.3, 41.7, 95.9, 66.1]] * 3).double()
    fast, loop, anchors, settings = RULES[rule]
    alone = fast(anchors, boxes[:1], **settings)
    if 'aligned' in rule:
        one_score, decoded = answers(anchors, boxes[:1])
        fast = lambda *args, **kwargs: assign_task_aligned(*args, one_score.expand(-1, 3), decoded, **kwargs)
        loop = lambda *args, **kwargs: assign_task_aligned_naive(*args, one_score.expand(-1, 3), decoded, **kwargs)
    a, by_loop = fast(anchors, boxes, **settings), loop(anchors, boxes, **settings)
    assert torch.equal(a.matched, by_loop.matched)
    assert a.quality is None or torch.allclose(a.quality.float(), by_loop.quality.float(), atol=1e-5)
    assert torch.equal(a.matched == 0, alone.positive), 'the first sign has what it would have alone'
    assert [int((a.matched == i).sum()) for i in (1, 2)] == [1, 1]


def test_a_tie_between_cells_takes_one_of_the_nearest():
    "A sign exactly between four cells: which of equally far cells is a candidate is open, that no nearer one is left out is not."
    points = grid_anchors([(9, 9)], [8], POINTS[:1])
    boxes = torch.tensor([[28., 28, 44, 44], [32., 32, 40, 40]])       # centred on a cell; and on the corner of four
    centres = xyxy_to_cxcywh(points)[:, :2]
    for k in (1, 2, 3, 6, 9):
        near = atss_candidates(points, boxes, (81,), 1, k)
        for sign, mine in zip(xyxy_to_cxcywh(boxes)[:, :2], near.T):
            distance = (centres - sign).norm(dim=1)
            assert len(set(mine.tolist())) == k
            assert distance[mine].max() <= distance.sort().values[k - 1] + 1e-5
    first = assign_atss(points, boxes, k=6).matched
    assert torch.equal(first, assign_atss(points, boxes, k=6).matched), 'and it is the same in every run'


@pytest.mark.parametrize('force', [True, False])
def test_thresholds_beside_torchvision(force):
    for seed in range(10):
        boxes = random_signs(6, seed)
        ours = assign_by_iou(ANCHORS, boxes, force=force).matched
        theirs = Matcher(0.5, 0.4, allow_low_quality_matches=False)(box_iou(boxes, ANCHORS))
        changed = ours != theirs
        assert (ours[changed] >= 0).all() and int(changed.sum()) <= (6 if force else 0), 'only forced matches differ'


def test_thresholds_must_be_in_order():
    with pytest.raises(ValueError, match='negative <= positive'):
        assign_by_iou(ANCHORS, NO_BOX, positive=0.3, negative=0.4)


def test_paired_iou_is_the_diagonal_of_box_iou_and_of_the_loop():
    a, b = random_signs(40, 1), random_signs(40, 2)
    assert torch.equal(paired_iou(a, b), box_iou(a, b).diagonal())
    assert paired_iou(a, b).tolist() == pytest.approx([iou_naive(p, q) for p, q in zip(a.tolist(), b.tolist())])
    nothing = torch.tensor([[5., 5, 5, 5]])
    assert paired_iou(nothing, nothing).item() == 0 == iou_naive(*nothing.tolist(), *nothing.tolist())


def test_forced_matches_by_hand():
    anchors = torch.tensor([[0., 0, 10, 10], [4, 0, 14, 10], [30, 0, 40, 10]])
    boxes = torch.tensor([[1., 0, 11, 10], [0, 0, 10, 10]])
    for before, after in [([BACKGROUND] * 3, [1, 0, BACKGROUND]), ([1, IGNORED, BACKGROUND], [1, 0, BACKGROUND]), ([1, 1, 0], [1, 1, 0]),
                          ([0, 0, 0], [0, 0, 0])]:
        assert force_matches(torch.tensor(before), anchors, boxes).tolist() == after == force_naive(before, anchors.tolist(), boxes.tolist())


def test_more_signs_than_anchors():
    anchors = torch.tensor([[0., 0, 10, 10], [4, 0, 14, 10]])
    boxes = torch.tensor([[0., 0, 10, 10], [1, 0, 11, 10], [4, 0, 14, 10]])
    matched = force_matches(torch.full((2,), BACKGROUND), anchors, boxes)
    assert matched.tolist() == [0, 2], 'the best offers are served, one sign goes without'


def test_offers_by_hand():
    none = -torch.inf
    offers = torch.tensor([[none, none], [0.2, none], [0.2, 0.3], [0.3, 0.3], [-5, none]])
    assert take_offers(offers).tolist() == [BACKGROUND, 0, 1, 0, 0]


def test_atss_by_hand():
    # IoU of the candidates 1, 3/7, 3/7: mean 0.62, deviation 0.33
    anchors = torch.tensor([[-4., 0, 6, 10], [0, 0, 10, 10], [4, 0, 14, 10], [20, 0, 30, 10]])
    a = assign_atss(anchors, anchors[1:2], k=3, force=False)
    assert a.matched.tolist() == [BACKGROUND, 0, BACKGROUND, BACKGROUND]


def test_atss_looks_at_each_level():
    boxes = random_signs(4, 3)
    near = atss_candidates(ANCHORS, boxes, LEVELS, 2, 9)
    assert near.shape == (36, 4)
    assert (near[:18] < LEVELS[0]).all() and (near[18:] >= LEVELS[0]).all()


def test_level_ranges_read_strides_off_the_grid():
    assert level_ranges(POINT_ANCHORS, POINT_LEVELS, 8.) == [(8, 0, 64), (16, 64, float('inf'))]
    assert level_ranges(ANCHORS, LEVELS, 4.) == [(8, 0, 32), (16, 32, float('inf'))], 'the shapes do not matter'
    one_cell = grid_anchors([(1, 1), (1, 1)], [8, 32], SHAPES)
    assert [r[0] for r in level_ranges(one_cell, (2, 2), 8.)] == [8, 32]


def test_centre_sampling_by_hand():
    # points 4, 12, 20, 28, 36 inside 1..39; the centre is 20; within 1.5 strides of it 12, 20 and 28
    points = grid_anchors([(5, 5)], [8], POINTS[:1])
    sign = torch.tensor([[1., 1, 39, 39]])
    for radius, n in ((0.5, 1), (1.5, 9), (2.5, 25)):
        assert int(assign_by_centre(points, sign, radius=radius).positive.sum()) == n
    smaller = torch.tensor([[1., 1, 39, 39], [13, 13, 27, 27]])
    assert assign_by_centre(points, smaller).matched[12] == 1, 'the smaller sign takes the point that both want'


def test_centre_sampling_sends_signs_to_their_level():
    signs = torch.tensor([[50.3, 50.3, 70.1, 70.1], [100.3, 40.7, 190.9, 131.1]]).double()
    a = assign_by_centre(POINT_ANCHORS, signs, level_sizes=POINT_LEVELS, reach=3.)
    fine, coarse = a.matched.split(POINT_LEVELS)
    assert (fine == 0).any() and (coarse == 1).any()
    assert not (fine == 1).any() and not (coarse == 0).any()


def test_task_alignment_by_hand():
    # alignments 0.1 * 1, 0.9 / 64, 0.9 / 64; the best IoU is 1
    sign = torch.tensor([[0., 0, 20, 20]])
    anchors = torch.tensor([[4., 4, 12, 12], [8, 8, 16, 16], [6, 6, 14, 14], [30, 30, 40, 40]])
    decoded = torch.tensor([[0., 0, 20, 20], [0, 0, 10, 20], [0, 0, 20, 10], [0, 0, 20, 20]])
    scores = torch.tensor([[0.1], [0.9], [0.9], [0.9]])
    a = assign_task_aligned(anchors, sign, scores, decoded)
    assert a.matched.tolist() == [0, 0, 0, BACKGROUND], 'the last one answers well, but stands outside'
    assert a.quality.tolist() == pytest.approx([1, 0.9 / 64 / 0.1, 0.9 / 64 / 0.1, 0])
    assert assign_task_aligned(anchors, sign, scores, decoded, k=1).matched.tolist() == [0, BACKGROUND, BACKGROUND, BACKGROUND]
    assert assign_task_aligned(anchors, sign, scores, decoded, beta=1., k=1).matched.tolist()[0] == BACKGROUND, 'now the sure ones lead'


def test_task_alignment_never_asks_a_positive_for_zero():
    "Nobody answers anything near the signs, one of which no centre lies in."
    boxes = torch.tensor([[40.3, 40.2, 70.1, 66.4], [105.1, 101.2, 106.9, 103.3]]).double()
    far = ANCHORS + 1000
    a = assign_task_aligned(ANCHORS, boxes, torch.full((len(ANCHORS), 2), 0.01).double(), far)
    assert sorted(a.matched[a.positive].tolist()) == [0, 1], 'both forced'
    assert (a.quality[a.positive] > 0).all()


@pytest.mark.parametrize('seed', range(6))
def test_soft_targets(seed):
    "In 0..1, zero off the positives, and the best anchor of each sign is asked for the sign's highest IoU."
    boxes = random_signs(6, seed, sides=(16, 60))
    scores, decoded = answers(ANCHORS, boxes)
    a = assign_task_aligned(ANCHORS, boxes, scores, decoded)
    assert (a.quality[~a.positive] == 0).all() and (a.quality >= 0).all() and (a.quality <= 1).all()
    for i in a.matched[a.positive].unique():
        mine = a.matched == i
        assert a.quality[mine].max() == pytest.approx(box_iou(decoded[mine], boxes[i][None]).max().item(), rel=1e-6)


def test_soft_targets_without_positives():
    none = torch.full((5,), BACKGROUND)
    assert aligned_quality(none, torch.zeros(5, 2), torch.rand(5, 4), torch.rand(2, 4), torch.rand(5, 4)).tolist() == [0] * 5


@pytest.mark.parametrize('rule', RULES)
def test_an_anchor_excused_for_an_unknown_sign_changes_nothing_else(rule):
    fast, _, anchors, settings = RULES[rule]
    for seed in range(12):
        boxes, ignore = random_signs(3, seed), random_signs(2, seed + 100, sides=(16, 50))
        a, without = fast(anchors, boxes, ignore, **settings), fast(anchors, boxes, **settings)
        assert torch.equal(a.positive, without.positive), 'a known sign keeps its anchors'
        assert torch.equal(a.matched[a.positive], without.matched[a.positive])
        assert torch.equal(a.matched, fast(anchors, boxes, ignore.flip(0), **settings).matched)
        assert (a.ignored & without.background).any()
        none = fast(anchors, NO_BOX.double(), ignore, **settings)
        assert not none.positive.any() and none.ignored.any()


@pytest.mark.parametrize('force', [False, True])
@pytest.mark.parametrize('rule', RULES)
def test_no_anchor_that_a_sign_would_claim_is_background_when_it_is_unknown(rule, force):
    "Of any size and shape; a forced match can lie beside a sign that is tiny or very long, so there only signs of usual shape."
    fast, _, anchors, settings = RULES[rule]
    claimed = 0
    for seed in range(60):
        box = random_signs(1, seed, sides=(16, 50) if force else (3, 60))
        width, height = (box[0, 2:] - box[0, :2]).tolist()
        if force and (min(width, height) < 16 or max(width, height) > 2 * min(width, height)):
            continue
        positive, unknown = fast(anchors, box, force=force, **settings).positive, fast(anchors, NO_BOX.double(), box, **settings)
        claimed += int(positive.sum())
        assert unknown.ignored[positive].all()
    assert claimed > 25


def test_excuse_agrees_with_a_loop():
    matched = torch.randint(-2, 2, (len(ANCHORS),), generator=torch.Generator().manual_seed(0))
    ignore = random_signs(3, 5)
    for i, (before, after) in enumerate(zip(matched.tolist(), excuse(matched, ANCHORS, ignore).tolist())):
        x, y = xyxy_to_cxcywh(ANCHORS[i])[:2].tolist()
        inside = any(x1 <= x <= x2 and y1 <= y <= y2 for x1, y1, x2, y2 in ignore.tolist())
        excused = before == BACKGROUND and (inside or box_ioa(ANCHORS[i][None], ignore).max() >= 0.5)
        assert after == (IGNORED if excused else before)
    assert excuse(matched, ANCHORS, None) is matched and excuse(matched, ANCHORS, NO_BOX) is matched


@pytest.mark.parametrize('rule', RULES)
def test_a_predictor_that_answers_its_targets_is_perfect(rule):
    fast, _, anchors, settings = RULES[rule]
    metric = MeanAveragePrecision(backend='faster_coco_eval')
    for seed in range(20):
        boxes = random_signs(4, seed, sides=(12, 60))
        boxes = boxes[(boxes[:, 2:] - boxes[:, :2] >= 4).all(1)]
        labels = torch.arange(len(boxes)) % 3
        a = fast(anchors, boxes, **settings)
        owner = a.matched[a.positive]
        scores, deltas = torch.zeros(len(anchors), 3), torch.zeros(len(anchors), 4)
        scores[a.positive, labels[owner]] = 1. if a.quality is None else a.quality[a.positive].float()
        deltas[a.positive] = encode_boxes(boxes[owner], anchors[a.positive]).float()
        d = postprocess(scores, deltas, anchors.float(), SIZE, score_threshold=1e-6)
        metric.update([dict(boxes=d.boxes, scores=d.scores, labels=d.labels)], [dict(boxes=boxes.float(), labels=labels)])
    assert metric.compute()['map'] >= 0.99


def test_thresholds_favour_large_signs_and_the_other_rules_do_not():
    sizes = torch.tensor([[20., 20]] * 30 + [[60., 60]] * 30)
    fresh = lambda a, b: assign_task_aligned(a, b, torch.full((len(a), len(b)), 0.01), a)
    shapes = [torch.tensor([[18., 18], [26, 26], [40, 40], [64, 64]])]
    ratio = {}
    for name, rule in {'iou': assign_by_iou, 'atss': lambda a, b: assign_atss(a, b, n_shapes=4), 'aligned': fresh}.items():
        counts = positives_by_size(sizes, rule, [8], shapes)
        ratio[name] = counts['32-64 px'] / counts['0-24 px']
    assert ratio['iou'] > 2.5 and ratio['atss'] < 2 and ratio['aligned'] == 1


def test_an_assignment_divides_the_anchors_in_three():
    a = Assignment(torch.tensor([0, BACKGROUND, IGNORED, 3]))
    assert (a.positive.int() + a.background.int() + a.ignored.int()).tolist() == [1, 1, 1, 1]
    assert a.quality is None
