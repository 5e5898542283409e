"""Splits: by hand, on toy drives, and on the names of real frames."""
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from rtsd_nb.data import Frame, drive_of, open_dataset
from rtsd_nb.split import drive_table, read_split, share_with_neighbour, split_by_drive, split_deviation, split_report, write_split

from folders import SHARED, real


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
