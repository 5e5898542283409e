"""Kill a training process at random moments, go on, and compare with a run that nobody disturbed.

    python benchmarks/kill_resume.py [--kills 20] [--seed 0]

Each kill is `kill -9` of a process that runs `rtsd-train` on a few small frames: at a random moment of its life, or (every
third) while it writes a checkpoint. Then `rtsd-train --resume` goes on, in a process of its own, and is killed again with some
luck. Equal means: each weight, each moment of the optimiser and each number of the history, and best.pt and history.csv, byte
for byte. The processes are forked from one that has imported everything, so that a kill hits training and not an import.
"""
import argparse
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import cv2  # noqa: E402
import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
import torch  # noqa: E402

from rtsd_nb.cli import train_command  # noqa: E402
from rtsd_nb.runs import read_state  # noqa: E402

try:
    import torch.utils.tensorboard  # noqa: E402, F401  (once, not in each process)
except ImportError:
    pass

OPTIONS = ['--backbone', 'mobilenetv3_small_050', '--weights', 'none', '--size', '96x128', '--crop', '96x96', '--batch-size', '4', '--epochs', '3',
           '--validations', '1', '--patience', '0', '--seed', '1', '--quiet']


def draw_frames(folder, n=12):
    "Frames with a square each, of three colours for three classes, each a drive of its own; the folder."
    rng, rows = np.random.default_rng(0), ['filename,x_from,y_from,width,height,sign_class']
    folder.mkdir()
    for i in range(n):
        image, (x, y), name = np.full((96, 128, 3), 100, np.uint8), rng.integers(10, 60, 2), f'autosave{i + 1:02d}_01_2013_10_00_00_0.png'
        image[y:y + 24, x:x + 24] = np.eye(3, dtype=np.uint8)[i % 3] * 220
        cv2.imwrite(str(folder / name), image)
        rows.append(f'{name},{x},{y},24,24,{("1_1", "2_1", "3_1")[i % 3]}')
    (folder / 'signs.csv').write_text('\n'.join(rows) + '\n')
    return folder


def begin(arguments, log):
    "Start `rtsd-train` in a process of its own: its number."
    pid = os.fork()
    if pid:
        return pid
    with open(log, 'a') as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os._exit(train_command([str(a) for a in arguments]))


def is_alive(pid):
    "Whether the process is still running; it is waited for when not."
    return os.waitpid(pid, os.WNOHANG) == (0, 0)


def wait_for_moment(pid, out, moment, writing):
    "Wait `moment` seconds, and when `writing` then for the next checkpoint that is being written; False when the process has ended before."
    end = time.monotonic() + moment
    while time.monotonic() < end:
        if not is_alive(pid):
            return False
        time.sleep(0.002)
    while writing and not any((out / name).exists() for name in ('last.pt.partial', 'best.pt.partial')):
        if not is_alive(pid):
            return False
    return True


def kill(arguments, out, log, moment, writing):
    "Start, kill at the moment: what was to be seen, or None when the process had ended before."
    pid = begin(arguments, log)
    if not wait_for_moment(pid, out, moment, writing):
        return None
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return 'in a checkpoint' if any(out.glob('*.pt.partial')) else 'training' if (out / 'config.json').exists() else 'reading data'


def go_on(data, out):
    "Arguments with which a killed run continues: from the start where it had not even written what it was asked for."
    return ['--resume', out, '--quiet'] if (out / 'config.json').exists() else ['--data', data, '--out', out, '--overwrite', *OPTIONS]


def saved_step(out):
    return read_state(out / 'last.pt')['step'] if (out / 'last.pt').exists() else 0


def same(a, b):
    "Whether two states are equal, bit for bit."
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a if k not in ('spent', 'reserve'))  # seconds on the clock
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b or (a != a and b != b)


def equal_runs(a, b):
    files = all((a / name).read_bytes() == (b / name).read_bytes() for name in ('best.pt', 'history.csv', 'metrics.json'))
    return files and same(read_state(a / 'last.pt'), read_state(b / 'last.pt'))


def try_once(data, whole, out, length, rng, writing):
    "One row: kill, go on (perhaps killed again), and compare."
    log, moment = out.with_suffix('.log'), rng.uniform(0.05, 0.95) * length
    seen = kill(['--data', data, '--out', out, *OPTIONS], out, log, moment, writing)
    kills, step = int(seen is not None), saved_step(out)
    while seen and rng.random() < 0.3:
        again = kill(go_on(data, out), out, log, rng.uniform(0.05, 0.6) * length, False)
        kills += again is not None
        if again is None:
            break
    pid = begin(go_on(data, out), log)
    resumed = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    return {'moment, s': round(moment, 2), 'seen': seen or 'ended before', 'kills': kills, 'state of step': step,
            'resumed': resumed, 'equal': resumed and equal_runs(whole, out)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--kills', type=int, default=20)
    parser.add_argument('--seed', type=int, default=0, help='of the moments; default: %(default)s')
    args = parser.parse_args()
    torch.set_num_threads(1)
    rng, rows = random.Random(args.seed), []
    with tempfile.TemporaryDirectory() as folder:
        data, whole, start = draw_frames(Path(folder) / 'data'), Path(folder) / 'whole', time.monotonic()
        pid = begin(['--data', data, '--out', whole, *OPTIONS], whole.with_suffix('.log'))
        if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]):
            sys.exit(whole.with_suffix('.log').read_text())
        length = time.monotonic() - start
        while sum(row['kills'] > 0 for row in rows) < args.kills:
            rows.append(try_once(data, whole, Path(folder) / str(len(rows)), length, rng, writing=len(rows) % 3 == 2))
            if not rows[-1]['equal']:
                print((Path(folder) / f'{len(rows) - 1}.log').read_text()[-2000:])
    table = pd.DataFrame(rows)
    killed = table[table.kills > 0]
    print(f'an undisturbed run takes {length:.1f} s; {len(table) - len(killed)} had ended before their moment\n{table.to_string(index=False)}')
    print(f'kills={len(killed)} resumed={int(killed.resumed.sum())} equal={int(killed.equal.sum())}')


if __name__ == '__main__':
    main()
