"""Training and inference on a GPU, in several precisions, beside torchvision's and ultralytics' loops on the same frames in one run.

    python benchmarks/bench_gpu.py [--data FOLDER_OR_FILE|embedded] [--steps 60] [--workers 8] [--batch-size 64]   (make bench-gpu)

Ours: crops a second of whole steps in fp32, in the short format that the GPU has (with channels_last, as always here), and compiled;
the same without reading frames (the same batch again and again), so that the share of the input path is seen; and frames a second of
inference. torchvision: FCOS on our backbone, whole frames. ultralytics: YOLO11n, where it is installed (AGPL-3.0).
Without a GPU it runs on the CPU at tiny sizes (--tiny), to show that it runs: those figures mean nothing.
"""
import argparse
import importlib.util
import sys
import tempfile
import time
from functools import partial
from itertools import islice, repeat
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import pandas as pd  # noqa: E402
import torch  # noqa: E402
from torchvision.models.detection import FCOS  # noqa: E402

from peers import CANDIDATE_SCORE, PyramidBackbone, import_yolo  # noqa: E402
from rtsd_nb.convert import convert  # noqa: E402
from rtsd_nb.data import open_dataset  # noqa: E402
from rtsd_nb.detector import autocast_dtype, build_detector, folded  # noqa: E402
from rtsd_nb.samples import FrameDataset, fit_transform, make_loader  # noqa: E402
from rtsd_nb.scenes import make_scenes  # noqa: E402
from rtsd_nb.training import TrainSettings, detector_config, frame_size, passes, peak_memory, seed_everything, start_run, train_step  # noqa: E402

WARM_UP = 5  # steps or batches that are not counted


def synchronize():
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def per_second(do, items, n):
    "How many of `items` a second `do(item)` gets through: (rate of calls, of `n` calls after the warm-up)."
    for item in islice(items, WARM_UP):
        do(item)
    synchronize()
    start = time.perf_counter()
    for item in islice(items, n):
        do(item)
    synchronize()
    return n / (time.perf_counter() - start)


def ours(data, args, precision, compiled=False, reading=True):
    "Crops a second in training."
    settings = TrainSettings(batch_size=args.batch_size, workers=args.workers, precision=precision, compile=compiled, balance=0., crop=args.crop)
    seed_everything(0)
    detector = build_detector(detector_config(data.frames, data.classes), args.weights, settings.trainable_blocks).to(args.device).train()
    run = start_run(detector, data.frames, settings)
    batches = ((images, targets) for _, images, targets in passes(run))
    items = batches if reading else repeat(next(batches))
    return per_second(lambda batch: train_step(run, [batch]), items, args.steps) * run.settings.batch_size


@torch.inference_mode()
def our_inference(data, args, dtype, batch_size):
    "Frames a second from pixels in memory to boxes."
    seed_everything(0)
    detector = folded(build_detector(detector_config(data.frames, data.classes, args.size), args.weights).to(args.device))
    images = torch.randint(0, 256, (batch_size, 3, *detector.size), dtype=torch.uint8).to(args.device)
    def predict(batch):
        with torch.autocast(args.device, dtype=dtype or torch.bfloat16, enabled=dtype is not None):
            detector.predict(batch)
    return per_second(predict, repeat(images), args.steps) * batch_size


def torchvision_loop(data, args):
    "Frames a second in training: FCOS on our backbone, AdamW, mixed precision, whole frames."
    seed_everything(0)
    size = args.size or frame_size(data.frames)
    model = FCOS(PyramidBackbone('random' if args.weights is None else 'pretrained'), len(data.classes), min_size=min(size), max_size=max(size),
                 score_thresh=CANDIDATE_SCORE).to(args.device).train()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=5e-4)
    loader = make_loader(FrameDataset(data.frames, fit_transform(size)), args.peer_batch, shuffle=True, workers=args.workers)
    def endless():
        while True: yield from loader
    def step(batch):
        images, targets = batch
        answers = [{'boxes': t.boxes.to(args.device), 'labels': t.labels.to(args.device)} for t in targets]
        with torch.autocast(args.device, dtype=autocast_dtype(args.device), enabled=autocast_dtype(args.device) != torch.float32):
            loss = sum(model(list(images.to(args.device).float() / 255), answers).values())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
    return per_second(step, endless(), args.steps) * args.peer_batch


def ultralytics_loop(data, args):
    "Frames a second in training: YOLO11n by ultralytics' own loop and mixed precision, between its callbacks."
    model, ends = import_yolo()('yolo11n.yaml'), []
    for event in ('on_train_start', 'on_train_batch_end'):
        model.add_callback(event, lambda trainer: (synchronize(), ends.append(time.perf_counter())))
    def enough(trainer): trainer.stop = len(ends) > WARM_UP + args.steps
    model.add_callback('on_train_epoch_end', enough)
    size = args.size or frame_size(data.frames)
    epochs = -(-(WARM_UP + args.steps) * args.peer_batch // (len(data.frames) - 1)) + 1
    with tempfile.TemporaryDirectory() as folder:
        convert({'train': data.frames[:-1], 'valid': data.frames[-1:]}, data.classes, Path(folder) / 'data', to='yolo')
        model.train(data=str(Path(folder) / 'data' / 'data.yaml'), epochs=epochs, imgsz=max(size), batch=args.peer_batch, device=args.device.replace('cuda', '0'),
                    workers=args.workers, val=False, plots=False, verbose=False, pretrained=False, project=folder, name='run')
    counted = ends[WARM_UP:WARM_UP + args.steps + 1]
    return (len(counted) - 1) * args.peer_batch / (counted[-1] - counted[0])


def tried(name, measure):
    "The figure, or NaN and why not."
    try:
        value = measure()
    except Exception as error:  # a missing compiler, too little memory, a package's own errors: the others still count
        print(f'{name}: {type(error).__name__}: {str(error).splitlines()[0][:200]}')
        return float('nan')
    print(f'{name}: {value:.1f}', flush=True)
    return value


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--data', default='embedded')
    parser.add_argument('--steps', type=int, default=60)
    parser.add_argument('--workers', type=int, default=8)
    parser.add_argument('--batch-size', type=int, default=64, help='crops a step of ours; default: %(default)s')
    parser.add_argument('--peer-batch', type=int, default=8, help='frames a step of the others; default: %(default)s')
    parser.add_argument('--tiny', action='store_true', help='small crops, frames and numbers, random weights; chosen where there is no GPU')
    args = parser.parse_args()
    args.device = 'cuda' if torch.cuda.is_available() else 'cpu'
    args.crop, args.size, args.weights = TrainSettings.crop, None, 'auto'
    if args.tiny or args.device == 'cpu':
        args.steps, args.workers, args.batch_size, args.peer_batch = 2, 0, 4, 2
        args.crop, args.size, args.weights = (128, 128), (180, 320), None
    return args


def main():
    args = parse()
    data = open_dataset(make_scenes(frames=40) if args.device == 'cpu' and args.data == 'embedded' else make_scenes() if args.data == 'embedded' else args.data)
    short = {torch.bfloat16: 'bfloat16', torch.float16: 'float16'}.get(autocast_dtype(args.device), 'float32')
    yolo = importlib.util.find_spec('ultralytics') is not None
    rows = {'ours, fp32': partial(ours, data, args, 'float32'), f'ours, {short}': partial(ours, data, args, short),
            f'ours, {short}, compiled': partial(ours, data, args, short, compiled=True),
            f'ours, {short}, no reading': partial(ours, data, args, short, reading=False),
            'torchvision FCOS, our backbone': partial(torchvision_loop, data, args),
            **({'ultralytics YOLO11n': partial(ultralytics_loop, data, args)} if yolo else {}),
            'ours, inference, fp32': partial(our_inference, data, args, None, args.peer_batch),
            f'ours, inference, {short}': partial(our_inference, data, args, getattr(torch, short) if short != 'float32' else None, args.peer_batch)}
    figures = pd.Series({name: tried(name, measure) for name, measure in rows.items()}, name='crops or frames a second')
    fast, alone = figures[f'ours, {short}'], figures[f'ours, {short}, no reading']
    name = torch.cuda.get_device_name() if args.device == 'cuda' else 'CPU, tiny sizes: these figures mean nothing'
    print(f'\n{name}; {args.batch_size} crops of {args.crop[1]}x{args.crop[0]} a step, the others {args.peer_batch} frames, {args.workers} workers; '
          f'most memory {peak_memory(torch.device(args.device)):,.0f} MB\n{figures.round(1).to_string()}')
    print(f'train_fp32={figures["ours, fp32"]:.1f} train_short={fast:.1f} compiled={figures[f"ours, {short}, compiled"]:.1f} '
          f'input_share={1 - fast / alone:.2f} torchvision={figures["torchvision FCOS, our backbone"]:.1f} '
          f'ultralytics={figures.get("ultralytics YOLO11n", float("nan")):.1f} infer_short={figures[f"ours, inference, {short}"]:.1f}')


if __name__ == '__main__':
    main()
