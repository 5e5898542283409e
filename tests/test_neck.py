"""Necks: defect 11, every kind with every layout and choice of levels, and BiFPN by hand and by its equations."""
from functools import lru_cache
from itertools import combinations, product

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from rtsd_nb.backbone import gflops, n_parameters, on_meta
from rtsd_nb.detector import DetectorConfig, build_detector
from rtsd_nb.neck import FPN, PAN, BiFPN, BiFPNLayer, Fusion, LateralNeck, UNeck, fit_to, group_norm, pool_to

NECKS = (LateralNeck, UNeck, FPN, PAN, BiFPN)
LEVELS = [levels for n in range(1, 5) for levels in combinations((4, 8, 16, 32), n)]
LAYOUTS = {'from 2': (2, 4, 8, 16, 32), 'from 4': (4, 8, 16, 32), 'from 8': (8, 16, 32), 'to 16': (2, 4, 8, 16),
           'with a gap': (4, 16, 32), 'one': (8,)}


@lru_cache(None)
def backbone_maps(name, height, width):
    "The backbone `name` and its maps, shapes only"
    backbone = on_meta(name)
    return backbone, backbone(torch.empty(1, 3, height, width, device='meta'))


def layout_maps(strides, height=64, width=96, batch=2):
    "Channels and random maps of a made-up backbone with `strides`"
    channels = tuple(6 + i for i in range(len(strides)))
    return channels, [torch.randn(batch, c, -(-height // s), -(-width // s)) for c, s in zip(channels, strides)]


def wanted_of(strides):
    "All choices of levels from 4 to 32 that a backbone with `strides` can give"
    return [levels for levels in LEVELS if set(levels) <= set(strides)]


# ---- defect 11: a neck for one backbone ----

@pytest.mark.parametrize('kind', NECKS)
@pytest.mark.parametrize('name', ['efficientnet_b0', 'efficientnet_b7', 'resnet50', 'convnext_tiny', 'swin_t',
                                  'mobilenet_v3_large', 'tf_efficientnet_lite0'])
def test_defect_11_every_neck_takes_every_backbone(name, kind):
    "Without a word about the network: channels and strides come from the backbone; any choice of levels"
    backbone, maps = backbone_maps(name, 720, 1280)
    sizes = {s: m.shape[-2:] for s, m in zip(backbone.strides, maps)}
    for strides in LEVELS:
        with torch.device('meta'): neck = kind(backbone.channels, backbone.strides, strides=strides)
        assert [m.shape for m in neck(maps)] == [(1, 64, *sizes[s]) for s in strides]


@pytest.mark.parametrize('kind', NECKS)
@pytest.mark.parametrize('layout', LAYOUTS)
def test_every_layout_gives_the_levels_it_has_in_the_order_asked(kind, layout):
    strides = LAYOUTS[layout]
    channels, maps = layout_maps(strides)
    sizes = {s: m.shape[-2:] for s, m in zip(strides, maps)}
    for levels in wanted_of(strides):
        for order in (levels, levels[::-1]):
            outs = kind(channels, strides, channels=8, strides=order)(maps)
            assert [m.shape for m in outs] == [(2, 8, *sizes[s]) for s in order]
            assert all(m.isfinite().all() for m in outs)


@pytest.mark.parametrize('kind', NECKS)
def test_neck_of_any_image_size(kind):
    "Sides from 33 px on, divisible or not, with a network that rounds up and one that rounds down"
    for name, height, width in product(('mobilenet_v3_small', 'timm/convnext_atto'), (33, 90, 719), (64, 131)):
        backbone, maps = backbone_maps(name, height, width)
        sizes = {s: m.shape[-2:] for s, m in zip(backbone.strides, maps)}
        for strides in ((8, 32), (4, 8, 16, 32)):
            with torch.device('meta'): neck = kind(backbone.channels, backbone.strides, channels=8, strides=strides, norm=group_norm)
            assert [m.shape[-2:] for m in neck(maps)] == [sizes[s] for s in strides]


@pytest.mark.parametrize('kind', NECKS)
def test_neck_names_the_strides_there_are(kind):
    with pytest.raises(ValueError, match=r'available strides are \(4, 8, 16\)'):
        kind((24, 40, 112), (4, 8, 16), strides=(32,))


@pytest.mark.parametrize('kind', NECKS)
@pytest.mark.parametrize('layout', LAYOUTS)
def test_every_parameter_and_every_deeper_map_is_used(kind, layout):
    "Each gets a gradient, whatever levels are asked for; finer maps than the finest level are left alone"
    strides = LAYOUTS[layout]
    for levels in wanted_of(strides):
        channels, maps = layout_maps(strides)
        for m in maps: m.requires_grad_()
        neck = kind(channels, strides, channels=8, strides=levels)
        sum(out.square().sum() for out in neck(maps)).backward()
        assert [name for name, p in neck.named_parameters() if p.grad is None] == [], levels
        assert [m.grad is not None for m in maps] == [s >= min(levels) for s in strides]


@pytest.mark.parametrize('kind', NECKS)
@pytest.mark.parametrize('norm', [nn.BatchNorm2d, group_norm, None])
def test_norms_and_the_empty_batch(kind, norm):
    channels, maps = layout_maps((4, 8, 16), batch=0)
    neck = kind(channels, (4, 8, 16), channels=24, norm=norm, strides=(8, 16)).eval()
    assert [m.shape for m in neck(maps)] == [(0, 24, 8, 12), (0, 24, 4, 6)]
    assert any(isinstance(m, nn.Conv2d) and m.bias is not None for m in neck.modules()) == (norm is None)


@pytest.mark.parametrize('kind, parts', [(LateralNeck, {'laterals'}), (UNeck, {'deepest', 'ups'}), (FPN, {'laterals', 'outputs'}),
                                         (PAN, {'laterals', 'outputs', 'downs'}), (BiFPN, {'laterals', 'layers'})])
def test_names_in_a_checkpoint(kind, parts):
    "Saved detectors find their tensors by these"
    assert {key.split('.')[0] for key in kind((6, 7, 8), (8, 16, 32), strides=(8, 16)).state_dict()} == parts


# ---- BiFPN ----

def test_fusion_by_hand():
    maps = [torch.full((1, 1, 2, 2), value) for value in (2., 4., 9.)]
    fusion = Fusion(3, eps=0)
    for weights, mean in (((1, 1, 1), 5), ((2, 1, 1), 4.25), ((1, 0, 3), 7.25), ((-5, 1, 1), 6.5)):
        fusion.weights.data = torch.tensor(weights).float()
        torch.testing.assert_close(fusion(*maps), torch.full((1, 1, 2, 2), float(mean)))


def test_fusion_without_any_weight_left_is_zero_and_not_nan():
    fusion = Fusion(2)
    fusion.weights.data = torch.tensor([-1., 0])
    assert torch.equal(fusion(torch.ones(3), torch.ones(3)), torch.zeros(3))


def test_fusion_of_another_number_of_maps():
    with pytest.raises(ValueError): Fusion(3)(torch.ones(1), torch.ones(1))


def test_fusion_learns_which_map_to_believe():
    "The wanted map is one of the two: its share grows"
    torch.manual_seed(0)
    fusion, good, bad = Fusion(2), torch.randn(100), torch.randn(100)
    opt = torch.optim.SGD(fusion.parameters(), 0.1)
    for _ in range(50):
        opt.zero_grad()
        (fusion(good, bad) - good).square().mean().backward()
        opt.step()
    weights = fusion.weights.relu()
    assert weights[0] / weights.sum() > 0.9


def test_pool_to_by_hand():
    x = torch.tensor([[1., 5, 2, 0], [0, 3, 4, 7], [9, 0, 1, 1], [0, 2, 8, 0]])[None, None]
    assert pool_to(x, torch.empty(1, 1, 2, 2)).tolist() == [[[[5, 7], [9, 8]]]]
    assert pool_to(x, torch.empty(1, 1, 1, 1), 4).tolist() == [[[[9]]]]
    assert pool_to(x[..., :3, :3], torch.empty(1, 1, 2, 1)).tolist() == [[[[5], [9]]]]
    assert pool_to(x, torch.empty(1, 1, 3, 2)).tolist() == [[[[5, 7], [9, 8], [9, 8]]]]


def test_layer_of_four_levels_by_hand():
    "Maps of 1, 5, 9 and 15 everywhere, nodes without their convolution, all weights equal"
    layer = BiFPNLayer(1, [2, 2, 2], 4)
    for node in (*layer.top_down, *layer.bottom_up): node.conv, node.fusion.eps = nn.Identity(), 0
    maps = [torch.full((1, 1, side, side), value) for side, value in ((16, 1.), (8, 5.), (4, 9.), (2, 15.))]
    down2 = (9 + 15) / 2                  # 12
    down1 = (5 + down2) / 2               # 8.5
    out0 = (1 + down1) / 2                # 4.75
    out1 = (5 + down1 + out0) / 3
    out2 = (9 + down2 + out1) / 3
    out3 = (15 + out2) / 2
    for m, value, like in zip(layer(maps), (out0, out1, out2, out3), maps, strict=True):
        torch.testing.assert_close(m, torch.full_like(like, value))


def equations(layer, maps):
    "A BiFPN layer after the paper's equations, for even sides: each fusion written out"
    def fused(node, *inputs):
        w = node.fusion.weights.clamp(min=0)
        total = sum(w[i] * x for i, x in enumerate(inputs))
        return node.conv(total / (w.sum() + 1e-4))
    def twice(x): return x.repeat_interleave(2, -1).repeat_interleave(2, -2)
    def half(x): return F.max_pool2d(x, 3, 2, 1)
    n, down, out = len(maps), {len(maps) - 1: maps[-1]}, {}
    for i in range(n - 2, -1, -1): down[i] = fused(layer.top_down[i], maps[i], twice(down[i + 1]))
    out[0] = down[0]
    for i in range(1, n - 1): out[i] = fused(layer.bottom_up[i - 1], maps[i], down[i], half(out[i - 1]))
    out[n - 1] = fused(layer.bottom_up[n - 2], maps[n - 1], half(out[n - 2]))
    return [out[i] for i in range(n)]


@pytest.mark.parametrize('repeats', [1, 3])
def test_bifpn_follows_its_equations(repeats):
    torch.manual_seed(0)
    channels, maps = layout_maps((4, 8, 16, 32), 128, 192)
    neck = BiFPN(channels, (4, 8, 16, 32), channels=8, strides=(4, 8, 16, 32), repeats=repeats).eval()
    for m in neck.modules():
        if isinstance(m, Fusion): m.weights.data = torch.randn(len(m.weights)) + 0.5   # some fall below zero
    expected = [lateral(m) for lateral, m in zip(neck.laterals, maps)]
    for layer in neck.layers: expected = equations(layer, expected)
    for a, b in zip(neck(maps), expected, strict=True): torch.testing.assert_close(a, b)


def test_fewer_levels_are_the_same_levels():
    "What a choice of levels leaves out is not computed, and changes nothing in those that stay"
    torch.manual_seed(0)
    channels, maps = layout_maps((4, 8, 16, 32), 100, 150)
    whole = BiFPN(channels, (4, 8, 16, 32), channels=8, strides=(4, 8, 16, 32)).eval()
    few = BiFPN(channels, (4, 8, 16, 32), channels=8, strides=(4, 8)).eval()
    state = whole.state_dict()
    assert few.state_dict().keys() < state.keys()
    few.load_state_dict({key: state[key] for key in few.state_dict()})
    for a, b in zip(few(maps), whole(maps)): torch.testing.assert_close(a, b)
    assert gflops(few, maps) < gflops(whole, maps)


def test_repeats():
    one, two, three = (n_parameters(BiFPN((6, 7, 8), (8, 16, 32), strides=(8, 16, 32), repeats=n)) for n in (1, 2, 3))
    assert two - one == three - two > 0
    assert len(BiFPN((6, 7, 8), (8, 16, 32)).layers) == 3
    with pytest.raises(ValueError, match='repeats must be at least 1, got 0'): BiFPN((6, 7), (8, 16), repeats=0)


def test_bifpn_of_one_map_is_its_lateral():
    channels, maps = layout_maps((8,))
    neck = BiFPN(channels, (8,), channels=8).eval()
    assert torch.equal(neck(maps)[0], neck.laterals[0](maps[0]))


def test_fit_to_cuts_and_continues():
    x = torch.arange(4.).view(1, 1, 2, 2)
    assert fit_to(x, torch.empty(1, 1, 1, 3)).tolist() == [[[[0, 1, 1]]]]


@pytest.mark.parametrize('kind', NECKS)
def test_a_detector_with_each_neck(kind):
    "The name of the class is all that the configuration needs"
    config = DetectorConfig(classes=('a', 'b'), shapes=(((16, 16),),) * 2, size=(96, 128), backbone='mobilenet_v3_small',
                            neck=kind.__name__, strides=(8, 16), channels=8, head_depth=1)
    detector = build_detector(config, weights=None).eval()
    assert isinstance(detector.neck, kind)
    with torch.no_grad(): outputs = detector(torch.zeros(1, 3, 96, 128, dtype=torch.uint8))
    assert outputs.class_logits.shape == (1, 12*16 + 6*8, 2)
