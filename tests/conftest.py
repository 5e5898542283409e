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
