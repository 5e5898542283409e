"""What a launcher starts in several copies for test_processes.py: `python -m torch.distributed.run ... two_processes.py WHAT FOLDER`.

`fit`: a run, and a validation, of which each process writes what it got. `die`: `rtsd-train`, of which the second process
is killed after its third step.
"""
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch  # noqa: E402

import rtsd_nb.training as training  # noqa: E402
from folders import norm_free_detector, square_frames  # noqa: E402
from rtsd_nb.training import TrainSettings, fit  # noqa: E402

JOINT = TrainSettings(trainable_blocks=0, epochs=3, crop=(96, 96), batch_size=8, crops_per_frame=2, validations=2, balance=0., precision='float32')


def run(folder, processes, **settings):
    "A run with the joint batch of `JOINT`; its history and weights."
    detector = norm_free_detector()
    frames = square_frames(folder, 12)
    settings = replace(JOINT, batch_size=JOINT.batch_size // processes, **settings)
    history = fit(detector, frames[:8], frames[8:11], settings, progress=False)
    return {'steps': history.steps, 'epochs': history.epochs, 'weights': detector.state_dict()}


def look(folder, process=0, processes=1):
    "A validation of five frames; its scores are a sum over all detections in which the order of the frames counts."
    detector = norm_free_detector()
    torch.nn.init.zeros_(detector.head.class_logits.bias)  # scores of a half: hundreds of detections
    torch.nn.init.zeros_(detector.head.objectness.bias)
    def checksum(found, frames):
        return {'map': len(found), 'map_50': sum((i + 1) * float(d.boxes.sum()) for i, d in enumerate(found))}
    with patch.object(training, 'score_detections', checksum):
        return training.validate(detector, square_frames(folder, 5), process=process, processes=processes)


def die(folder):
    "Train by command line; the second process kills itself."
    from rtsd_nb.cli import train_command
    if os.environ['RANK'] == '1':
        steps, take = [], training.take_step
        def take_and_die(*args):
            take(*args)
            steps.append(1)
            if len(steps) == 3: os.kill(os.getpid(), signal.SIGKILL)
        patch.object(training, 'take_step', take_and_die).start()
    return train_command(['--data', str(folder / 'data'), '--out', str(folder / 'run'), '--epochs', '3', '--batch-size', '2', '--validations', '18',
                          '--patience', '0', '--backbone', 'mobilenetv3_small_050', '--weights', 'none', '--size', '96x128', '--crop', '96x96', '--quiet', '--device', 'cpu'])


if __name__ == '__main__':
    what, folder = sys.argv[1], Path(sys.argv[2])
    torch.set_num_threads(1)
    if what == 'die':
        sys.exit(die(folder))
    rank, world = (int(os.environ[name]) for name in ('RANK', 'WORLD_SIZE'))
    result = run(folder, world) | {'look': look(folder, rank, world)}
    torch.save(result, folder / f'result{rank}.pt')
