"""Splits: by hand, on toy drives, and on the names of real frames."""
import itertools
import re
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from skmultilearn.model_selection import IterativeStratification

from rtsd_nb.data import Frame, drive_of, open_dataset
from rtsd_nb.split import (boxes_between, check_groups, choose_sides, copy_between, copy_nearest, deal_groups, deviation_weights, drive_table,
                           fill_empty, frame_seconds, k_folds, leak, leak_sentence, leak_table, move_costs, nearest_frame, official_split,
                           one_sided_classes, polish, read_folds, read_split, share_with_neighbour, split_by_drive, split_by_frame, split_cost,
                           split_deviation, split_groups, split_report, table_entries, write_folds, write_split)

from folders import SHARED, real


def frame(name, labels=(), drive='', signs=None, **more):
    "A frame with a box of 10 pixels for each label."
    boxes = torch.tensor([[0., 0., 10., 10.]]).repeat(len(labels), 1)
    return Frame(name, boxes=boxes, labels=torch.tensor(labels, dtype=torch.int64), drive=drive,
                 sign_ids=torch.tensor(signs if signs is not None else [-1] * len(labels), dtype=torch.int64), **more)


def at(*clocks, minute='10_12'):
    "Frames with RTSD names of one minute: seconds, or seconds and counter as text."
    return [Frame(f'autosave07_01_2013_{minute}_{c}.jpg', drive=minute) for c in clocks]


def names_of(frames):
    return [f.filename for f in frames]


def table_of(frames, n_classes):
    "(boxes of each class, then frames) of each drive."
    _, counts, sizes = drive_table(frames, n_classes)
    return np.column_stack([counts, sizes])


# ---------------------------------------------------------------- neighbours in time
def test_seconds_by_hand():
    t = frame_seconds(at('29', '29_3', '31_0') + [Frame('photo.jpg')], counter=True)
    assert np.allclose(t[:3] - t[0], [0, 0.5, 2]) and np.isnan(t[3])
    assert np.allclose(np.diff(frame_seconds(at('29', '29_3', '31_0'))), [0, 2])
    assert frame_seconds([]).shape == (0,)


def test_nearest_frame_agrees_with_every_pair():
    rng = np.random.default_rng(0)
    for n, m in ((50, 30), (1, 1), (20, 2), (0, 3)):
        times, others = rng.integers(0, 40, n).astype(float), rng.integers(0, 40, m).astype(float)
        index, gap = nearest_frame(times, np.append(others, np.nan))  # a frame without a time is nobody's neighbour
        assert np.array_equal(gap, np.abs(times[:, None] - others).min(1)) and np.array_equal(np.abs(others[index] - times), gap)
    index, gap = nearest_frame(np.array([1., np.nan]), np.zeros(0))
    assert index.tolist() == [-1, -1] and np.isinf(gap).all()


def test_share_counts_only_names_that_tell_a_time():
    assert share_with_neighbour(at('10', '20'), at('11', '13', '40')) == 1 / 3
    assert share_with_neighbour(at('10', '20'), at('11', '13', '40'), seconds=3) == 2 / 3
    photos = [Frame('a.jpg', drive='a'), Frame('b.jpg', drive='a')]
    assert share_with_neighbour(at('10'), at('11') + photos) == 1
    assert np.isnan(share_with_neighbour(photos, at('10'))) and np.isnan(share_with_neighbour(at('10'), photos))
    assert share_with_neighbour([], at('10')) == share_with_neighbour(at('10'), []) == 0
    row = leak(at('10') + photos[:1], at('11') + photos[1:])
    assert row['no time in the name'] == 0.5 and row['a drive that is in training'] == 1 and np.isnan(row['a sign that is in training'])


# ---------------------------------------------------------------- detectors without eyes
def test_copier_by_hand():
    train = [replace(f, boxes=torch.tensor([[i, 0., i + 10, 10]]), labels=torch.tensor([i])) for i, f in enumerate(at('10', '20'))]
    one, two, three = copy_nearest(train, at('11', '17', '45'))
    assert one['labels'].tolist() == [0] and one['scores'].tolist() == [0.5] and one['boxes'].equal(train[0].boxes)
    assert two['labels'].tolist() == [1] and two['scores'].tolist() == [0.25]
    assert three['boxes'].shape == (0, 4) and three['scores'].shape == (0,)
    assert [len(c['boxes']) for c in copy_nearest([Frame('a.jpg')], at('11') + [Frame('b.jpg')])] == [0, 0]


def test_copier_between_follows_a_camera_that_drives_evenly():
    def seen(z):  # a sign of half a metre, 4 m to the right, 1 m up, by a camera of 1000 px
        x, y, half = 640 + 4000 / z, 360 - 1000 / z, 250 / z
        return torch.tensor([[x - half, y - half, x + half, y + half]])
    assert torch.allclose(boxes_between(seen(30.), seen(20.), 0.25), seen(27.5), atol=1e-3)
    assert torch.allclose(boxes_between(seen(30.), seen(30.) + 5, 0.25), seen(30.) + 1.25, atol=1e-3)  # a size that stays
    label = torch.tensor([2])
    train = [replace(f, boxes=seen(z), labels=label) for f, z in zip(at('10', '12'), (30., 20.))]
    found, outside = copy_between(train, at('11', '13'))
    assert torch.allclose(found['boxes'], seen(25.), atol=1e-3) and found['labels'].tolist() == [2] and len(outside['boxes']) == 0
    other = [train[0], replace(train[1], labels=torch.tensor([1]))]
    assert len(copy_between(other, at('11'))[0]['boxes']) == 0  # another class is another sign


# ---------------------------------------------------------------- groups
def test_groups_by_hand():
    frames = [frame('1', [0], 'a', [7]), frame('2', [0, 0], 'b', [7, 8]), frame('3', [0], 'c', [8]), frame('4', [0], 'd', [-1]), frame('5', [0], 'e', [-1]),
              frame('6', [], 'c')]
    assert split_groups(frames).tolist() == ['a', 'a', 'a', 'd', 'e', 'a']
    assert split_groups(frames[::-1]).tolist() == ['a', 'e', 'd', 'a', 'a', 'a']
    assert split_groups(frames, by_sign=False).tolist() == ['a', 'b', 'c', 'd', 'e', 'c']
    assert len(split_groups([])) == 0


def test_groups_agree_with_joining_one_by_one():
    rng = np.random.default_rng(1)
    frames = [frame(str(i), [0, 0], f'd{rng.integers(40)}', rng.integers(-1, 60, 2).tolist()) for i in range(60)]
    group = {f.drive: f.drive for f in frames}
    for f, g in itertools.permutations(frames, 2):
        if set(f.sign_ids.tolist()) & set(g.sign_ids.tolist()) - {-1}:
            old, new = sorted((group[f.drive], group[g.drive]), reverse=True)
            group = {d: new if name == old else name for d, name in group.items()}
    assert split_groups(frames).tolist() == [group[f.drive] for f in frames] and 1 < len(set(group.values())) < len(group)


def test_a_shared_sign_keeps_drives_together():
    frames = [frame(f'{d}{i}', [i % 2], d, [{'a': 1, 'c': 1, 'd': 2, 'f': 2}.get(d, -1)]) for d in 'abcdef' for i in range(5)]
    for seed in range(5):
        for train, valid in [split_by_drive(frames, 'xy', 0.4, seed), *k_folds(frames, 'xy', 3, seed)]:
            side = {f.drive: 'valid' for f in valid} | {f.drive: 'train' for f in train}
            assert side['a'] == side['c'] and side['d'] == side['f'] and not leak(train, valid)['a sign that is in training'] > 0


def test_sign_numbers_that_join_everything_are_refused():
    frames = [frame(f'{d}_{i}', [0, 1], f'drive{d:02}', [0, 1]) for d in range(12) for i in range(3)]  # start anew in each drive
    for split in (split_by_drive, k_folds):
        with pytest.raises(ValueError, match='joins 12 of 12 drives, 36 of 36 frames.*by_sign=False'):
            split(frames, 'xy')
    train, valid = split_by_drive(frames, 'xy', by_sign=False)
    assert train and valid and not {f.drive for f in train} & {f.drive for f in valid}
    half = frames[:30] + [replace(f, filename=f'x{i}{f.filename}', drive=f'x{i}', sign_ids=torch.tensor([-1, -1])) for i, f in enumerate(frames[:30])]
    check_groups(half, split_groups(half))  # ten drives, but no more than half of the frames
    check_groups(frames[:27], split_groups(frames[:27]))  # nine drives may share their signs
    with pytest.raises(ValueError, match='9 drives in 27 frames, joined by shared sign_ids into 1.*at least two'):
        split_by_drive(frames[:27], 'xy')
    check_groups([], [])


# ---------------------------------------------------------------- tables and costs
def test_drive_table_agrees_with_counting():
    rng = np.random.default_rng(0)
    frames = [frame(str(i), rng.integers(0, 4, rng.integers(0, 5)).tolist(), f'd{rng.integers(6)}') for i in range(50)]
    names, counts, sizes = drive_table(frames, 4)
    for n, name in enumerate(names):
        mine = [f for f in frames if f.drive == name]
        assert sizes[n] == len(mine) and counts[n].tolist() == [sum(int((f.labels == c).sum()) for f in mine) for c in range(4)]
    assert [t.shape for t in drive_table([], 4)] == [(0,), (0, 4), (0,)]
    with pytest.raises(ValueError, match=r'odd.jpg: labels \[1, 4\], but there are 4 classes'):
        drive_table([*frames, frame('odd.jpg', [1, 4], 'd1')], 4)


def random_table(rng, groups, classes):
    counts = rng.poisson(0.7, (groups, classes)) * rng.integers(1, 6, (groups, classes))
    return np.column_stack([counts, rng.integers(1, 20, groups)])


@pytest.mark.parametrize('shares', [(0.2, 0.8), (0.25,) * 4])
def test_move_costs_are_differences_of_the_whole_cost(shares):
    rng, shares = np.random.default_rng(2), np.array(shares)
    for _ in range(5):
        amounts = random_table(rng, 9, 5)
        amounts[:, 3] = 0  # a class without a box costs nothing
        side = np.append(np.arange(len(shares)), rng.integers(0, len(shares), 9 - len(shares)))
        total = amounts.sum(0)
        fast = move_costs(side, table_entries(amounts), shares[:, None] * total, deviation_weights(total))
        for k, g in itertools.product(range(len(shares)), range(9)):
            if (side == side[g]).sum() == 1:
                assert np.isinf(fast[k, g])  # no side is left empty
                continue
            moved = np.where(np.arange(9) == g, k, side)
            assert abs(fast[k, g] - (split_cost(moved, amounts, shares) - split_cost(side, amounts, shares))) < 1e-9


def test_choice_is_near_the_best_of_all():
    "Ten groups can be dealt in 1022 ways: the choice is among the best, mostly the best."
    rng, shares, best = np.random.default_rng(3), np.array([0.3, 0.7]), 0
    ways = [np.array(w) for w in itertools.product((0, 1), repeat=10) if 0 < sum(w) < 10]
    for _ in range(10):
        amounts = random_table(rng, 10, 4)
        costs = sorted(split_cost(w, amounts, shares) for w in ways)
        mine = split_cost(choose_sides(amounts[:, :-1], amounts[:, -1], shares, 0), amounts, shares)
        best += mine <= costs[0] + 1e-9
        assert mine <= costs[5]
    assert best >= 6


def test_polish_only_lowers_the_cost_and_fill_empty_fills():
    rng, shares = np.random.default_rng(4), np.array([0.2, 0.3, 0.5])
    for _ in range(5):
        amounts = random_table(rng, 30, 6)
        start = rng.integers(0, 3, 30)
        end = polish(start, amounts, shares)
        assert split_cost(end, amounts, shares) <= split_cost(start, amounts, shares) and len(set(end)) == 3
        assert sorted(set(deal_groups(amounts, shares, rng))) == [0, 1, 2]
    assert fill_empty(np.array([1, 1, 1]), np.array([5, 3, 4]), 2).tolist() == [1, 0, 1]
    assert fill_empty(np.array([0, 1]), np.array([5, 3]), 2).tolist() == [0, 1]


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
    code = ('import sys; from rtsd_nb.data import open_dataset; from rtsd_nb.split import split_by_drive; a = open_dataset(sys.argv[1], need_images=False); '
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


def test_split_is_nearer_than_the_library(real_frames):
    "Best of ten iterative stratifications, which count drives, against one split, which counts boxes."
    a, (_, valid) = real_frames
    amounts = table_of(a.frames, len(a.classes))
    mine = split_deviation(table_of(valid, len(a.classes)).sum(0), amounts.sum(0), 0.2)
    state = np.random.get_state()
    for seed in range(10):
        np.random.seed(seed)
        order = np.random.permutation(len(amounts))
        folds = IterativeStratification(n_splits=2, order=1, sample_distribution_per_fold=[0.2, 0.8])
        chosen = order[next(folds.split(order, (amounts[order, :-1] > 0).astype(int)))[1]]
        assert mine < split_deviation(amounts[chosen].sum(0), amounts.sum(0), 0.2)
    np.random.set_state(state)


def test_each_class_that_can_be_is_on_both_sides(real_frames):
    a, (train, valid) = real_frames
    rare = one_sided_classes(train, valid, a.classes)
    assert not rare.avoidable.any() and (rare.groups == 1).all() and len(rare) == 12
    drives = {c: set() for c in a.classes}
    for f in a.frames:
        for label in f.labels.tolist():
            drives[a.classes[label]].add(f.drive)
    assert set(rare['class']) == {c for c, d in drives.items() if len(d) == 1}


def test_one_sided_classes_by_hand():
    train = [frame('1', [0, 1], 'a'), frame('2', [1], 'b'), frame('3', [2], 'b', [5])]
    valid = [frame('4', [0, 3, 3], 'c'), frame('5', [], 'd'), frame('6', [], 'e')]
    rare = one_sided_classes(train, valid, 'uvwxy')  # y has no box at all
    assert rare.values.tolist() == [['v', 'train', 2, 2, True], ['w', 'train', 1, 1, False], ['x', 'valid', 2, 1, False]]
    joined = [replace(f, sign_ids=torch.tensor([5] * len(f.labels))) for f in train]
    assert one_sided_classes(joined, valid, 'uvwxy').groups.tolist() == [1, 1, 1]
    assert one_sided_classes(joined, valid, 'uvwxy', by_sign=False).groups.tolist() == [2, 1, 1]
    assert len(one_sided_classes([], [], 'uv')) == 0


# ---------------------------------------------------------------- folds
def test_folds_hold_each_frame_once(real_frames):
    a, _ = real_frames
    folds = k_folds(a.frames, a.classes, k=5)
    assert sorted(n for _, valid in folds for n in names_of(valid)) == sorted(names_of(a.frames))
    amounts = table_of(a.frames, len(a.classes))
    chance = min(split_deviation(amounts[np.random.default_rng(s).permutation(len(amounts)) < len(amounts) // 5].sum(0), amounts.sum(0), 0.2)
                 for s in range(50))
    for train, valid in folds:
        assert len(train) + len(valid) == len(a.frames) and not {f.drive for f in train} & {f.drive for f in valid}
        assert abs(len(valid) / len(a.frames) - 0.2) < 0.01
        assert split_deviation(table_of(valid, len(a.classes)).sum(0), amounts.sum(0), 0.2) < chance
    again = k_folds(a.frames[::-1], a.classes, k=5)
    assert [sorted(names_of(v)) for _, v in again] == [sorted(names_of(v)) for _, v in folds]


def test_folds_of_few_drives():
    frames = [frame(f'{i}', [0], f'd{i % 3}') for i in range(9)]
    assert sorted(len(valid) for _, valid in k_folds(frames, 'x', k=3)) == [3, 3, 3]
    with pytest.raises(ValueError, match='3 drives in 9 frames; this split needs at least 4'):
        k_folds(frames, 'x', k=4)
    for k in (1, 0, 2.5):
        with pytest.raises(ValueError, match='whole number from 2 on'):
            k_folds(frames, 'x', k=k)


def test_fold_file(tmp_path):
    frames = [frame(f'{i}.jpg', [0], str(i // 2)) for i in range(6)]
    file = tmp_path / 'folds.csv'
    folds = k_folds(frames, 'x', k=3)
    write_folds(file, folds)
    assert [[names_of(p) for p in fold] for fold in read_folds(file, frames)] == [[names_of(p) for p in fold] for fold in folds]
    for text, message in (('drive,fold\n0,0\n1,one\n', "folds.csv row 3: fold is 'one', not a whole number"),
                          ('drive,fold\n0,0\n1,2\n2,2\n', r'the folds are \[0, 2\]; expected 0..k-1'),
                          ('drive,fold\n0,0\n1,0\n2,0\n', r'the folds are \[0\]'), ('drive,split\n0,train\n', 'lacks the column fold'),
                          ('drive,fold\n0,0\n0,1\n', r'row 3: 0 stands on both sides \(fold 0 in row 2, here 1\)')):
        file.write_text(text)
        with pytest.raises(ValueError, match=message):
            read_folds(file, frames)
    file.write_text('filename,fold\n' + ''.join(f'{i}.jpg,{i % 3}\n' for i in range(6)))
    with pytest.raises(ValueError, match='drives stand on both sides'):
        read_folds(file, frames)
    assert len(read_folds(file, frames, shared_drives=True)) == 3


# ---------------------------------------------------------------- the official split and the leak
def test_official_split_tells_what_it_leaks():
    train, valid = at('10', '20'), at('11', '40') + [Frame('photo.jpg', drive='photo')]
    frames = [replace(f, part='train') for f in train] + [replace(f, part='valid') for f in valid]
    with pytest.warns(UserWarning, match='1 drives stand on both sides, with 67% of the validation frames; 50% have a training frame within 1 s, 50% within 10 s'):
        parts = official_split(frames)
    assert [names_of(p) for p in parts] == [names_of(train), names_of(valid)]
    with pytest.warns(UserWarning, match='^1 frames are in neither part'):
        official_split([*frames[:2], frames[4], Frame('x.jpg', drive='x')])
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        official_split([*frames[:2], frames[4]])
    with pytest.raises(ValueError, match='of 2 frames 2 are marked train and 0 valid or test'):
        official_split(frames[:2])
    tested = [replace(f, part='test') if f.part == 'valid' else f for f in [*frames[:2], frames[4]]]
    assert names_of(official_split(tested)[1]) == ['photo.jpg']
    assert leak_sentence(train, valid[2:]) == 'no drive stands on both sides'
    assert leak_sentence([Frame('a', drive='a')], [Frame('b', drive='a')]) == '1 drives stand on both sides, with 100% of the validation frames'


def test_leak_table(real_frames):
    a, (train, valid) = real_frames
    table = leak_table(a.frames, a.classes)
    assert table.columns.tolist() == ['random frames', 'drives', 'official'] and len(table) == 7
    assert 0.1 < table.official.iloc[0] < table.official.iloc[3] < table['random frames'].iloc[3]  # Kaggle's own parts leak, too
    within = table.iloc[:4]
    assert (within.drives == 0).all() and (within['random frames'].diff().dropna() > 0).all() and within['random frames'].iloc[0] > 0.3
    assert within['random frames'].iloc[3] == share_with_neighbour(*split_by_frame(a.frames), seconds=10)
    marked = [replace(f, part='train') for f in train] + [replace(f, part='valid') for f in valid]
    assert (leak_table(marked, a.classes)['official'].iloc[:5] == 0).all()


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


# ---------------------------------------------------------------- at full size
@pytest.mark.slow
def test_split_at_the_size_of_rtsd():
    "180,000 frames, 104,000 boxes of 155 classes with a long tail, 10,000 drives of unequal length."
    rng = np.random.default_rng(0)
    drive = np.minimum(rng.exponential(3000, 180_000).astype(int), 9_999)
    labels = torch.tensor(np.minimum(rng.zipf(1.3, 104_000) - 1, 154))
    boxes = torch.ones(1, 4)
    frames = [Frame(f'{i}.jpg', boxes=boxes, labels=labels[i:i + 1], drive=str(drive[i])) for i in range(104_000)]
    frames += [Frame(f'{i}.jpg', drive=str(drive[i])) for i in range(104_000, 180_000)]
    train, valid = split_by_drive(frames, range(155))
    amounts = table_of(frames, 155)
    assert split_deviation(table_of(valid, 155).sum(0), amounts.sum(0), 0.2) < 0.01 and len(train) + len(valid) == 180_000


@pytest.mark.slow
def test_bench_leak_prints_its_numbers():
    real('rtsd_annotations')
    root = Path(__file__).parents[1]
    out = subprocess.run([sys.executable, 'benchmarks/bench_leak.py', '--seeds', '1'], capture_output=True, text=True, check=True, cwd=root).stdout
    found = dict(re.findall(r'(\w+)=([\d.]+)', out.strip().splitlines()[-1]))
    assert float(found['leak_1s_random']) > 0.3 and float(found['leak_10s_drive']) == 0 and float(found['copier_ap50_drive']) == 0
    assert float(found['copier_ap50_random']) > 0 and float(found['between_ap50_random']) > float(found['copier_ap50_random'])
