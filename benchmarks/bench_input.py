"""How fast frames become batches, on one core, beside two other ways, in one run.

    python benchmarks/bench_input.py [FOLDER ...]

Ways: the notebook that the course grew from (PIL, albumentations on the whole frame, float), torchvision's reading and
transforms, and `rtsd_nb.samples`. The samples are alike: a whole frame at 640x360, or a crop of 384x384 at native resolution around
a sign. The rows take turns, round after round, so that whatever else the machine does slows all alike; times are CPU
times of this process, medians over the rounds. `share of decode` is the time of the bare JPEG decode at the size
that we read, divided by the row's time: the floor is 1.

Data: the embedded drives, and every FOLDER with annotations and frames (default: ../shared/data/rtsd_frames where present).
The last line is about the embedded drives; decode_share is that of the plain crops.
"""
import argparse
import os
import sys
import time
import warnings
from functools import partial
from pathlib import Path

for name in ('OMP_NUM_THREADS', 'MKL_NUM_THREADS'):
    os.environ[name] = '1'
os.environ.setdefault('NO_ALBUMENTATIONS_UPDATE', '1')
ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import albumentations as A  # noqa: E402
import cv2  # noqa: E402
import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
import torch  # noqa: E402
import torchvision  # noqa: E402
from albumentations.pytorch import ToTensorV2  # noqa: E402
from PIL import Image  # noqa: E402
from torch.utils.data import DataLoader, Subset  # noqa: E402
from torchvision import tv_tensors  # noqa: E402
from torchvision.transforms import v2  # noqa: E402

from rtsd_nb import samples  # noqa: E402
from rtsd_nb.data import open_dataset  # noqa: E402
from rtsd_nb.samples import (FrameDataset, FrameReader, collate, color_augment, crop_transform, fit_transform,  # noqa: E402
                             frame_size_of, reduction)
from rtsd_nb.scenes import make_scenes  # noqa: E402

WHOLE, CROP, BATCH = (360, 640), (384, 384), 8
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class NotebookPath:
    "PIL, an RGB array of the whole frame, albumentations with boxes in lists, float32."

    def __init__(self, frames, steps):
        self.frames = frames
        self.boxes = [f.boxes.tolist() for f in frames]
        self.labels = [f.labels.tolist() for f in frames]
        params = A.BboxParams('pascal_voc', label_fields=['labels'], min_visibility=0.5)
        self.transform = A.Compose([*steps, A.Normalize(MEAN, STD), ToTensorV2()], bbox_params=params, seed=0)

    def __getitem__(self, i):
        image = np.array(Image.open(self.frames[i].path).convert('RGB'))
        out = self.transform(image=image, bboxes=self.boxes[i], labels=self.labels[i])
        target = {'boxes': torch.tensor(np.array(out['bboxes']), dtype=torch.float32), 'labels': torch.tensor(out['labels'], dtype=torch.int64)}
        return out['image'], target


class TorchvisionPath:
    "torchvision's decoder, boxes as tv_tensors, transforms v2, float32."

    def __init__(self, frames, steps):
        self.frames = frames
        self.transform = v2.Compose([*steps, v2.SanitizeBoundingBoxes(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD)])

    def __getitem__(self, i):
        frame = self.frames[i]
        image = tv_tensors.Image(torchvision.io.decode_image(str(frame.path), mode='RGB'))
        boxes = tv_tensors.BoundingBoxes(frame.boxes, format='XYXY', canvas_size=image.shape[-2:])
        return self.transform(image, {'boxes': boxes, 'labels': frame.labels})


class BareDecode:
    "Nothing but the pixels: file, decoder, kept memory."

    def __init__(self, frames, reduced):
        self.frames, self.reduced, self.reader = frames, reduced, FrameReader()

    def __getitem__(self, i):
        frame = self.frames[i]
        return self.reader(frame.path, frame_size_of(frame), self.reduced)


def stack(batch):
    "The notebook's way of making a batch."
    images, targets = zip(*batch)
    return torch.stack(images), targets


def one_epoch(dataset, batch, n):
    "Frames 0..n-1 as batches by PyTorch's loader without workers; `batch` makes a batch of a list of samples."
    for _ in DataLoader(Subset(dataset, range(n)), BATCH, collate_fn=batch):
        pass


def by_opencv(dataset, n):
    "The same as `one_epoch` for our data set, without simplejpeg."
    kept, samples.simplejpeg = samples.simplejpeg, None
    try:
        one_epoch(dataset, collate, n)
    finally:
        samples.simplejpeg = kept


def normalise(images, n):
    "What the network does first with each batch, here on this core."
    mean, std = (255 * torch.tensor(v).view(1, 3, 1, 1) for v in (MEAN, STD))
    for _ in range(0, n, BATCH):
        (images.float() - mean) / std


def pil_decode(frames, n):
    "The notebook's first step alone."
    for frame in frames[:n]:
        np.array(Image.open(frame.path).convert('RGB'))


def plan_only(dataset, n):
    "Our first pass alone: windows."
    return [dataset.plan(i) for i in range(n)]


def plan_and_read(dataset, n):
    "Our first two passes: windows and pixels."
    for plan in plan_only(dataset, n):
        dataset.read(*plan)


def parts(frames, dataset):
    "{row: function of n frames} for parts of the notebook's way and of ours."
    return {'part: PIL decode': partial(pil_decode, frames),
            'part: our windows': partial(plan_only, dataset),
            'part: our windows and pixels': partial(plan_and_read, dataset)}


def whole_rows(frames):
    "{row: function of n frames} for whole frames at 640x360."
    shrink = reduction(max(samples.fit_scale(frame_size_of(f), WHOLE) for f in frames))
    ours = FrameDataset(frames, fit_transform(WHOLE))
    return {'bare decode': partial(one_epoch, BareDecode(frames, shrink), len),
            'notebook': partial(one_epoch, NotebookPath(frames, [A.Resize(*WHOLE)]), stack),
            'torchvision': partial(one_epoch, TorchvisionPath(frames, [v2.Resize(WHOLE)]), stack),
            'ours': partial(one_epoch, ours, collate),
            'ours, decoded by OpenCV': partial(by_opencv, ours),
            'normalise (a GPU does this)': partial(normalise, collate([ours[0]] * BATCH)[0]), **parts(frames, ours)}


def crop_rows(frames):
    "{row: function of n frames} for crops of 384x384 at native resolution, all around a sign."
    def crops(scale=(1, 1), augment=None, **kwargs):
        return FrameDataset(frames, crop_transform(CROP, scale=scale, sign_share=1, augment=augment), **kwargs)
    cut = [A.AtLeastOneBBoxRandomCrop(*CROP)]
    return {'bare decode': partial(one_epoch, BareDecode(frames, 1), len),
            'notebook': partial(one_epoch, NotebookPath(frames, cut), stack),
            'torchvision': partial(one_epoch, TorchvisionPath(frames, [v2.RandomCrop(CROP)]), stack),
            'ours': partial(one_epoch, crops(), collate),
            'ours, decoded by OpenCV': partial(by_opencv, crops()),
            'ours, 4 crops a frame (per crop)': partial(four_crops, crops(crops_per_frame=4)),
            'notebook, with colours': partial(one_epoch, NotebookPath(frames, cut + [color_augment()]), stack),
            'ours, with colours': partial(one_epoch, crops(augment=True), collate),
            'ours, with colours and scale jitter': partial(one_epoch, crops((0.65, 1.5), True), collate),
            'normalise (a GPU does this)': partial(normalise, collate([crops()[0]] * BATCH)[0]), **parts(frames, crops())}


def four_crops(dataset, n):
    "As many crops as the other rows give, from a quarter of the frames."
    one_epoch(dataset, collate, n // 4)


def measure(rows, n, rounds):
    "(CPU ms, wall ms) a sample of each row, medians over interleaved rounds."
    times = {row: [] for row in rows}
    for _ in range(rounds + 1):
        for row, run in rows.items():
            cpu, wall = time.process_time(), time.perf_counter()
            run(n)
            times[row].append((1e3 * (time.process_time() - cpu) / n, 1e3 * (time.perf_counter() - wall) / n))
    return pd.DataFrame({row: np.median(t[1:], axis=0) for row, t in times.items()}, index=['cpu_ms', 'wall_ms']).T  # the first round warms up


def table_of(rows, n, rounds):
    "The figures of one kind of sample; ratios are over the notebook's path of the same name."
    table = measure(rows, n, rounds)
    base = pd.Series(np.where(table.index.str.contains('with colours') & ('notebook, with colours' in table.index),
                              table.cpu_ms.get('notebook, with colours', np.nan), table.cpu_ms['notebook']), table.index)
    table['frames/s'] = 1e3 / table.cpu_ms
    table['ratio'] = base / table.cpu_ms
    table['share of decode'] = table.cpu_ms['bare decode'] / table.cpu_ms
    return table


def where_it_goes(table):
    "Shares of the notebook's time: its own steps, and ours for the same sample."
    ms = table.cpu_ms
    theirs = {'JPEG decode': ms['part: PIL decode'], 'resize or crop, float, batch': ms['notebook'] - ms['part: PIL decode']}
    ours = {'JPEG decode': ms['bare decode'], 'window': ms['part: our windows'],
            'cut, part colours': ms['part: our windows and pixels'] - ms['part: our windows'] - ms['bare decode'],
            'boxes, batch': ms['ours'] - ms['part: our windows and pixels']}
    shares = {name: {k: round(float(v / ms['notebook']), 2) for k, v in steps.items()} for name, steps in (('notebook', theirs), ('ours', ours))}
    return '\n'.join(f'{name}: {steps}' for name, steps in shares.items())


def report(name, frames, n, rounds):
    "Print both tables of a data set; returns them."
    frames = [f for f in frames if len(f.boxes)][:n]
    size = sorted({frame_size_of(f) for f in frames})
    print(f'{name}: {len(frames)} frames of {", ".join(f"{w}x{h}" for h, w in size)} px, {rounds} rounds')
    tables = []
    for title, rows in ((f'whole frames at {WHOLE[1]}x{WHOLE[0]}', whole_rows), (f'crops of {CROP[1]}x{CROP[0]}', crop_rows)):
        tables.append(table_of(rows(frames), len(frames), rounds))
        shown = tables[-1][~tables[-1].index.str.startswith('part:')]
        print(f'\n{title}\n{shown.round(2).to_string()}')
        print(f"shares of the notebook's time\n{where_it_goes(tables[-1])}")
    print()
    return tables


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('folders', nargs='*', type=Path, help='data sets with frames, measured beside the embedded drives')
    parser.add_argument('--frames', type=int, default=32, help='frames of each data set')
    parser.add_argument('--rounds', type=int, default=9)
    args = parser.parse_args()
    warnings.filterwarnings('ignore', category=DeprecationWarning, module='torchvision')
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    usual = ROOT.parent / 'shared' / 'data' / 'rtsd_frames'
    folders = args.folders or [usual] * usual.exists()
    print('decoder:', 'simplejpeg' if samples.simplejpeg else 'OpenCV (simplejpeg is not installed)')
    for folder in folders:
        report(folder.name, open_dataset(folder).frames, args.frames, args.rounds)
    whole, crops = report('embedded drives', open_dataset(make_scenes(frames=300)).frames, args.frames, args.rounds)
    print(f'input_ratio_640x360={whole.ratio["ours"]:.2f} input_ratio_crops={crops.ratio["ours"]:.2f} '
          f'decode_share={crops["share of decode"]["ours"]:.2f}')


if __name__ == '__main__':
    main()
