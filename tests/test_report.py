"""Statistics and pictures of a data set."""

import base64
import os
import re
import subprocess
import sys
import warnings
from html.parser import HTMLParser
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch

from rtsd_nb.data import Annotations, Frame, open_dataset
from rtsd_nb.split import split_by_drive
from rtsd_nb.samples import fit_transform, make_loader, read_image
from rtsd_nb.report import (INPUTS, NetworkInput, box_statistics, box_table, boxes_per_frame, class_counts, class_warnings, cut_sign,
                            day_table, describe_dataset, drive_summary, frame_warnings, headline, heat_map, neighbour_table,
                            pixel_counts, pixel_statistics, plot_box_sizes, plot_boxes_per_frame, plot_coverage, plot_drives,
                            plot_heat_map, plot_long_tail, plot_network_sizes, plot_samples, plot_shapes, plot_sign_sizes,
                            row_warnings, seen_sizes, size_table, split_warnings, statistics_of_counts, typical_boxes, write_report)

from folders import GOOD, folder_of, real


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


# ---------------------------------------------------------------- the two tables
def described(frames, classes=('x', 'y', 'z'), problems=None):
    columns = ['action', 'reason', 'file', 'row', 'value']
    problems = pd.DataFrame(problems or [], columns=columns)
    return describe_dataset(Annotations(frames, classes, 'by hand', problems, sum(len(f.labels) for f in frames) + len(problems)))


def frame(name, boxes=(), labels=(), size=None, drive='', **more):
    return Frame(name, size=size, boxes=torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
                 labels=torch.tensor(labels, dtype=torch.int64), drive=drive, **more)


HAND = [frame('a', [[0, 0, 10, 20], [100, 50, 140, 70]], [1, 1], (100, 200), 'p'), frame('b', (), (), (100, 200), 'p'),
        frame('c', [[10, 10, 14, 40]], [0], (200, 400), 'q', ignore=torch.tensor([[0., 0, 5, 5]]))]
EMPTY = {'no frames': [], 'no boxes': [frame('a', drive='p'), frame('b', drive='p')], 'one frame': [frame('a', [[1, 1, 9, 9]], [0], drive='p')]}


def test_tables_by_hand():
    d = described(HAND)
    assert d.boxes[['label', 'x', 'y', 'width', 'height', 'frame', 'longest', 'drive', 'frame_width']].values.tolist() == [
        [1, 5, 10, 10, 20, 0, 20, 'p', 200], [1, 120, 60, 40, 20, 0, 40, 'p', 200], [0, 12, 25, 4, 30, 2, 30, 'q', 400]]
    assert d.frames[['filename', 'height', 'width', 'boxes', 'ignored', 'guessed']].values.tolist() == [
        ['a', 100, 200, 2, 0, False], ['b', 100, 200, 0, 0, False], ['c', 200, 400, 1, 1, False]]
    assert class_counts(d).tolist() == [1, 2, 0]
    assert drive_summary(d.frames)[['drive', 'frames', 'boxes']].values.tolist() == [['p', 2, 2], ['q', 1, 1]]


def test_the_table_is_what_a_loop_over_boxes_gives():
    rng = np.random.default_rng(0)
    frames = []
    for i in range(40):
        corner, n = rng.uniform(0, 500, (i % 4, 4)), i % 4
        corner[:, 2:] += corner[:, :2]
        frames.append(frame(str(i), corner.tolist(), rng.integers(0, 3, n).tolist()))
    table = box_table(frames)
    rows = [(int(c), i, *b.double().tolist()) for i, f in enumerate(frames) for b, c in zip(f.boxes, f.labels)]
    for row, (label, i, x1, y1, x2, y2) in zip(table.itertuples(), rows, strict=True):
        assert (row.label, row.frame) == (label, i)
        assert np.allclose([row.x, row.y, row.width, row.height], [(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1])


def test_sizes_are_guessed_by_drive_and_only_for_frames_of_rtsd():
    rtsd = 'autosave01_02_2012_09_13_{}.jpg'.format
    frames = [frame(rtsd(10), [[0, 0, 1300, 20]], [0], drive='large'), frame(rtsd(11), [[0, 0, 9, 9]], [0], drive='large'),
              frame(rtsd(12), [[0, 0, 1280, 720]], [0], drive='small'), frame(rtsd(13), drive='empty'),
              frame('other.jpg', [[0, 0, 9, 9]], [0], drive='other'), frame(rtsd(14), [[0, 0, 9, 9]], [0], (602, 1024), 'known'),
              frame(rtsd(15), [[0, 0, 5000, 9]], [0], drive='huge')]
    table = described(frames).frames
    assert table.width.fillna(0).tolist() == [1920, 1920, 1280, 0, 0, 1024, 0]
    assert table.guessed.tolist() == [True, True, True, False, False, False, False]


def test_guessed_sizes_of_the_real_frames():
    folder = real('rtsd_annotations')
    stated = {f.filename: f.size for name in ('val_anno.json', 'train_anno_reduced.json')
              for f in open_dataset(folder / name, need_images=False).frames}
    table = describe_dataset(open_dataset(folder / 'full_gt_reduced.csv', need_images=False)).frames
    assert table.guessed.all()
    right = [stated[n] == (h, w) for n, h, w in zip(table.filename, table.height, table.width)]
    assert len(right) == 6261 and np.mean(right) > 0.99


# ---------------------------------------------------------------- sizes, places, days
def test_sizes_at_the_network_by_hand():
    boxes = described([frame('a', [[0, 0, 64, 32]], [0], (720, 1280)), frame('b', [[0, 0, 64, 32]], [0], (360, 640)),
                       frame('c', [[0, 0, 64, 32]], [0])]).boxes
    seen = {view.name: seen_sizes(boxes, view).tolist() for view in INPUTS}
    assert seen['as filmed, native crops'] == [[64, 32]] * 3
    assert seen['640 x 360'][:2] == [[32, 16], [64, 32]] and np.isnan(seen['640 x 360'][2]).all()
    assert seen['1280 x 720'][:2] == [[64, 32], [128, 64]]  # a smaller frame is enlarged
    assert np.allclose(seen['640 x 640, squashed'][0], [32, 32 * 640 / 720])
    table = size_table(boxes, (NetworkInput('half', (360, 640)),))
    assert table['median'].tolist() == [24] and table['under 16 px'].tolist() == [0] and table['under 32 px'].tolist() == [0.5]


def test_sizes_at_the_network_are_those_of_the_transform():
    f = frame('a', [[10, 10, 60, 30], [100, 200, 333, 222]], [0, 1], (602, 1024))
    for size in ((360, 640), (720, 1280), (300, 300)):
        fitted = fit_transform(size)(np.zeros((602, 1024, 3), np.uint8), f.boxes, f.labels, f.ignore, None)[1]
        seen = seen_sizes(described([f]).boxes, NetworkInput('', size))
        assert np.allclose(seen, (fitted[:, 2:] - fitted[:, :2]).numpy(), atol=1e-4)


def test_heat_map_counts_by_place_in_the_frame():
    counts = heat_map(described(HAND).boxes, (2, 4))  # centres at (5, 10) and (120, 60) of 200 x 100, (12, 25) of 400 x 200
    assert counts.tolist() == [[2, 0, 0, 0], [0, 0, 1, 0]]
    corner = [frame('a', [[170, 0, 190, 20]], [0], (100, 200))]  # top right
    assert heat_map(described(corner).boxes, (2, 4)).tolist() == [[0, 0, 0, 1], [0, 0, 0, 0]]
    same = [frame('a', [[620, 340, 660, 380]], [0], (720, 1280)), frame('b', [[930, 510, 990, 570]], [0], (1080, 1920))]
    assert heat_map(described(same).boxes).max() == 2  # the same place in frames of two sizes
    edge = [frame('a', [[0, 0, 0, 0], [200, 100, 200, 100]], [0, 0], (100, 200)), frame('b', [[0, 0, 9, 9]], [0])]
    counts = heat_map(described(edge).boxes, (3, 5))
    assert counts.sum() == 2 and counts[0, 0] == counts[-1, -1] == 1
    assert heat_map(described([]).boxes).shape == (18, 32)


def test_days_and_drives_come_from_the_names():
    frames = [frame(f'autosave{day}_05_2013_10_00_0{i}.jpg', [[0, 0, 9, 9]] * i, [0] * i, drive=day) for day in ('02', '01') for i in range(3)]
    table = described([*frames, frame('untimed.jpg', drive='z')]).frames
    assert drive_summary(table).drive.tolist() == ['01', '02', 'z']  # by time, the unknown last
    assert day_table(table).values.tolist() == [['2013-05-01', 1, 3, 3], ['2013-05-02', 1, 3, 3]]


def test_neighbours_of_a_split_by_drive_and_of_one_at_random():
    frames = [frame(f'autosave01_05_2013_1{d}_00_{s:02}.jpg', drive=str(d)) for d in range(4) for s in range(20)]
    table = neighbour_table([f for f in frames if f.drive != '3'], [f for f in frames if f.drive == '3'])
    within = table.iloc[:4]
    assert within.iloc[:, 0].tolist() == [f'a training frame within {s} s' for s in (1, 2, 5, 10)]
    assert (within['this split'] == 0).all() and within['frames at random'].iloc[0] > 0.8 and within['frames at random'].iloc[-1] == 1


def test_typical_boxes_are_of_median_size():
    boxes = [[0, 0, s, s] for s in (50, 10, 30)] + [[0, 0, 7, 9]]
    rows = typical_boxes(described([frame('a', boxes, [1, 1, 1, 0])]).boxes, 5)
    assert [(r.label, r.longest) for r in rows] == [(1, 30), (0, 9)]


def test_a_cut_sign_holds_the_sign_also_at_the_edge():
    image = np.zeros((100, 200, 3), np.uint8)
    image[0:20, 180:200] = 255
    box = described([frame('a', [[180, 0, 200, 20]], [0])]).boxes.iloc[0]
    cut = cut_sign(image, box, side=80)
    assert cut.shape == (80, 80, 3) and (cut[:38, 42:] == 255).all() and (cut[42:] == 0).all()
    large = described([frame('a', [[0, 0, 200, 100]], [0])]).boxes.iloc[0]
    assert cut_sign(image, large, side=64).shape == (64, 64, 3)


# ---------------------------------------------------------------- plots
PLOTS = [plot_long_tail, plot_coverage, plot_sign_sizes, plot_network_sizes, plot_shapes, plot_boxes_per_frame, plot_heat_map, plot_drives]


@pytest.mark.parametrize('plot', PLOTS, ids=lambda p: p.__name__)
@pytest.mark.parametrize('frames', [HAND, *EMPTY.values()], ids=['by hand', *EMPTY])
def test_plots_draw_without_warning(plot, frames):
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        ax = plot(described(frames))
        ax.figure.canvas.draw()
    plt.close('all')


def test_long_tail_shows_counts_and_rare_classes():
    frames = [frame('a', [[0, 0, 9, 9]] * 33, [0] * 3 + [1] * 30)]
    ax = plot_long_tail(described(frames), few=20)
    assert [p.get_height() for p in ax.patches] == [30, 3]
    assert ax.patches[0].get_facecolor() != ax.patches[1].get_facecolor()
    assert ax.get_title() == '1 class under 20 boxes, 1 without'
    assert plot_coverage(described(frames)).get_title() == '1 of 3 classes: 90 % of the boxes'
    plt.close('all')


# ---------------------------------------------------------------- words
def test_headline_by_hand():
    assert headline(described(HAND)) == ('3 frames of 2 drives hold 3 signs of 2 of 3 classes; half of them are at most 30 px long, '
                                         'and the commonest class, y, has 67% of all boxes. No file name tells when.')
    assert headline(described([frame('autosave01_02_2012_09_13_10.jpg', drive='p')])) == (
        '1 frame of 1 drive holds 0 signs of 0 of 3 classes. They were filmed from 2012-02-01 to 2012-02-01.')
    twice = [frame(name, [[0, 0, 9, 9]] * 2, [0, 0], sign_ids=torch.tensor([7, i])) for i, name in ((-1, 'a'), (8, 'b'))]
    assert 'hold 4 signs (2 physical signs, each filmed several times) of 1 of 3 classes' in headline(described(twice))


def test_warnings_name_what_to_act_on():
    problems = [('dropped', 'duplicate row', 'gt.csv', 3, 'a')] * 2
    d = described(HAND, problems=problems)
    text = ' '.join([*class_warnings(d, few=2), *frame_warnings(d), *row_warnings(d)])
    for said in ('without a box: 1 (z)', 'fewer than 2 boxes: 1 (x)', 'one drive only: 2 (x, y)', 'Frames without a box: 1 (33%)',
                 'Ignore regions: 1.', 'Rows: 2 dropped (duplicate row)', 'under 8 px at the network (as filmed): 1 (33.3%)', 'tells no time: 3'):
        assert said in text, text
    assert 'Every frame is a drive' not in text and 'unknown size' not in text
    alone = described([frame('a', drive='a'), frame('b', drive='b')])
    text = ' '.join(frame_warnings(alone))
    assert 'Every frame is a drive of its own' in text and 'unknown size: 2' in text


def test_a_good_data_set_gives_no_warning():
    frames = [frame(f'autosave0{day}_05_2013_10_00_0{i}.jpg', [[0, 0, 30, 30]] * 3, [0, 1, 2], (720, 1280), str(day)) for day in (1, 2) for i in range(9)]
    d, split = described(frames), ([f for f in frames if f.drive == '1'], [f for f in frames if f.drive == '2'])
    assert [*class_warnings(d, few=5), *frame_warnings(d), *row_warnings(d, (720, 1280)), *split_warnings(*split, d.classes)] == []


def test_split_warnings():
    train, valid = [HAND[0], HAND[1]], [HAND[2], HAND[1]]
    text = ' '.join(split_warnings(train, valid, ('x', 'y', 'z')))
    assert 'Drives on both sides of the split: 1 (p)' in text
    assert 'in train only: 1 (y). They cannot be scored' in text and 'in valid only: 1 (x). They cannot be learned' in text


# ---------------------------------------------------------------- the page
class Page(HTMLParser):
    "Headings, texts, images and addresses of an HTML page; it fails on tags that do not close."
    void = {'meta', 'link', 'img', '!doctype'}

    def __init__(self, file):
        super().__init__()
        self.open, self.tags, self.images, self.addresses, self.text = [], [], [], [], ''
        self.feed(file.read_text(encoding='utf-8'))
        assert not self.open, self.open

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.tags.append(tag)
        if tag not in self.void: self.open.append(tag)
        if tag == 'img': self.images.append(attrs)
        self.addresses += [v for k, v in attrs.items() if k in ('src', 'href', 'srcset', 'action', 'data')]
        assert not any(k.startswith('on') for k in attrs), attrs

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] != ['style']: self.text += data + '\n'


def assert_self_contained(page):
    assert 'script' not in page.tags and 'iframe' not in page.tags
    assert all(a.startswith(('data:', '#')) for a in page.addresses)
    assert all(i['alt'] for i in page.images)
    for image in page.images:  # nor do the pictures ask for anything
        kind, _, content = image['src'].partition(';base64,')
        content = base64.b64decode(content)
        if kind == 'data:image/svg+xml': assert not re.search(rb'(?:xlink:)?href="(?!#|data:)|url\((?!#)|<script', content)
        else: assert kind == 'data:image/jpeg' and content[:2] == b'\xff\xd8'


def test_the_report_says_what_is_in_the_folder(tmp_path):
    rows = [GOOD, GOOD, 'a.jpg,60,20,20,20,5_16,-1', 'b.jpg,10,10,20,20,2_1,-1', 'b.jpg,10,10,0,20,2_1,-1']
    a = open_dataset(folder_of(tmp_path, rows))
    file = write_report(a, tmp_path / 'report.html', split=(a.frames[:1], a.frames[1:]), size=(36, 64), title='Mine')
    page = Page(file)
    assert_self_contained(page)
    assert headline(describe_dataset(a)) in page.text and 'Mine' in page.text
    for said in ('2 frames of 2 drives hold 3 signs of 2 of 2 classes', 'Rows: 1 dropped (duplicate row).', 'box has no area',
                 'Classes with boxes in train only: 1 (5_16)', 'The first 2 of 2 problems', 'What became of 5 rows', 'the network: 64 x 36',
                 'Every frame is a drive of its own', '128 x 72', 'Colours of 2 frames'):
        assert said in page.text, said
    assert sum(i['src'].startswith('data:image/jpeg') for i in page.images) == 2  # one sign a class


def test_every_class_and_only_the_first_problems_are_listed(tmp_path):
    classes = tuple(f'class{i}' for i in range(200))
    problems = [('dropped', 'duplicate row', 'gt.csv', i, f'value{i}') for i in range(300)]
    a = described(HAND, classes, problems).annotations
    text = Page(write_report(a, tmp_path / 'r.html')).text.split()
    assert set(classes) <= set(text)
    assert 'value199' in text and 'value200' not in text


@pytest.mark.parametrize('frames', EMPTY.values(), ids=list(EMPTY))
def test_a_report_of_nothing(tmp_path, frames):
    a = described(frames).annotations
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        page = Page(write_report(a, tmp_path / 'r.html', split=(frames, []), size=(64, 64)))
    assert_self_contained(page)
    assert re.search(f'holds? {sum(len(f.labels) for f in frames)} sign', page.text)
    assert 'What they look like' not in page.text  # no images: no section of images


def test_names_are_text_and_nothing_else(tmp_path):
    evil = '"><script>alert(1)</script><img src=x onerror=alert(1)> {{ 7 * 7 }} $\\frac{'
    problems = [('dropped', evil, evil, evil, evil)]
    frames = [Frame(evil, boxes=torch.tensor([[0., 0, 9, 9]]), labels=torch.tensor([0]), drive=evil), Frame('b', drive=evil)]
    a = Annotations(frames, (evil,), evil, pd.DataFrame(problems, columns=['action', 'reason', 'file', 'row', 'value']), 2)
    file = write_report(a, tmp_path / 'r.html', split=(frames[:1], frames[1:]), title=evil)
    page = Page(file)
    assert_self_contained(page)
    assert page.text.count(evil) > 5 and 'x' not in page.addresses


def test_evil_class_names_beside_pictures(tmp_path):
    a = open_dataset(folder_of(tmp_path, ['a.jpg,10,20,30,25,<script>"$x$,-1']))
    page = Page(write_report(a, tmp_path / 'r.html'))
    assert_self_contained(page)
    assert any('<script>"$x$' in i['alt'] for i in page.images)


def test_the_same_data_give_the_same_bytes(tmp_path):
    a = open_dataset(folder_of(tmp_path, [GOOD, 'b.jpg,1,2,10,10,5_16,-1']))
    first = write_report(a, tmp_path / '1.html', split=(a.frames[:1], a.frames[1:])).read_bytes()
    with plt.style.context('dark_background'):  # somebody's taste
        plt.plot([1, 2])
        assert write_report(a, tmp_path / '2.html', split=(a.frames[:1], a.frames[1:])).read_bytes() == first
    plt.close('all')
    assert str(tmp_path).encode() not in first


@pytest.mark.slow
def test_another_process_gives_the_same_bytes(tmp_path):
    a = open_dataset(folder_of(tmp_path, [GOOD, 'b.jpg,1,2,10,10,5_16,-1']))
    first = write_report(a, tmp_path / '1.html', split=(a.frames[:1], a.frames[1:])).read_bytes()
    code = ('import sys; from rtsd_nb.data import open_dataset; from rtsd_nb.report import write_report; a = open_dataset(sys.argv[1]); '
            'write_report(a, sys.argv[2], split=(a.frames[:1], a.frames[1:]))')
    subprocess.run([sys.executable, '-c', code, tmp_path, tmp_path / '3.html'], check=True, env=os.environ | {'PYTHONHASHSEED': '7'},
                   cwd=Path(__file__).resolve().parents[1])
    assert (tmp_path / '3.html').read_bytes() == first


def test_a_report_leaves_no_figure_open(tmp_path):
    write_report(described(HAND).annotations, tmp_path / 'r.html')
    assert not plt.get_fignums()


def test_report_of_the_real_annotations(tmp_path):
    a = open_dataset(real('rtsd_annotations') / 'full_gt_reduced.csv', need_images=False)
    file = write_report(a, tmp_path / 'r.html')
    page = Page(file)
    assert_self_contained(page)
    assert '6,261 frames of 615 drives hold 9,907 signs of 152 of 155 classes' in page.text and 'Rows: 334 dropped (duplicate row).' in page.text
    assert file.stat().st_size < 3e6


def test_report_of_real_frames_without_times(tmp_path):
    a = open_dataset(real('gtsdb_germany'))
    page = Page(write_report(a, tmp_path / 'r.html', split=split_by_drive(a.frames, a.classes), colour_frames=5, crops=8))
    assert_self_contained(page)
    assert 'No file name tells when.' in page.text and 'no time in the name' in page.text
    assert sum(i['src'].startswith('data:image/jpeg') for i in page.images) == 8 and 'Colours of 5 frames' in page.text
