"""12_inference, 12a_tracking and rtsd-predict beyond their notebooks: videos, lists, tiles, broken files, signs over a drive."""
import io
import json
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import torch

from folders import folder_of
from rtsd_nb.boxes import Detections
from rtsd_nb.cli import predict_command
from rtsd_nb.data import Frame, open_dataset
from rtsd_nb.detector import DetectorConfig, build_detector, folded, save_detector
from rtsd_nb.inference import Picture, Predictor, count_pictures, detections_coco, drives_of, find_files, read_pictures, read_video

NAMES = [f'autosave01_01_2013_10_00_0{i}_0.jpg' for i in range(6)]


@pytest.fixture(scope='module')
def frames(tmp_path_factory):
    rows = [f'{name},{10 + 4 * i},20,30,30,2_1,{i}' for i, name in enumerate(NAMES)]
    return folder_of(tmp_path_factory.mktemp('frames') / 'data', rows, frames=NAMES, size=(96, 160))


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory):
    torch.manual_seed(0)
    config = DetectorConfig(classes=('2_1', '5_19_1'), shapes=(((12., 12.), (24., 24.)),), size=(96, 160), backbone='mobilenetv3_small_050', channels=16)
    path = tmp_path_factory.mktemp('run') / 'best.pt'
    save_detector(build_detector(config, weights=None), path)
    return path


def film(path, n=10, size=(96, 160), rate=5):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'MJPG'), rate, size[::-1])
    for i in range(n):
        writer.write(np.full((*size, 3), (0, 0, 20 * i), np.uint8))  # red, by OpenCV's order
    writer.release()
    return path


def run(checkpoint, out, *arguments):
    return predict_command([*map(str, arguments), '--weights', str(checkpoint), '--out', str(out), '--min-score', '0', '--quiet'])


def test_the_frames_of_a_video_are_red_as_filmed_and_numbered(tmp_path):
    pictures = list(read_video(film(tmp_path / 'a.avi'), every=3))
    assert [Path(p.name).name for p in pictures] == [f'a_{i:06d}.jpg' for i in (0, 3, 6, 9)]
    assert abs(int(pictures[3].image[5, 5, 0]) - 180) < 8 and pictures[3].image[5, 5, 2] < 20, 'RGB'
    assert {p.drive for p in pictures} == {str(tmp_path / 'a.avi')} and count_pictures([tmp_path / 'a.avi'], 3) == 4


def test_a_video_that_breaks_off_says_so(tmp_path):
    whole = film(tmp_path / 'a.avi', 30).read_bytes()
    (tmp_path / 'cut.avi').write_bytes(whole[:len(whole) // 2])
    pictures = list(read_video(tmp_path / 'cut.avi'))
    assert pictures[-1].image is None and pictures[-1].problem
    (tmp_path / 'no.mp4').write_bytes(b'nothing')
    assert [p.problem for p in read_video(tmp_path / 'no.mp4')] == ['cannot be opened as a video']


def test_files_of_all_kinds_are_found_once(frames, tmp_path):
    film(frames / 'clip.avi', 2)
    found = find_files([frames, frames / 'clip.avi'])
    assert len(found) == 7 and sum(f.suffix == '.avi' for f in found) == 1
    (frames / 'clip.avi').unlink()
    with pytest.raises(FileNotFoundError, match='no image or video'):
        find_files([tmp_path])


def test_drives_are_known_by_time_and_else_by_folder():
    files = [Path('a', NAMES[0]), Path('b', NAMES[1]), Path('c/x.jpg'), Path('c/y.jpg'), Path('d/x.jpg')]
    drives = drives_of(files)
    assert drives[0] == drives[1] and drives[2] == drives[3] == 'c' and drives[4] == 'd'


def test_a_stream_holds_a_batch_and_no_more(checkpoint):
    alive = []

    class Counting(Predictor):
        def find(self, images):
            alive.append(len(images))
            return [Detections.empty() for _ in images]

    def pictures():
        for i in range(7):
            yield Picture(str(i), image=np.zeros((32, 32, 3), np.uint8)) if i != 3 else Picture('3', problem='gone')
    names = [p.name for p, _ in Counting(None, batch_size=3).stream(pictures())]
    assert names == list('0123456') and alive == [3, 2, 1]


def test_frames_of_any_size_come_back_in_their_own_pixels(checkpoint):
    predictor = Predictor.load(checkpoint, min_score=0.)
    noise = np.random.default_rng(0).integers(0, 256, (480, 800, 3), dtype=np.uint8)
    large, small = predictor.find([noise, noise[:48, :80].copy()])
    assert large.boxes[:, 2].max() > 400 and large.boxes[:, 2].max() <= 800 and small.boxes[:, 2].max() <= 80
    tiled = Predictor(folded(build_detector(DetectorConfig(classes=('a',), shapes=(((12., 12.),),), backbone='mobilenetv3_small_050', channels=16),
                                            weights=None)), tile=(128, 128), overlap=64, min_score=0.)
    assert len(tiled.find([noise[:200, :300].copy()])[0]) > 0


def test_a_folder_a_video_and_a_list_in_one_call(checkpoint, frames, tmp_path, monkeypatch, capsys):
    clip = film(tmp_path / 'clip.avi', 4)
    monkeypatch.setattr('sys.stdin', io.StringIO(f'{clip}\n\n{tmp_path / "gone.jpg"}\n'))
    out = tmp_path / 'found'
    assert run(checkpoint, out, frames, '-', '--every', 2) == 1, 'a line of the list is not there'
    assert len(list(out.glob('*.jpg'))) == 6 and count_pictures([out / 'clip.mp4']) == 2
    table, coco = pd.read_csv(out / 'predictions.csv'), json.loads((out / 'predictions.json').read_text())
    assert len(coco['images']) == 8 and len(coco['annotations']) == len(table) > 0
    assert set(table.filename) == {i['file_name'] for i in coco['images']}
    printed = capsys.readouterr()
    assert f'{len(table)} detections on 8 frames, 1 could not be read' in printed.out and 'gone.jpg: not readable' in printed.err


def test_an_unreadable_frame_is_named_and_the_others_are_looked_at(checkpoint, frames, tmp_path, capsys):
    (tmp_path / 'broken.jpg').write_bytes(b'no picture')
    assert run(checkpoint, tmp_path / 'found', tmp_path / 'broken.jpg', frames) == 1
    printed = capsys.readouterr()
    assert 'broken.jpg: not an image; left out' in printed.err and 'on 6 frames, 1 could not be read' in printed.out


def test_ctrl_c_keeps_what_was_found(checkpoint, frames, tmp_path, monkeypatch):
    def interrupted(files, every=1):
        for i, picture in enumerate(read_pictures(files, every)):
            if i == 4:
                raise KeyboardInterrupt
            yield picture
    monkeypatch.setattr('rtsd_nb.cli.read_pictures', interrupted)
    assert run(checkpoint, tmp_path / 'found', frames) == 130
    assert len(json.loads((tmp_path / 'found' / 'predictions.json').read_text())['images']) == 4


def test_tiles_and_whole_frames_by_the_command(checkpoint, frames, tmp_path):
    assert run(checkpoint, tmp_path / 'tiles', frames, '--tile', '64x64', '--overlap', '32', '--no-pictures') == 0
    assert len(pd.read_csv(tmp_path / 'tiles' / 'predictions.csv')) > 0 and not list((tmp_path / 'tiles').glob('*.jpg'))


def test_coco_can_be_read_back(tmp_path):
    found = [Detections(torch.tensor([[10., 20, 40.5, 50]]), torch.tensor([0.9]), torch.tensor([1])), Detections.empty()]
    pictures = [Frame('a.jpg', size=(96, 160)), Frame('b.jpg', size=(96, 160))]
    (tmp_path / 'found.json').write_text(json.dumps(detections_coco(pictures, found, ('2_1', '5_19_1'))))
    again = open_dataset(tmp_path / 'found.json', need_images=False, classes=('2_1', '5_19_1'))
    assert [f.filename for f in again.frames] == ['a.jpg', 'b.jpg'] and torch.equal(again.frames[0].boxes, found[0].boxes)


def test_signs_are_followed_by_the_command(frames, tmp_path, monkeypatch, checkpoint):
    pytest.importorskip('trackers')
    truth = {f.filename: f.boxes for f in open_dataset(frames).frames}
    def perfect(self, pictures):
        for p in pictures:
            boxes = truth[Path(p.name).name]
            yield p, Detections(boxes, torch.full((len(boxes),), 0.9), torch.zeros(len(boxes)).long())
    monkeypatch.setattr(Predictor, 'stream', perfect)
    assert run(checkpoint, tmp_path / 'found', frames, '--track') == 0
    signs, table = pd.read_csv(tmp_path / 'found' / 'signs.csv'), pd.read_csv(tmp_path / 'found' / 'predictions.csv')
    assert len(signs) == 1 and signs.frames[0] == 6 and set(table.sign_id) == {0}


def test_two_signs_far_apart_are_never_joined():
    pytest.importorskip('trackers')
    from rtsd_nb.tracking import track_signs
    rng = np.random.default_rng(0)
    for _ in range(20):
        left, right = rng.uniform(50, 300, 2), rng.uniform(900, 1200, 2)
        found = [Detections(torch.tensor([[x, y, x + 30, y + 30] for x, y in (left - 12 * t, right + 12 * t)], dtype=torch.float32),
                            torch.tensor([0.9, 0.8]), torch.tensor([0, 0])) for t in range(6)]
        assert track_signs(found) == [[0, 1]] * 6
