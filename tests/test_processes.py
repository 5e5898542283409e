"""Several processes on the CPU (gloo): the same curve as one with the joint batch, each frame scored once, and no hanging when one dies."""
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from folders import square_frames, squares_on_disk
from rtsd_nb.runs import read_state
from two_processes import look, run

pytestmark = pytest.mark.slow
HERE = Path(__file__).parent


def launch(*arguments, processes=2, timeout=240):
    "`two_processes.py` in several copies."
    command = [sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc_per_node', str(processes), str(HERE / 'two_processes.py'), *map(str, arguments)]
    environment = os.environ | {'OMP_NUM_THREADS': '1', 'CUDA_VISIBLE_DEVICES': ''}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=timeout)


def test_two_processes_take_the_steps_of_one_with_the_joint_batch(tmp_path):
    square_frames(tmp_path, 12)                                    # written once, before two processes look for them
    done = launch('fit', tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    (two, other), one = (torch.load(tmp_path / f'result{i}.pt', weights_only=True) for i in (0, 1)), run(tmp_path, 1)
    assert two['steps'] == other['steps'] and all(torch.equal(two['weights'][k], v) for k, v in other['weights'].items()), 'both are one'
    assert len(two['steps']) == len(one['steps']) == 6
    apart = [abs(a['loss'] - b['loss']) / b['loss'] for a, b in zip(two['steps'], one['steps'])]
    print('relative differences of the loss, step by step:', [f'{d:.1e}' for d in apart])
    assert max(apart) < 1e-3
    assert [s['lr'] for s in two['steps']] == [s['lr'] for s in one['steps']]
    assert [(e['epoch'], e['step']) for e in two['epochs']] == [(e['epoch'], e['step']) for e in one['epochs']]
    alone = look(tmp_path)
    assert two['look']['map'] == other['look']['map'] == alone['map'] == 5, 'five frames, of which one process sees three and the other two'
    assert two['look'] == other['look'] and two['look']['map_50'] == pytest.approx(alone['map_50'], rel=1e-6)


def test_a_process_that_dies_ends_the_run_with_a_message_and_a_state(tmp_path):
    squares_on_disk(tmp_path / 'data', 12)
    done = launch('die', tmp_path)
    assert done.returncode != 0
    state = read_state(tmp_path / 'run' / 'last.pt')
    assert state['step'] >= 1
    assert 'to go on: rtsd-train --resume' in done.stderr, done.stderr[-3000:]
    from rtsd_nb.cli import train_command
    assert train_command(['--resume', str(tmp_path / 'run'), '--quiet']) == 0, 'one process goes on where two were'
    assert read_state(tmp_path / 'run' / 'last.pt')['step'] > state['step']
