"""11_study beyond its notebook: what a row depends on, what makes a run another one, what survives a crash."""
import io
import json
import os
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from folders import folder_of
from rtsd_nb.cli import study_command
from rtsd_nb.data import Frame, open_dataset
from rtsd_nb.split import split_by_drive
from rtsd_nb.loss import detection_loss, iou_thresholds
from rtsd_nb.scenes import make_scenes
from rtsd_nb.study import (Variant, describe_function, describe_run, digest, paired_test, plot_study, run_study, run_variant, study_table,
                           variant_config)
from rtsd_nb.training import TrainSettings

BOX = torch.tensor([[10., 10, 34, 34]])
TRAIN = [Frame(f'{i}.jpg', size=(720, 1280), boxes=BOX + i, labels=torch.tensor([0])) for i in range(8)]
VALID = [replace(TRAIN[0], filename='v.jpg')]
SETTINGS = TrainSettings(epochs=1, crop=(64, 64))


class Runner:
    "Stands in for `run_variant`: counts, and trains nothing"
    def __init__(self, fail_after=10**9): self.calls, self.fail_after = [], fail_after

    def __call__(self, variant, train, valid, classes, settings, seed):
        if len(self.calls) == self.fail_after: raise RuntimeError('power cut')
        self.calls.append((variant.name, seed))
        return {'variant': variant.name, 'seed': seed, 'map': 0.1, 'map_50': 0.2, 'parameters': 1, 'steps': 1, 'frames': 8,
                'run': describe_run(variant, train, valid, classes, settings, seed)}


def study(runner, folder, variants=(Variant('a'), Variant('b', config={'channels': 32})), train=TRAIN, valid=VALID, settings=SETTINGS, seeds=(0, 1)):
    return run_study(variants, train, valid, ('sign',), settings, seeds, folder, run=runner)


def test_a_study_repeated_runs_nothing(tmp_path):
    first, second = Runner(), Runner()
    rows = study(first, tmp_path)
    assert first.calls == [('a', 0), ('b', 0), ('a', 1), ('b', 1)], 'a whole comparison per seed'
    assert study(second, tmp_path) == rows and second.calls == []
    assert [(r['variant'], r['seed']) for r in rows] == [('a', 0), ('a', 1), ('b', 0), ('b', 1)]


def test_one_more_seed_runs_only_that(tmp_path):
    study(Runner(), tmp_path)
    more = Runner()
    study(more, tmp_path, seeds=(0, 1, 2))
    assert more.calls == [('a', 2), ('b', 2)]


CHANGES = {
    'config': dict(variants=(Variant('a', config={'channels': 16}), Variant('b', config={'channels': 32}))),
    'settings': dict(variants=(Variant('a', settings={'learning_rate': 1e-3}), Variant('b', config={'channels': 32}))),
    'loss': dict(variants=(Variant('a', loss=partial(detection_loss, assign=iou_thresholds)), Variant('b', config={'channels': 32}))),
    'weights': dict(variants=(Variant('a', weights=None), Variant('b', config={'channels': 32})))}


@pytest.mark.parametrize('change', CHANGES)
def test_a_changed_variant_runs_and_the_other_does_not(change, tmp_path):
    study(Runner(), tmp_path)
    again = Runner()
    study(again, tmp_path, **CHANGES[change])
    assert again.calls == [('a', 0), ('a', 1)]
    third = Runner()
    study(third, tmp_path)
    assert third.calls == [], 'the rows of the first study are still there'


COMMON = {'frames to train on': dict(train=TRAIN[:-1]), 'boxes': dict(train=[replace(TRAIN[0], boxes=BOX + 0.5), *TRAIN[1:]]),
          'frames to score on': dict(valid=[replace(VALID[0], labels=torch.tensor([0]), ignore=BOX)]),
          'settings': dict(settings=replace(SETTINGS, epochs=2))}


@pytest.mark.parametrize('change', COMMON)
def test_what_is_common_to_all_runs_all(change, tmp_path):
    study(Runner(), tmp_path)
    again = Runner()
    study(again, tmp_path, **COMMON[change])
    assert len(again.calls) == 4


def test_workers_and_names_do_not_make_another_run(tmp_path):
    a = describe_run(Variant('a'), TRAIN, VALID, ('sign',), SETTINGS, 0)
    assert a == describe_run(Variant('z'), TRAIN, VALID, ('sign',), replace(SETTINGS, workers=3), 0)
    assert a == json.loads(json.dumps(a)), 'read back it is the same'


def test_an_edited_assigner_is_another_one():
    space = {'__name__': 'notebook'}
    def edited(text):
        import linecache
        file = f'<cell {digest(text)}>'
        linecache.cache[file] = (len(text), None, text.splitlines(True), file)
        exec(compile(text, file, 'exec'), space)
        return describe_function(space['mine'])
    first = edited('def mine(outputs, target): return 1\n')
    assert first == edited('def mine(outputs, target): return 1\n') != edited('def mine(outputs, target): return 2\n')
    assert describe_function(partial(iou_thresholds, x=1)) != describe_function(partial(iou_thresholds, x=2))


def test_finished_rows_survive_a_crash(tmp_path):
    with pytest.raises(RuntimeError, match='power cut'): study(Runner(fail_after=3), tmp_path)
    rest = Runner()
    assert len(study(rest, tmp_path)) == 4 and rest.calls == [('b', 1)]
    assert not list(tmp_path.glob('*.partial'))


def test_a_damaged_row_is_named(tmp_path):
    study(Runner(), tmp_path)
    file = sorted(tmp_path.glob('a-0-*.json'))[0]
    file.write_text(file.read_text()[:40])
    with pytest.raises(ValueError, match='a-0-.*delete it'): study(Runner(), tmp_path)
    file.unlink()
    again = Runner()
    study(again, tmp_path)
    assert again.calls == [('a', 0)]


def test_a_wrong_variant_stops_before_the_first_run(tmp_path):
    runner = Runner()
    with pytest.raises(ValueError, match='must be a function'): study(runner, tmp_path, variants=(Variant('a'), Variant('b', loss=partial(detection_loss, assign=print))))
    with pytest.raises(ValueError, match='different names'): study(runner, tmp_path, variants=(Variant('a'), Variant('a', weights=None)))
    with pytest.raises(ValueError, match='different seeds'): study(runner, tmp_path, seeds=(1, 1))
    assert runner.calls == []


def test_a_variant_on_several_levels_has_anchors_on_each():
    frames = [replace(f, boxes=torch.tensor([[0., 0, 20 + 10 * i, 30]])) for i, f in enumerate(TRAIN)]
    config = variant_config(Variant('v', config={'n_shapes': 2, 'strides': (8, 32)}), frames, ('sign',))
    assert np.array(config.shapes).shape == (2, 2, 2) and config.max_stride == 32
    points = (((8., 8.),), ((32., 32.),))
    assert variant_config(Variant('v', config={'strides': (8, 32), 'n_shapes': 2, 'shapes': points}), frames, ('sign',)).shapes == points


def test_functions_inside_a_loss_tell_runs_apart():
    "a default `repr` of a function holds its address: two equal runs would differ from process to process"
    a, b = (describe_function(partial(detection_loss, assign=f)) for f in (iou_thresholds, partial(iou_thresholds)))
    assert ' at 0x' not in a + b and a != describe_function(detection_loss)


def test_anchors_follow_the_size_of_a_variant():
    frames = [replace(f, boxes=torch.tensor([[0., 0, 20 + 10 * i, 30]])) for i, f in enumerate(TRAIN)]
    native, quarter = (np.array(variant_config(Variant('v', config=c), frames, ('sign',)).shapes) for c in ({'n_shapes': 2}, {'n_shapes': 2, 'size': (180, 320)}))
    assert native.shape == quarter.shape == (1, 2, 2)
    np.testing.assert_allclose(quarter, native / 4, rtol=0.02)


def row(variant, seed, score, valid='v', classes=('sign',)):
    return {'variant': variant, 'seed': seed, 'map': score, 'map_50': score, 'parameters': 5, 'steps': 2, 'frames': 16,
            'run': {'valid': valid, 'config': {'classes': list(classes)}}}


def test_mean_spread_and_gain_by_hand():
    "Spread is the standard deviation of a sample; the gain uses the seeds that both have"
    t = study_table([row('z', 0, 0.2), row('z', 1, 0.4), row('z', 2, 0.9), row('a', 0, 0.3), row('a', 1, 0.5)], ['map'])
    assert list(t.index) == ['z', 'a'] and list(t['seeds']) == [3, 2]
    np.testing.assert_allclose(t['map'], [0.5, 0.4])
    np.testing.assert_allclose(t['map_spread'], [np.sqrt((0.09 + 0.01 + 0.16) / 2), np.sqrt(0.02)])
    np.testing.assert_allclose(t['map_gain'], [0, 0.1], err_msg='not 0.4 - 0.5: the lucky third seed of z is left out')
    assert (t['parameters'] == 5).all() and (t['frames'] == 16).all()


def test_rows_that_cannot_be_compared():
    for other, words in ((row('b', 0, 1., valid='w'), 'sets of frames'), (row('b', 0, 1., classes=('x',)), 'sets of classes'), (row('a', 0, 1.), 'twice')):
        with pytest.raises(ValueError, match=words): study_table([row('a', 0, 1.), other])


def test_plots_draw_each_variant_and_stand_missing_scores():
    rows = [row('a', 0, 0.5), row('a', 1, 0.7), row('b', 0, None)]
    assert [t.get_text() for t in plot_study(rows).get_yticklabels()] == ['a', 'b']
    ax = plot_study(rows, 'map', against='parameters')
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ['a', 'b']


@pytest.mark.slow
def test_a_real_run_is_the_same_twice_and_carries_what_it_depends_on(tmp_path):
    data = open_dataset(make_scenes())
    train, valid = split_by_drive(data.frames, data.classes)
    args = train[:8], valid[:2], data.classes, replace(SETTINGS, batch_size=4, balance=0.), 3
    variant = Variant('tiny', config={'channels': 16, 'size': (90, 160)}, weights=None)
    first, second = (run_variant(variant, *args) for _ in range(2))
    timed = {'train_seconds', 'latency_ms'}
    assert {k: v for k, v in first.items() if k not in timed} == {k: v for k, v in second.items() if k not in timed}
    assert all(first[k] > 0 for k in timed) and first['machine']['device'].startswith('cpu')
    assert first['run'] == describe_run(variant, *args) and first['run']['settings']['seed'] == 3
    assert first['run']['settings']['trainable_blocks'] is None, 'random layers are not frozen'
    assert (first['steps'], first['frames'], first['valid_boxes']) == (4, 16, sum(len(f.boxes) for f in valid[:2]))
    assert first['run']['config']['classes'] == list(data.classes) and {k for k in first if k.startswith('ap_')} == {'ap_0-16', 'ap_16-24', 'ap_24-32', 'ap_32-64', 'ap_64+'}
    assert os.getcwd() not in json.dumps(first)


# ---- rtsd-study ----

FILE = """
from rtsd_nb.study import Variant
from rtsd_nb.training import TrainSettings
TINY = {'backbone': 'mobilenetv3_small_050', 'channels': 16, 'size': (96, 160)}
VARIANTS = [Variant('tiny', TINY, weights=None), Variant('tinier', TINY | {'channels': 8}, weights=None)]
SETTINGS = TrainSettings(epochs=1, crop=(64, 64), batch_size=4)
SEEDS = 0, 1
"""


@pytest.fixture(scope='module')
def small(tmp_path_factory):
    "A study file and frames of eight drives."
    folder = tmp_path_factory.mktemp('study')
    names = [f'autosave0{i}_01_2013_10_00_00_0.jpg' for i in range(1, 9)]
    rows = [f'{name},{10 + 4 * i},20,30,30,{("2_1", "5_19_1")[i % 2]},{i}' for i, name in enumerate(names)]
    (folder / 'two.py').write_text(FILE)
    return folder / 'two.py', folder_of(folder / 'data', rows, frames=names, size=(96, 160))


@pytest.mark.slow
def test_processes_of_a_launcher_share_the_runs(small, tmp_path):
    "Two processes make two rows each; the first waits for all and writes the tables; once more, nothing runs"
    file, data = small
    out, bin = tmp_path / 'out', Path(sys.executable).parent
    command = [bin / 'torchrun', '--nproc_per_node', '2', '--no-python', bin / 'rtsd-study', file, '--data', data, '--out', out, '--device', 'cpu']
    environment = os.environ | {'OMP_NUM_THREADS': '1', 'NO_ALBUMENTATIONS_UPDATE': '1'}
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(list(out.glob('tin*.json'))) == 4 and {'results.csv', 'results.png', 'pareto.png', 'tests.csv'} <= {p.name for p in out.iterdir()}
    table = pd.read_csv(out / 'results.csv')
    assert table.variant.tolist() == ['tiny', 'tinier'] and table.seeds.tolist() == [2, 2] and (table.latency_ms > 0).all()
    assert done.stdout.count('(read)') == 0 and done.stdout.count('mAP50') == 4, 'each says what it has run'
    again = subprocess.run([str(bin / 'rtsd-study'), str(file), '--data', str(data), '--out', str(out), '--device', 'cpu'], capture_output=True, text=True,
                           env=environment, timeout=300)
    assert again.returncode == 0 and again.stdout.count('(read)') == 4, again.stdout + again.stderr


def test_a_study_file_that_is_none_is_one_line(tmp_path, capsys):
    (tmp_path / 'no.py').write_text('x = 1')
    assert study_command([str(tmp_path / 'no.py')]) == 2
    assert 'holds a list VARIANTS' in capsys.readouterr().err
    assert study_command([str(tmp_path / 'nowhere.py')]) == 2


def test_a_difference_is_real_only_when_the_seeds_agree():
    rows = [row(name, seed, score) for name, scores in (('a', (.50, .52, .48, .51)), ('b', (.60, .63, .58, .62)), ('c', (.60, .40, .70, .45)))
            for seed, score in enumerate(scores)]
    test = paired_test(rows)
    assert test.real.tolist() == [True, False] and test.loc['b', 'low'] > 0.05
    assert (test.p_holm >= test.p).all() and paired_test(rows[:1] + rows[4:5]).p.isna().all()


def test_the_finished_study_in_the_chapter_is_the_committed_one():
    "What 11_study shows are the rows that bench_ablation.py left in benchmarks/results"
    root = Path(__file__).resolve().parents[1]
    cells = [''.join(c['source']) for c in json.loads((root / 'nbs' / '11_study.ipynb').read_text(encoding='utf-8'))['cells']]
    shown = pd.read_csv(io.StringIO(next(c for c in cells if c.startswith('RUNS = """')).split('"""')[1].strip()))
    kept = pd.read_csv(root / 'benchmarks' / 'results' / 'ablation.csv').set_index(['variant', 'seed']).loc[list(zip(shown.variant, shown.seed))].reset_index()
    assert shown.variant.nunique() >= 12 and shown.variant[0] == 'notebook design'
    for column in ('map', 'map_50', 'parameters', 'steps', 'frames'):
        assert shown[column].tolist() == kept[column].tolist(), column
