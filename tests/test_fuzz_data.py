"""Odd annotation files by the thousand: either an error that names the file (and the row), or every row counted exactly once.

500 cases in all, or as many as RTSD_FUZZ says: `RTSD_FUZZ=10000 python -m pytest tests/test_fuzz_data.py`.
"""
import json
import os
import shutil
import warnings

import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from rtsd_nb.data import MAX_SIDE, open_dataset

from folders import HEADER, adds_up, paint

CASES = int(os.environ.get('RTSD_FUZZ', 500))
pytestmark = pytest.mark.slow


def cases(share):
    "Settings for this share of all cases; the cases are the same in every run."
    return settings(max_examples=max(1, round(CASES * share)), deadline=None, derandomize=True, database=None,
                    phases=[Phase.generate],  # no shrinking: it takes minutes, and the case that failed is small
                    suppress_health_check=list(HealthCheck))


# ---------------------------------------------------------------- what must hold
def opened(path, **kwargs):
    "The annotations, or None where they were refused with a message that names the file, and a row where rows are to blame."
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        try:
            a = open_dataset(path, **kwargs)
        except (ValueError, FileNotFoundError) as e:
            assert type(e) in (ValueError, FileNotFoundError), repr(e)  # no subclass: a UnicodeDecodeError was not meant
            message = str(e)
            message.encode()  # it can be printed
            assert any(end in message for end in ('.csv', '.json', '.yaml', '.txt', str(path))), message
            if ' x dropped' in message: assert ' row ' in message, message
            return None
        repr(a).encode(), a.summary().to_string().encode(), a.problems.to_string().encode()
    return a


def check(a, n_rows):
    "Every row is counted once, no box is lost, and what is left is sound."
    assert a.n_rows == n_rows and adds_up(a)
    by_row = a.problems[a.problems.action.isin(['repaired', 'dropped'])]
    assert (a.problems.file != '').all() and a.problems.row.notna().all() and (a.problems.reason != '').all()
    used = n_rows - (by_row.action == 'dropped').sum()
    assert sum(len(f.boxes) + len(f.ignore) for f in a.frames) == used
    assert len({f.filename for f in a.frames}) == len(a.frames)
    for f in a.frames:
        height, width = f.size or (MAX_SIDE, MAX_SIDE)
        for boxes in (f.boxes, f.ignore):
            assert boxes.dtype == torch.float32 and boxes.shape[1:] == (4,) and torch.isfinite(boxes).all()
            assert (boxes[:, :2] >= 0).all() and (boxes[:, 2:] > boxes[:, :2]).all()
            assert (boxes[:, 2] <= width).all() and (boxes[:, 3] <= height).all()
        assert len(f.labels) == len(f.boxes) == len(f.sign_ids) and f.labels.dtype == torch.int64
        assert ((f.labels >= 0) & (f.labels < len(a.classes))).all()
        assert f.part in ('', 'train', 'valid', 'test') and isinstance(f.drive, str)


@pytest.fixture(scope='module')
def images(tmp_path_factory):
    "A folder with frames of 128x72, one broken, two of one name."
    folder = tmp_path_factory.mktemp('frames')
    for i, name in enumerate(('a.jpg', 'b.jpg', 'sub/c.jpg', 'x/0.jpg', 'y/0.jpg', 'ж.jpg')):
        paint(folder / 'b.jpg' if i == 1 else folder / 'ascii.jpg', seed=i)
        if i != 1:
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / 'ascii.jpg').rename(folder / name)
    (folder / 'broken.jpg').write_bytes((folder / 'a.jpg').read_bytes()[:300])
    return folder


@pytest.fixture
def work(tmp_path):
    "A function that gives an empty folder, the same one for each case."
    folder = tmp_path / 'case'

    def empty():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        return folder
    return empty


def write(folder, files):
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode('utf-8', 'surrogatepass'))


how = st.fixed_dictionaries({'need_images': st.booleans(), 'keep_empty': st.booleans(), 'empty_frames': st.sampled_from(['unknown', 'background'])})
odd_name = st.one_of(st.sampled_from([ 'sub/c.jpg', 'sub\\c.jpg', 'x/0.jpg', 'y/0.jpg', 'ж.jpg', 'broken.jpg', 'lost.jpg',
                                  '', '/', '..', '../a.jpg', ' a.jpg ', 'autosave01_02_2012_09_13_33.jpg', 'autosave99_99_2012_99_99_99.jpg']),
                     st.text(max_size=6))
odd_number = st.one_of(st.integers(-5, 140).map(str), st.floats().map(str), st.sampled_from(['', ' 7 ', 'nan', 'inf', '-inf', '1e400', '1e-30', '0x10', '1_0', '1,5',
                       '9' * 400, '٣', 'true', '"', '1e308', '0.0001', '100000', '127.999999']), st.text(max_size=4))
sensible = st.integers(1, 60).map(str)
one_line = st.text(st.characters(exclude_characters='\r\n', exclude_categories=('Cs',)), max_size=30)


def often(good, odd, once_in=15):
    "`good`, and now and then `odd`: a table in which everything is wrong tests only the first check."
    return st.sampled_from(range(once_in)).flatmap(lambda i: odd if i == once_in - 1 else good)


def as_line(cells): return ','.join(c.replace('\r', '').replace('\n', '').replace(',', ';') for c in cells)


name = often(st.sampled_from(['a.jpg', 'b.jpg', 'c.jpg']), odd_name, once_in=5)
number = often(sensible, odd_number)
sign = often(st.sampled_from(['2_1', '5_16', 'NA', '8']), st.sampled_from(['', ' ', 'nan']) | st.text(max_size=5), once_in=8)
good_row = st.tuples(name, number, number, number, number, sign, st.sampled_from(['-1', '7', '', 'x', '1e30'])).map(as_line)
row = often(good_row, one_line, once_in=8)
header = often(st.just(HEADER.strip()), st.sampled_from(
    ['', HEADER.strip().replace('width', 'w'), HEADER.strip().upper(), HEADER.strip() + ',filename',
     '"filename",x_from,y_from,width,height,sign_class,sign_id']) | one_line)


# ---------------------------------------------------------------- RTSD tables
@cases(0.4)
@given(header, often(st.lists(row, min_size=2, max_size=8), st.lists(row, max_size=1)), st.sampled_from(['\n', '\r\n', '\r']), st.booleans(), st.booleans(), how)
def test_tables(images, work, header, rows, end, bom, last, how):
    folder = work()
    text = ('\ufeff' if bom else '') + end.join([header, *rows]) + end * last
    write(folder, {'gt.csv': text})
    a = opened(folder, frames_folder=images, **how)
    if a: check(a, len([header, *rows]) - 1 if last or not rows or rows[-1] else len(rows) - 1)


@cases(0.06)
@given(st.binary(max_size=200), st.sampled_from(['gt.csv', 'x.json', 'data.yaml', 'frames.csv']), st.integers(0, 60))
def test_any_bytes_in_any_file(images, work, content, file, at):
    "Bytes in the midst of a good file, or alone"
    folder = work()
    good = {'gt.csv': HEADER.encode() + b'a.jpg,1,2,10,10,2_1,-1\n', 'x.json': b'{"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": [], "categories": []}',
            'data.yaml': b'names: [2_1]\n', 'frames.csv': b'filename\na.jpg\n'}[file]
    write(folder, {'gt.csv': HEADER + 'a.jpg,1,2,10,10,2_1,-1'} if file == 'frames.csv' else {})
    write(folder, {file: good[:at] + content + good[at:] if at else content})
    a = opened(folder, frames_folder=images)
    if a: check(a, a.n_rows)


@cases(0.08)
@given(st.lists(st.tuples(st.sampled_from(['danger', 'blue_rect']), st.sampled_from(['train', 'test']), st.lists(good_row, max_size=3),
                          st.none() | st.lists(name, max_size=3)), min_size=1, max_size=4, unique_by=lambda g: g[:2]), how)
def test_groups(images, work, groups, how):
    folder = work()
    for group, part, rows, names in groups:
        write(folder, {f'{group}/{part}_gt.csv': '\n'.join([HEADER.strip(), *rows])})
        if names is not None: write(folder, {f'{group}/{part}_filenames.txt': '\n'.join(names)})
    a = opened(folder, frames_folder=images, **how)
    if a: check(a, sum(len(rows) for _, _, rows, _ in groups))


# ---------------------------------------------------------------- COCO
scalar = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.just('\ud800'), st.integers(10**300, 10**400))
anything = st.recursive(scalar, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2), max_leaves=4)


def mostly(good): return often(good, anything, once_in=40)


def record(needed, optional):
    "A dict with the keys of COCO, now and then one missing or of an odd type."
    return st.fixed_dictionaries({k: mostly(v) for k, v in needed.items()}, optional={k: mostly(v) for k, v in optional.items()})


identity = st.integers(0, 2)
coordinate = often(st.integers(1, 60) | st.floats(0, 60), st.floats() | st.integers())
coco_image = record({'id': identity, 'file_name': name}, {'width': st.just(128), 'height': st.just(72), 'drive': st.sampled_from(['d1', '']), 'annotated': st.booleans()})
coco_box = record({'image_id': identity, 'category_id': identity, 'bbox': st.lists(coordinate, min_size=4, max_size=4)},
                  {'id': identity, 'iscrowd': st.integers(0, 1), 'sign_id': st.integers()})
category = record({'id': identity, 'name': sign}, {})
coco_file = st.sampled_from(['train.json', 'val_anno.json', 'instances_val2017.json', 'annotations/x.json'])
coco = st.fixed_dictionaries({'images': mostly(st.lists(coco_image, min_size=2, max_size=4)), 'annotations': mostly(st.lists(coco_box, min_size=2, max_size=8)),
                              'categories': mostly(st.lists(category, min_size=2, max_size=3))})


@cases(0.2)
@given(st.lists(st.tuples(coco_file, coco), min_size=1, max_size=2, unique_by=lambda f: f[0]),
       st.none() | mostly(st.just({'2_1': 1, '5_16': 2})), how)
def test_coco(images, work, files, label_map, how):
    folder = work()
    write(folder, {file: json.dumps(content) for file, content in files})
    if label_map is not None: write(folder, {'label_map.json': json.dumps(label_map)})
    a = opened(folder, frames_folder=images, **how)
    if a:
        used = [content for file, content in files if file in a.layout]
        check(a, sum(len(c['annotations']) for c in used))


# ---------------------------------------------------------------- YOLO
share = often(st.floats(0, 1).map(str), odd_number)
yolo_row = often(st.tuples(often(st.sampled_from(['0', '1']), st.sampled_from(['1.0', '9', '-1', 'x'])), share, share, share, share).map(' '.join), one_line, once_in=8)
yolo_file = st.tuples(st.sampled_from(['labels/train/a.txt', 'labels/val/b.txt', 'labels/a.txt', 'train/labels/a.txt', 'labels/val/a.txt',
                                      'labels/train/sub/c.txt', 'labels/ж.txt']),
                      st.lists(yolo_row, max_size=4))
yaml_text = often(st.sampled_from(['names: [2_1, 5_16]', 'names: {0: 2_1, 1: 5_16}\ntrain: images/train\nval: images/val']), st.sampled_from(
    ['names: 3', 'names:', 'names: [[a]]', 'names: {x: y}', 'names: {99999: y}', 'names: [a',
     'names: []\npath: ..', 'path: /nowhere\nnames: [2_1]', '"names": [NO]\ntrain: [3, {}]',
     'names: &a [*a]', 'names: [2001-99-99]', 'names: !!python/object:os.system []']) | st.text(max_size=20).map('names: [2_1]\n{}'.format), once_in=4)


def n_yolo_rows(rows):
    text = '\n'.join(rows).replace('\r\n', '\n').replace('\r', '\n')
    return sum(bool(line.strip()) for line in text.split('\n'))


@cases(0.2)
@given(st.lists(yolo_file, min_size=1, max_size=4, unique_by=lambda f: f[0]), often(yaml_text, st.none(), once_in=4), st.booleans(), st.booleans(), how)
def test_yolo(images, work, files, yaml_text, classes_txt, sizes, how):
    folder = work()
    write(folder, {file: '\n'.join(rows) for file, rows in files})
    if yaml_text is not None: write(folder, {'data.yaml': yaml_text})
    if classes_txt: write(folder, {'classes.txt': '2_1\n5_16\n'})
    if sizes: write(folder, {'frames.csv': 'filename,height,width\na.jpg,72,128\nb.jpg,-3,x\nsub/c.jpg,72,1e9\n'})
    a = opened(folder, frames_folder=images, **how)
    if a: check(a, sum(n_yolo_rows(rows) for _, rows in files))


# ---------------------------------------------------------------- frames.csv
@cases(0.06)
@given(st.sampled_from(['filename', 'filename,drive', 'filename,height,width', 'filename,scene,drive', 'name', 'filename,filename', '']),
       st.lists(st.tuples(name, number, number).map(as_line), max_size=6), how)
def test_frames_csv(images, work, header, rows, how):
    folder = work()
    write(folder, {'gt.csv': HEADER + 'a.jpg,1,2,10,10,2_1,-1\nb.jpg,100,2,10,10,2_1,-1\n', 'frames.csv': '\n'.join([header, *rows])})
    a = opened(folder, frames_folder=images, **how)
    if a: check(a, 2)
