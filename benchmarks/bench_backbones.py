"""How long backbones and necks take on one CPU thread, as ratios to one reference backbone.

    python benchmarks/bench_backbones.py [--names efficientnet_b0 swin_t ...] [--size 360 640] [--max-stride 16] [--rounds 7]

Each round runs the reference and then every other network once on the same image, so that a machine that is busy for a
while slows all of them. Times are CPU times of this process. The ratio is the median over the rounds of (time / time of
the reference in the same round).
The necks run on the reference's maps to stride 32. Weights are random: they do not change the time.
The last line is `reference=NAME reference_ms=N NAME=RATIO ...`; only the ratios can be carried to another machine.
"""
import argparse
import sys
import time
from pathlib import Path

import pandas as pd
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from rtsd_nb.backbone import gflops, make_backbone, n_parameters, on_meta
from rtsd_nb.neck import FPN, PAN, BiFPN, LateralNeck, UNeck

NAMES = ['tf_efficientnet_lite1', 'tf_efficientnet_lite2', 'efficientnet_b0', 'efficientnet_b4', 'efficientnet_b7', 'efficientnet_v2_s',
         'mobilenet_v3_small', 'mobilenet_v3_large', 'resnet18', 'resnet50', 'convnext_tiny', 'swin_t', 'timm/convnext_atto',
         'timm/mobilenetv4_conv_small', 'timm/repvit_m0_9', 'timm/regnety_008']
NECKS = [LateralNeck, FPN, PAN, BiFPN, UNeck]
LEVELS = [(8,), (8, 16, 32), (4, 8, 16, 32)]


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--names', nargs='*', default=NAMES, help='torchvision or timm networks beside the reference')
    parser.add_argument('--reference', default='tf_efficientnet_lite0')
    parser.add_argument('--size', nargs=2, type=int, default=(360, 640), metavar=('HEIGHT', 'WIDTH'))
    parser.add_argument('--max-stride', type=int, default=16, help='where the backbones are cut')
    parser.add_argument('--rounds', type=int, default=7)
    return parser.parse_args()


def channels_last(module):
    return module.eval().to(memory_format=torch.channels_last)


def backbone_parts(names, max_stride, image):
    "`{name: (module, input, parameters in millions, GFLOPs)}`; counts are made on the meta device."
    parts = {}
    for name in names:
        shapes = on_meta(name, max_stride)
        work = gflops(shapes, image.to('meta'))
        module = channels_last(make_backbone(name, weights=None, max_stride=max_stride))
        parts[name] = module, image, n_parameters(shapes) / 1e6, work
    return parts


def neck_parts(reference, image):
    "The same for each neck and choice of output strides, on the maps of `reference` to stride 32."
    backbone = channels_last(make_backbone(reference, weights=None))
    with torch.no_grad():
        maps = backbone(image)
    parts = {}
    for strides in LEVELS:
        for kind in NECKS:
            neck = channels_last(kind(backbone.channels, backbone.strides, strides=strides))
            parts[f"{kind.__name__}_{'_'.join(map(str, strides))}"] = neck, maps, n_parameters(neck) / 1e6, gflops(neck, maps)
    return parts


@torch.no_grad()
def seconds(module, x):
    start = time.process_time()
    module(x)
    return time.process_time() - start


def measure(parts, rounds):
    "One row a round, one column a part: seconds. The first, unmeasured round warms up."
    rows = [{name: seconds(module, x) for name, (module, x, *_) in parts.items()} for _ in range(rounds + 1)]
    return pd.DataFrame(rows[1:])


def main():
    args = parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    torch.manual_seed(0)
    image = torch.randn(1, 3, *args.size).contiguous(memory_format=torch.channels_last)
    names = [args.reference, *(name for name in args.names if name != args.reference)]
    parts = backbone_parts(names, args.max_stride, image) | neck_parts(args.reference, image)
    times = measure(parts, args.rounds)
    ratios = times.div(times[args.reference], axis=0).median()
    table = pd.DataFrame({'M parameters': {name: part[2] for name, part in parts.items()},
                          'GFLOPs': {name: part[3] for name, part in parts.items()},
                          'ms': times.median() * 1000, 'ratio': ratios})
    print(f'{args.size[1]}x{args.size[0]}, backbones to stride {args.max_stride}, one thread, float32, {args.rounds} rounds')
    print(table.round(2).to_string())
    values = ' '.join(f'{name}={ratio:.2f}' for name, ratio in ratios.items() if name != args.reference)
    print(f'reference={args.reference} reference_ms={table.ms[args.reference]:.1f} {values}')


if __name__ == '__main__':
    main()
