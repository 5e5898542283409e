"""Ours beside its peers: the same data, split, budget, threads and evaluator; one detector after the other, each alone.

    python benchmarks/bench_detectors.py [--data FOLDER_OR_FILE|embedded] [--minutes 20] [--detectors ours,fcos] [--weights both]

Each detector runs in a process of its own, so that its peak memory is its own. The budget is wall clock and counts training
only. Nobody sees the validation drives before the end. Training images are whole frames, for ours crops. Latency is that of
one frame from its file to its boxes, `native_ms` that at the frames' own size (ours enlarges them), `native_ratio` the latter
over ours. `map_50_common` is over classes with at least 5 training boxes. Finished rows stay in the --out folder: a stopped
benchmark goes on where it was (delete the row of a detector that has changed).
`yolo11n` and `yolo26n` need `pip install ultralytics` (AGPL-3.0) and are left out where it is not installed.
"""
import argparse
import importlib.util
import json
import math
import os
import resource
import statistics
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import pandas as pd  # noqa: E402

USUAL = ROOT.parent / 'shared' / 'data' / 'gtsdb_germany' / 'gt_categories.csv'
NAMES = ('ours', 'seed', 'ssdlite', 'fcos', 'retinanet', 'yolo11n', 'yolo26n')
SHOWN = ('name', 'start', 'map', 'map_50', 'map_50_common', 'ap_0-24', 'ap_24-32', 'ap_32-64', 'ap_64+', 'parameters',
         'train_seconds', 'train_images_s', 'latency_ms', 'native_ms', 'native_ratio', 'peak_mb')


def read_parts(data, seed):
    "(train frames, validation frames, classes): whole drives on one side."
    from rtsd_nb.data import open_dataset
    from rtsd_nb.scenes import make_scenes
    from rtsd_nb.split import split_by_drive
    found = open_dataset(make_scenes() if data == 'embedded' else data)
    return *split_by_drive(found.frames, found.classes, seed=seed), found.classes


def latency_ms(predict, frames, rounds=15):
    "Median milliseconds of one frame, after two to warm up."
    times = []
    for i in range(rounds + 2):
        start = time.perf_counter()
        predict([frames[i % len(frames)]])
        times.append(1e3 * (time.perf_counter() - start))
    return statistics.median(times[2:])


def common_map_50(result, train, classes, least=5):
    "Mean AP50 over the classes with at least `least` boxes in training (and one or more in validation)."
    seen = Counter(label for frame in train for label in frame.labels.tolist())
    names = {classes[label] for label, n in seen.items() if n >= least}
    return result.per_class[result.per_class['class'].isin(names)].ap_50.mean()


def run_one(args):
    "Train and score `args.only` in this process: its row."
    import cv2
    import torch
    from peers import PEERS
    from rtsd_nb.metrics import evaluate
    from rtsd_nb.training import frame_size
    torch.set_num_threads(args.threads)
    cv2.setNumThreads(args.threads)
    train, valid, classes = read_parts(args.data, args.seed)
    trained = PEERS[args.only](train, classes, frame_size(train), args.minutes, args.seed, args.weights)
    found, latency = trained.predict(valid), latency_ms(trained.predict, valid)
    native = latency_ms(trained.predict_native, valid) if trained.predict_native else latency
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2 ** 20 if sys.platform == 'darwin' else 2 ** 10)
    result = evaluate(found, valid, classes, size_edges=(24, 32, 64))
    sizes = {f'ap_{size}': ap for size, ap in zip(result.by_size['size'], result.by_size.ap)}
    return {'name': args.only, 'weights': args.weights, 'start': trained.start, 'map': result.map, 'map_50': result.map_50,
            'map_50_common': common_map_50(result, train, classes), **sizes,
            'parameters': trained.parameters, 'train_images': trained.images, 'train_seconds': trained.seconds,
            'train_images_s': trained.images / max(trained.seconds, 1e-9), 'latency_ms': latency, 'native_ms': native, 'peak_mb': peak}


def asked(args, name, weights):
    "What a kept row must have been asked for to be read again."
    return {'data': str(args.data), 'minutes': args.minutes, 'threads': args.threads, 'seed': args.seed, 'only': name, 'weights': weights}


def kept_row(file, request):
    "The row in `file` when it is of this request, else None."
    if not file.exists():
        return None
    kept = json.loads(file.read_text(encoding='utf-8'))
    return kept['row'] if kept['asked'] == request else None


def row_of(args, name, weights):
    "The row of a detector and start, by a process of its own unless it was kept."
    file, request = args.out / f'{name}_{weights}.json', asked(args, name, weights)
    if row := kept_row(file, request):
        return row
    if name.startswith('yolo') and importlib.util.find_spec('ultralytics') is None:
        print(f'{name}: not installed: pip install ultralytics')
        return {'name': name, 'weights': weights, 'start': 'not installed', 'map': math.nan}
    print(f'{name} from {weights} weights: {args.minutes:g} minutes of training', flush=True)
    file.unlink(missing_ok=True)
    options = [f'--{key}={value}' for key, value in request.items()]
    environment = os.environ | {'OMP_NUM_THREADS': str(args.threads), 'MKL_NUM_THREADS': str(args.threads)}
    done = subprocess.run([sys.executable, __file__, *options, f'--out={args.out}'], env=environment)
    if done.returncode or not file.exists():
        print(f'{name}: failed with exit status {done.returncode}, see above')
        return {'name': name, 'weights': weights, 'start': 'failed', 'map': math.nan}
    return kept_row(file, request)


def table_of(rows):
    "All rows; latency at the frames' own size also as a ratio to ours of the same start."
    table = pd.DataFrame(rows).reindex(columns=['weights', *SHOWN])
    ours = table[table.name == 'ours'].set_index('weights').native_ms
    table['native_ratio'] = table.native_ms / table.weights.map(ours)
    return table


def plot(table, file):
    "mAP against latency; hollow: from random weights."
    import matplotlib
    matplotlib.use('Agg')
    import matplotlib.pyplot as plt
    from matplotlib.ticker import LogLocator
    fig, ax = plt.subplots(figsize=(7, 4), layout='constrained')
    shown = table.dropna(subset='latency_ms')
    middle = (shown.latency_ms.min() * shown.latency_ms.max()) ** 0.5
    for row in shown.itertuples():
        color = 'tab:red' if row.name == 'ours' else 'tab:blue'
        ax.plot(row.latency_ms, row.map, 'o', color=color, fillstyle='none' if row.start.startswith('random') else 'full')
        place = {'ha': 'left', 'xytext': (6, 5)} if row.latency_ms < middle else {'ha': 'right', 'xytext': (-6, 5)}  # inwards
        ax.annotate(f'{row.name} ({row.start})', (row.latency_ms, row.map), textcoords='offset points', fontsize=8, **place)
    ax.set(xscale='log', xlabel='latency of one frame, ms', ylabel='mAP 0.5:0.95', ylim=(0, 1))
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.xaxis.set_major_formatter('{x:g}')
    ax.xaxis.set_minor_formatter('')
    ax.margins(x=0.1)
    fig.savefig(file, dpi=100)


def compare(table, weights):
    "(our row, the best peer's row, ratio of mAP) of a start; NaN where either is missing or the peer found nothing."
    nothing = pd.Series({'name': 'none', 'map': math.nan, 'map_50': math.nan})
    rows = table[(table.weights == weights) & table['map'].notna()].sort_values('map')
    ours, peers = rows[rows.name == 'ours'], rows[rows.name != 'ours']
    ours, best = (part.iloc[-1] if len(part) else nothing for part in (ours, peers))
    return ours, best, ours['map'] / best['map'] if best['map'] > 0 else math.nan


def last_line(table, weights):
    "The figures that the benchmark is about."
    ours, best, ratio = compare(table, weights)
    ratio_random = compare(table, 'random')[2]
    return (f'ours_map={ours["map"]:.3f} ours_map50={ours["map_50"]:.3f} best_peer={best["name"]} best_peer_map={best["map"]:.3f} '
            f'ratio={ratio:.2f} ratio_random={ratio_random:.2f}').replace('=nan', '=NaN')


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--data', default=str(USUAL) if USUAL.exists() else 'embedded',
                        help="a data set with frames, or 'embedded'; default: %(default)s")
    parser.add_argument('--minutes', type=float, default=20, help='of training for each; default: %(default)s')
    parser.add_argument('--detectors', default=','.join(NAMES), help='default: %(default)s')
    parser.add_argument('--weights', choices=('pretrained', 'random', 'both'), default='pretrained',
                        help='the best start on this machine, random weights for all, or one after the other')
    parser.add_argument('--threads', type=int, default=len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count())
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--out', type=Path, default=Path('bench_detectors'), help='folder for rows, table and plot; default: %(default)s')
    parser.add_argument('--only', choices=NAMES, help='train this one in this process and keep its row (the benchmark calls itself so)')
    args = parser.parse_args()
    args.detectors = args.detectors.split(',')
    if unknown := [name for name in args.detectors if name not in NAMES]:
        parser.error(f'no detector {unknown[0]!r}; there are {", ".join(NAMES)}')
    if args.data != 'embedded' and not Path(args.data).exists():
        parser.error(f"{args.data} is not there; pass --data with a data set, or 'embedded'")
    return args


def main():
    args = parse()
    args.out.mkdir(parents=True, exist_ok=True)
    if args.only:
        kept = {'asked': asked(args, args.only, args.weights), 'row': run_one(args)}
        (args.out / f'{args.only}_{args.weights}.json').write_text(json.dumps(kept, indent=1), encoding='utf-8')
        return
    starts = ('pretrained', 'random') if args.weights == 'both' else (args.weights,)
    table = table_of([row_of(args, name, weights) for weights in starts for name in args.detectors])
    table.to_csv(args.out / 'results.csv', index=False)
    plot(table, args.out / 'results.png')
    print(f'\n{args.data}, {args.minutes:g} minutes, {args.threads} threads\n{table[list(SHOWN)].round(3).to_string(index=False)}')
    print(last_line(table, starts[0]))


if __name__ == '__main__':
    main()
