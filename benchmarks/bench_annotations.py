"""Read, check, describe and split annotations of RTSD's full size, beside the row-by-row way with list columns.

The table is made of real annotations (DIR/full_gt_reduced.csv), repeated with later years as new drives: 104,000 boxes, and
180,000 frames that frames.csv lists as annotated. Every measurement runs in a fresh process on one core.

    python benchmarks/bench_annotations.py [DIR] [--frames N] [--boxes N]

read_s: wall clock of the whole chain. peak_mb: most memory its process held, libraries included. ratio: from full-gt.csv to
one record a frame with boxes and labels, CPU seconds of the row-by-row way / those of `open_dataset`, which checks every row
as well; the best of 3 alternating runs each.
"""
import argparse
import itertools
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd

ROOT = Path(__file__).resolve().parents[1]
REAL = ROOT.parent / 'shared' / 'data' / 'rtsd_annotations'
RUNS = 3


# ---------------------------------------------------------------- the table
def later(name, years):
    "The name of an RTSD frame, some years later: another drive."
    return re.sub(r'^(autosave\d\d_\d\d_)(\d{4})', lambda m: f'{m[1]}{int(m[2]) + years}', name)


def neighbours(names, n):
    "Names of `n` more frames, taken within the seconds of `names`; RTSD itself counts from 0 to 4 in a second."
    seconds = list(dict.fromkeys(re.match(r'autosave\d\d(_\d+){5}', name)[0] for name in names))
    return list(itertools.islice((f'{s}_{i}.jpg' for i in itertools.count(5) for s in seconds), n))


def make_table(real, folder, n_frames, n_boxes):
    "Write full-gt.csv and frames.csv into `folder`; returns how many frames and boxes they hold."
    once = pd.read_csv(real / 'full_gt_reduced.csv', dtype=str, keep_default_na=False).drop(columns='is_train').iloc[:, 1:]
    repeats = [once.assign(filename=[later(n, 2 * i) for n in once.filename]) for i in range(-(-n_boxes // len(once)))]
    table = pd.concat(repeats).head(n_boxes)
    names = list(dict.fromkeys(table.filename))
    frames = names + neighbours(names, n_frames - len(names))
    table.to_csv(folder / 'full-gt.csv', index=False)
    pd.DataFrame({'filename': frames}).to_csv(folder / 'frames.csv', index=False)
    return len(frames), len(table)


# ---------------------------------------------------------------- what is measured, each in its own process
def naive_records(file):
    "One record a frame with labels and boxes, by functions of single rows and list columns."
    table = pd.read_csv(file)
    label_of = {c: i for i, c in enumerate(sorted(table.sign_class.unique()))}
    table['box'] = table.apply(lambda r: [r['x_from'], r['y_from'], r['x_from'] + r['width'], r['y_from'] + r['height']], axis=1)
    table['label'] = table.apply(lambda r: label_of[r['sign_class']], axis=1)
    return table.groupby('filename').agg({'box': lambda boxes: list(boxes), 'label': lambda labels: list(labels)}).reset_index()


class Clock:
    "Adds up wall and CPU seconds by the name of the step."
    def __init__(self):
        self.steps = {}

    def timed(self, step, function):
        "`function`, timed."
        def call(*args, **kwargs):
            wall, cpu = time.perf_counter(), time.process_time()
            result = function(*args, **kwargs)
            before = self.steps.get(step, (0, 0))
            self.steps[step] = before[0] + time.perf_counter() - wall, before[1] + time.process_time() - cpu
            return result
        return call


def measure_ours(folder, whole_chain):
    "{step: (wall, cpu)} of `open_dataset`, and of describing and splitting when `whole_chain`."
    from rtsd_nb import data
    from rtsd_nb.report import box_statistics, boxes_per_frame, describe_dataset, headline
    from rtsd_nb.split import split_by_drive
    clock = Clock()
    data.read_annotations, data.build_frames = clock.timed('read', data.read_annotations), clock.timed('build', data.build_frames)
    annotations = clock.timed('open', data.open_dataset)(folder, need_images=False)
    if whole_chain:
        clock.timed('describe', lambda: (headline(describe_dataset(annotations)), boxes_per_frame(annotations.frames),
                                         box_statistics(annotations.frames, annotations.classes)))()
        clock.timed('split', split_by_drive)(annotations.frames, annotations.classes)
    return clock.steps


def measure_naive(folder):
    clock = Clock()
    clock.timed('naive', naive_records)(folder / 'full-gt.csv')
    return clock.steps


def in_fresh_process(what, folder):
    "Run one measurement; returns its steps and the peak memory in MB."
    command = [sys.executable, __file__, '--measure', what, str(folder)]
    run = subprocess.run(command, capture_output=True, text=True, env=os.environ | {'OMP_NUM_THREADS': '1', 'PYTHONPATH': str(ROOT)})
    if run.returncode: sys.exit(run.stderr)
    return json.loads(run.stdout.splitlines()[-1])


def measure(what, folder):
    if hasattr(os, 'sched_setaffinity'): os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    steps = measure_naive(folder) if what == 'naive' else measure_ours(folder, what == 'chain')
    print(json.dumps({'steps': steps, 'peak_mb': resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))


# ---------------------------------------------------------------- report
def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('folder', nargs='?', type=Path, default=REAL, help='holds full_gt_reduced.csv')
    parser.add_argument('--frames', type=int, default=180_000)
    parser.add_argument('--boxes', type=int, default=104_000)
    parser.add_argument('--measure', choices=('chain', 'open', 'naive'), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure: return measure(args.measure, args.folder)
    if not (args.folder / 'full_gt_reduced.csv').is_file():
        sys.exit(f'{args.folder} holds no full_gt_reduced.csv: name the folder of real RTSD annotations')
    with tempfile.TemporaryDirectory() as top:
        report(args, Path(top))


def report(args, top):
    for name in ('listed', 'table'): (top / name).mkdir()
    n_frames, n_boxes = make_table(args.folder, top / 'listed', args.frames, args.boxes)
    (top / 'table' / 'full-gt.csv').write_bytes((top / 'listed' / 'full-gt.csv').read_bytes())  # the row-by-row way knows no frames.csv

    chain = in_fresh_process('chain', top / 'listed')
    steps = chain['steps']
    steps['check'] = [steps['open'][i] - steps['read'][i] - steps['build'][i] for i in (0, 1)]
    total = [sum(steps[s][i] for s in ('open', 'describe', 'split')) for i in (0, 1)]
    print(f'{n_frames:,} frames, {n_boxes:,} boxes{"step":>12}{"wall s":>9}{"CPU s":>9}')
    for step in ('read', 'check', 'build', 'describe', 'split'): print(f'{step:>44}{steps[step][0]:9.2f}{steps[step][1]:9.2f}')
    print(f'{"all":>44}{total[0]:9.2f}{total[1]:9.2f}')

    runs = [(in_fresh_process('naive', top / 'table')['steps'], in_fresh_process('open', top / 'table')['steps']) for _ in range(RUNS)]
    naive, ours = min(n['naive'][1] for n, _ in runs), min(o['open'][1] for _, o in runs)
    unchecked = min(o['read'][1] + o['build'][1] for _, o in runs)
    print(f'\n{n_boxes:,} rows of full-gt.csv to one record a frame, CPU s: {naive:.2f} row by row; {ours:.2f} open_dataset, '
          f'every row checked ({unchecked:.2f} of it without the checks)')
    print(f'read_s={total[0]:.1f} peak_mb={chain["peak_mb"]:.0f} ratio={naive / ours:.2f}')


if __name__ == '__main__':
    main()
