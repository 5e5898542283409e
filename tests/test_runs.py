"""A run is a folder from which nothing is lost: resume, faults and their messages, files that are not trusted, determinism."""
import copy
import errno
import importlib.util
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch

import rtsd_nb.cli as cli
import rtsd_nb.samples as samples
import rtsd_nb.training as training
from folders import square_frames, squares_on_disk, tiny_config, tiny_detector
from rtsd_nb.cli import export_command, runs_command, train_command
from rtsd_nb.detector import build_detector, load_detector, read_checkpoint, save_detector, write_atomically
from rtsd_nb.loss import detection_loss
from rtsd_nb.runs import Recorder, notebook_commit, read_state, runs_table
from rtsd_nb.training import BadLoss, TrainSettings, fit, largest_batch, rate_range, start_run, state_of

QUICK = TrainSettings(trainable_blocks=None, epochs=2, crop=(96, 96), batch_size=4, validations=4, balance=0.)
OPTIONS = ['--backbone', 'mobilenetv3_small_050', '--weights', 'none', '--size', '96x128', '--crop', '96x96', '--batch-size', '4', '--epochs', '3', '--validations', '1',
           '--patience', '0', '--quiet']


@pytest.fixture
def data(tmp_path):
    return squares_on_disk(tmp_path / 'data')


def command(data, out, *more):
    return ['--data', str(data), '--out', str(out), *OPTIONS, *more]


def weights_of(out):
    return load_detector(out).state_dict()


def equal(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def train(frames, settings=QUICK, **kwargs):
    detector = tiny_detector()
    history = fit(detector, frames[:6], frames[6:], settings, progress=False, **kwargs)
    return detector.state_dict(), history


# ---- the same numbers ----

@pytest.mark.parametrize('workers', [1, 2])
def test_the_number_of_workers_does_not_matter(tmp_path, workers):
    frames = square_frames(tmp_path, 8)
    (one, history), (other, again) = (train(frames, replace(QUICK, workers=n)) for n in (0, workers))
    assert equal(one, other) and history.steps == again.steps and history.epochs == again.epochs


@pytest.mark.parametrize('settings', [{}, {'accumulate': 2}, {'calm_share': 0.5}, {'workers': 1}])
def test_a_run_goes_on_from_every_step_bit_for_bit(tmp_path, settings):
    frames, settings, states = square_frames(tmp_path, 8), replace(QUICK, **settings), {}
    whole, history = train(frames, settings, after_step=lambda run: states.update({run.step: copy.deepcopy(state_of(run))}))
    for step in list(states)[:-1]:
        resumed, again = train(frames, settings, state=copy.deepcopy(states[step]))
        assert equal(whole, resumed) and again.steps == history.steps and again.epochs == history.epochs, f'from step {step}'


def test_a_random_network_goes_on_bit_for_bit_too(tmp_path):
    # drop path draws from torch's generator at each step: its state must be in the state of the run
    def train_dropping(after_step=None, state=None):
        detector = tiny_detector()
        detector.neck.register_forward_hook(lambda neck, args, maps: [torch.nn.functional.dropout(m, 0.5, training=neck.training) for m in maps])
        history = fit(detector, frames[:6], frames[6:], QUICK, progress=False, after_step=after_step, state=state)
        return detector.state_dict(), history
    frames, states = square_frames(tmp_path, 8), {}
    whole, history = train_dropping(lambda run: states.update({run.step: copy.deepcopy(state_of(run))}))
    resumed, again = train_dropping(state=states[3])
    assert equal(whole, resumed) and again.steps == history.steps


def test_calm_epochs_change_no_colours(tmp_path):
    frames, seen = square_frames(tmp_path, 8), []
    train(frames, replace(QUICK, epochs=4, calm_share=0.5), after_step=lambda run: seen.append(run.loader.dataset.transform.augment is None))
    assert seen == [False] * (len(seen) // 2) + [True] * (len(seen) // 2)


def test_float16_learns_with_a_scaled_loss(tmp_path):
    frames, scales, dtypes = square_frames(tmp_path, 8), [], set()

    def note(run):
        scales.append(run.scaler.get_scale())
        run.detector.head.register_forward_hook(lambda head, args, out: dtypes.add(out[0].dtype))
    histories = [train(frames, replace(QUICK, precision=precision), after_step=note)[1] for precision in ('float32', 'float16')]
    n = len(histories[0].steps)
    assert scales[:n] == [1.] * n and min(scales[n:]) > 1000 and torch.float16 in dtypes
    losses = [h.step_table().loss.tolist() for h in histories]
    assert losses[1] == pytest.approx(losses[0], rel=0.05)


# ---- the command goes on ----

def test_ctrl_c_finishes_the_step_and_resume_goes_on(data, tmp_path, capsys, monkeypatch):
    assert train_command(command(data, tmp_path / 'whole')) == 0
    take, steps = training.take_step, []

    def take_and_stop(*args):
        take(*args)
        steps.append(1)
        if len(steps) == 5: signal.raise_signal(signal.SIGINT)
    monkeypatch.setattr(training, 'take_step', take_and_stop)
    capsys.readouterr()
    assert train_command(command(data, tmp_path / 'run')) == 130
    monkeypatch.undo()
    error = capsys.readouterr().err
    assert f'holds the run up to step 5; to go on: rtsd-train --resume {tmp_path / "run"}' in error and 'stopped' in error
    assert read_state(tmp_path / 'run' / 'last.pt')['step'] == 5
    assert train_command(['--resume', str(tmp_path / 'run'), '--quiet']) == 0
    assert 'going on after step 5' in capsys.readouterr().out
    for name in ('best.pt', 'history.csv', 'metrics.json', 'curves.png'):
        assert (tmp_path / 'run' / name).read_bytes() == (tmp_path / 'whole' / name).read_bytes(), name


def test_resume_takes_no_other_settings_and_no_other_frames(data, tmp_path, capsys):
    run = tmp_path / 'run'
    assert train_command(command(data, run)) == 0
    assert train_command(['--resume', str(run), '--seed', '5', '--quiet']) == 2
    assert '--seed is 0' in capsys.readouterr().err
    assert train_command(['--resume', str(tmp_path / 'nowhere'), '--quiet']) == 2
    assert 'no such file' in capsys.readouterr().err
    assert train_command(['--resume', str(run), '--quiet']) == 0, 'a finished run is scored again, nothing else'
    rows = (data / 'signs.csv').read_text().splitlines()
    (data / 'signs.csv').write_text('\n'.join(rows[:-1]) + '\n')
    assert train_command(['--resume', str(run), '--quiet']) == 2
    assert 'split.csv' in capsys.readouterr().err
    assert train_command(command(data, run)) == 2 and '--resume' in capsys.readouterr().err, 'and no run is overwritten'


def test_overwriting_leaves_nothing_of_the_old_run(data, tmp_path, monkeypatch):
    run = tmp_path / 'run'
    assert train_command(command(data, run)) == 0
    monkeypatch.setattr(cli, 'fit', lambda *args, **kwargs: (_ for _ in ()).throw(RuntimeError('killed early')))
    assert train_command(command(data, run, '--overwrite')) == 2
    assert not (run / 'last.pt').exists() and not (run / 'best.pt').exists()


def test_config_repeats_a_run(data, tmp_path):
    assert train_command(command(data, tmp_path / 'run', '--seed', '3')) == 0
    assert train_command(['--config', str(tmp_path / 'run' / 'config.json'), '--out', str(tmp_path / 'twin'), '--quiet']) == 0
    assert equal(weights_of(tmp_path / 'run'), weights_of(tmp_path / 'twin'))
    other = cli.train_arguments(['--config', str(tmp_path / 'run' / 'config.json'), '--seed', '4', '--minutes', '2'])
    assert (other.seed, other.minutes, other.backbone, other.out.name) == (4, 2., 'mobilenetv3_small_050', 'train')
    assert cli.train_arguments(['--config', str(tmp_path / 'run' / 'config.json'), '--epochs', '9']).epochs == 9
    config = json.loads((tmp_path / 'run' / 'config.json').read_text())
    assert config['environment']['commit'] == notebook_commit() and config['environment']['packages']['torch'] and config['processes'] == 1


def test_a_run_folder_is_complete_and_listed(data, tmp_path, capsys):
    for seed in '01':
        assert train_command(command(data, tmp_path / 'runs' / seed, '--seed', seed, '--validations', '3')) == 0
    names = {p.relative_to(tmp_path / 'runs' / '0').as_posix() for p in (tmp_path / 'runs' / '0').rglob('*')}
    assert names >= {'config.json', 'split.csv', 'problems.csv', 'history.csv', 'curves.png', 'best.pt', 'last.pt', 'metrics.json', 'predictions.png'}
    assert len([n for n in names if n.startswith('predictions/step_')]) == 3, 'a picture a validation'
    assert not [n for n in names if n.endswith('.partial')]
    printed = capsys.readouterr().out
    assert 'epoch 1, step ' in printed and 'mAP50' in printed and 'most memory in use' in printed
    assert runs_command([str(tmp_path / 'runs'), '--csv', str(tmp_path / 'runs.csv')]) == 0
    table = pd.read_csv(tmp_path / 'runs.csv')
    assert sorted(table['seed']) == [0, 1] and set(table['state']) == {'done'} and table['map'].is_monotonic_decreasing
    assert runs_command([str(tmp_path / 'data')]) == 2 and 'no run' in capsys.readouterr().err
    (tmp_path / 'runs' / '0' / 'metrics.json').unlink()
    assert 'not finished' in runs_table([tmp_path / 'runs'])['state'].tolist()


def test_tensorboard_events_go_on_too(data, tmp_path):
    pytest.importorskip('tensorboard')
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    assert train_command(command(data, tmp_path / 'run')) == 0
    events = EventAccumulator(str(tmp_path / 'run' / 'tensorboard'))
    events.Reload()
    history = pd.read_csv(tmp_path / 'run' / 'history.csv')
    assert [e.step for e in events.Scalars('valid/map')] == history.step.tolist()[-1:]
    assert [e.step for e in events.Scalars('train/loss')] == list(range(1, history.step.max() + 1))
    assert events.Scalars('valid/map')[-1].value == pytest.approx(history['map'].iloc[-1])


@pytest.mark.slow
def test_kills_lose_nothing(root):
    done = subprocess.run([sys.executable, root / 'benchmarks' / 'kill_resume.py', '--kills', '5'], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1:] == ['kills=5 resumed=5 equal=5'], done.stdout + done.stderr
    assert 'in a checkpoint' in done.stdout, 'some were killed while they wrote'


# ---- faults ----

def test_a_full_disk_leaves_the_last_state(data, tmp_path, capsys, monkeypatch):
    written = []

    def sync(file, real=os.fsync):
        written.append(1)
        if len(written) > 12: raise OSError(errno.ENOSPC, 'No space left on device')
        real(file)
    monkeypatch.setattr(os, 'fsync', sync)
    assert train_command(command(data, tmp_path / 'run')) == 2
    monkeypatch.undo()
    error, state = capsys.readouterr().err, read_state(tmp_path / 'run' / 'last.pt')
    assert 'no space left' in error and f'up to step {state["step"]}; to go on' in error
    assert not list((tmp_path / 'run').rglob('*.partial'))
    assert train_command(['--resume', str(tmp_path / 'run'), '--quiet']) == 0
    assert train_command(command(data, tmp_path / 'whole')) == 0
    assert equal(weights_of(tmp_path / 'run'), weights_of(tmp_path / 'whole'))


def test_a_folder_that_cannot_be_written_to_is_known_before_training(data, tmp_path, capsys, monkeypatch):
    (tmp_path / 'file').write_text('')
    assert train_command(command(data, tmp_path / 'file' / 'run')) == 2
    assert str(tmp_path / 'file') in capsys.readouterr().err

    def refuse(source, target): raise PermissionError(errno.EACCES, 'Permission denied', str(target))
    monkeypatch.setattr(os, 'replace', refuse)
    assert train_command(command(data, tmp_path / 'run')) == 2
    error = capsys.readouterr().err
    assert 'Permission denied' in error and 'config.json' in error and 'Traceback' not in error


def test_a_worker_that_dies_leaves_a_state_and_says_why(data, tmp_path, capsys, monkeypatch):
    read = samples.read_image

    def read_and_die(path, *args, **kwargs):
        if torch.utils.data.get_worker_info() is not None and (tmp_path / 'run' / 'last.pt').exists(): os.kill(os.getpid(), signal.SIGKILL)
        return read(path, *args, **kwargs)
    monkeypatch.setattr(samples, 'read_image', read_and_die)
    assert train_command(command(data, tmp_path / 'run', '--workers', '1')) == 2
    error = capsys.readouterr().err
    assert 'a process that reads frames has died' in error and 'to go on: rtsd-train --resume' in error
    monkeypatch.undo()
    assert train_command(['--resume', str(tmp_path / 'run'), '--quiet']) == 0
    assert train_command(command(data, tmp_path / 'whole')) == 0
    assert equal(weights_of(tmp_path / 'run'), weights_of(tmp_path / 'whole'))


def spoilt_loss(calls, at, outputs, targets):
    "`detection_loss`, NaN at call number `at`."
    calls.append(1)
    losses = detection_loss(outputs, targets)
    return replace(losses, box=losses.box * float('nan')) if len(calls) == at else losses


def test_a_loss_that_is_not_finite_keeps_the_batch_and_stops(data, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(cli.LOSSES, 'atss-quality', partial(spoilt_loss, [], 3))
    assert train_command(command(data, tmp_path / 'run')) == 2
    error = capsys.readouterr().err
    assert 'the loss of step 3 is nan on frames' in error and 'bad_batch_000003.pt' in error
    batch = read_checkpoint(tmp_path / 'run' / 'bad_batch_000003.pt', 'batch')
    assert batch['images'].shape == (4, 3, 96, 96) and len(batch['targets']) == 4 and batch['targets'][0]['filename'] in error


def test_or_leaves_it_out_where_that_was_asked_for(data, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(cli.LOSSES, 'atss-quality', partial(spoilt_loss, [], 3))
    assert train_command(command(data, tmp_path / 'run', '--skip-bad')) == 0
    assert 'bad_batch_000003.pt' in capsys.readouterr().err
    state = read_state(tmp_path / 'run' / 'last.pt')
    assert state['skipped'] == 1 and 3 not in [s['step'] for s in state['steps']] and state['steps'][-1]['step'] == state['step']
    assert all(v.isfinite().all() for v in weights_of(tmp_path / 'run').values() if v.is_floating_point())


# ---- memory, batch size, rate ----

def test_the_largest_batch_that_fits_is_found(monkeypatch):
    detector, tried = tiny_detector().to('meta'), []

    def run_out(model, images, dtype):
        tried.append(len(images))
        if len(images) > 20: raise torch.OutOfMemoryError('CUDA out of memory. Tried to allocate 1 GiB')
    monkeypatch.setattr(training, 'time_pass', run_out)
    monkeypatch.setattr(training, 'autocast_dtype', lambda device: torch.float32)
    assert largest_batch(detector, QUICK, 64) == 16 and tried == [64, 32, 16]
    assert largest_batch(tiny_detector(), QUICK) == QUICK.batch_size, 'a CPU is not tried out'


def test_auto_batch_and_out_of_memory_by_command(data, tmp_path, capsys, monkeypatch):
    assert train_command(command(data, tmp_path / 'auto', '--batch-size', 'auto')) == 0
    assert 'batch size: 8' in capsys.readouterr().out
    assert json.loads((tmp_path / 'auto' / 'config.json').read_text())['settings']['batch_size'] == 8

    def run_out(*args): raise torch.OutOfMemoryError('CUDA out of memory. Tried to allocate 1 GiB')
    monkeypatch.setattr(training, 'train_step', run_out)
    assert train_command(command(data, tmp_path / 'run')) == 2
    error = capsys.readouterr().err
    assert 'out of memory with batches of 4 crops of 96x96: lower batch_size' in error


def test_the_range_test_changes_nothing(tmp_path):
    detector = tiny_detector()
    before = copy.deepcopy(detector.state_dict())
    table = rate_range(detector, square_frames(tmp_path, 8), QUICK, steps=12)
    assert equal(before, detector.state_dict()) and list(table) == ['rate', 'loss', 'smooth'] and 3 <= len(table) <= 12
    factors = table.rate[1:].to_numpy() / table.rate[:-1].to_numpy()
    assert np.allclose(factors, factors[0])


def test_the_bar_tells_loss_rate_speed_and_time(tmp_path, capsys):
    frames = square_frames(tmp_path, 8)
    fit(tiny_detector(), frames[:6], frames[6:], QUICK, progress=True)
    bar = capsys.readouterr().err
    for part in ('loss=', 'lr=', 'crops=', 'step/s'): assert part in bar
    fit(tiny_detector(), frames[:6], frames[6:], replace(QUICK, minutes=0.02), progress=True)
    assert 'left=00:0' in capsys.readouterr().err
    fit(tiny_detector(), frames[:6], frames[6:], QUICK, progress=False)
    assert capsys.readouterr().err == ''


# ---- files that are not trusted ----

def test_files_that_are_cut_off_foreign_or_crafted_are_refused(tmp_path):
    detector = tiny_detector()
    save_detector(detector, tmp_path / 'good.pt')
    save_detector(detector, tmp_path / 'good.safetensors')
    for suffix in ('pt', 'safetensors'):
        whole = (tmp_path / f'good.{suffix}').read_bytes()
        for share in (0., 0.01, 0.5, 0.99):
            (tmp_path / f'cut.{suffix}').write_bytes(whole[:int(share * len(whole))])
            with pytest.raises(ValueError, match=f'cut.{suffix} is not a checkpoint of rtsd_nb'): load_detector(tmp_path / f'cut.{suffix}')
    import safetensors.torch
    safetensors.torch.save_file({'w': torch.zeros(1)}, tmp_path / 'foreign.safetensors')
    with pytest.raises(ValueError, match='not a checkpoint of rtsd_nb'): load_detector(tmp_path / 'foreign.safetensors')

    class Trap:
        def __reduce__(self): return os.system, (f'touch {tmp_path / "ran"}',)
    torch.save({'format': 1, 'kind': 'run', 'steps': Trap()}, tmp_path / 'trap.pt')
    with pytest.raises(ValueError, match='could run code'): read_state(tmp_path / 'trap.pt')
    assert not (tmp_path / 'ran').exists()


def test_weights_of_another_number_of_classes_are_refused(data, tmp_path, capsys):
    detector = tiny_detector()
    other = build_detector(tiny_config(classes=('a', 'b')), weights=None)
    detector.config = other.config
    save_detector(detector, tmp_path / 'mixed.pt')
    with pytest.raises(ValueError, match='mixed.pt: weights and description do not belong together'): load_detector(tmp_path / 'mixed.pt')
    run = tmp_path / 'run'
    assert train_command(command(data, run)) == 0
    frames, states = square_frames(tmp_path, 8), []
    fit(build_detector(tiny_config(classes=('a', 'b', 'c')), weights=None), frames[:6], settings=QUICK, progress=False, after_step=lambda r: states.append(state_of(r)))
    for f in frames: f.labels = f.labels.clamp(max=1)
    with pytest.raises(ValueError, match='knows 3 classes'):
        fit(other, frames[:6], settings=QUICK, progress=False, state=states[0])
    write_atomically(run / 'last.pt', (tmp_path / 'mixed.pt').read_bytes())
    capsys.readouterr()
    assert train_command(['--resume', str(run), '--quiet']) == 2
    assert 'last.pt holds a detector, where a run is needed' in capsys.readouterr().err


def test_export_gives_the_same_answers(data, tmp_path, capsys):
    assert train_command(command(data, tmp_path / 'run')) == 0
    assert export_command([str(tmp_path / 'run'), str(tmp_path / 'signs.safetensors')]) == 0
    assert equal(weights_of(tmp_path / 'run'), weights_of(tmp_path / 'signs.safetensors'))
    assert export_command([str(tmp_path / 'run'), str(tmp_path / 'signs.bin')]) == 2 and '.safetensors' in capsys.readouterr().err


def test_the_recorder_writes_a_state_between_rows_too(tmp_path):
    frames, saved = square_frames(tmp_path, 8), []
    recorder = Recorder(tmp_path / 'run', every=-1.)

    def after_step(run):
        recorder(run)
        saved.append(read_state(tmp_path / 'run' / 'last.pt')['step'])
    train(frames, after_step=after_step)
    assert saved == list(range(1, len(saved) + 1))
    with pytest.raises(BadLoss):
        train(frames, loss=partial(spoilt_loss, [], 2))
