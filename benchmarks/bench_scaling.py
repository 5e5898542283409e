"""How much faster several processes train than one, on whatever this machine has: its GPUs, else its CPU cores, one a process.

    python benchmarks/bench_scaling.py [--processes 1,2] [--steps 20] [--batch-size 8]

Each number of processes is launched anew (torchrun) and takes the same number of steps, each process with a batch of its own, on
the embedded frames. Counted is the time between the third step and the last. Efficiency is the speed a process, over that of one alone.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import pandas as pd  # noqa: E402
import torch  # noqa: E402

from rtsd_nb.data import open_dataset  # noqa: E402
from rtsd_nb.detector import build_detector  # noqa: E402
from rtsd_nb.scenes import make_scenes  # noqa: E402
from rtsd_nb.training import TrainSettings, detector_config, fit, seed_everything  # noqa: E402

WARM_UP = 3  # steps that are not counted


def train(args):
    "What each process does; the first one writes its seconds a step."
    torch.set_num_threads(args.threads)
    data = open_dataset(make_scenes())
    settings = TrainSettings(epochs=1000, batch_size=args.batch_size, balance=0.)
    seed_everything(0)
    detector = build_detector(detector_config(data.frames, data.classes), trainable_blocks=settings.trainable_blocks)
    if torch.cuda.is_available():
        detector.cuda()
    times = []

    def after_step(run):
        times.append(time.monotonic())
        run.done = run.step >= args.steps
    fit(detector, data.frames, settings=settings, progress=False, after_step=after_step)
    if os.environ['RANK'] == '0':
        Path(args.report).write_text(json.dumps((times[-1] - times[WARM_UP - 1]) / (len(times) - WARM_UP)))


def launch(args, processes, report):
    "Seconds a step with so many processes."
    command = [sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc_per_node', str(processes), __file__,
               '--steps', str(args.steps), '--batch-size', str(args.batch_size), '--threads', str(args.threads), '--report', str(report)]
    done = subprocess.run(command, env=os.environ | {'OMP_NUM_THREADS': str(args.threads)}, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f'{processes} processes: {done.stderr[-2000:]}')
    return json.loads(report.read_text())


def main():
    available = torch.cuda.device_count() or os.cpu_count()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--processes', type=lambda text: [int(n) for n in text.split(',')], default=[1, available], help=f'default: 1,{available}')
    parser.add_argument('--steps', type=int, default=20)
    parser.add_argument('--batch-size', type=int, default=8, help='crops of a process; default: %(default)s')
    parser.add_argument('--threads', type=int, default=1, help='of a process; default: %(default)s')
    parser.add_argument('--report', help='train in this process (the benchmark launches itself so)')
    args = parser.parse_args()
    if args.report:
        return train(args)
    make_scenes()  # once, before several processes would wait for it
    with tempfile.TemporaryDirectory() as folder:
        seconds = {n: launch(args, n, Path(folder) / 'report.json') for n in args.processes}
    crops = pd.Series({n: n * args.batch_size / s for n, s in seconds.items()})
    base = crops.iloc[0] / crops.index[0]
    table = pd.DataFrame({'processes': crops.index, 'seconds a step': list(seconds.values()), 'crops a second': crops.to_numpy(),
                          'speed-up': (crops / base).to_numpy(), 'efficiency': (crops / base / crops.index).to_numpy()})
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f'CPU, {args.threads} thread(s) a process'
    print(f'{device}; {args.batch_size} crops a process and step, {args.steps} steps\n{table.round(3).to_string(index=False)}')
    print(f'processes={table.processes.iloc[-1]} speedup={table["speed-up"].iloc[-1]:.2f} efficiency={table.efficiency.iloc[-1]:.2f}')


if __name__ == '__main__':
    main()
