"""The commands as their users run them: on good folders, on broken ones, and on real frames where there are any."""
import json
import shutil
import subprocess
import sys

import cv2
import numpy as np
import pandas as pd
import pytest

from rtsd_nb.cli import data_command, eval_command, predict_command, train_command
from rtsd_nb.detector import load_detector

SMALL = ['--epochs', '1', '--validations', '1', '--batch-size', '4', '--weights', 'none', '--backbone', 'mobilenetv3_small_050', '--crop', '96x96', '--quiet']


def write_frame(path, size=(240, 320), sign=None):
    image = np.random.default_rng(len(path.name)).integers(60, 120, (*size, 3)).astype(np.uint8)
    if sign is not None:
        x, y, w, h = sign
        image[y:y + h, x:x + w] = (40, 40, 220)
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), image)


@pytest.fixture
def folder(tmp_path):
    "Ten drives of one frame each, two classes, all in order."
    rows = []
    for i in range(10):
        name, sign = f'autosave0{i % 9 + 1}_0{i // 9 + 1}_2013_10_00_00_0.jpg', (20 + 9 * i, 40, 30, 30)
        write_frame(tmp_path / 'data' / 'deep' / 'frames' / name, sign=sign)
        rows.append((name, *sign, ('2_1', '5_19_1')[i % 2], i))
    write_rows(tmp_path / 'data' / 'signs.csv', rows)
    return tmp_path / 'data'


def write_rows(path, rows):
    pd.DataFrame(rows, columns=['filename', 'x_from', 'y_from', 'width', 'height', 'sign_class', 'sign_id']).to_csv(path, index=False)


def read_rows(path):
    return [tuple(r) for r in pd.read_csv(path).itertuples(index=False)]


def test_train_leaves_a_complete_run(folder, tmp_path, capsys):
    assert train_command(['--data', str(folder), '--out', str(tmp_path / 'run'), *SMALL]) == 0
    names = {p.name for p in (tmp_path / 'run').iterdir()}
    assert names >= {'best.pt', 'last.pt', 'metrics.json', 'history.csv', 'curves.png', 'predictions.png', 'config.json', 'split.csv'}
    assert not [n for n in names if n.endswith('.partial')]
    assert load_detector(tmp_path / 'run').classes == ('2_1', '5_19_1')
    metrics = json.loads((tmp_path / 'run' / 'metrics.json').read_text())
    assert {'map', 'map_50', 'per_class', 'by_size', 'classes_with_truth'} <= set(metrics)
    config = json.loads((tmp_path / 'run' / 'config.json').read_text())
    assert config['settings']['epochs'] == 1 and config['settings']['precision'] == 'native' and config['environment']['packages']['torch']
    assert 'kept' in capsys.readouterr().out
    assert train_command(['--data', str(folder), '--out', str(tmp_path / 'run'), *SMALL]) == 2, 'a run is not overwritten by accident'
    assert train_command(['--data', str(folder), '--out', str(tmp_path / 'run'), '--overwrite', *SMALL]) == 0


def test_the_parts_of_the_detector_are_chosen_by_name(folder, tmp_path, capsys):
    rows = read_rows(folder / 'signs.csv')
    more = [(row[0], 30, 90 + 50 * k, 20 + i, 20 + 2 * k, *row[5:]) for i, row in enumerate(rows) for k in range(2)]
    write_rows(folder / 'signs.csv', rows + more)                   # of different sizes: two levels need different anchors
    parts = ['--backbone', 'mobilenetv3_small_050', '--neck', 'PAN', '--strides', '8,32', '--coder', 'linear', '--assign', 'task-aligned']
    data = ['--data', str(folder), '--out', str(tmp_path / 'run'), *SMALL]
    with pytest.raises(SystemExit): train_command([*data, '--assign', 'nobody'])
    assert 'task-aligned' in capsys.readouterr().err, 'the choices are told'
    status = train_command([*data, *parts])
    assert status == 0, capsys.readouterr().err
    config = load_detector(tmp_path / 'run').config
    assert (config.backbone, config.neck, config.strides, config.coder) == ('mobilenetv3_small_050', 'PAN', (8, 32), 'linear')
    assert json.loads((tmp_path / 'run' / 'config.json').read_text())['arguments']['assign'] == 'task-aligned'


def test_minutes_fit_the_schedule_to_the_clock(folder, tmp_path, capsys):
    options = ['--minutes', '0.1', '--batch-size', '4', '--weights', 'none', '--quiet']
    assert train_command(['--data', str(folder), '--out', str(tmp_path / 'run'), *options]) == 0
    assert len(pd.read_csv(tmp_path / 'run' / 'history.csv')) >= 1
    chosen = json.loads((tmp_path / 'run' / 'config.json').read_text())['settings']['precision']
    assert f'precision: {chosen} (' in capsys.readouterr().out and chosen in ('float32', 'bfloat16')


def break_folder(folder):
    "Every kind of bad input in one folder; the good rows stay good."
    rows = read_rows(folder / 'signs.csv')
    frames = next(folder.rglob('*.jpg')).parent
    (frames / 'cut.jpg').write_bytes((frames / rows[0][0]).read_bytes()[:900])
    (frames / 'text.jpg').write_text('no picture')
    bad = [('gone.jpg', 1, 1, 20, 20, '2_1', -1), ('cut.jpg', 1, 1, 20, 20, '2_1', -1), ('text.jpg', 1, 1, 20, 20, '2_1', -1),
           (rows[1][0], 900, 900, 20, 20, '2_1', -1), (rows[2][0], 310, 40, 30, 30, '2_1', -1), (rows[3][0], 5, 5, 0, 20, '2_1', -1),
           (rows[4][0], float('nan'), 5, 20, 20, '2_1', -1), rows[5]]
    write_rows(folder / 'signs.csv', rows + bad)
    return len(rows)


def test_bad_rows_are_named_and_counted_and_training_goes_on(folder, tmp_path, capsys):
    n_good = break_folder(folder)
    assert train_command(['--data', str(folder), '--out', str(tmp_path / 'run'), *SMALL]) == 0
    printed = capsys.readouterr().out
    problems = pd.read_csv(tmp_path / 'run' / 'problems.csv')
    assert set(problems.row.astype(int)) >= set(range(n_good + 2, n_good + 10)), 'each bad row by its line in the file'
    assert (problems.action == 'repaired').sum() == 1 and (problems.action == 'dropped').sum() == 7
    for word in ('kept', 'repaired', 'dropped', 'signs.csv', 'duplicate'):
        assert word in printed


def test_strict_stops_and_names_the_rows(folder, tmp_path, capsys):
    break_folder(folder)
    assert train_command(['--data', str(folder), '--out', str(tmp_path / 'run'), '--strict', *SMALL]) == 2
    message = capsys.readouterr().err
    assert 'strict' in message and 'signs.csv row' in message
    assert not (tmp_path / 'run' / 'best.pt').exists()


@pytest.mark.parametrize('spoil, word', [
    (lambda d: shutil.rmtree(d / 'deep'), 'frame'),
    (lambda d: (d / 'signs.csv').write_text(''), 'empty'),
    (lambda d: write_rows(d / 'signs.csv', []), ''),
    (lambda d: (d / 'signs.csv').write_text('filename,x_from,y_from,width\na.jpg,1,2,3\n'), 'column'),
    (lambda d: (d / 'signs.csv').unlink(), 'csv'),
])
def test_a_folder_from_which_nothing_can_be_learnt_is_one_message(folder, tmp_path, capsys, spoil, word):
    spoil(folder)
    assert train_command(['--data', str(folder), '--out', str(tmp_path / 'run'), *SMALL]) == 2
    message = capsys.readouterr().err
    assert message.startswith('rtsd-train: ') and word in message.lower() and 'Traceback' not in message


def test_unknown_class_lists_the_known_ones(folder, tmp_path, capsys):
    assert train_command(['--data', str(folder), '--out', str(tmp_path / 'run'), '--classes', '9_9', *SMALL]) == 2
    message = capsys.readouterr().err
    assert '9_9' in message and '5_19_1' in message


def test_class_filter_keeps_the_other_signs_as_unknown(folder, tmp_path):
    assert train_command(['--data', str(folder), '--out', str(tmp_path / 'run'), '--classes', '2_1', *SMALL]) == 0
    assert load_detector(tmp_path / 'run').classes == ('2_1',)
    assert len(pd.read_csv(tmp_path / 'run' / 'split.csv')) == 10, 'frames with only other signs stay'


def test_eval_and_predict_use_the_run(folder, tmp_path, capsys):
    run = str(tmp_path / 'run')
    train_command(['--data', str(folder), '--out', run, *SMALL])
    assert eval_command([run, '--data', str(folder), '--out', str(tmp_path / 'eval'), '--quiet']) == 0
    metrics = json.loads((tmp_path / 'eval' / 'metrics.json').read_text())
    assert metrics['n_frames'] == 10 and metrics['n_boxes'] == 10
    (folder / 'bad.jpg').write_bytes(b'?')
    out = tmp_path / 'found'
    assert predict_command([str(folder), '--weights', run, '--out', str(out), '--min-score', '0.001', '--quiet']) == 1
    assert 'bad.jpg' in capsys.readouterr().err
    assert len(list(out.glob('*.jpg'))) == 10 and (out / 'predictions.csv').exists()
    assert predict_command([str(tmp_path / 'nowhere'), '--weights', run, '--quiet']) == 2


def test_eval_maps_labels_by_name(folder, tmp_path):
    run = str(tmp_path / 'run')
    train_command(['--data', str(folder), '--out', run, '--classes', '5_19_1', *SMALL])
    assert eval_command([run, '--data', str(folder), '--out', str(tmp_path / 'eval'), '--quiet']) == 0
    metrics = json.loads((tmp_path / 'eval' / 'metrics.json').read_text())
    assert metrics['n_boxes'] == 5 and metrics['n_frames'] == 10


def test_python_m_is_the_train_command():
    done = subprocess.run([sys.executable, '-m', 'rtsd_nb', '--help'], capture_output=True, text=True)
    assert done.returncode == 0 and '--minutes' in done.stdout and '--strict' in done.stdout


@pytest.mark.slow
def test_a_short_run_on_real_frames(shared, tmp_path):
    import csv
    frames = list(csv.DictReader(open(shared / 'gtsdb_germany' / 'frames.csv')))
    scenes = sorted({int(f['scene']) for f in frames})
    last = set(scenes[-(len(scenes) // 8):])
    with open(tmp_path / 'split.csv', 'w') as file:
        file.write('filename,split\n' + ''.join(f"{f['filename']},{'valid' if int(f['scene']) in last else 'train'}\n" for f in frames))
    run = str(tmp_path / 'run')
    assert train_command(['--data', str(shared / 'gtsdb_germany' / 'gt_categories.csv'), '--split', str(tmp_path / 'split.csv'), '--out', run,
                          '--minutes', '0.3', '--size', '602x1024', '--validations', '1', '--quiet']) == 0
    metrics = json.loads((tmp_path / 'run' / 'metrics.json').read_text())
    held_out = {f['filename'] for f in frames if int(f['scene']) in last}
    signs = [r for r in csv.DictReader(open(shared / 'gtsdb_germany' / 'gt_categories.csv')) if r['filename'] in held_out]
    assert metrics['n_frames'] == len(held_out) > 25 and metrics['n_boxes'] == len(signs)
    assert metrics['classes_with_truth'] == len({r['sign_class'] for r in signs}) >= 3
    losses = pd.read_csv(tmp_path / 'run' / 'history.csv').train_loss
    assert losses.notna().all()
    assert predict_command([str(shared / 'rtsd_frames' / 'images'), '--weights', run, '--out', str(tmp_path / 'found'), '--quiet']) == 0
    assert len(list((tmp_path / 'found').glob('*.jpg'))) == 9


# ---- rtsd-data ----

def test_data_check_says_what_is_wrong_and_what_a_split_would_leak(folder, capsys):
    assert data_command(['check', str(folder)]) == 0
    printed = capsys.readouterr().out
    assert '10 frames, 10 boxes of 2 classes' in printed and 'random frames' in printed and 'within 10 s' in printed
    break_folder(folder)
    assert data_command(['check', str(folder)]) == 1, 'rows were dropped'
    assert 'duplicate' in capsys.readouterr().out
    assert data_command(['check', str(folder), '--strict']) == 2


def test_data_check_of_one_drive_says_that_it_cannot_be_split(folder, capsys):
    rows = [r for r in read_rows(folder / 'signs.csv')][:1]
    write_rows(folder / 'signs.csv', rows)
    assert data_command(['check', str(folder)]) == 0
    assert 'no split by drive' in capsys.readouterr().out
    assert data_command(['report', str(folder), '--out', str(folder / 'page.html')]) == 0


def test_data_report_is_one_page(folder, tmp_path):
    page = tmp_path / 'page.html'
    assert data_command(['report', str(folder), '--out', str(page), '--title', 'Ten <drives>', '--size', '120x160']) == 0
    text = page.read_text(encoding='utf-8')
    assert 'Ten &lt;drives&gt;' in text and '160 x 120' in text and 'src="http' not in text


def test_data_split_is_what_training_uses(folder, tmp_path, capsys):
    file = tmp_path / 'split.csv'
    assert data_command(['split', str(folder), '--out', str(file), '--seed', '3']) == 0
    by_file, by_seed = (tmp_path / name for name in ('by_file', 'by_seed'))
    assert train_command(['--data', str(folder), '--split', str(file), '--out', str(by_file), *SMALL]) == 0
    assert train_command(['--data', str(folder), '--split', '3', '--out', str(by_seed), *SMALL]) == 0
    assert (by_file / 'split.csv').read_text() == (by_seed / 'split.csv').read_text() == file.read_text()
    assert data_command(['split', str(folder), '--out', str(tmp_path / 'folds.csv'), '--folds', '5']) == 0
    folds = pd.read_csv(tmp_path / 'folds.csv')
    assert sorted(folds.fold.unique()) == [0, 1, 2, 3, 4] and folds.filename.is_unique and len(folds) == 10


@pytest.mark.parametrize('to', ['coco', 'yolo'])
def test_data_convert_can_be_trained_on_with_the_same_split(folder, tmp_path, capsys, to):
    out = tmp_path / to
    command = ['convert', str(folder), '--to', to, '--out', str(out), '--split', '1']
    assert data_command(command) == 0
    assert data_command(command) == 2 and 'not empty' in capsys.readouterr().err
    assert data_command([*command, '--overwrite']) == 0
    runs = tmp_path / 'a', tmp_path / 'b'
    assert train_command(['--data', str(folder), '--split', '1', '--out', str(runs[0]), *SMALL]) == 0
    assert train_command(['--data', str(out), '--split', 'official', '--out', str(runs[1]), *SMALL]) == 0
    sides = [dict(pd.read_csv(run / 'split.csv').itertuples(index=False)) for run in runs]
    assert sides[0] == sides[1] and set(sides[0].values()) == {'train', 'valid'}


def test_data_without_images_reads_annotations_alone(folder, tmp_path, capsys):
    shutil.rmtree(folder / 'deep')
    assert data_command(['check', str(folder)]) == 2
    assert data_command(['check', str(folder), '--no-images']) == 0
    assert data_command(['report', str(folder), '--no-images', '--out', str(tmp_path / 'page.html')]) == 0


def test_frames_of_which_nobody_said_anything_are_left_out_unless_told(folder, tmp_path, capsys):
    write_frame(folder / 'deep' / 'frames' / 'empty.jpg')
    converted = tmp_path / 'yolo'
    assert data_command(['convert', str(folder), '--to', 'yolo', '--out', str(converted), '--copy']) == 0
    write_frame(converted / 'images' / 'train' / 'empty.jpg')
    capsys.readouterr()
    assert data_command(['check', str(converted)]) == 1 and '10 frames' in capsys.readouterr().out
    assert data_command(['check', str(converted), '--empty-frames', 'background']) == 0 and '11 frames' in capsys.readouterr().out


def test_real_annotations_report(shared, tmp_path, capsys):
    assert data_command(['report', str(shared / 'rtsd_annotations'), '--no-images', '--out', str(tmp_path / 'page.html')]) == 0
    assert '6,261 frames of 615 drives' in (tmp_path / 'page.html').read_text(encoding='utf-8')
