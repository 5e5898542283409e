"""Box coders, shapes for several levels, and the point head that is an anchor head."""
import math

import pytest
import torch
from hypothesis import given, settings, strategies as st
from torchvision.models.detection._utils import BoxLinearCoder

from rtsd_nb.boxes import cxcywh_to_xyxy
from rtsd_nb.head import (CODERS, DISTANCE, LINEAR, LOG_SIZE, MAX_LOG_SIZE, BoxCoder, Head, anchor_shapes, grid_anchors, level_shapes,
                          map_sizes, point_shapes, rtsd_like_sizes)

ANCHOR = torch.tensor([[10., 10, 30, 30]])
place = st.floats(-2000, 2000)
side = st.floats(1, 500)
ratio = st.floats(1 / 50, 50)
TOLERANCE = {torch.float32: 5e-3, torch.float64: 1e-8}             # px; coordinates go up to 25,000


def there_and_back(coder, box, anchor, dtype):
    box, anchor = torch.tensor([box], dtype=dtype), torch.tensor([anchor], dtype=dtype)
    again = coder.decode(coder.encode(box, anchor), anchor)
    assert again.dtype == dtype
    size = float((box[:, 2:] - box[:, :2]).max() + (anchor[:, 2:] - anchor[:, :2]).max())
    assert torch.allclose(again, box, rtol=0, atol=TOLERANCE[dtype] * max(1, size / 500))


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
@pytest.mark.parametrize('coder', [LOG_SIZE, LINEAR], ids=['log_size', 'linear'])
@given(centre=st.tuples(place, place), wh=st.tuples(side, side), offset=st.tuples(place, place), scale=st.tuples(ratio, ratio))
@settings(max_examples=150, deadline=None)
def test_encode_and_decode_undo_each_other_on_every_side_of_the_anchor(coder, dtype, centre, wh, offset, scale):
    anchor = cxcywh_to_xyxy(torch.tensor([*centre, *wh], dtype=torch.float64)).tolist()
    box = cxcywh_to_xyxy(torch.tensor([centre[0] + offset[0], centre[1] + offset[1], wh[0] * scale[0], wh[1] * scale[1]],
                                      dtype=torch.float64)).tolist()
    there_and_back(coder, box, anchor, dtype)


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
@given(centre=st.tuples(place, place), wh=st.tuples(side, side), reach=st.tuples(ratio, ratio, ratio, ratio))
@settings(max_examples=150, deadline=None)
def test_distances_undo_each_other_around_the_centre(dtype, centre, wh, reach):
    anchor = cxcywh_to_xyxy(torch.tensor([*centre, *wh], dtype=torch.float64)).tolist()
    box = [centre[0] - reach[0] * wh[0], centre[1] - reach[1] * wh[1], centre[0] + reach[2] * wh[0], centre[1] + reach[3] * wh[1]]
    there_and_back(DISTANCE, box, anchor, dtype)


@pytest.mark.parametrize('coder', CODERS.values(), ids=CODERS)
@given(deltas=st.lists(st.floats(-4, 4), min_size=4, max_size=4))
@settings(max_examples=100, deadline=None)
def test_decode_and_encode_undo_each_other(coder, deltas):
    deltas = torch.tensor([deltas], dtype=torch.float64)
    if coder is LINEAR:
        deltas[:, 2:] = deltas[:, 2:].clamp(min=-0.9)              # sizes that exist
    anchor = ANCHOR.double()
    assert torch.allclose(coder.encode(coder.decode(deltas, anchor), anchor), deltas, atol=1e-9)


@pytest.mark.parametrize('coder, box, deltas', [
    (LOG_SIZE, [-10., 20, 30, 30], [-0.5, 0.25, math.log(2), -math.log(2)]),
    (LINEAR, [-10., 20, 30, 30], [-0.5, 0.25, 1, -0.5]),
    (DISTANCE, [-10., 15, 30, 30], [math.log(1.5), math.log(0.25), math.log(0.5), math.log(0.5)])])
def test_coders_by_hand(coder, box, deltas):
    box, deltas = torch.tensor([box]), torch.tensor([deltas])
    assert torch.allclose(coder.encode(box, ANCHOR), deltas, atol=1e-6)
    assert torch.allclose(coder.decode(deltas, ANCHOR), box, atol=1e-5)


@pytest.mark.parametrize('coder', CODERS.values(), ids=CODERS)
def test_whatever_the_network_says_a_box_is_finite_and_in_order(coder):
    wild = torch.cartesian_prod(*[torch.tensor([-1e4, -1.5, 0., 1.5, 1e4])] * 4)
    boxes = coder.decode(wild, ANCHOR)
    assert boxes.isfinite().all()
    assert (boxes[:, 2:] >= boxes[:, :2]).all()


@pytest.mark.parametrize('coder', CODERS.values(), ids=CODERS)
def test_coders_take_batches_and_nothing(coder):
    anchors = grid_anchors([(2, 3)], [8], [torch.tensor([[16., 16]])])
    deltas = torch.randn(2, 6, 4, generator=torch.Generator().manual_seed(0))
    assert torch.equal(coder.decode(deltas, anchors)[1], coder.decode(deltas[1], anchors))
    assert coder.decode(deltas[0, :0], anchors[:0]).shape == coder.encode(anchors[:0], anchors[:0]).shape == (0, 4)


def test_a_centre_outside_the_sign_has_no_distance_but_no_infinity_either():
    deltas = DISTANCE.encode(torch.tensor([[21., 10, 40, 30]]), ANCHOR)
    assert deltas.isfinite().all()
    assert DISTANCE.decode(deltas, ANCHOR)[0, 0] == pytest.approx(20, abs=1e-3)


def test_sizes_are_cut_at_the_same_bound():
    assert LOG_SIZE.decode(torch.full((1, 4), MAX_LOG_SIZE + 1), ANCHOR).equal(LOG_SIZE.decode(
        torch.tensor([[MAX_LOG_SIZE + 1, MAX_LOG_SIZE + 1, MAX_LOG_SIZE, MAX_LOG_SIZE]]), ANCHOR))
    assert DISTANCE.decode(torch.full((1, 4), 99.), ANCHOR).equal(DISTANCE.decode(torch.full((1, 4), MAX_LOG_SIZE), ANCHOR))


def test_a_coder_cannot_be_changed_by_accident():
    with pytest.raises(AttributeError):
        LOG_SIZE.decode = LINEAR.decode
    assert BoxCoder(LINEAR.encode, LINEAR.decode) == LINEAR


def test_points_are_fcos():
    # torchvision's FCOS: distances in units of the anchor's size, one square anchor a location
    points = grid_anchors(map_sizes((64, 96), [8, 16]), [8, 16], point_shapes([8, 16]))
    raw = torch.randn(len(points), 4, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(DISTANCE.decode(raw, points), BoxLinearCoder(normalize_by_size=True).decode(raw.exp(), points), atol=1e-3)
    assert len(points) == 8 * 12 + 4 * 6
    assert torch.equal(points[1], torch.tensor([8., 0, 16, 8])), 'the second cell itself'


def test_a_point_head_is_an_anchor_head_with_one_shape():
    logits, deltas, objectness = Head(8, 1, 3, channels=8, objectness=False)([torch.randn(1, 8, 8, 12), torch.randn(1, 8, 4, 6)])
    assert objectness is None and logits.shape == (1, 120, 3) and deltas.shape == (1, 120, 4)
    assert logits.sigmoid().mean().item() == pytest.approx(0.01, abs=0.005)


def test_levels_share_all_shapes_by_size():
    sizes = rtsd_like_sizes(1000)
    fine, coarse = level_shapes(sizes, [8, 16], k=3)
    assert fine.shape == coarse.shape == (3, 2)
    assert fine.prod(1).max() < coarse.prod(1).min()
    assert torch.equal(torch.cat([fine, coarse]), anchor_shapes(sizes, 6))
    assert torch.equal(level_shapes(sizes, [16, 8], k=3)[1], fine), 'the finest stride has the smallest, wherever it stands'


def test_one_level_of_shapes_is_anchor_shapes():
    sizes = rtsd_like_sizes(500)
    assert torch.equal(level_shapes(sizes, [8], k=5)[0], anchor_shapes(sizes, 5))


def test_too_few_sizes_for_the_levels_are_named():
    with pytest.raises(ValueError, match='3 shapes on each of 2 levels need 6 different box sizes, there are 1'):
        level_shapes(torch.full((9, 2), 24.), [8, 16], k=3)
    with pytest.raises(ValueError, match='no boxes'):
        level_shapes(torch.zeros(0, 2), [8, 16])
