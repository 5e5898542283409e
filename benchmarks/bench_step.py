"""Where the time of one training step goes, beside the notebook that the course grew from, in one run.

    python benchmarks/bench_step.py [--rounds 9] [--batch-size 8] [--crop 256x256] [--threads N] [--seed 0] [--compile]

`ours` is `rtsd_nb.training.train_step` itself, with the default detector, assigner and settings on the embedded drives.
`ours in fp32` takes the same batches without autocast and in the contiguous format, `ours, all in bf16` with none of the layers
of `quick_on_cpu`; `ours, assigned by a loop` compares each anchor with each sign in Python (`assign_by_iou_naive`).
`notebook` is our own short imitation of that notebook's step, see
`notebook_design.py`: two whole frames at 640x640 in float32, EfficientNet B0 (the notebook's is B7: --notebook-backbone).

A row's time is its own: what stands in another row is not in it. All ways take turns, round after round, after a round that
warms up; times are medians of the wall clock. assign_loss_share and speedup_over_fp32 are about the step without its input.
"""
import argparse
import sys
import time
from collections import Counter
from dataclasses import replace
from functools import partial
from itertools import chain, repeat
from pathlib import Path
from unittest.mock import patch

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import pandas as pd  # noqa: E402
import torch  # noqa: E402
from torch.utils.data import DataLoader, RandomSampler  # noqa: E402

from bench_input import A, NotebookPath, stack  # noqa: E402  (after torch, which reads the number of threads)
from notebook_design import SIDE, SeedDetector, seed_loss, seed_targets  # noqa: E402
import rtsd_nb.detector  # noqa: E402
from rtsd_nb.assignment import assign_by_iou_naive  # noqa: E402
from rtsd_nb.data import open_dataset  # noqa: E402
from rtsd_nb.detector import autocast_dtype, build_detector, quick_on_cpu  # noqa: E402
from rtsd_nb.loss import detection_loss, iou_quality  # noqa: E402
from rtsd_nb.scenes import make_scenes  # noqa: E402
from rtsd_nb.training import TrainSettings, detector_config, seed_everything, start_run, train_loader, train_step  # noqa: E402

ROWS = ['input', 'backbone', 'neck', 'head', 'rest of forward', 'assignment', 'loss', 'backward', 'optimiser', 'average of weights']


class Stopwatch:
    "`ms`: own time of each named function; what it calls under another name is not in it."

    def __init__(self):
        self.ms, self.inner = Counter(), [0.]

    def timed(self, name, function):
        "`function`, with its time added to the row `name` at each call."
        def call(*args, **kwargs):
            self.inner.append(0.)
            start = time.perf_counter()
            result = function(*args, **kwargs)
            spent = 1000 * (time.perf_counter() - start)
            self.ms[name] += spent - self.inner.pop()
            self.inner[-1] += spent
            return result
        return call

    def watch(self, net, optimizer):
        "Time the parts of a network, all of which have the same names here, and its optimiser."
        for name, part in (('backbone', net.backbone), ('neck', net.neck), ('head', net.head), ('rest of forward', net)):
            part.forward = self.timed(name, part.forward)
        optimizer.step = self.timed('optimiser', optimizer.step)

    def read(self):
        "The times since the last reading."
        ms, self.ms = self.ms, Counter()
        return ms


def our_way(data, settings, assign=iou_quality, fp32=False, compiled=False, quick=quick_on_cpu):
    "A function of a batch that does our step and gives {row: ms}."
    seed_everything(settings.seed)
    with patch.object(rtsd_nb.detector, 'quick_on_cpu', quick):
        detector = build_detector(detector_config(data.frames, data.classes), trainable_blocks=settings.trainable_blocks).train()
    run, watch = start_run(detector, data.frames, replace(settings, precision='float32') if fp32 else settings), Stopwatch()
    if fp32:
        detector.to(memory_format=torch.contiguous_format)
        detector.backbone.register_forward_pre_hook(lambda module, args: (args[0].contiguous(),))
    if compiled:
        detector.backbone.forward = torch.compile(detector.backbone.forward)
    watch.watch(detector, run.optimizer)
    step = watch.timed('backward', train_step)  # what no other row has: backward, and the clipping of its gradients
    loss = watch.timed('loss', partial(detection_loss, assign=watch.timed('assignment', assign)))
    update = watch.timed('average of weights', run.average.update_parameters)

    def way(images, targets):
        step(run, [(images, targets)], loss)
        update(detector)
        return watch.read()
    return way


def by_loop(outputs, target):
    "IoU thresholds for one frame, anchor after anchor."
    return assign_by_iou_naive(outputs.anchors, target.boxes)


def notebook_way(data, seed, backbone):
    "A function of a batch that does the notebook's step and gives {row: ms}."
    seed_everything(seed)
    net, watch = SeedDetector(len(data.classes), backbone, weights=None).train(), Stopwatch()
    optimizer = torch.optim.Adam([p for p in net.parameters() if p.requires_grad], lr=1e-3)
    watch.watch(net, optimizer)
    assign, batch_loss = watch.timed('assignment', seed_targets), watch.timed('loss', seed_loss)

    def step(images, targets):
        answers = net(images)
        wanted = [assign(net.anchors, t['boxes'].reshape(-1, 4), t['labels'], net.n_classes) for t in targets]
        loss = batch_loss(answers, wanted)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    step = watch.timed('backward', step)

    def way(images, targets):
        step(images, targets)
        return watch.read()
    return way


def endless(loader):
    "Batches without end; calling it reads the next one."
    return partial(next, chain.from_iterable(repeat(loader)))


def compiled_way(data, settings, batch):
    "Our step with the backbone compiled, tried on a batch; None, and a message, where that fails."
    way = our_way(data, settings, compiled=True)
    try:
        way(*batch)
    except Exception as error:  # a missing compiler, a network it cannot follow: many kinds
        print(f'--compile: no such column, torch.compile failed: {type(error).__name__}: {str(error).splitlines()[0]}')
        return None
    return way


def take_turns(ours, notebook, our_batch, notebook_batch, rounds):
    "One table a way, a row a round; `ours`: ways that take the same batches, `notebook`: the way that takes its own."
    times, watch = {name: [] for name in [*ours, 'notebook']}, Stopwatch()
    read_ours, read_notebook = (watch.timed('input', f) for f in (our_batch, notebook_batch))
    for _ in range(rounds + 1):
        batch = read_ours()
        reading = watch.read()
        for name, way in ours.items():
            times[name].append(reading | way(*batch))
        batch = read_notebook()
        times['notebook'].append(watch.read() | notebook(*batch))
    return {name: pd.DataFrame(t[1:], columns=ROWS).fillna(0.) for name, t in times.items()}


def report(times):
    "Print the medians and the shares; returns the figures of the last line."
    ms = pd.DataFrame({name: t.median() for name, t in times.items()})
    sums = pd.DataFrame({name: {'sum': t.sum(axis=1).median(), 'sum without input': t.drop(columns='input').sum(axis=1).median()}
                         for name, t in times.items()})
    print(f'\nms a step\n{pd.concat([ms, sums]).round(1).to_string()}')
    print(f'\n% of the step\n{(100 * ms / sums.loc["sum"]).round(1).to_string()}\n')
    step = sums.loc['sum without input']
    return ms.loc[['assignment', 'loss'], 'ours'].sum() / step['ours'], step['ours in fp32'] / step['ours']


def parse_args():
    def size(text): return tuple(int(side) for side in text.split('x'))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--rounds', type=int, default=9)
    parser.add_argument('--batch-size', type=int, default=TrainSettings.batch_size, help='crops; default: %(default)s')
    parser.add_argument('--crop', type=size, default=TrainSettings.crop, metavar='HxW', help='default: that of TrainSettings')
    parser.add_argument('--threads', type=int, default=torch.get_num_threads(), help='default: %(default)s')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--compile', action='store_true', help='also with the backbone compiled')
    parser.add_argument('--notebook-backbone', default='efficientnet_b0', help="of torchvision's EfficientNets; default: %(default)s")
    return parser.parse_args()


def main():
    args = parse_args()
    torch.set_num_threads(args.threads)
    settings = TrainSettings(batch_size=args.batch_size, crop=args.crop, seed=args.seed)
    data = open_dataset(make_scenes())
    our_batch = endless(train_loader(data.frames, detector_config(data.frames, data.classes).size, len(data.classes), settings))
    whole = NotebookPath(data.frames, [A.Resize(SIDE, SIDE)])
    order = RandomSampler(data.frames, generator=torch.Generator().manual_seed(args.seed))
    notebook_batch = endless(DataLoader(whole, 2, sampler=order, collate_fn=stack))
    ours = {'ours': our_way(data, settings), 'ours in fp32': our_way(data, settings, fp32=True),
            'ours, all in bf16': our_way(data, settings, quick=lambda detector: None),
            'ours, assigned by a loop': our_way(data, settings, assign=by_loop)}
    compiled = compiled_way(data, settings, our_batch()) if args.compile else None
    if compiled:
        ours['ours, compiled'] = compiled
    height, width = args.crop
    print(f'ours: {args.batch_size} crops of {width}x{height}, {autocast_dtype()}; notebook: 2 frames at {SIDE}x{SIDE}, '
          f'{args.notebook_backbone}; {args.threads} threads, {args.rounds} rounds')
    share, speedup = report(take_turns(ours, notebook_way(data, args.seed, args.notebook_backbone), our_batch, notebook_batch, args.rounds))
    print(f'assign_loss_share={share:.3f} speedup_over_fp32={speedup:.2f}')


if __name__ == '__main__':
    main()
