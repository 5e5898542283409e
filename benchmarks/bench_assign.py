"""How much faster the tensor form of each assigner is than its loop, in one run.

    python benchmarks/bench_assign.py [--signs 4 16 64] [--rounds 3]

The grid is that of a 720x1280 frame at stride 8 with five shapes a cell (72,000 anchors); the signs have RTSD's sizes and
stand at random places. Centre sampling, which is made for points, is timed on the same grid. Each round times every loop
once and, before and after it, its tensor form, so that whatever else the machine does slows both alike. Times are CPU
times of this process on one thread; the ratio is that of the medians over the rounds. The tensors are float32, as in
training. On the first frame both forms must also give the same assignment, in float64, where rounding cannot part them.

The last line is about ATSS, the default rule.
"""
import argparse
import os
import statistics
import sys
import time
from pathlib import Path

for name in ('OMP_NUM_THREADS', 'MKL_NUM_THREADS'):
    os.environ[name] = '1'
ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import pandas as pd  # noqa: E402
import torch  # noqa: E402

from rtsd_nb import assignment as rules  # noqa: E402
from rtsd_nb.head import anchor_shapes, grid_anchors, map_sizes, rtsd_like_sizes  # noqa: E402

SIZE, STRIDE, N_SHAPES = (720, 1280), 8, 5
HEADLINE = 'ATSS'


def random_signs(n, seed):
    "`n` boxes of RTSD's sizes at random places of the frame: (n, 4) float64."
    sizes = rtsd_like_sizes(n, seed).double()
    room = torch.tensor([SIZE[1], SIZE[0]]) - sizes
    corner = torch.rand(n, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * room
    return torch.cat([corner, corner + sizes], 1)


def make_calls(anchors, boxes, seed, dtype):
    "Name of a rule -> (tensor form, loop), to be called without arguments, on tensors of `dtype`."
    g = torch.Generator().manual_seed(seed)
    scores = torch.rand(len(anchors), len(boxes), generator=g, dtype=torch.float64)
    decoded = anchors + 3 * torch.randn(anchors.shape, generator=g, dtype=torch.float64)
    anchors, boxes, scores, decoded = (t.to(dtype) for t in (anchors, boxes, scores, decoded))
    by_name = {'IoU thresholds': ('assign_by_iou', (anchors, boxes), {}),
               'ATSS': ('assign_atss', (anchors, boxes), dict(n_shapes=N_SHAPES)),
               'centre sampling': ('assign_by_centre', (anchors, boxes), {}),
               'task-aligned': ('assign_task_aligned', (anchors, boxes, scores, decoded), {})}

    def call(function, args, kwargs):
        return lambda: getattr(rules, function)(*args, **kwargs)
    return {name: (call(f, args, kwargs), call(f'{f}_naive', args, kwargs)) for name, (f, args, kwargs) in by_name.items()}


def check_agreement(calls):
    "Stop when a loop and its tensor form assign differently."
    for name, (fast, loop) in calls.items():
        if not torch.equal(fast().matched, loop().matched):
            sys.exit(f'{name}: the loop and the tensors disagree')


def cpu_seconds(f):
    start = time.process_time()
    f()
    return time.process_time() - start


def measure(n_signs, rounds):
    "One row a rule: medians of both forms in milliseconds and their ratio."
    shapes = anchor_shapes(rtsd_like_sizes(2000), N_SHAPES)
    anchors = grid_anchors(map_sizes(SIZE, [STRIDE]), [STRIDE], [shapes]).double()
    times = {}
    for seed in range(rounds):
        boxes = random_signs(n_signs, seed)
        if seed == 0:
            check_agreement(make_calls(anchors, boxes, seed, torch.float64))
        for name, (fast, loop) in make_calls(anchors, boxes, seed, torch.float32).items():
            before, slow, after = cpu_seconds(fast), cpu_seconds(loop), cpu_seconds(fast)
            times.setdefault(name, []).append((slow, (before + after) / 2))
    rows = []
    for name, pairs in times.items():
        loop_ms, tensor_ms = (1000 * statistics.median(column) for column in zip(*pairs))
        rows.append(dict(signs=n_signs, rule=name, loop_ms=loop_ms, tensor_ms=tensor_ms, ratio=loop_ms / tensor_ms))
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--signs', type=int, nargs='+', default=[4, 16, 64], help='signs in the frame; default: %(default)s')
    parser.add_argument('--rounds', type=int, default=3, help='frames a number of signs; default: %(default)s')
    args = parser.parse_args()
    torch.set_num_threads(1)
    table = pd.DataFrame([row for n in args.signs for row in measure(n, args.rounds)])
    print(table.round(1).to_string(index=False))
    headline = table[table.rule == HEADLINE].set_index('signs').ratio
    print(f'\nloop over tensors, {HEADLINE}:')
    print(' '.join(f'assign_ratio_{n}={headline[n]:.1f}' for n in args.signs))


if __name__ == '__main__':
    main()
