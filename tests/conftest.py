"""Tests run against this checkout, whether or not it is installed."""
import os
import sys
from pathlib import Path

import pytest

os.environ.setdefault('NO_ALBUMENTATIONS_UPDATE', '1')
os.environ.setdefault('MPLBACKEND', 'Agg')
ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

# Real data that is never part of the repository lies beside it where there is any.
SHARED = ROOT.parent/'shared'/'data'


def pytest_configure(config):
    config.addinivalue_line('markers', 'slow: takes more than a few seconds; left out by `make test-fast`')


@pytest.fixture(scope='session')
def root():
    "The folder of this checkout"
    return ROOT


@pytest.fixture(scope='session')
def shared():
    "The folder of the real data; a test that asks for it is skipped where there is none"
    if not SHARED.is_dir(): pytest.skip('no real data beside the repository')
    return SHARED


@pytest.fixture
def dataset(tmp_path):
    "Ten small frames as a data set of crops; the fifth frame has no sign"
    from folders import folder_of
    from rtsd_nb.data import open_dataset
    from rtsd_nb.samples import FrameDataset, crop_transform
    names = [f'{i}.jpg' for i in range(10)]
    folder_of(tmp_path, [f'{n},{3 * i},{2 * i},{10 + i},{12 + i},{"2_1" if i % 2 else "5_16"},-1' for i, n in enumerate(names) if i != 4], frames=names)
    (tmp_path / 'frames.csv').write_text('filename\n' + '\n'.join(names))
    return FrameDataset(open_dataset(tmp_path).frames, crop_transform((48, 64)), seed=7)
