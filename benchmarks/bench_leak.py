"""How much a split by frames leaks, and a split by drive does not: names and boxes of real frames, no images.

    python benchmarks/bench_leak.py [folder of annotations] [--seeds N]

Two detectors without eyes are scored on both splits: one copies the boxes of the training frame nearest in time, the other
puts the signs of the training frames before and after at the place between. What they score is paid by the split.
"""
import argparse
import sys
from pathlib import Path

import pandas as pd
import torch
from torchmetrics.detection import MeanAveragePrecision

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from rtsd_nb.data import open_dataset
from rtsd_nb.split import by_part, copy_between, copy_nearest, leak, split_by_drive, split_by_frame

DEFAULT = Path(__file__).resolve().parents[2] / 'shared' / 'data' / 'rtsd_annotations'
SECONDS = (1, 2, 5, 10)


def ap50(found, frames):
    "AP at IoU 0.5, mean over the classes that have truth."
    judge = MeanAveragePrecision(backend='faster_coco_eval', iou_thresholds=[0.5])
    judge.warn_on_many_detections = False
    judge.update(found, [dict(boxes=f.boxes, labels=f.labels) for f in frames])
    return judge.compute()['map'].item()


def class_in_twin(train, valid, limit=10):
    "Share of the validation boxes whose class also stands in the training frame nearest in time, at most `limit` seconds away."
    found = copy_nearest(train, valid, limit)
    hits = sum(int(torch.isin(f.labels, copied['labels']).sum()) for f, copied in zip(valid, found))
    return hits / max(1, sum(len(f.labels) for f in valid))


def measure(train, valid):
    "One row of the table."
    shares = leak(train, valid, SECONDS)
    within = {f'{s} s': shares[f'a training frame within {s} s'] for s in SECONDS}
    return {**within, 'drive': shares['a drive that is in training'], 'class': class_in_twin(train, valid), 'copier': ap50(copy_nearest(train, valid), valid), 'between': ap50(copy_between(train, valid), valid)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('data', nargs='?', type=Path, default=DEFAULT, help='annotations; default: %(default)s')
    parser.add_argument('--seeds', type=int, default=3)
    args = parser.parse_args()
    if not args.data.exists():
        sys.exit(f'{args.data} is not here: give a folder with RTSD annotations')
    data = open_dataset(args.data, need_images=False)
    print(data)
    rows, marked = {}, all(by_part(data.frames))
    for seed in range(args.seeds):
        rows['random', seed] = measure(*split_by_frame(data.frames, seed=seed))
        rows['drive', seed] = measure(*split_by_drive(data.frames, data.classes, seed=seed))
    if marked:
        rows['official', 0] = measure(*by_part(data.frames))
    table = pd.DataFrame(rows).T.rename_axis(['split', 'seed']).sort_index(ascending=[False, True])
    mean = table.groupby('split').mean().loc[['random', 'drive'] + ['official'] * marked]
    print(table.round(3).to_string())
    print('\nmean over the seeds; share of validation frames with a training frame within so many seconds\nand with a drive in training; of boxes whose class stands in the nearest training frame; AP50')
    print(mean.round(3).to_string())
    named = {'leak_1s': '1 s', 'leak_10s': '10 s', 'same_class': 'class', 'copier_ap50': 'copier', 'between_ap50': 'between'}
    print(' '.join(f'{key}_{split}={mean.loc[split, column]:.3f}' for key, column in named.items() for split in mean.index))


if __name__ == '__main__':
    main()
