"""Writing COCO and YOLO: what is read back is what was written, and what cannot be carried is counted."""
import csv
import json
import os

import numpy as np
import pytest
import torch
import yaml
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from rtsd_nb.convert import convert, link, write_yolo
from rtsd_nb.data import Frame, open_dataset
from rtsd_nb.split import split_by_drive

from folders import HEADER, folder_of, paint, real

CLASSES = ('5_16', '2_1', 'NA')  # an order of their own, a name that looks like a number, one that looks like nothing
SIZE = (72, 128)


def frame(name, boxes=(), labels=(), ignore=(), **more):
    def tensor(b): return torch.tensor(b, dtype=torch.float32).reshape(-1, 4)
    more = {'size': SIZE, 'drive': 'd1', 'sign_ids': torch.full((len(labels),), -1)} | more
    return Frame(name, boxes=tensor(boxes), labels=torch.tensor(labels, dtype=torch.int64), ignore=tensor(ignore), **more)


def two_parts(folder=None):
    "Frames with signs of each class, with an ignore region, with none; in two parts and three drives."
    parts = {'train': [frame('a.jpg', [[10, 20, 40, 45], [0, 0, 128, 72]], [1, 0], [[50, 50, 60, 60.5]], sign_ids=torch.tensor([7, -1])), frame('sub/b.jpg', drive='d2')],
             'valid': [frame('c.jpg', [[1.25, 2.5, 3.75, 9]], [2], drive='d3')]}
    if folder:
        for i, f in enumerate(f for frames in parts.values() for f in frames):
            f.path = folder / 'from' / f.filename
            paint(f.path, seed=i)
    return parts


def assert_same(parts, again, tol, ignore):
    found = {f.filename.rsplit('/', 1)[-1]: f for f in again.frames}
    assert len(found) == sum(map(len, parts.values()))
    for part, frames in parts.items():
        for f in frames:
            new = found[f.filename.rsplit('/', 1)[-1]]
            assert (new.part, new.drive, new.size, new.labels.tolist()) == (part, f.drive, f.size, f.labels.tolist())
            torch.testing.assert_close(new.boxes, f.boxes, atol=tol, rtol=0)
            if ignore:
                torch.testing.assert_close(new.ignore, f.ignore, atol=tol, rtol=0)
                assert new.sign_ids.tolist() == f.sign_ids.tolist()


# ---------------------------------------------------------------- there and back
@pytest.mark.parametrize('to, tol', [('coco', 0), ('yolo', 1e-4)])
@pytest.mark.parametrize('images', ['link', 'copy', 'none'])
def test_round_trip(tmp_path, to, tol, images):
    parts = two_parts(tmp_path)
    convert(parts, CLASSES, tmp_path / 'to', to, images)
    again = open_dataset(tmp_path / 'to', need_images=images != 'none', strict=True)
    assert again.classes == CLASSES
    assert_same(parts, again, tol, ignore=to == 'coco')
    if images != 'none':
        assert all(new.path.is_relative_to(tmp_path / 'to' / 'images') for new in again.frames)
        assert (again.frames[0].path.read_bytes(), again.frames[0].filename) == (parts['train'][0].path.read_bytes(), 'a.jpg')


sides = st.tuples(st.floats(0, 0.98), st.floats(0.004, 1))
box = st.tuples(sides, sides)


@settings(max_examples=60, deadline=None, derandomize=True, database=None,
          phases=[Phase.generate], suppress_health_check=list(HealthCheck))
@given(st.lists(st.lists(st.tuples(box, st.integers(0, 2)), max_size=5), min_size=1, max_size=4),
       st.sampled_from([(720, 1280), (1080, 1920), (37, 61)]), st.sampled_from(['coco', 'yolo']))
def test_any_boxes_come_back(tmp_path, frames, size, to):
    height, width = size
    made = []
    for i, signs in enumerate(frames):
        xyxy = [[x * width, y * height, min(x + w, 1) * width, min(y + h, 1) * height] for ((x, w), (y, h)), _ in signs]
        rows = dict.fromkeys((*(float(np.float32(v)) for v in b), label) for b, (_, label) in zip(xyxy, signs))  # a reader drops repetitions
        made.append(frame(f'{i}.jpg', [r[:4] for r in rows], [r[4] for r in rows], drive=f'd{i % 2}', size=size))
    if not any(len(f.boxes) for f in made): return
    parts = {'train': made[:1], 'valid': made[1:]} if len(made) > 1 else {'test': made}
    convert(parts, CLASSES, tmp_path / to, to, images='none', overwrite=True)
    assert_same(parts, open_dataset(tmp_path / to, need_images=False, strict=True), tol=0.01, ignore=False)


@pytest.mark.slow
@pytest.mark.parametrize('to', ['coco', 'yolo'])
def test_real_annotations_come_back(tmp_path, to):
    data = open_dataset(real('rtsd_annotations') / 'val_anno.json', need_images=False)
    train, valid = split_by_drive(data.frames, data.classes)
    report = convert({'train': train, 'valid': valid}, data.classes, tmp_path, to, images='none')
    again = open_dataset(tmp_path, need_images=False, strict=True)
    assert report.boxes.sum() == sum(len(f.boxes) for f in again.frames) == 8126 and again.classes == data.classes
    assert_same({'train': train, 'valid': valid}, again, tol=0.5, ignore=to == 'coco')


def test_real_frames_with_a_class_filter(tmp_path):
    data = open_dataset(real('rtsd_frames'), classes=['5_16'])
    convert({'train': data.frames}, data.classes, tmp_path / 'coco', 'coco')
    assert_same({'train': data.frames}, open_dataset(tmp_path / 'coco', strict=True), tol=0, ignore=True)
    assert sum(len(f.ignore) for f in data.frames) > 0


# ---------------------------------------------------------------- what other tools find
def test_coco_as_pycocotools_reads_it(tmp_path):
    from pycocotools.coco import COCO
    convert(two_parts(), CLASSES, tmp_path, 'coco', images='none')
    coco = COCO(str(tmp_path / 'annotations' / 'instances_train.json'))
    assert [c['name'] for c in coco.loadCats(coco.getCatIds())] == list(CLASSES) and len(coco.getImgIds()) == 2
    signs, crowd = coco.loadAnns(coco.getAnnIds(iscrowd=0)), coco.loadAnns(coco.getAnnIds(iscrowd=1))
    assert [(a['bbox'], a['category_id'], a['area']) for a in signs] == [([10, 20, 30, 25], 2, 750), ([0, 0, 128, 72], 1, 9216)]
    assert [a['bbox'] for a in crowd] == [[50, 50, 10, 10.5]]
    ids = [a['id'] for a in signs + crowd]
    assert min(ids) == 1 and len(set(ids)) == 3
    assert json.loads((tmp_path / 'annotations' / 'instances_val.json').read_text())['images'][0]['file_name'] == 'c.jpg'


def test_yolo_as_its_tools_read_it(tmp_path):
    "A plain YAML loader, labels found by replacing images with labels, rows of five numbers in 0..1"
    convert(two_parts(tmp_path), CLASSES, tmp_path / 'to', 'yolo')
    settings = yaml.safe_load((tmp_path / 'to' / 'data.yaml').read_text())
    assert settings['names'] == dict(enumerate(CLASSES)) and settings['path'] == str(tmp_path / 'to')
    assert {k: settings[k] for k in ('train', 'val')} == {'train': 'images/train', 'val': 'images/val'} and 'test' not in settings
    images = sorted((tmp_path / 'to' / settings['train']).rglob('*.jpg'))
    labels = [open(str(i).replace('/images/', '/labels/').replace('.jpg', '.txt')).read() for i in images]
    assert [i.name for i in images] == ['a.jpg', 'b.jpg'] and labels[1] == ''  # a frame without a sign is kept
    rows = np.array([r.split() for r in labels[0].splitlines()], dtype=float)
    np.testing.assert_allclose(rows, [[1, 25 / 128, 32.5 / 72, 30 / 128, 25 / 72], [0, 0.5, 0.5, 1, 1]], atol=1e-8)


def test_what_a_layout_cannot_carry_is_counted(tmp_path):
    reports = {to: convert(two_parts(), CLASSES, tmp_path / to, to, images='none') for to in ('coco', 'yolo')}
    for report in reports.values():
        assert report[['part', 'frames', 'without_sign', 'boxes', 'ignore_regions']].values.tolist() == [['train', 2, 1, 2, 1], ['valid', 1, 0, 1, 0]]
    assert reports['yolo'][['lost_ignore_regions', 'lost_sign_ids']].values.tolist() == [[1, 1], [0, 0]]
    assert reports['coco'][['lost_ignore_regions', 'lost_sign_ids']].values.tolist() == [[0, 0], [0, 0]]


# ---------------------------------------------------------------- images
def test_link_needs_no_space_and_falls_back(tmp_path, monkeypatch):
    paint(tmp_path / 'a.jpg')
    link(tmp_path / 'a.jpg', tmp_path / 'hard.jpg')
    assert os.path.samefile(tmp_path / 'a.jpg', tmp_path / 'hard.jpg') and not (tmp_path / 'hard.jpg').is_symlink()

    def refuse(*_): raise OSError('another disk')
    monkeypatch.setattr(os, 'link', refuse)
    monkeypatch.chdir(tmp_path)
    link('a.jpg', tmp_path / 'soft.jpg')  # a relative path still leads there
    assert (tmp_path / 'soft.jpg').is_symlink() and (tmp_path / 'soft.jpg').read_bytes() == (tmp_path / 'a.jpg').read_bytes()
    monkeypatch.setattr(os, 'symlink', refuse)
    link('a.jpg', tmp_path / 'copy.jpg')
    assert not os.path.samefile('a.jpg', 'copy.jpg') and (tmp_path / 'copy.jpg').read_bytes() == (tmp_path / 'a.jpg').read_bytes()
    with pytest.raises(OSError): link('nowhere.jpg', tmp_path / 'x.jpg')


# ---------------------------------------------------------------- refused before anything is written
def test_a_folder_that_is_not_empty(tmp_path):
    (tmp_path / 'mine.txt').write_text('mine')
    with pytest.raises(FileExistsError, match='not empty.*overwrite'):
        convert(two_parts(), CLASSES, tmp_path, images='none')
    with pytest.raises(FileExistsError, match='is a file'):
        convert(two_parts(), CLASSES, tmp_path / 'mine.txt', images='none')
    assert sorted(p.name for p in tmp_path.iterdir()) == ['mine.txt']
    convert(two_parts(), CLASSES, tmp_path, 'yolo', images='none', overwrite=True)
    convert({'test': two_parts()['valid']}, CLASSES, tmp_path, 'coco', images='none', overwrite=True)
    assert (tmp_path / 'mine.txt').read_text() == 'mine' and not (tmp_path / 'labels').exists() and not (tmp_path / 'data.yaml').exists()
    assert [p.name for p in (tmp_path / 'annotations').iterdir()] == ['instances_test.json']


def test_the_folder_of_the_frames_themselves(tmp_path):
    folder_of(tmp_path, ['a.jpg,1,2,10,10,2_1,-1'])
    data = open_dataset(tmp_path)
    with pytest.raises(ValueError, match='holds the frames themselves'):
        convert({'train': data.frames}, data.classes, tmp_path, overwrite=True)
    assert (tmp_path / 'images' / 'a.jpg').is_file() and (tmp_path / 'gt.csv').read_text().startswith(HEADER)


BAD = {'two_frames_of_one_name': ({'train': [frame('a.jpg')], 'valid': [frame('a.jpg')]}, 'a.jpg and a.jpg would share'),
       'one_label_file': ({'train': [frame('a.jpg'), frame('a.png')]}, 'a.png and a.jpg would share'),
       'no_size': ({'train': [frame('a.jpg', size=None)]}, 'a.jpg: its size is unknown'),
       'leads_out': ({'train': [frame('../a.jpg')]}, 'cannot be the name'), 'absolute': ({'train': [frame('/a.jpg')]}, 'cannot be the name'),
       'label': ({'train': [frame('a.jpg', [[1, 2, 3, 4]], [3])]}, 'a.jpg: label 3'),
       'empty_part': ({'train': [frame('a.jpg')], 'valid': []}, 'part valid has no frames'),
       'unknown_part': ({'dev': [frame('a.jpg')]}, "part 'dev'"), 'no_part': ({}, 'nothing to write')}


@pytest.mark.parametrize('case', BAD)
@pytest.mark.parametrize('to', ['coco', 'yolo'])
def test_bad_parts_are_named(tmp_path, case, to):
    parts, message = BAD[case]
    with pytest.raises(ValueError, match=message):
        convert(parts, CLASSES, tmp_path / 'to', to, images='none')
    assert not (tmp_path / 'to').exists()


@pytest.mark.parametrize('more, message', [({'to': 'voc'}, "to is 'voc'"), ({'images': 'move'}, "images is 'move'"), ({'images': 'copy'}, "pass images='none'"),
                                           ({'classes': ('a', 'b', 'a'), 'images': 'none'}, 'stands twice')])
def test_bad_arguments(tmp_path, more, message):
    with pytest.raises(ValueError, match=message):
        convert(**{'parts': two_parts(), 'classes': CLASSES, 'out': tmp_path / 'to'} | more)
    assert not (tmp_path / 'to').exists()


def test_drives_with_commas_and_classes_with_quotes(tmp_path):
    parts = {'train': [frame('a.jpg', [[1, 2, 30, 40]], [0], drive='Москва, "1"')]}
    for to in ('coco', 'yolo'):
        convert(parts, ("it's: #1",), tmp_path / to, to, images='none')
        again = open_dataset(tmp_path / to, need_images=False)
        assert again.classes == ("it's: #1",) and again.frames[0].drive == 'Москва, "1"'


def test_frames_csv_has_a_row_a_frame(tmp_path):
    write_yolo(tmp_path, two_parts(), CLASSES)
    with open(tmp_path / 'frames.csv', newline='') as f: rows = list(csv.reader(f))
    assert rows == [['filename', 'height', 'width', 'drive'], ['a.jpg', '72', '128', 'd1'], ['sub/b.jpg', '72', '128', 'd2'], ['c.jpg', '72', '128', 'd3']]
