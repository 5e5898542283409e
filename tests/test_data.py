"""Reading, checking, splitting and sampling: on folders made here, and on the real data beside the checkout where it is."""
import json
import subprocess
import sys
from pathlib import Path

import albumentations as A
import cv2
import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch

from rtsd_nb.boxes import box_iou
from rtsd_nb.data import (GREY, Frame, FrameDataset, collate, color_augment, crop_transform, drive_of, drive_table, find_frame, fit_transform,
                          box_statistics, boxes_per_frame, make_loader, no_boxes, no_labels, open_dataset, pixel_counts, pixel_statistics,
                          plot_box_sizes, plot_samples, read_image, read_split, share_with_neighbour, split_by_drive, split_deviation,
                          split_report, statistics_of_counts, write_split)

SHARED = Path(__file__).resolve().parents[2] / 'shared' / 'data'
HEADER = 'filename,x_from,y_from,width,height,sign_class,sign_id\n'


def real(part):
    "A folder of the real data, or a skip that says what is missing."
    if not (SHARED / part).exists():
        pytest.skip(f'real data not here: ../shared/data/{part}')
    return SHARED / part


def paint(path, size=(72, 128), seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    assert cv2.imwrite(str(path), cv2.GaussianBlur(image, (0, 0), 3))


def folder_of(tmp_path, rows, header=HEADER, frames=('a.jpg', 'b.jpg'), name='gt.csv'):
    for i, f in enumerate(frames):
        paint(tmp_path / 'images' / f, seed=i)
    (tmp_path / name).write_text(header + '\n'.join(rows) + '\n')
    return tmp_path


def adds_up(a):
    rows = a.summary().query("action in ('kept', 'repaired', 'dropped')").rows.sum()
    return rows == a.n_rows


def only(a, reason):
    "The one problem row whose reason contains `reason`."
    found = a.problems[a.problems.reason.str.contains(reason)]
    assert len(found) == 1, a.problems.to_string()
    assert adds_up(a)
    return found.iloc[0]


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
    a = open_dataset(kaggle(tmp_path))
    assert a.classes == ('2_1', '5_16') and a.n_rows == 2 and adds_up(a) and 'COCO' in a.layout
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


# ---------------------------------------------------------------- bad input, named with file and row
GOOD = 'a.jpg,10,20,30,25,2_1,-1'
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


# ---------------------------------------------------------------- drives and splits
def test_drives_by_hand():
    names = ['autosave01_02_2012_09_13_33.jpg', 'autosave01_02_2012_09_14_33_2.jpg', 'autosave01_02_2012_09_15_34.jpg', 'x.jpg', 'y.jpg']
    d = drive_of(names)
    assert d[0] == d[1] and len(set(d)) == 4  # 60 s are no pause, 61 s are
    assert drive_of(names, gap_seconds=61)[2] == d[0] and len(set(drive_of(names, gap_seconds=10))) == 5
    assert drive_of(['autosave99_99_2012_09_13_33.jpg']) == ['autosave99_99_2012_09_13_33.jpg']  # no such day


@pytest.fixture(scope='module')
def real_frames():
    a = open_dataset(real('rtsd_annotations'), need_images=False)
    return a, split_by_drive(a.frames, a.classes)


def test_defect_32_no_drive_on_both_sides(real_frames):
    a, (train, valid) = real_frames
    assert not {f.drive for f in train} & {f.drive for f in valid} and len(train) + len(valid) == len(a.frames)
    assert share_with_neighbour(train, valid, seconds=60) == 0
    order = np.random.default_rng(0).permutation(len(a.frames))
    by_frame = [[a.frames[i] for i in part] for part in (order[len(order) // 5:], order[:len(order) // 5])]
    assert share_with_neighbour(*by_frame, seconds=10) > 0.2  # what a split by frame does on these names


def test_defect_31_split_is_deterministic(real_frames):
    a, (train, valid) = real_frames
    names = [f.filename for f in valid]
    np.random.seed(5)
    before = np.random.get_state()[1].copy()
    again = [f.filename for f in split_by_drive(a.frames[::-1], a.classes)[1]]
    assert sorted(again) == sorted(names)
    assert (np.random.get_state()[1] == before).all()  # the global state is left as it was
    assert sorted(f.filename for f in split_by_drive(a.frames, a.classes, seed=1)[1]) != sorted(names)
    code = ('import sys; from rtsd_nb.data import open_dataset, split_by_drive; a = open_dataset(sys.argv[1], need_images=False); '
            'print("\\n".join(f.filename for f in split_by_drive(a.frames, a.classes)[1]))')
    out = subprocess.run([sys.executable, '-c', code, str(SHARED / 'rtsd_annotations')], capture_output=True, text=True, check=True,
                         cwd=Path(__file__).parents[1])
    assert out.stdout.split() == names  # another process, another hash seed


def test_defect_31_embedded_split_is_deterministic():
    frames = [Frame(f'{i}.jpg', labels=torch.tensor([i % 3]), boxes=torch.ones(1, 4), drive=str(i // 4)) for i in range(80)]
    one, two = (split_by_drive(frames, 'abc', seed=3) for _ in range(2))
    assert [f.filename for f in one[1]] == [f.filename for f in two[1]] and 12 <= len(one[1]) <= 20


def test_split_shares(real_frames):
    a, (train, valid) = real_frames
    names, counts, sizes = drive_table(a.frames, len(a.classes))
    amounts = np.concatenate([counts, sizes[:, None]], axis=1)
    mine = split_deviation(np.append(drive_table(valid, len(a.classes))[1].sum(0), len(valid)), amounts.sum(0), 0.2)
    chance = [split_deviation(amounts[np.random.default_rng(s).permutation(len(sizes)) < len(sizes) // 5].sum(0), amounts.sum(0), 0.2) for s in range(50)]
    assert mine <= min(chance) and abs(len(valid) / len(a.frames) - 0.2) < 0.02
    report = split_report(train, valid, a.classes)
    often = report[report.train_drives + report.valid_drives >= 20]
    off = (often.valid_share - 0.2).abs()
    assert len(often) > 20 and off.max() < 0.15 and off.mean() < 0.05
    assert report.train.sum() + report.valid.sum() == sum(len(f.boxes) for f in a.frames)
    assert report.valid_share.isna().sum() == (report.train + report.valid == 0).sum() == 3  # three classes have no box here


@pytest.mark.parametrize('n', [2, 3])
def test_split_of_few_drives_has_two_sides(n):
    frames = [Frame(f'{i}.jpg', labels=torch.tensor([0]), boxes=torch.ones(1, 4), drive=str(i % n)) for i in range(12)]
    train, valid = split_by_drive(frames, ('a',))
    assert train and valid
    assert all(split_by_drive([Frame(f'{i}.jpg', drive=str(i)) for i in range(n)], ('a',)))  # no boxes at all
    with pytest.raises(ValueError, match='at least two'):
        split_by_drive(frames[:1], ('a',))


def test_split_file(tmp_path):
    frames = [Frame(f'{i}.jpg', drive=str(i // 2)) for i in range(6)]
    file = tmp_path / 'split.csv'
    write_split(file, frames[:4], frames[4:])
    assert [[f.filename for f in part] for part in read_split(file, frames)] == [['0.jpg', '1.jpg', '2.jpg', '3.jpg'], ['4.jpg', '5.jpg']]
    file.write_text('scene,split\n0,train\n1,valid\n2,train\n')
    assert [len(p) for p in read_split(file, frames)] == [4, 2]
    for text, message in (('filename,split\nzz.jpg,train\n', 'split.csv row 2: zz.jpg is no filename'), ('filename,split\n0.jpg,train\n', 'no row for 5 of 6'),
                          ('drive,split\n0,train\n1,new\n', "split.csv row 3: split is 'new'"), ('drive,split\n0,train\n0,valid\n', 'row 3: 0 stands on both'),
                          ('frame,split\n', 'lacks the column filename'), ('', 'split.csv is empty')):
        file.write_text(text)
        with pytest.raises(ValueError, match=message):
            read_split(file, frames)
    write_split(file, frames[:3], frames[3:])
    with pytest.raises(ValueError, match='1 drives stand on both sides'):
        read_split(file, frames)
    assert [len(p) for p in read_split(file, frames, shared_drives=True)] == [3, 3]


# ---------------------------------------------------------------- transforms
def painted(boxes, size=(720, 1280)):
    "A black frame in which each box has its own grey."
    image = np.zeros((*size, 3), np.uint8)
    for k, (x1, y1, x2, y2) in enumerate(boxes.int().tolist()):
        image[y1:y2, x1:x2] = 100 + 20 * k
    return image


@pytest.mark.parametrize('crop', [(384, 384), (200, 300)])
def test_boxes_move_with_the_pixels(crop):
    boxes = torch.tensor([[600., 300, 660, 340], [20, 20, 60, 90], [1200, 650, 1270, 715], [610, 500, 640, 560]])
    image, labels, n = painted(boxes), torch.arange(4), 0
    transform = crop_transform(crop, sign_share=1, augment=None)
    for seed in range(60):
        out, moved, kept, ignored, s = transform(image, boxes, labels, no_boxes(), np.random.default_rng(seed))
        assert out.shape == (*crop, 3) and len(moved) >= 1 and 0.65 <= s <= 1.5
        for box, k in zip(moved, kept.tolist()):
            x, y = (max(0, int(v) - 4) for v in box[:2])
            ys, xs = np.nonzero(out[y:int(box[3]) + 5, x:int(box[2]) + 5, 0] > (100 + 20 * k) / 2)
            seen = torch.tensor([x + xs.min(), y + ys.min(), x + xs.max() + 1, y + ys.max() + 1], dtype=torch.float32)
            assert abs(float(out[ys + y, xs + x, 0].mean()) - (100 + 20 * k)) < 8  # the right sign's grey
            assert (seen - box).abs().max() <= 1.01, (seed, k, seen, box)
            n += 1
        assert (moved[:, :2] >= 0).all() and (moved[:, 2:] <= torch.tensor([crop[1], crop[0]])).all()
        assert len(moved) + len(ignored) <= 4
    assert n >= 60


def test_fit_by_hand():
    boxes = torch.tensor([[600., 300, 660, 340]])
    out, moved, _, ignore, s = fit_transform((384, 640))(painted(boxes), boxes, torch.tensor([0]), boxes * 2 - 500, None)
    assert s == 0.5 and moved.tolist() == [[300, 150, 330, 170]] and ignore.tolist() == [[350, 50, 410, 90]]
    assert out.shape == (384, 640, 3) and (out[360:] == GREY).all() and (out[150:170, 300:330] == 100).all() and out[149, 300, 0] == 0
    out, moved, *_, s = fit_transform((1000, 1500))(painted(boxes), boxes, torch.tensor([0]), no_boxes(), None)
    assert s == 1 and torch.equal(moved, boxes) and (out[:720, :1280] == painted(boxes)).all()  # never enlarged


def test_a_sign_with_less_than_half_left_becomes_ignored():
    boxes, seen = torch.tensor([[100., 100, 140, 140], [300, 100, 340, 140]]), set()
    transform = crop_transform((64, 200), scale=(1, 1), sign_share=0, augment=None)
    for seed in range(800):
        _, kept, labels, ignored, _ = transform(painted(boxes, (240, 480)), boxes, torch.arange(2), no_boxes(), np.random.default_rng(seed))
        left = (kept[:, 2:] - kept[:, :2]).prod(1) / 1600
        lost = (ignored[:, 2:] - ignored[:, :2]).prod(1) / 1600
        assert (left >= 0.5).all() and (lost < 0.5).all() and (lost > 0).all()
        seen |= {('kept', len(kept)), ('ignored', len(ignored))}
    assert {('kept', 0), ('kept', 1), ('ignored', 0), ('ignored', 1)} <= seen


def test_share_of_crops_with_a_sign():
    boxes = torch.tensor([[1200., 600, 1230, 630]])
    transform = crop_transform((256, 256), sign_share=0.8, augment=None)
    image = painted(boxes)
    n = sum(len(transform(image, boxes, torch.tensor([0]), no_boxes(), np.random.default_rng(s))[1]) for s in range(400))
    assert 300 < n < 370  # 80 % around the sign, and it is hardly ever met by chance


def test_frame_smaller_than_the_crop_is_padded_with_grey():
    boxes = torch.tensor([[10., 10, 40, 40]])
    out, moved, *_ = crop_transform((200, 300), scale=(1, 1), augment=None)(painted(boxes, (80, 100)), boxes, torch.tensor([0]), no_boxes(), np.random.default_rng(0))
    assert out.shape == (200, 300, 3) and torch.equal(moved, boxes) and (out[80:] == GREY).all() and (out[:, 100:] == GREY).all()


def test_a_sign_larger_than_the_crop():
    boxes = torch.tensor([[0., 0, 600, 600]])
    out, kept, _, ignored, _ = crop_transform((64, 64), sign_share=1, augment=None)(painted(boxes), boxes, torch.tensor([0]), no_boxes(), np.random.default_rng(0))
    assert len(kept) == 0 and len(ignored) == 1 and (out == 100).all()


def test_defect_9_aspect_ratio_is_kept():
    boxes = torch.tensor([[600., 300, 640, 340]])
    for transform in (fit_transform((640, 640)), crop_transform((640, 640), augment=None), crop_transform((200, 640), augment=None, sign_share=1)):
        out, moved, *_, s = transform(painted(boxes), boxes, torch.tensor([0]), no_boxes(), np.random.default_rng(1))
        assert out.shape[:2] in ((640, 640), (200, 640))
        assert torch.allclose(moved[:, 2:] - moved[:, :2], torch.tensor([[40., 40]]) * s, atol=1e-3)  # a square stays a square


def test_defect_9_crops_keep_signs_large():
    a = open_dataset(real('rtsd_annotations'), need_images=False)
    width = torch.cat([f.boxes[:, 2] - f.boxes[:, 0] for f in a.frames]).median()
    boxes = torch.tensor([[600., 300, 600 + width, 300 + width]])
    t = crop_transform((384, 384), sign_share=1, augment=None)
    got = [t(painted(boxes), boxes, torch.tensor([0]), no_boxes(), np.random.default_rng(s))[1] for s in range(40)]
    assert torch.cat(got)[:, 2].sub(torch.cat(got)[:, 0]).median() > 0.8 * width > 16  # a squash leaves half of it


def test_defect_29_box_over_the_edge_does_not_stop_anything(tmp_path):
    folder_of(tmp_path, ['a.jpg,118,20,11,25,2_1,-1', 'a.jpg,-1,-1,12,12,2_1,-1', 'b.jpg,1,60,10,13,2_1,-1'])
    a = open_dataset(tmp_path)
    assert (a.problems.reason == 'box clipped to its frame').all() and len(a.problems) == 3
    for transform in (fit_transform((72, 128)), crop_transform((64, 64))):
        for image, target in FrameDataset(a.frames, transform):
            assert (target.boxes >= 0).all() and (target.boxes[:, 2] <= image.shape[2]).all() and (target.boxes[:, 3] <= image.shape[1]).all()


def test_defect_29_unclipped_boxes_pass_too():
    boxes = torch.tensor([[-3., 10, 30, 40], [1260, 700, 1281, 721]])
    for t in (fit_transform((360, 640)), crop_transform((128, 128), sign_share=1)):
        t(painted(boxes.clamp(min=0)), boxes, torch.tensor([0, 1]), no_boxes(), np.random.default_rng(0))


def test_library_way_agrees(tmp_path):
    boxes = torch.tensor([[600., 300, 660, 341], [3, 5, 20, 30]])
    library = A.Compose([A.LongestMaxSize(640), A.PadIfNeeded(384, 640, position='top_left', fill=GREY)],
                        bbox_params=A.BboxParams('pascal_voc', label_fields=['labels']))
    theirs = library(image=painted(boxes), bboxes=boxes.numpy(), labels=np.array([0, 1]))
    out, moved, *_ = fit_transform((384, 640))(painted(boxes), boxes, torch.tensor([0, 1]), no_boxes(), None)
    assert torch.allclose(torch.tensor(theirs['bboxes'], dtype=torch.float32), moved, atol=1e-3) and theirs['image'].shape == out.shape


def test_defect_35_training_samples_are_augmented(tmp_path):
    folder_of(tmp_path, [GOOD])
    frame = open_dataset(tmp_path).frames[0]
    train, evaluate = FrameDataset([frame], crop_transform((48, 48))), FrameDataset([frame], fit_transform((72, 128)))
    passes = []
    for epoch in range(4):
        train.set_epoch(epoch); evaluate.set_epoch(epoch)
        passes.append((train[0][0], evaluate[0][0]))
    assert all(not passes[0][0].equal(p[0]) for p in passes[1:]) and all(passes[0][1].equal(p[1]) for p in passes[1:])


def test_colour_augmentation_moves_no_pixel():
    image = np.zeros((64, 64, 3), np.uint8)
    image[20:40, 24:44] = 200
    augment = color_augment()
    for seed in range(60):
        augment.set_random_seed(seed)
        out = augment(image=image)['image'].astype(float).sum(2)
        ys, xs = np.nonzero(out > (out.max() + out.min()) / 2)
        assert abs(xs.mean() - 33.5) < 0.8 and abs(ys.mean() - 29.5) < 0.8, seed
    for moving in (A.HorizontalFlip(), A.Compose([A.OneOf([A.Rotate(), A.GaussNoise()])])):
        with pytest.raises(ValueError, match='moves pixels'):
            crop_transform(augment=moving)


# ---------------------------------------------------------------- data set and loader
@pytest.fixture
def dataset(tmp_path):
    names = [f'{i}.jpg' for i in range(10)]
    folder_of(tmp_path, [f'{n},{3 * i},{2 * i},{10 + i},{12 + i},{"2_1" if i % 2 else "5_16"},-1' for i, n in enumerate(names) if i != 4], frames=names)
    (tmp_path / 'frames.csv').write_text('filename\n' + '\n'.join(names))
    return FrameDataset(open_dataset(tmp_path).frames, crop_transform((48, 64)), seed=7)


def same(a, b):
    return a[0].equal(b[0]) and all(x.filename == y.filename and x.scale == y.scale and x.boxes.equal(y.boxes) and x.labels.equal(y.labels)
                                    and x.ignore.equal(y.ignore) for x, y in zip(a[1], b[1]))


def test_loader_is_the_same_with_workers(dataset):
    for epoch in (0, 1):
        dataset.set_epoch(epoch)
        alone, shared = (list(make_loader(dataset, 4, shuffle=True, seed=1, workers=w)) for w in (0, 2))
        assert len(alone) == len(shared) == 2 and all(same(a, b) for a, b in zip(alone, shared))


def test_epochs_differ_and_the_same_seed_repeats(dataset):
    def epoch(n):
        dataset.set_epoch(n)
        return list(make_loader(dataset, 4, shuffle=True))
    zero, one = epoch(0), epoch(1)
    assert not same(zero[0], one[0]) and all(same(a, b) for a, b in zip(zero, epoch(0)))
    assert [t.filename for _, ts in zero for t in ts] != [t.filename for _, ts in one for t in ts]
    other = FrameDataset(dataset.frames, dataset.transform, seed=8)
    assert not same(collate([dataset[0]]), collate([other[0]]))


def test_loader_without_shuffle_keeps_order_and_all_frames(dataset):
    batches = list(make_loader(dataset, 4))
    assert [t.filename for _, ts in batches for t in ts] == [f.filename for f in dataset.frames] and [len(ts) for _, ts in batches] == [4, 4, 2]
    assert len(list(make_loader(dataset, 64, shuffle=True))) == 1  # fewer frames than a batch: not an empty epoch


def test_collate_pads_right_and_below(dataset):
    small, large = torch.zeros(3, 4, 6, dtype=torch.uint8), torch.zeros(3, 5, 2, dtype=torch.uint8)
    images, targets = collate([(small, 'a'), (large, 'b')])
    assert images.shape == (2, 3, 5, 6) and images.dtype == torch.uint8 and targets == ['a', 'b']
    assert (images[0, :, :4] == 0).all() and (images[0, :, 4:] == GREY).all() and (images[1, :, :, 2:] == GREY).all()


def test_unreadable_frame_raises_and_is_named(tmp_path, dataset):
    dataset.frames[0].path.write_text('gone')
    with pytest.raises(RuntimeError, match='0.jpg'):
        dataset[0]
    dataset.frames[1].path.unlink()
    with pytest.raises(RuntimeError, match='1.jpg'):
        dataset[1]
    with pytest.raises(RuntimeError, match='x.jpg has no file'):
        FrameDataset([Frame('x.jpg')], dataset.transform)[0]


def test_images_are_rgb(tmp_path):
    red = np.zeros((40, 40, 3), np.uint8)
    red[..., 2] = 255  # OpenCV writes BGR
    cv2.imwrite(str(tmp_path / 'red.png'), red)
    assert read_image(tmp_path / 'red.png')[0, 0].tolist() == [255, 0, 0]


def test_one_decode_and_no_full_size_work_a_sample(dataset, monkeypatch):
    "The window is cut before anything is resized: no resize sees much more than the window."
    calls, real_resize = [], cv2.resize
    monkeypatch.setattr(cv2, 'resize', lambda image, *a, **k: (calls.append(image.shape), real_resize(image, *a, **k))[1])
    t = crop_transform((100, 100), augment=None)
    for s in range(20):
        t(np.zeros((720, 1280, 3), np.uint8), no_boxes(), no_labels(), no_boxes(), np.random.default_rng(s))
    assert calls and max(max(c[:2]) for c in calls) <= 100 / 0.65 + 3


# ---------------------------------------------------------------- statistics
def test_defect_30_pixel_statistics_are_exact(tmp_path):
    constant = np.full((300, 400, 3), 77, np.uint8)
    mean, std = statistics_of_counts(pixel_counts([constant] * 50))
    assert mean.dtype == std.dtype == np.float64 and (mean == 77 / 255).all() and (std == 0).all()
    mean, std = statistics_of_counts(pixel_counts([np.array([[[0, 0, 9], [255, 0, 9]]], np.uint8)]))
    assert np.allclose(mean, [0.5, 0, 9 / 255]) and np.allclose(std, [0.5, 0, 0])
    images = [np.random.default_rng(i).integers(200, 256, (200, 300, 3), dtype=np.uint8) for i in range(8)]
    mean, std = statistics_of_counts(pixel_counts(images))
    pixels = np.concatenate([i.reshape(-1, 3) for i in images]) / 255
    assert np.abs(mean - pixels.mean(0)).max() < 1e-12 and np.abs(std - pixels.std(0)).max() < 1e-12
    # more pixels than float32 can sum: 2**24 ones and one more
    counts = np.zeros((3, 256), np.int64)
    counts[:, 1], counts[:, 3] = 2**40, 1
    assert (statistics_of_counts(counts)[0] > 1 / 255).all()


def test_pixel_statistics_of_frames(tmp_path):
    folder_of(tmp_path, [GOOD, 'b.jpg,1,2,10,10,2_1,-1'])
    frames = open_dataset(tmp_path).frames
    pixels = np.stack([read_image(f.path) for f in frames]).reshape(-1, 3) / 255
    mean, std = pixel_statistics(frames)
    assert np.allclose(mean, pixels.mean(0), atol=1e-12) and np.allclose(std, pixels.std(0), atol=1e-12)
    with pytest.raises(ValueError, match='no frames'):
        pixel_statistics([])


def test_defect_33_channels_are_not_counted_as_images():
    one = np.full((10, 10, 3), 200, np.uint8)
    assert pixel_counts([one, one]).sum() == 2 * 100 * 3 and (statistics_of_counts(pixel_counts([one, one]))[0] == 200 / 255).all()
    frames = [Frame('a', boxes=torch.rand(2, 4), labels=torch.tensor([0, 0])), Frame('b', boxes=torch.rand(1, 4), labels=torch.tensor([0]))]
    assert boxes_per_frame(frames)['mean'] == 1.5


def test_defect_27_box_statistics_by_hand():
    frames = [Frame('a', boxes=torch.tensor([[0., 0, 10, 20], [0, 0, 30, 40], [5, 5, 6, 7]]), labels=torch.tensor([1, 1, 0])),
              Frame('b', boxes=torch.tensor([[0., 0, 20, 60]]), labels=torch.tensor([1])), Frame('c')]
    assert boxes_per_frame(frames) == {'min': 0, 'mean': 4 / 3, 'max': 3}  # the largest is not the last
    s = box_statistics(frames, ('x', 'y', 'z')).set_index('class')
    assert s.boxes.tolist() == [1, 3, 0] and s.frames.tolist() == [1, 2, 0]
    assert s.mean_width['y'] == 20 and s.mean_height['y'] == 40 and s.median_width['y'] == 20 and np.isnan(s.mean_width['z'])
    assert boxes_per_frame([]) == {'min': 0, 'mean': 0.0, 'max': 0}


def test_defect_27_box_plots_draw_without_warning():
    import warnings
    frames = [Frame('a', boxes=torch.rand(9, 4).cumsum(1), labels=torch.arange(9) % 3), Frame('b')]
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        axes = plot_box_sizes(frames, ('x', 'y', 'z', 'never'))
        plot_box_sizes([Frame('b')], ('x',))  # no box at all
    colors = {tuple(p.get_facecolor()) for p in axes[0].patches}
    assert len(colors) == 3 and [t.get_text() for t in axes[0].get_yticklabels()] == ['x', 'y', 'z']
    plt.close('all')


def test_defect_17_plot_samples_of_any_number_of_frames(tmp_path):
    folder_of(tmp_path, [GOOD, 'b.jpg,100,50,20,20,5_16,-1'], frames=('a.jpg', 'b.jpg', 'c.jpg'))
    (tmp_path / 'frames.csv').write_text('filename\na.jpg\nb.jpg\nc.jpg\n')
    a = open_dataset(tmp_path, classes=['2_1'])
    for frames, n, size in ((a.frames, 6, (48, 64)), (a.frames[:1], 1, None), (a.frames[2:], 3, (200, 300)), (a.frames, 2, None)):
        axes = plot_samples(frames, a.classes, n=n, size=size)
        assert sum(len(ax.images) for ax in axes.flat) == min(n, len(frames))
    plt.close('all')
    with pytest.raises(ValueError, match='no frames'):
        plot_samples([], a.classes)


def test_defect_34_nothing_is_printed(tmp_path, dataset, capfd):
    a = open_dataset(dataset.frames[0].path.parents[1])
    split_by_drive(a.frames, a.classes)
    list(make_loader(dataset, 4, shuffle=True))
    pixel_statistics(a.frames), box_statistics(a.frames, a.classes)
    out = capfd.readouterr()
    assert out.out == '' and out.err == ''


def test_colors_are_one_a_class():
    from rtsd_nb.boxes import class_colors
    assert len({tuple(c) for c in class_colors(16).tolist()}) == 16 and (class_colors(16) == class_colors(16)).all()
