"""What postprocessing costs: scoring only likely anchors against all, soft against hard suppression, tiles against the whole frame.

    python benchmarks/bench_postprocess.py

Times are CPU times on one thread, the best of some runs, side by side in this process; the last line holds their ratios.
"""
import argparse
import os
import sys
import time
from pathlib import Path

for name in ('OMP_NUM_THREADS', 'MKL_NUM_THREADS'):
    os.environ[name] = '1'
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch  # noqa: E402

from rtsd_nb.boxes import Detections  # noqa: E402
from rtsd_nb.detector import Outputs  # noqa: E402
from rtsd_nb.head import anchor_shapes, grid_anchors, map_sizes, rtsd_like_sizes  # noqa: E402
from rtsd_nb.postprocess import class_agnostic_nms, class_wise_nms, gaussian_soft_nms, linear_soft_nms, postprocess, tile_grid  # noqa: E402

SIZE = (720, 1280)


def best_ms(work, runs):
    "The shortest of `runs` calls of `work`, in milliseconds."
    times = []
    for _ in range(runs):
        start = time.process_time()
        work()
        times.append(1000 * (time.process_time() - start))
    return min(times)


def trained_outputs(n_classes, objectness):
    "Outputs as a trained detector gives them for one frame: sure of nearly every anchor that it is background."
    generator = torch.Generator().manual_seed(0)
    anchors = grid_anchors(map_sizes(SIZE, [8]), [8], [anchor_shapes(rtsd_like_sizes(1000), 5)])
    n = len(anchors)
    class_logits = torch.randn(1, n, n_classes, generator=generator) - (4 if objectness else 9)
    sure = torch.randn(1, n, generator=generator) - 7 if objectness else None
    return Outputs(class_logits, 0.1 * torch.randn(1, n, 4, generator=generator), sure, anchors, (n,), 5, SIZE)


def all_scored(outputs):
    return [postprocess(scores, deltas, outputs.anchors, outputs.size) for scores, deltas in zip(outputs.scores(), outputs.deltas)]


def crowd(n, n_classes=50):
    "`n` boxes of the sizes of signs anywhere in a frame."
    generator = torch.Generator().manual_seed(0)
    corner, wh = torch.rand(n, 2, generator=generator) * torch.tensor([1200., 650.]), torch.rand(n, 2, generator=generator) * 40 + 16
    scores, labels = torch.rand(n, generator=generator), torch.randint(n_classes, (n,), generator=generator)
    return Detections(torch.cat([corner, corner + wh], 1), scores, labels)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--runs', type=int, default=5, help='the best of so many (default: %(default)s)')
    args = parser.parse_args()
    ratios = {}
    print('outputs to detections, 72,000 anchors, ms a frame')
    print(f'{"classes":>8} {"objectness":>11} {"all":>8} {"likely":>8}')
    for n_classes, objectness in ((4, True), (155, True), (155, False)):
        outputs = trained_outputs(n_classes, objectness)
        everything, likely = best_ms(lambda: all_scored(outputs), args.runs), best_ms(outputs.detections, args.runs)
        ratios[f'likely_ratio_{n_classes}{"" if objectness else "_no_objectness"}'] = everything / likely
        print(f'{n_classes:8} {objectness!s:>11} {everything:8.1f} {likely:8.1f}')
    print('\nsuppression, ms')
    kinds = (class_wise_nms, class_agnostic_nms, linear_soft_nms, gaussian_soft_nms)
    print(f'{"boxes":>8}' + ''.join(f'{kind.__name__:>20}' for kind in kinds))
    for n in (100, 1000, 5000):
        found = crowd(n)
        times = [best_ms(lambda: kind(found), args.runs) for kind in kinds]
        ratios[f'soft_over_hard_{n}'] = times[-1] / times[0]
        print(f'{n:8}' + ''.join(f'{t:20.1f}' for t in times))
    print('\npixels of all tiles over those of the frame, overlap 192')
    for size in (SIZE, (1080, 1920)):
        for tile in (512, 640):
            n = len(tile_grid(size, (tile, tile), 192, 16))
            print(f'{size[1]}x{size[0]}, tiles of {tile}: {n:3} tiles, {n * tile ** 2 / (size[0] * size[1]):.2f} times')
    print(' '.join(f'{name}={ratio:.2f}' for name, ratio in ratios.items()))


if __name__ == '__main__':
    main()
