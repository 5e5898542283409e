"""How long one frame takes: ours in PyTorch and in onnxruntime, beside ultralytics' YOLO11n exported the same way.

    python benchmarks/bench_latency.py [--run RUN] [--size 608x1024] [--threads 1,2] [--rounds 15]

From a frame in memory, uint8 (1, 3, H, W), to boxes and scores before suppression: normalising (for YOLO11n the division by 255),
network, decoding. All ways take turns in one process for each number of threads, and the median counts; a ratio is to YOLO11n in
onnxruntime with float32. `RUN` is a run folder, without it ours has fresh weights of four classes, which is as fast. int8 is calibrated
with embedded frames. A way that this machine lacks is left out and named (YOLO11n needs `pip install ultralytics`, AGPL-3.0; compiling a
C++ compiler). The last line is for the largest number of threads.
"""
import argparse
import importlib.util
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402


def parse_size(text):
    height, width = (int(part) for part in text.split('x'))
    return height, width


def our_detector(run, size):
    from rtsd_nb.detector import DetectorConfig, build_detector, load_detector
    if run:
        return load_detector(run)
    return build_detector(DetectorConfig(classes=tuple('abcd'), shapes=(((14., 14.), (22., 22.), (34., 34.), (60., 60.)),), size=size, objectness=False))


def calibration_frames(n=8):
    from rtsd_nb.data import open_dataset
    from rtsd_nb.scenes import make_scenes
    frames = open_dataset(make_scenes()).frames
    return frames[::len(frames) // n][:n]


def write_ours(run, size, folder):
    "{name: ONNX file} of ours."
    from rtsd_nb.export import export_onnx, halve, quantize
    full = export_onnx(our_detector(run, size), folder / 'ours.onnx')
    return {'float32': full, 'int8': quantize(full, folder / 'ours_int8.onnx', calibration_frames(), size), 'float16': halve(full, folder / 'ours_half.onnx')}


def write_yolo(size, folder):
    "{name: ONNX file} of YOLO11n for four classes, random weights: quantised by the same tool with the same frames."
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static, shape_inference
    from ultralytics import YOLO
    from ultralytics.nn.tasks import DetectionModel
    from rtsd_nb.export import CalibrationFrames
    model = YOLO('yolo11n.yaml')
    few = DetectionModel('yolo11n.yaml', nc=4, verbose=False)
    few.args, few.task, model.model = model.model.args, 'detect', few
    here = os.getcwd()
    os.chdir(folder)  # it writes beside the working directory
    full = Path(model.export(format='onnx', imgsz=size, dynamic=False, simplify=False, verbose=False)).resolve()
    os.chdir(here)
    frames = CalibrationFrames(calibration_frames(), size)
    frames.images = ({'images': image['images'].astype(np.float32) / 255} for image in frames.images)
    ready, small = folder / 'ready.onnx', folder / 'yolo_int8.onnx'
    shape_inference.quant_pre_process(str(full), str(ready), skip_symbolic_shape=True)
    quantize_static(ready, small, frames, quant_format=QuantFormat.QDQ, per_channel=True,
                    activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8)
    return {'float32': full, 'int8': small}, model.model.eval().fuse(verbose=False)


def in_onnxruntime(file, threads, as_float):
    "A function of an image that runs an ONNX file."
    import onnxruntime
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = threads, 3
    options.add_session_config_entry('session.force_spinning_stop', '1')  # or its threads disturb who comes next
    session = onnxruntime.InferenceSession(str(file), options, providers=['CPUExecutionProvider'])
    name = session.get_inputs()[0].name
    return lambda image: session.run(None, {name: image.numpy().astype(np.float32) / 255 if as_float else image.numpy()})


def in_torch(model, dtype, image):
    import torch
    from rtsd_nb.detector import autocast
    with torch.inference_mode(), autocast('cpu', dtype):
        return model(image)


def ways(args, threads, folder):
    "{(detector, way): function of an image}, and {(detector, way): why it is left out}."
    import torch
    from rtsd_nb.detector import autocast_dtype, folded
    from rtsd_nb.export import Decoded
    found, missing = {}, {}
    ours = Decoded(folded(our_detector(args.run, args.size))).eval()
    found['ours', 'PyTorch, float32'] = partial(in_torch, ours, torch.float32)
    if autocast_dtype('cpu') == torch.bfloat16:
        found['ours', 'PyTorch, bfloat16'] = partial(in_torch, ours, torch.bfloat16)
    else:
        missing['ours', 'PyTorch, bfloat16'] = 'this processor has no instructions for it'
    try:
        compiled = torch.compile(ours)
        in_torch(compiled, torch.float32, torch.zeros(1, 3, *args.size, dtype=torch.uint8))
        found['ours', 'PyTorch, compiled, float32'] = partial(in_torch, compiled, torch.float32)
    except Exception as error:
        missing['ours', 'PyTorch, compiled'] = str(error).strip().splitlines()[0][:80]
    for name, file in write_ours(args.run, args.size, folder).items():
        found['ours', f'onnxruntime, {name}'] = in_onnxruntime(file, threads, False)
    if importlib.util.find_spec('ultralytics'):
        files, yolo = write_yolo(args.size, folder)
        for name, file in files.items():
            found['yolo11n', f'onnxruntime, {name}'] = in_onnxruntime(file, threads, True)
        found['yolo11n', 'PyTorch, float32'] = lambda image: in_torch(yolo, torch.float32, image.float() / 255)
    else:
        missing['yolo11n', 'all'] = 'not installed: pip install ultralytics'
    return found, missing


def measure(args, threads):
    "Rows of one number of threads, in this process."
    import torch
    torch.set_num_threads(threads)
    with tempfile.TemporaryDirectory() as folder:
        found, missing = ways(args, threads, Path(folder))
        image = torch.randint(0, 256, (1, 3, *args.size), dtype=torch.uint8)
        times = {key: [] for key in found}
        for _ in range(args.rounds + 2):
            for key, run in found.items():
                start = time.perf_counter()
                run(image)
                times[key].append(1e3 * (time.perf_counter() - start))
    rows = [{'threads': threads, 'detector': d, 'way': w, 'ms': statistics.median(t[2:])} for (d, w), t in times.items()]
    return rows, [f'{d}, {w}: {why}' for (d, w), why in missing.items()]


def table_of(rows):
    "Rows with the ratio to YOLO11n in onnxruntime with float32 of as many threads."
    table = pd.DataFrame(rows)
    yolo = table[(table.detector == 'yolo11n') & (table.way == 'onnxruntime, float32')].set_index('threads').ms
    return table.assign(ratio=table.ms / table.threads.map(yolo)).sort_values(['threads', 'ms'])


def last_line(table):
    rows = table[(table.threads == table.threads.max()) & (table.way == 'onnxruntime, float32')].set_index('detector').ms
    ours, yolo = (rows.get(name, math.nan) for name in ('ours', 'yolo11n'))
    return f'ours_ms={ours:.1f} yolo11n_ms={yolo:.1f} latency_ratio={ours / yolo:.2f}'.replace('=nan', '=NaN')


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--run', type=Path)
    parser.add_argument('--size', type=parse_size, default=(608, 1024))
    parser.add_argument('--threads', default=','.join(str(n) for n in sorted({1, os.cpu_count() or 1})), help='default: %(default)s')
    parser.add_argument('--rounds', type=int, default=15)
    parser.add_argument('--only', type=int, help='this number of threads, in this process (the benchmark calls itself so)')
    args = parser.parse_args()
    if args.only:
        print(json.dumps(measure(args, args.only)))
        return
    rows, missing = [], []
    for threads in map(int, args.threads.split(',')):
        command = [sys.executable, __file__, f'--only={threads}', f'--size={args.size[0]}x{args.size[1]}', f'--rounds={args.rounds}']
        done = subprocess.run(command + ([f'--run={args.run}'] if args.run else []), stdout=subprocess.PIPE, text=True,
                              env=os.environ | {'OMP_NUM_THREADS': str(threads), 'MKL_NUM_THREADS': str(threads)})
        if done.returncode:
            sys.exit(f'failed with {threads} threads, see above')
        part, missing = json.loads(done.stdout.splitlines()[-1])
        rows += part
    print(f'one frame of {args.size[0]}x{args.size[1]}\n{table_of(rows).round(2).to_string(index=False)}')
    for line in missing:
        print(f'left out: {line}')
    print(last_line(table_of(rows)))


if __name__ == '__main__':
    main()
