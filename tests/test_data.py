"""Reading and checking: on folders made here, and on the real data beside the checkout where it is."""
import json
from pathlib import Path

import pandas as pd
import pytest
import torch

from rtsd_nb.data import NOBODY_SAID, find_frame, find_rtsd, open_dataset, part_of, yolo_key
from rtsd_nb.samples import FrameDataset, crop_transform, fit_transform
from rtsd_nb.report import (box_statistics)

from folders import GOOD, HEADER, SHARED, adds_up, folder_of, only, paint, real


# ---------------------------------------------------------------- layouts
def test_full_gt_layout(tmp_path):
    folder_of(tmp_path, ['a.jpg,10,20,30,25,2_1,77', 'b.jpg,1,2,10,10,5_19_1,78', 'a.jpg,50,20,12,12,5_19_1,79'], name='full-gt.csv')
    a = open_dataset(tmp_path)
    assert a.classes == ('2_1', '5_19_1') and a.label_of == {'2_1': 0, '5_19_1': 1} and a.n_rows == 3 and not len(a.problems)
    assert [f.filename for f in a.frames] == ['a.jpg', 'b.jpg'] and a.frames[0].size == (72, 128)
    assert a.frames[0].boxes.tolist() == [[10, 20, 40, 45], [50, 20, 62, 32]]
    assert a.frames[0].boxes.dtype == torch.float32 and a.frames[0].labels.dtype == torch.int64
    assert a.frames[0].labels.tolist() == [0, 1] and a.frames[0].sign_ids.tolist() == [77, 79]
    assert 'full-gt.csv' in a.layout and adds_up(a)


def test_rtsd_small_layout(tmp_path):
    inner = tmp_path / 'rtsd-dataset-reduced' / 'rtsd-dataset-reduced'
    for f in ('a.jpg', 'b.jpg'):
        paint(inner / 'rtsd-frames' / f)
    (inner / 'label_map.json').write_text(json.dumps({'5_19_1': 1, '2_1': 2, '3_1': 3}))
    (tmp_path / 'full_gt_reduced.csv').write_text(',filename,x_from,y_from,width,height,sign_class,sign_id,is_train\n'
                                                  '32,a.jpg,10,20,30,25,2_1,-1,False\n99,b.jpg,1,2,10,10,5_19_1,-1,True\n')
    a = open_dataset(tmp_path)
    assert a.classes == ('5_19_1', '2_1', '3_1')  # the order of label_map.json, with the class that has no box here
    assert [f.labels.tolist() for f in a.frames] == [[1], [0]] and a.n_rows == 2 and adds_up(a)
    assert a.frames[0].path == inner / 'rtsd-frames' / 'a.jpg'
    assert [f.part for f in a.frames] == ['valid', 'train'] and a.layout == 'rtsd-small CSV (full_gt_reduced.csv)'
    assert open_dataset(tmp_path, classes=('2_1', '5_19_1')).classes == ('2_1', '5_19_1')


def coco(path, images, annotations, categories=({'id': 1, 'name': '2_1'}, {'id': 2, 'name': '5_16'})):
    path.write_text(json.dumps({'images': list(images), 'annotations': list(annotations), 'categories': list(categories)}))


def kaggle(tmp_path, **more):
    "Both files use the ids 1, 2, ...: they must not be mixed up. The frames lie one folder deeper than the JSON says."
    for f in ('a.jpg', 'b.jpg', 'c.jpg'):
        paint(tmp_path / 'rtsd-frames' / 'rtsd-frames' / f)
    image = {'width': 128, 'height': 72}
    coco(tmp_path / 'train_anno.json', [{'id': 1, 'file_name': 'rtsd-frames/a.jpg', **image}, {'id': 2, 'file_name': 'rtsd-frames/c.jpg', **image}],
         [{'id': 5, 'image_id': 1, 'category_id': 2, 'bbox': [10, 20, 30, 25], 'area': 750, 'iscrowd': 0, **more}])
    coco(tmp_path / 'val_anno.json', [{'id': 1, 'file_name': 'rtsd-frames/b.jpg', **image}],
         [{'id': 5, 'image_id': 1, 'category_id': 1, 'bbox': [1, 2, 10, 10], 'area': 100, 'iscrowd': 0}])
    (tmp_path / 'label_map.json').write_text(json.dumps({'5_16': 2, '2_1': 1}))
    return tmp_path


def test_kaggle_coco_layout_with_doubled_folder(tmp_path):
    a = open_dataset(kaggle(tmp_path), empty_frames='background')
    assert a.classes == ('2_1', '5_16') and a.n_rows == 2 and adds_up(a) and a.layout == 'Kaggle COCO JSON (train_anno.json, val_anno.json)'
    assert [f.part for f in a.frames] == ['train', 'valid', 'train'] and '2 frames of part train, 1 frames of part valid' in repr(a)
    assert [(f.filename, f.boxes.tolist(), f.labels.tolist()) for f in a.frames] == [
        ('a.jpg', [[10, 20, 40, 45]], [1]), ('b.jpg', [[1, 2, 11, 12]], [0]), ('c.jpg', [], [])]
    assert a.frames[2].boxes.shape == (0, 4) and a.frames[0].size == (72, 128)
    assert len(open_dataset(tmp_path / 'val_anno.json').frames) == 1


def test_coco_bad_rows_name_the_annotation_id(tmp_path):
    kaggle(tmp_path)
    image = {'id': 1, 'file_name': 'rtsd-frames/b.jpg', 'width': 128, 'height': 72}
    rows = [{'id': 5, 'image_id': 1, 'category_id': 1, 'bbox': [1, 2, 10, 10]}, {'id': 6, 'image_id': 9, 'category_id': 1, 'bbox': [1, 2, 10, 10]},
            {'id': 7, 'image_id': 1, 'category_id': 9, 'bbox': [20, 2, 10, 10]}, {'id': 8, 'image_id': 1, 'category_id': 1, 'bbox': [1, 2, None, 10]},
            {'id': 9, 'image_id': 1, 'category_id': 1, 'bbox': [1, 2]}, {'id': 10, 'image_id': 1, 'category_id': 1, 'bbox': [40, 2, 10, 10], 'iscrowd': 1}]
    coco(tmp_path / 'val_anno.json', [image], rows)
    a = open_dataset(tmp_path / 'val_anno.json')
    assert a.problems[['row', 'action', 'file']].values.tolist() == [[i, x, 'val_anno.json'] for i, x in ((6, 'dropped'), (7, 'repaired'), (8, 'dropped'), (9, 'dropped'))]
    assert adds_up(a) and a.frames[0].boxes.tolist() == [[1, 2, 11, 12]]
    assert a.frames[0].ignore.tolist() == [[20, 2, 30, 12], [40, 2, 50, 12]]  # unknown category, crowd


def test_gtsdb_folder():
    a = open_dataset(real('gtsdb_germany') / 'gt_categories.csv', strict=True, decode=True)
    assert len(a.frames) == 408 and sum(len(f.boxes) for f in a.frames) == 630 and a.n_rows == 630
    assert a.classes == ('danger', 'mandatory', 'other', 'prohibitory') and len({f.drive for f in a.frames}) == 83
    assert sum(len(f.boxes) == 0 for f in a.frames) == 25  # named in frames.csv only
    assert len(open_dataset(SHARED / 'gtsdb_germany').classes) == 42  # gt.csv is preferred among the CSV files


def test_rtsd_frames_folder():
    a = open_dataset(real('rtsd_frames'))
    assert len(a.frames) == 9 and sum(len(f.boxes) for f in a.frames) == 15 and len({f.drive for f in a.frames}) == 2


def test_real_annotations_without_frames():
    a = open_dataset(real('rtsd_annotations'), need_images=False)
    raw = pd.read_csv(SHARED / 'rtsd_annotations' / 'full_gt_reduced.csv', dtype=str, keep_default_na=False)
    twice = raw.duplicated(['filename', 'x_from', 'y_from', 'width', 'height', 'sign_class']).sum()
    assert a.n_rows == len(raw) == 10241 and adds_up(a) and len(a.classes) == 155
    assert (a.problems.reason == 'duplicate row').sum() == twice == len(a.problems)
    first = a.problems.iloc[0]
    assert raw.iloc[first.row - 2].filename in first.value  # `row` is the line in the file
    assert sum(len(f.boxes) for f in a.frames) == 10241 - twice and len(a.frames) == raw.filename.nunique()
    with pytest.raises(FileNotFoundError, match='need_images=False'):
        open_dataset(SHARED / 'rtsd_annotations')


def test_real_coco_equals_its_csv():
    csv_frames = {f.filename: f for f in open_dataset(real('rtsd_annotations'), need_images=False).frames}
    coco_frames = open_dataset(SHARED / 'rtsd_annotations' / 'val_anno.json', need_images=False).frames
    assert len(coco_frames) == 4535
    for f in coco_frames:
        assert torch.equal(f.boxes, csv_frames[f.filename].boxes) and torch.equal(f.labels, csv_frames[f.filename].labels)


def test_na_is_a_class_and_numbers_stay_text(tmp_path):
    folder_of(tmp_path, ['a.jpg,1,2,10,10,NA,-1', 'a.jpg,31,2,10,10,8,-1', 'b.jpg,1,2,10,10,3_1,-1'])
    assert open_dataset(tmp_path).classes == ('3_1', '8', 'NA')


def test_frames_csv_lists_empty_frames_and_drives(tmp_path):
    folder_of(tmp_path, ['a.jpg,1,2,10,10,2_1,-1'], frames=('a.jpg', 'b.jpg', 'c.jpg'))
    assert [f.filename for f in open_dataset(tmp_path).frames] == ['a.jpg']  # nobody said that b and c were annotated
    (tmp_path / 'frames.csv').write_text('filename,scene\na.jpg,7\nb.jpg,8\nlost.jpg,8\n')
    a = open_dataset(tmp_path)
    assert [(f.filename, f.drive) for f in a.frames] == [('a.jpg', '7'), ('b.jpg', '8')]
    lost = only(a, 'frame not found')
    assert (lost.action, lost.file, lost.row, lost.value) == ('frame dropped', 'frames.csv', 4, 'lost.jpg')
    assert [f.filename for f in open_dataset(tmp_path, keep_empty=False).frames] == ['a.jpg']


def test_several_tables(tmp_path):
    folder_of(tmp_path, ['a.jpg,1,2,10,10,2_1,-1'], name='one.csv')
    folder_of(tmp_path, ['a.jpg,1,2,10,10,2_1,-1', 'b.jpg,1,2,10,10,2_1,-1'], name='two.csv')
    with pytest.raises(ValueError, match='one.csv, two.csv'):
        open_dataset(tmp_path)
    assert len(open_dataset(tmp_path / 'two.csv').frames) == 2
    (tmp_path / 'two.csv').rename(tmp_path / 'gt.csv')
    assert len(open_dataset(tmp_path).frames) == 2


def test_frames_in_two_folders_of_one_name(tmp_path):
    for d, seed in (('x', 1), ('y', 2)):
        paint(tmp_path / d / '0.jpg', seed=seed)
    (tmp_path / 'gt.csv').write_text(HEADER + 'x/0.jpg,1,2,10,10,2_1,-1\ny/0.jpg,1,2,20,20,2_1,-1\n')
    a = open_dataset(tmp_path)
    assert [(f.filename, f.path.parent.name, f.boxes[0, 2].item()) for f in a.frames] == [('x/0.jpg', 'x', 11), ('y/0.jpg', 'y', 21)]
    (tmp_path / 'gt.csv').write_text(HEADER + '0.jpg,1,2,10,10,2_1,-1\n')
    with pytest.raises(ValueError, match='may be .*x/0.jpg or .*y/0.jpg'):
        open_dataset(tmp_path)


def test_one_file_written_in_two_ways_is_one_frame(tmp_path):
    folder_of(tmp_path, ['a.jpg,1,2,10,10,2_1,-1', 'images/a.jpg,31,2,10,10,2_1,-1', 'b.jpg,1,2,10,10,2_1,-1'])
    a = open_dataset(tmp_path)
    assert [len(f.boxes) for f in a.frames] == [2, 1] and adds_up(a)


def test_find_frame_prefers_the_written_folder():
    index = {'x.jpg': ['/d/rtsd-frames/x.jpg', '/d/old/x.jpg']}
    assert find_frame('rtsd-frames/x.jpg', index) == Path('/d/rtsd-frames/x.jpg')


# ---------------------------------------------------------------- the parts that a layout states
@pytest.mark.parametrize('name, part', [('train_gt', 'train'), ('instances_val2017', 'valid'), ('validation', 'valid'), ('test', 'test'), ('TRAIN', 'train'),
                                        ('full-gt', ''), ('trainers', ''), ('train_val', ''), ('', ''), ('val_and_valid', 'valid')])
def test_part_of(name, part):
    assert part_of(name) == part


# ---------------------------------------------------------------- D1-D3 groups
D_HEADER = HEADER.replace(',sign_id', '')


def d3(tmp_path):
    "Two groups; c.jpg has a sign of each, d.jpg stands in a list of names only."
    files = {'blue_rect/train_gt.csv': 'a.jpg,10,20,30,25,5_19_1\nc.jpg,1,2,10,10,5_19_1\n', 'blue_rect/test_gt.csv': 'b.jpg,1,2,10,10,5_19_1\n',
             'main_road/train_gt.csv': 'c.jpg,50,2,10,10,2_1\nc.jpg,1,2,10,10,5_19_1\n'}
    for name, rows in files.items():
        (tmp_path / 'rtsd-d3-gt' / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / 'rtsd-d3-gt' / name).write_text(D_HEADER + rows)
    (tmp_path / 'rtsd-d3-gt' / 'blue_rect' / 'train_filenames.txt').write_text('a.jpg\nc.jpg\nd.jpg\n')
    for i, f in enumerate(('train/a.jpg', 'train/c.jpg', 'train/d.jpg', 'test/b.jpg')):
        paint(tmp_path / 'rtsd-d3-frames' / f, seed=i)
    return tmp_path


@pytest.mark.parametrize('at', ['.', 'rtsd-d3-gt'])
def test_d3_groups_are_joined(tmp_path, at):
    a = open_dataset(d3(tmp_path) / at)
    assert a.layout == 'RTSD D1-D3 groups (blue_rect, main_road)' and a.n_rows == 5 and adds_up(a)
    assert [(f.filename, f.part, f.labels.tolist(), f.path.parent.name) for f in a.frames] == [
        ('a.jpg', 'train', [1], 'train'), ('b.jpg', 'test', [1], 'test'), ('c.jpg', 'train', [1, 0], 'train')]
    twice = only(a, 'duplicate row')  # the same sign in both groups
    assert twice.file.endswith('main_road/train_gt.csv') and twice.row == 3
    said = only(a, 'nobody said')
    assert (said.action, said.value, said.row) == ('frame dropped', 'd.jpg', 3) and said.file.endswith('blue_rect/train_filenames.txt')


def test_one_group(tmp_path):
    a = open_dataset(d3(tmp_path) / 'rtsd-d3-gt' / 'blue_rect', empty_frames='background')
    assert a.layout == 'RTSD D1-D3 groups (blue_rect)' and a.n_rows == 3 and a.classes == ('5_19_1',)
    assert [(f.filename, f.part, len(f.boxes)) for f in a.frames] == [('a.jpg', 'train', 1), ('b.jpg', 'test', 1), ('c.jpg', 'train', 1), ('d.jpg', 'train', 0)]


def test_a_frame_in_two_parts_keeps_the_first_and_is_noted(tmp_path):
    d3(tmp_path)
    (tmp_path / 'rtsd-d3-gt' / 'main_road' / 'test_gt.csv').write_text(D_HEADER + 'a.jpg,90,2,10,10,2_1\n')
    a = open_dataset(tmp_path)
    note = only(a, 'stands in two parts')
    assert (note.action, note.value) == ('frame note', 'a.jpg')
    assert a.frames[0].part == 'train' and len(a.frames[0].boxes) == 2


# ---------------------------------------------------------------- COCO under any name
@pytest.mark.parametrize('train, valid', [('train.json', 'val.json'), ('instances_train2017.json', 'instances_val2017.json'),
                                          ('annotations/train.json', 'annotations/valid.json'),
                                          ('train/_annotations.coco.json', 'valid/_annotations.coco.json'), ('my_training.json', 'my_validation.json')])
def test_coco_pairs_of_any_name(tmp_path, train, valid):
    kaggle(tmp_path)
    for old, new in (('train_anno.json', train), ('val_anno.json', valid)):
        (tmp_path / new).parent.mkdir(exist_ok=True)
        (tmp_path / old).rename(tmp_path / new)
    a = open_dataset(tmp_path)
    assert [(f.filename, f.part) for f in a.frames] == [('a.jpg', 'train'), ('b.jpg', 'valid')] and a.layout == f'COCO JSON ({train}, {valid})'


def test_coco_classes_come_in_the_order_of_their_ids(tmp_path):
    kaggle(tmp_path)
    (tmp_path / 'label_map.json').unlink()
    assert open_dataset(tmp_path).classes == ('2_1', '5_16')
    coco(tmp_path / 'val_anno.json', [{'id': 1, 'file_name': 'b.jpg'}], [{'image_id': 1, 'category_id': 7, 'bbox': [1, 2, 10, 10]}],
         [{'id': 7, 'name': '1_1'}, {'id': 3, 'name': '9_9'}])
    assert open_dataset(tmp_path / 'val_anno.json').classes == ('9_9', '1_1')


def test_captions_beside_instances_are_left_out(tmp_path):
    kaggle(tmp_path)
    (tmp_path / 'val_anno.json').rename(tmp_path / 'instances_val.json')
    (tmp_path / 'train_anno.json').rename(tmp_path / 'captions_val.json')
    assert 'instances_val.json' in open_dataset(tmp_path).layout


# ---------------------------------------------------------------- YOLO
def yolo(tmp_path, form='images/{}', yaml='names: {0: 5_16, 1: 2_1}\ntrain: images/train\nval: images/val\n'):
    "a.jpg with two signs, b.jpg for validation, c.jpg with an empty label file, d.jpg without any."
    labels = {('train', 'a'): '1 0.5 0.5 0.25 0.5\n0 0.125 0.25 0.125 0.25\n', ('val', 'b'): '0 0.5 0.5 0.1 0.1\n', ('train', 'c'): ''}
    for i, (part, name) in enumerate([*labels, ('train', 'd')]):
        image = tmp_path / form.format(part) / f'{name}.jpg'
        paint(image, seed=i)
        if (part, name) in labels:
            label = Path(str(image).replace('/images', '/labels')).with_suffix('.txt')
            label.parent.mkdir(parents=True, exist_ok=True)
            label.write_text(labels[part, name])
    if yaml: (tmp_path / 'data.yaml').write_text(yaml)
    return tmp_path


@pytest.mark.parametrize('form, yaml', [('images/{}', 'names: {0: 5_16, 1: 2_1}'), ('{}/images', 'names: [5_16, 2_1]\ntrain: ../train/images\nval: ../val/images')])
def test_yolo_layouts(tmp_path, form, yaml):
    a = open_dataset(yolo(tmp_path, form, yaml))
    assert a.layout == 'YOLO (data.yaml)' and a.classes == ('5_16', '2_1') and a.n_rows == 3 and adds_up(a)  # names stay text
    assert [(f.filename, f.part, f.labels.tolist(), f.size) for f in a.frames] == [('a.jpg', 'train', [1, 0], (72, 128)), ('b.jpg', 'valid', [0], (72, 128))]
    torch.testing.assert_close(a.frames[0].boxes, torch.tensor([[48., 18, 80, 54], [8, 9, 24, 27]]))
    assert a.problems.value.tolist() == ['c.jpg', 'd.jpg'] and set(a.problems.reason) == {NOBODY_SAID}
    assert len(open_dataset(tmp_path, empty_frames='background').frames) == 4
    assert len(open_dataset(tmp_path, strict=True).frames) == 2  # the default was asked for: no fault
    (tmp_path / 'frames.csv').write_text('filename\nc.jpg\n')
    assert [f.filename for f in open_dataset(tmp_path).frames] == ['a.jpg', 'b.jpg', 'c.jpg']


def test_yolo_pair_of_folders_with_classes_txt(tmp_path):
    yolo(tmp_path, 'images', None)
    with pytest.raises(ValueError, match='no class names.*classes.txt'):
        open_dataset(tmp_path)
    (tmp_path / 'labels' / 'classes.txt').write_text('5_16\n2_1\n')
    a = open_dataset(tmp_path)
    assert a.layout == 'YOLO (images, labels)' and a.classes == ('5_16', '2_1') and [f.part for f in a.frames] == ['', ''] and a.n_rows == 3
    assert len(open_dataset(yolo(tmp_path / 'again') / 'data.yaml').frames) == 2


def test_yolo_folders_named_in_the_yaml(tmp_path):
    yolo(tmp_path, 'images/{}_set', 'names: [5_16, 2_1]\ntrain: images/train_set\nval: [images/val_set]\n')
    assert [(f.filename, f.part) for f in open_dataset(tmp_path).frames] == [('a.jpg', 'train'), ('b.jpg', 'valid')]
    (tmp_path / 'elsewhere').mkdir()
    (tmp_path / 'elsewhere' / 'my.yaml').write_text(f'path: {tmp_path}\nnames: [5_16, 2_1]\n')
    assert len(open_dataset(tmp_path / 'elsewhere' / 'my.yaml').frames) == 2


YOLO_BAD = {'too_few': ('0 0.5 0.5 0.1', 'wrong number of fields', 'dropped'), 'polygon': ('0 0.1 0.1 0.2 0.1 0.2 0.2', 'wrong number of fields', 'dropped'),
            'text': ('0 a 0.5 0.1 0.1', 'not a number', 'dropped'), 'pixels': ('0 64 36 10 10', 'not in shares', 'dropped'),
            'no_area': ('0 0.5 0.5 0 0.1', 'no area', 'dropped'),
            'class_too_large': ('2 0.5 0.5 0.1 0.1', 'unknown class', 'repaired'), 'class_negative': ('-1 0.5 0.5 0.1 0.1', 'unknown class', 'repaired'),
            'class_text': ('2_1 0.5 0.5 0.1 0.1', 'unknown class', 'repaired'), 'over_the_edge': ('0 0.99 0.5 0.1 0.1', 'clipped', 'repaired')}


@pytest.mark.parametrize('case', YOLO_BAD)
def test_bad_yolo_row_is_named(tmp_path, case):
    row, reason, action = YOLO_BAD[case]
    (yolo(tmp_path) / 'labels' / 'val' / 'b.txt').write_text(f'0 0.3 0.3 0.1 0.1\n\n{row}\n')
    a = open_dataset(tmp_path)
    p = only(a, reason)
    assert (p.action, p.file, p.row) == (action, 'labels/val/b.txt', 3) and a.n_rows == 4
    assert len(a.frames[1].boxes) + len(a.frames[1].ignore) == (1 if action == 'dropped' else 2)


def test_a_yolo_frame_whose_rows_are_all_bad_is_no_background(tmp_path):
    (yolo(tmp_path) / 'labels' / 'val' / 'b.txt').write_text('0 0.3 0.3\n')
    a = open_dataset(tmp_path, empty_frames='background')
    assert 'b.jpg' not in [f.filename for f in a.frames] and only(a, 'no usable box').value == 'b.jpg'


def test_yolo_without_images_needs_sizes(tmp_path):
    for image in yolo(tmp_path).rglob('*.jpg'): image.unlink()
    with pytest.raises(ValueError, match='size of the frame unknown.*labels/train/a.txt row 1|labels/train/a.txt row 1.*size of the frame unknown'):
        open_dataset(tmp_path, need_images=False)
    (tmp_path / 'frames.csv').write_text('filename,height,width\na.jpg,72,128\nb.jpg,72,128\n')
    assert open_dataset(tmp_path, need_images=False).frames[0].boxes[0].tolist() == [48, 18, 80, 54]


def test_two_label_files_of_one_frame_are_refused(tmp_path):
    (yolo(tmp_path) / 'train' / 'labels').mkdir(parents=True)
    (tmp_path / 'train' / 'labels' / 'a.txt').write_text('0 0.5 0.5 0.1 0.1')
    with pytest.raises(ValueError, match='labels/train/a.txt and train/labels/a.txt would belong to one frame'):
        open_dataset(tmp_path)


def test_images_of_one_name_in_two_parts_stay_two_frames(tmp_path):
    yolo(tmp_path)
    paint(tmp_path / 'images' / 'val' / 'a.jpg', seed=9)
    (tmp_path / 'labels' / 'val' / 'a.txt').write_text('0 0.5 0.5 0.5 0.5')
    a = open_dataset(tmp_path)
    assert [(f.filename, f.part, len(f.boxes)) for f in a.frames] == [('b.jpg', 'valid', 1), ('train/a.jpg', 'train', 2), ('valid/a.jpg', 'valid', 1)]
    assert [f.path.parent.name for f in a.frames] == ['val', 'train', 'val']


def test_one_folder_for_two_parts_states_none(tmp_path):
    yolo(tmp_path, 'images', 'names: [5_16, 2_1]\ntrain: images\nval: images\n')
    assert [f.part for f in open_dataset(tmp_path).frames] == ['', '']


def test_yolo_key():
    assert yolo_key('images/train/x/a.jpg') == yolo_key('labels/train/x/a.txt') == ('train', 'x/a')
    assert yolo_key('valid/images/a.b.jpg') == ('valid', 'a.b') and yolo_key('images/a.jpg') == ('', 'a') and yolo_key('a.jpg') is None
    assert yolo_key('images/dev/a.jpg', [('images/dev', 'valid')]) == ('valid', 'dev/a')


@pytest.mark.parametrize('text, message', [('names: [a', 'data.yaml is no YAML'), ('- 3', 'must hold keys'), ('names: {x: y}', 'names must map'),
                                           ('names: [[a]]', 'list of class names'),
                                           ('names:\n', 'list of class names'), ('names: []', 'list of class names')])
def test_broken_yaml_is_named(tmp_path, text, message):
    yolo(tmp_path, yaml=text)
    with pytest.raises(ValueError, match=message):
        open_dataset(tmp_path / 'data.yaml')


# ---------------------------------------------------------------- a frame without a box is background only on somebody's word
def test_empty_frames_need_a_word(tmp_path):
    a = open_dataset(kaggle(tmp_path))
    p = only(a, 'nobody said')
    assert (p.action, p.file, p.value) == ('frame dropped', 'train_anno.json', 'c.jpg') and "empty_frames='background'" in p.reason and 'frames.csv' in p.reason
    assert [f.filename for f in a.frames] == ['a.jpg', 'b.jpg'] and '1 frames dropped' in repr(a)
    assert len(open_dataset(tmp_path, empty_frames='background').frames) == 3
    (tmp_path / 'frames.csv').write_text('filename\nc.jpg\n')
    assert len(open_dataset(tmp_path).frames) == 3 and not len(open_dataset(tmp_path).problems)
    with pytest.raises(ValueError, match="'unknown' or 'background'"):
        open_dataset(tmp_path, empty_frames='drop')


def test_a_frame_of_ignore_regions_alone_is_kept_and_is_not_empty(tmp_path):
    a = open_dataset(kaggle(tmp_path, iscrowd=1))
    assert (a.frames[0].filename, len(a.frames[0].boxes), len(a.frames[0].ignore)) == ('a.jpg', 0, 1)


@pytest.mark.parametrize('bad', [{'bbox': [1, 2, 0, 10]}, {'bbox': None}, {'bbox': [500, 2, 10, 10]}])
def test_a_coco_frame_that_lost_its_boxes_is_no_background(tmp_path, bad):
    a = open_dataset(kaggle(tmp_path, **bad), empty_frames='background')
    assert [f.filename for f in a.frames] == ['b.jpg', 'c.jpg'] and only(a, 'no usable box').value == 'a.jpg'


def test_a_crowd_over_a_sign_is_no_duplicate_of_it(tmp_path):
    kaggle(tmp_path)
    image = {'id': 1, 'file_name': 'b.jpg'}
    rows = [{'id': i, 'image_id': 1, 'category_id': 1, 'bbox': [1, 2, 10, 10], 'iscrowd': i} for i in (0, 1)]
    coco(tmp_path / 'val_anno.json', [image], rows)
    a = open_dataset(tmp_path / 'val_anno.json')
    assert len(a.frames[0].boxes) == len(a.frames[0].ignore) == 1 and not len(a.problems)


# ---------------------------------------------------------------- Kaggle
@pytest.mark.parametrize('mount', ['some-slug', 'datasets/some-owner/some-slug'])
@pytest.mark.parametrize('layout', [kaggle, d3])
def test_open_dataset_without_a_path_finds_rtsd_on_kaggle(tmp_path, monkeypatch, mount, layout):
    (tmp_path / mount).mkdir(parents=True)
    layout(tmp_path / mount)
    yolo(tmp_path / 'datasets' / 'else' / 'yolo')  # somebody else's data
    (tmp_path / 'wheels').mkdir()
    assert find_rtsd(tmp_path) == tmp_path / mount
    monkeypatch.setattr('rtsd_nb.data.KAGGLE_INPUT', str(tmp_path))
    assert len(open_dataset().frames) >= 2


def test_without_a_path_and_without_kaggle(tmp_path, monkeypatch):
    monkeypatch.setattr('rtsd_nb.data.KAGGLE_INPUT', str(tmp_path / 'nowhere'))
    with pytest.raises(FileNotFoundError, match='no path given.*pass the folder'):
        open_dataset()


# ---------------------------------------------------------------- bad input, named with file and row
BAD = {'not_a_number': ('b.jpg,1,2,wide,10,2_1,-1', 'box is not a number', 'dropped'),
       'nan': ('b.jpg,NaN,2,10,10,2_1,-1', 'box is not a number', 'dropped'),
       'infinite': ('b.jpg,1,2,inf,10,2_1,-1', 'box is not a number', 'dropped'),
       'empty_cell': ('b.jpg,,2,10,10,2_1,-1', 'box is not a number', 'dropped'),
       'no_area': ('b.jpg,1,2,0,10,2_1,-1', 'box has no area', 'dropped'),
       'negative_size': ('b.jpg,1,2,10,-10,2_1,-1', 'box has no area', 'dropped'),
       'outside': ('b.jpg,500,2,10,10,2_1,-1', 'box outside its frame', 'dropped'),
       'outside_left': ('b.jpg,-20,2,10,10,2_1,-1', 'box outside its frame', 'dropped'),
       'over_the_edge': ('b.jpg,120,2,10,10,2_1,-1', 'box clipped to its frame', 'repaired'),
       'missing_frame': ('lost.jpg,1,2,10,10,2_1,-1', 'frame not found', 'dropped'),
       'duplicate': (GOOD, 'duplicate row', 'dropped'),
       'no_class': ('b.jpg,1,2,10,10,,-1', 'unknown class', 'repaired'),
       'no_file_name': (',1,2,10,10,2_1,-1', 'no file name', 'dropped'),
       'too_many_fields': ('b.jpg,1,2,10,10,2_1,-1,9,9', 'wrong number of fields', 'dropped'),
       'too_few_fields': ('b.jpg,1,2', 'wrong number of fields', 'dropped'),
       'blank_line': ('', 'wrong number of fields', 'dropped')}


@pytest.mark.parametrize('case', BAD)
def test_bad_row_is_named(tmp_path, case):
    row, reason, action = BAD[case]
    folder_of(tmp_path, [GOOD, row, 'b.jpg,50,20,12,12,5_16,-1'])
    a = open_dataset(tmp_path)
    p = only(a, reason)
    assert (p.action, p.file, p.row) == (action, 'gt.csv', 3) and a.n_rows == 3
    if row: assert row.split(',')[0] in p.value
    with pytest.raises(ValueError, match=r'gt\.csv row 3: ' + f'{action}, .*{reason}'):
        open_dataset(tmp_path, strict=True)
    assert all(torch.isfinite(f.boxes).all() and len(f.labels) == len(f.boxes) for f in a.frames)


def test_clipped_box(tmp_path):
    folder_of(tmp_path, ['a.jpg,120,-4,20,10,2_1,-1', 'b.jpg,127.5,2,10,10,2_1,-1', 'b.jpg,1,2,10,10,2_1,-1'])
    a = open_dataset(tmp_path)
    assert a.frames[0].boxes.tolist() == [[120, 0, 128, 6]] and len(a.frames[1].boxes) == 1  # half a pixel is no sign


@pytest.mark.parametrize('content, reason', [(b'', 'frame file is empty'), (b'no pixels', 'frame not an image'), ('half', 'frame truncated')])
def test_unreadable_frame_is_named(tmp_path, content, reason):
    folder_of(tmp_path, [GOOD, 'b.jpg,1,2,10,10,2_1,-1'])
    b = tmp_path / 'images' / 'b.jpg'
    b.write_bytes(b.read_bytes()[:len(b.read_bytes()) // 2] if content == 'half' else content)
    p = only(open_dataset(tmp_path), reason)
    assert (p.action, p.file, p.row) == ('dropped', 'gt.csv', 3) and 'b.jpg' in p.value


def test_decode_finds_a_picture_cut_before_its_end_mark(tmp_path):
    folder_of(tmp_path, [GOOD, 'b.jpg,1,2,10,10,2_1,-1'])
    b = tmp_path / 'images' / 'b.jpg'
    b.write_bytes(b.read_bytes()[:700] + b'\xff\xd9')  # the end mark is there, most of the picture is not
    assert not len(open_dataset(tmp_path).problems)
    # what the decoder makes of it is the library's affair; it must never crash the reader
    assert adds_up(open_dataset(tmp_path, decode=True))


def test_a_frame_that_lost_all_its_boxes_is_no_background(tmp_path):
    folder_of(tmp_path, [GOOD, 'b.jpg,nan,2,10,10,2_1,-1'])
    a = open_dataset(tmp_path)
    assert [f.filename for f in a.frames] == ['a.jpg']
    assert only(a, 'no usable box').action == 'frame dropped'


def test_stated_size_differs(tmp_path):
    kaggle(tmp_path)
    paint(tmp_path / 'rtsd-frames' / 'rtsd-frames' / 'b.jpg', size=(100, 200))
    a = open_dataset(tmp_path)
    p = only(a, 'size differs')
    assert p.action == 'frame note' and p.value == 'b.jpg' and a.frames[1].size == (100, 200)


@pytest.mark.parametrize('column', HEADER.strip().split(',')[:6])
def test_missing_column_is_named(tmp_path, column):
    folder_of(tmp_path, [GOOD], header=HEADER.replace(column, 'other'))
    with pytest.raises(ValueError, match=f'gt.csv lacks the column {column}'):
        open_dataset(tmp_path)


@pytest.mark.parametrize('name, text, message', [('gt.csv', '', 'gt.csv is empty'), ('gt.csv', HEADER, 'gt.csv has a header but no rows'),
                                                 ('gt.csv', '\n\n', 'gt.csv is empty'), ('x_anno.json', '', 'x_anno.json is empty'),
                                                 ('x_anno.json', '{"images": [', 'x_anno.json is no JSON'), ('x_anno.json', '[1, 2]', 'no COCO'),
                                                 ('x_anno.json', '{"images": [], "annotations": []}', 'is empty')])
def test_empty_or_broken_file_is_named(tmp_path, name, text, message):
    paint(tmp_path / 'a.jpg')
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=message):
        open_dataset(tmp_path / name)
    if name == 'gt.csv':
        with pytest.raises(ValueError, match=message):
            open_dataset(tmp_path)


def test_folder_without_frames_or_annotations(tmp_path):
    (tmp_path / 'empty').mkdir()
    with pytest.raises(FileNotFoundError, match='holds no annotations'):
        open_dataset(tmp_path / 'empty')
    with pytest.raises(FileNotFoundError, match='does not exist'):
        open_dataset(tmp_path / 'nowhere')
    (tmp_path / 'empty' / 'gt.csv').write_text(HEADER + GOOD)
    with pytest.raises(FileNotFoundError, match='no frames'):
        open_dataset(tmp_path / 'empty')
    a = open_dataset(tmp_path / 'empty', need_images=False)
    assert a.frames[0].path is None and a.frames[0].size is None and len(a.frames[0].boxes) == 1


def test_nothing_left(tmp_path):
    folder_of(tmp_path, ['lost.jpg,1,2,10,10,2_1,-1', 'b.jpg,1,2,0,10,2_1,-1'])
    with pytest.raises(ValueError, match='nothing is left') as e:
        open_dataset(tmp_path)
    assert 'gt.csv row 2' in str(e.value) and 'gt.csv row 3' in str(e.value)


def test_unknown_class_asked_for(tmp_path):
    folder_of(tmp_path, [GOOD])
    with pytest.raises(ValueError, match='unknown class 9_9; known are: 2_1'):
        open_dataset(tmp_path, classes=['2_1', '9_9'])


def test_class_missing_from_the_label_map(tmp_path):
    folder_of(tmp_path, [GOOD, 'b.jpg,1,2,10,10,77_1,-1'])
    (tmp_path / 'label_map.json').write_text('{"2_1": 1}')
    a = open_dataset(tmp_path)
    p = only(a, 'not in the label map')
    assert (p.action, p.row) == ('repaired', 3) and len(a.frames[1].ignore) == 1 and a.classes == ('2_1',)


def test_a_stray_quote_spoils_one_row_only(tmp_path):
    folder_of(tmp_path, [GOOD, 'b.jpg,",2,10,10,2_1,-1', 'b.jpg,1,2,10,10,2_1,-1', '"b.jpg",30,2,10,10,"2_1",1e30'])
    a = open_dataset(tmp_path)
    assert a.problems.row.tolist() == [3] and a.n_rows == 4 and len(a.frames[1].boxes) == 2 and a.frames[1].sign_ids.tolist() == [-1, -1]


def test_odd_tables_never_crash_and_always_add_up(tmp_path):
    import random
    folder_of(tmp_path, [GOOD], frames=('a.jpg', 'b.jpg', 'c.jpg'))
    (tmp_path / 'images' / 'd.jpg').write_text('no pixels')
    value = ['10', '20'] * 8 + ['-5', '0', 'nan', 'inf', '', 'x', '127', '1e400', ' 7 ', '"', '0x10']
    name = ['a.jpg', 'b.jpg', 'c.jpg'] * 4 + ['d.jpg', 'e.jpg', '', '../a.jpg', 'x/a.jpg', '/', '..', 'x\\a.jpg']
    r, read = random.Random(0), 0
    for _ in range(150):
        rows = [','.join([r.choice(name), *(r.choice(value) for _ in range(4)), r.choice(['2_1', 'NA', '', '\u0436']), r.choice(['1', '', 'x'])])
                for _ in range(r.randint(1, 8))]
        (tmp_path / 'gt.csv').write_text(HEADER + '\n'.join(rows) + '\n')
        try:
            a = open_dataset(tmp_path, need_images=r.random() < 0.7, keep_empty=r.random() < 0.7)
        except ValueError as e:
            assert 'nothing is left' in str(e) and 'gt.csv row 2' in str(e)
            continue
        read += 1
        used = a.n_rows - (a.problems.action == 'dropped').sum()
        assert adds_up(a) and a.n_rows == len(rows) and sum(len(f.boxes) + len(f.ignore) for f in a.frames) == used
    assert read > 50


# ---------------------------------------------------------------- class filter: unlabelled is unknown
def test_class_filter_makes_ignore_regions(tmp_path):
    folder_of(tmp_path, [GOOD, 'a.jpg,60,20,12,12,5_16,-1', 'b.jpg,50,20,12,12,5_16,-1'])
    a = open_dataset(tmp_path, classes='2_1')
    assert len(a.frames) == 2 and a.classes == ('2_1',) and adds_up(a) and not len(a.problems)
    assert a.frames[0].boxes.tolist() == [[10, 20, 40, 45]] and a.frames[0].ignore.tolist() == [[60, 20, 72, 32]]
    assert a.frames[1].boxes.shape == (0, 4) and a.frames[1].ignore.tolist() == [[50, 20, 62, 32]]
    fewer = open_dataset(tmp_path, classes='2_1', keep_empty=False)
    assert len(fewer.frames) == 1 and adds_up(fewer)
    assert len(open_dataset(tmp_path, classes='2_1', keep_empty=False, strict=True).frames) == 1  # asked for, so no problem


def test_ignore_regions_go_through_the_transform(tmp_path):
    folder_of(tmp_path, [GOOD, 'a.jpg,60,20,12,12,5_16,-1'])
    frame = open_dataset(tmp_path, classes='2_1').frames[0]
    _, target = FrameDataset([frame], fit_transform((36, 64)))[0]
    assert target.ignore.tolist() == [[30, 10, 36, 16]] and target.boxes.tolist() == [[5, 10, 20, 22.5]] and target.scale == 0.5


def test_defect_28_frames_without_boxes_keep_shape_and_dtype(tmp_path):
    folder_of(tmp_path, [GOOD])
    (tmp_path / 'frames.csv').write_text('filename\na.jpg\nb.jpg\n')
    frame = open_dataset(tmp_path).frames[1]
    for boxes in (frame.boxes, frame.ignore):
        assert boxes.shape == (0, 4) and boxes.dtype == torch.float32
    assert frame.labels.shape == (0,) and frame.labels.dtype == torch.int64 and frame.sign_ids.dtype == torch.int64
    for transform in (fit_transform((40, 60)), crop_transform((32, 48))):
        image, target = FrameDataset([frame], transform)[0]
        assert target.boxes.shape == target.ignore.shape == (0, 4) and target.boxes.dtype == torch.float32
        assert target.labels.shape == (0,) and target.labels.dtype == torch.int64 and image.dtype == torch.uint8
    assert box_statistics([frame], ('x',)).boxes.tolist() == [0]


def test_defect_28_class_filter_keeps_every_frame():
    a = open_dataset(real('rtsd_annotations'), need_images=False)
    four = open_dataset(SHARED / 'rtsd_annotations', classes=('6_16', '5_19_1', '2_1', '2_4'), need_images=False)
    assert len(four.frames) == len(a.frames)
    assert sum(len(f.boxes) + len(f.ignore) for f in four.frames) == sum(len(f.boxes) for f in a.frames)
    mixed = [f for f in four.frames if len(f.boxes) and len(f.ignore)]
    assert len(mixed) > 0.2 * sum(len(f.boxes) > 0 for f in four.frames)  # these would have taught that a sign is background
