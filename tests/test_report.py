"""Statistics and pictures of a data set."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from rtsd_nb.data import Frame, open_dataset
from rtsd_nb.split import split_by_drive
from rtsd_nb.samples import make_loader, read_image
from rtsd_nb.report import (box_statistics, boxes_per_frame, pixel_counts, pixel_statistics, plot_box_sizes, plot_samples,
                            statistics_of_counts)

from folders import GOOD, folder_of


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
