"""What each choice of the default detector is worth: one changed at a time, on the embedded drives, with several seeds.

    python benchmarks/bench_ablation.py [--seeds 0,1,2] [--epochs 1] [--every 4] [--only "NAME;NAME"] [--out runs/ablation] [--latency]

Every variant sees the same crops in the same order for the same number of steps, and is scored on whole frames of held-out
drives. To finish in hours, it takes each fourth training frame and each second validation frame (--every 1: all of them). The ways of suppression share the default's weights. A gain is the mean over seeds of the difference to the default with
the same seed; `noise` is the standard error of that mean: a gain of less than twice it says nothing. Finished rows stay in
--out, so a stopped study goes on where it was; with other --seeds it can run beside itself. Times are then those of a busy machine:
--latency measures the latency of all variants anew, when nothing else runs. `rows.csv` has a row a run, `results.csv` and
`results.png` the gains.
"""
import argparse
import sys
from functools import partial
from pathlib import Path
from unittest.mock import patch

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import pandas as pd  # noqa: E402
import torch  # noqa: E402

from rtsd_nb import study  # noqa: E402
from rtsd_nb.data import open_dataset  # noqa: E402
from rtsd_nb.detector import build_detector, folded, predict_frames  # noqa: E402
from rtsd_nb.head import point_shapes  # noqa: E402
from rtsd_nb.loss import (atss, bce_loss, by_targets, centre_sampling, ciou_loss, detection_loss, diou_loss, iou_loss,  # noqa: E402
                          iou_quality, iou_thresholds, smooth_l1_loss, task_aligned, varifocal_loss)
from rtsd_nb.metrics import evaluate  # noqa: E402
from rtsd_nb.postprocess import class_agnostic_nms, gaussian_soft_nms, linear_soft_nms  # noqa: E402
from rtsd_nb.scenes import make_scenes  # noqa: E402
from rtsd_nb.split import split_by_drive  # noqa: E402
from rtsd_nb.study import Variant, run_study  # noqa: E402
from rtsd_nb.training import TrainSettings  # noqa: E402

loss = partial(partial, detection_loss)
POINTS = {'shapes': tuple(tuple(map(tuple, s.tolist())) for s in point_shapes((8,))), 'coder': 'distance', 'objectness': False}
# What the notebook that the course grew from wanted, done right (its defects are in bench_detectors.py), on our backbone: a U-shaped neck to
# one map of stride 16 with 40 channels, nine anchors a cell, targets by IoU, whole frames shrunk to 640 px. Where rare classes are not shown
# more often a pass is shorter, here and in the last variant: the epochs make up for it, so that all take about as many steps (of --epochs 1).
NOTEBOOK = Variant('notebook design', {'neck': 'UNeck', 'strides': (16,), 'channels': 40, 'coder': 'linear', 'n_shapes': 9, 'size': (360, 640)},
                   {'crop': (360, 640), 'scale': (1., 1.), 'crops_per_frame': 1, 'epochs': 8, 'balance': 0.},
                   loss(assign=iou_thresholds, box_loss=None, delta_loss=smooth_l1_loss, score_loss=bce_loss))
PARTS = {
    'all': [NOTEBOOK],
    'backbone': [Variant('Lite0', {'backbone': 'tf_efficientnet_lite0'}), Variant('Lite2', {'backbone': 'tf_efficientnet_lite2'}),
                 Variant('random weights', weights=None), Variant('all blocks learn', settings={'trainable_blocks': None})],
    'neck': [Variant('U-shaped', {'neck': 'UNeck'}), Variant('FPN', {'neck': 'FPN'}), Variant('PAN', {'neck': 'PAN'}),
             Variant('BiFPN', {'neck': 'BiFPN'}), Variant('stride 4', {'strides': (4,)}),
             Variant('strides 8 and 16', {'strides': (8, 16)}), Variant('FPN, strides 8 and 16', {'neck': 'FPN', 'strides': (8, 16)})],
    'head': [Variant('no objectness', {'objectness': False}), Variant('points, centre sampling', POINTS, loss=loss(assign=centre_sampling)),
             Variant('linear coder', {'coder': 'linear'}), Variant('distance coder', {'coder': 'distance'}),
             Variant('3 shapes', {'n_shapes': 3}), Variant('9 shapes', {'n_shapes': 9})],
    'assignment': [Variant('ATSS, hard targets', loss=loss(assign=atss)), Variant('IoU thresholds, hard targets', loss=loss(assign=iou_thresholds)),
                   Variant('IoU thresholds', loss=loss(assign=partial(iou_quality, assign=iou_thresholds))),
                   Variant('task-aligned', loss=loss(assign=task_aligned, weigh=by_targets))],
    'loss': [Variant('smooth L1', loss=loss(box_loss=None, delta_loss=smooth_l1_loss)), Variant('IoU', loss=loss(box_loss=iou_loss)),
             Variant('DIoU', loss=loss(box_loss=diou_loss)), Variant('CIoU', loss=loss(box_loss=ciou_loss)),
             Variant('varifocal', loss=loss(score_loss=varifocal_loss)), Variant('BCE', loss=loss(score_loss=bce_loss)),
             Variant('by sum of targets', loss=loss(weigh=by_targets))],
    'training': [Variant('crops anywhere', settings={'sign_share': 0.}), Variant('frames not enlarged', {'size': (720, 1280)}),
                 Variant('no zoom', settings={'scale': (1., 1.)}), Variant('classes as they come', settings={'balance': 0., 'epochs': 4})]}
SUPPRESSION = {'class-agnostic NMS': class_agnostic_nms, 'soft-NMS, linear': linear_soft_nms, 'soft-NMS, Gaussian': gaussian_soft_nms}


def run_and_suppress(variant, train, valid, classes, settings, seed):
    "`run_variant`; for the default also the scores of the other ways of suppression, in its row as `suppression`."
    kept = []
    def predict(detector, frames):
        kept.append(detector)
        return predict_frames(detector, frames)
    with patch.object(study, 'predict_frames', predict):
        row = study.run_variant(variant, train, valid, classes, settings, seed)
    if variant.name == 'default':
        found = {name: evaluate(predict_frames(kept[0], valid, nms=nms), valid, classes) for name, nms in SUPPRESSION.items()}
        row['suppression'] = {name: {'map': e.map, 'map_50': e.map_50} for name, e in found.items()}
    return row


def by_suppression(rows):
    "Rows of the ways of suppression, from those of the default."
    return [row | scores | {'variant': name} for row in rows if row['variant'] == 'default' for name, scores in row['suppression'].items()]


def table_of(rows):
    "`study_table` by part, with the standard error of the mean gain."
    parts = {v.name: part for part, variants in PARTS.items() for v in variants} | dict.fromkeys(SUPPRESSION, 'suppression')
    table = study.study_table([{k: v for k, v in row.items() if k != 'suppression'} for row in rows])
    scores = pd.DataFrame(rows).pivot(index='seed', columns='variant', values='map').astype(float)
    gains = scores.sub(scores['default'], axis=0)
    table['noise'] = gains.std(ddof=1) / gains.count() ** 0.5
    table.insert(0, 'part', [parts.get(name, '') for name in table.index])
    return table[['part', 'seeds', 'map', 'map_gain', 'noise', 'map_50', 'map_50_gain', 'parameters', *(c for c in ('train_seconds', 'latency_ms') if c in table)]]


def plot(table, file):
    "Gains with their noise, part by part; what crosses the line says nothing."
    import matplotlib
    matplotlib.use('Agg')
    import matplotlib.pyplot as plt
    shown = table.drop('default')[::-1]
    parts = [*PARTS, 'suppression']
    fig, ax = plt.subplots(figsize=(7, 1 + 0.21 * len(shown)), layout='constrained')
    ax.axvline(0, color='0.6', linewidth=1)
    for i, row in enumerate(shown.itertuples()):
        ax.errorbar(row.map_gain, i, xerr=2 * row.noise, fmt='o', color=f'C{parts.index(row.part)}', capsize=2, markersize=4)
    ax.set_yticks(range(len(shown)), shown.part + ': ' + shown.index, fontsize=8)
    ax.set(xlabel=f'gain in mAP over the default ({table.loc["default", "map"]:.3f}), with twice its noise', ylim=(-1, len(shown)))
    ax.grid(axis='x', alpha=0.3)
    fig.savefig(file, dpi=110)


def in_order(table):
    "The default, then part by part as in PARTS."
    names = ['default', *(v.name for variants in PARTS.values() for v in variants), *SUPPRESSION]
    return table.loc[[name for name in names if name in table.index]]


def measure_latencies(rows, variants, train, valid, classes):
    "The rows with the latency of their variant as it is now, on a quiet machine; it does not depend on the weights."
    known = {}
    for variant in variants:
        detector = build_detector(study.variant_config(variant, train, classes), weights=None)
        known[variant.name] = study.frame_latency(folded(detector), valid, rounds=7)
    return [row | {'latency_ms': known.get(row['variant'], row['latency_ms'])} for row in rows]


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--seeds', type=lambda text: tuple(map(int, text.split(','))), default=(0, 1, 2))
    parser.add_argument('--epochs', type=int, default=1)
    parser.add_argument('--every', type=int, default=4, help='take each so many-th training frame; default: %(default)s')
    parser.add_argument('--only', type=lambda text: text.split(';'), help='names of variants; the default is always there')
    parser.add_argument('--latency', action='store_true', help='measure latencies anew; nothing else should run')
    parser.add_argument('--out', type=Path, default=ROOT / 'runs' / 'ablation')
    args = parser.parse_args()
    if unknown := set(args.only or ()) - {v.name for variants in PARTS.values() for v in variants}:
        parser.error(f'no variant {min(unknown)!r}')
    return args


def main():
    args = parse_args()
    data = open_dataset(make_scenes())
    train, valid = split_by_drive(data.frames, data.classes)
    train, valid = train[::args.every], valid[::2 if args.every > 1 else 1]
    variants = [v for part in PARTS.values() for v in part if not args.only or v.name in args.only]
    rows = run_study([Variant('default'), *variants], train, valid, data.classes, TrainSettings(epochs=args.epochs), args.seeds, args.out,
                     run=run_and_suppress, report=partial(print, flush=True))
    if args.latency:
        rows = measure_latencies(rows, [Variant('default'), *variants], train, valid, data.classes)
    plain = pd.DataFrame([{k: v for k, v in row.items() if k not in ('run', 'machine', 'suppression')} for row in rows])
    plain.sort_values(['variant', 'seed']).round(4).to_csv(args.out / 'rows.csv', index=False)
    table = in_order(table_of(rows + by_suppression(rows)))
    table.round(4).to_csv(args.out / 'results.csv')
    plot(table, args.out / 'results.png')
    print(f'\nembedded drives, {len(train)} + {len(valid)} frames, {len(data.classes)} classes, {args.epochs} epoch(s), '
          f'seeds {args.seeds}, {torch.get_num_threads()} threads\n{table.round(3).to_string()}')
    best = table['map_gain'].drop('default').idxmax()
    print(f'default_map={table.loc["default", "map"]:.3f} best_variant={best.replace(" ", "_")} best_gain={table.loc[best, "map_gain"]:.3f}')


if __name__ == '__main__':
    main()
