"""13_kaggle beyond its notebook: pip really installs from both mounts, the official client takes what is built, layouts of RTSD."""
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from rtsd_nb.data import open_dataset
from rtsd_nb.kaggle import build_kernel, find_rtsd, install_cell, kernel_metadata, slug_of, source_size

NBS = Path(__file__).resolve().parents[1]/'nbs'
CHAPTERS = sorted(p for p in NBS.glob('[0-9a-z]*_*.ipynb'))
# The official client is not needed to build a kernel. Where it lives in another environment: KAGGLE_PYTHON=/its/bin/python
CLIENT_PYTHON = os.environ.get('KAGGLE_PYTHON', sys.executable)

PUSH = r'''
import json, sys
from contextlib import contextmanager
from types import SimpleNamespace as Space
from kaggle.api.kaggle_api_extended import KaggleApi
sent = []
class Api(KaggleApi):
    "The client with a transport that keeps the request and sends nothing"
    @contextmanager
    def build_kaggle_client(self): yield Space(kernels=Space(kernels_api_client=Space(save_kernel=sent.append)))
for folder in sys.argv[1:]:
    try: Api().kernels_push(folder)
    except ValueError as error: sent.append(Space(error=str(error)))
fields = ('error', 'slug', 'new_title', 'text', 'language', 'kernel_type', 'is_private', 'enable_gpu', 'enable_internet',
          'dataset_data_sources', 'machine_shape')
print('=== SENT ===' + json.dumps([{f: getattr(r, f) for f in fields if hasattr(r, f)} for r in sent]))
'''


def run_client(home, code, *args):
    "Python `code` with the official client, in a home folder without anybody's key"
    env = {k: v for k, v in os.environ.items() if not k.startswith('KAGGLE')}
    env |= {'HOME': str(home), 'KAGGLE_CONFIG_DIR': str(home)}
    return subprocess.run([CLIENT_PYTHON, '-c', code, *map(str, args)], env=env, cwd=home, capture_output=True, text=True)


def push(home, *folders):
    "What the official client would send for each folder, {'error': ...} where it refuses; no key and no network are needed"
    done = run_client(home, PUSH, *folders)
    assert '=== SENT ===' in done.stdout, done.stderr
    said, sent = done.stdout.split('=== SENT ===')
    return said, json.loads(sent)


@pytest.fixture(scope='session')
def client(tmp_path_factory):
    "Skips where the official client is not installed"
    if run_client(tmp_path_factory.mktemp('home'), 'import kaggle').returncode:
        pytest.skip("the official client is not installed: pip install 'kaggle>=2.2,<3', or name a Python that has it, KAGGLE_PYTHON=...")


# ---- the folder ----

@pytest.mark.parametrize('chapter', CHAPTERS, ids=lambda p: p.stem)
def test_every_chapter_can_be_built(chapter, tmp_path):
    folder = build_kernel(chapter, tmp_path/'kernel', 'ann')
    metadata = json.loads((folder/'kernel-metadata.json').read_text())
    nb = json.loads((folder/metadata['code_file']).read_text(encoding='utf-8'))
    assert sorted(p.name for p in folder.iterdir()) == sorted(['kernel-metadata.json', chapter.name])
    assert source_size(nb) < 1_000_000 and not any(c.get('outputs') for c in nb['cells'])
    assert re.fullmatch(r'ann/[a-z0-9-]{5,}', metadata['id']) and metadata['id'].split('/')[1] == slug_of(metadata['title'])
    assert 5 <= len(metadata['title']) <= 50 and metadata['is_private'] is True
    assert all(isinstance(metadata[k], list) for k in metadata if k.endswith('_sources'))


def test_fields_are_those_of_the_client(client, tmp_path):
    "`kaggle kernels init` writes the same fields; `machine_shape` is left out where there is none"
    code = "import sys; from kaggle.api.kaggle_api_extended import KaggleApi as A; A.get_config_value = lambda *a: 'ann'; A().kernels_initialize(sys.argv[1])"
    run_client(tmp_path, code, tmp_path)
    fields = json.loads((tmp_path/'kernel-metadata.json').read_text()).keys()
    assert kernel_metadata('ann', 'RTSD course', 'a.ipynb', gpu='NvidiaTeslaT4').keys() == fields


def test_client_takes_every_chapter(client, tmp_path):
    folders = [build_kernel(c, tmp_path/c.stem, 'ann', gpu='NvidiaTeslaT4', datasets=['watchman/rtsd-dataset']) for c in CHAPTERS]
    said, sent = push(tmp_path, *folders)
    assert 'does not resolve' not in said, 'title and id fit'
    for chapter, request in zip(CHAPTERS, sent, strict=True):
        assert 'error' not in request, request
        assert (request['language'], request['kernel_type'], request['is_private'], request['enable_gpu']) == ('python', 'notebook', True, True)
        assert request['dataset_data_sources'] == ['watchman/rtsd-dataset'] and request['machine_shape'] == 'NvidiaTeslaT4'
        assert len(request['text']) == source_size(json.loads(request['text'])), 'the size that we check is the size that is sent'


def test_client_refuses_what_we_refuse(client, tmp_path):
    "Each of these, written by hand, is stopped by the client; `kernel_metadata` stops it before there is a folder"
    faults = {'title': 'RTSD', 'id': 'ann/abcd', 'dataset_sources': ['rtsd-dataset'], 'kernel_sources': ['abc'], 'model_sources': ['a/b/c/d']}
    folders = []
    for field, value in faults.items():
        folders.append(build_kernel(CHAPTERS[0], tmp_path/field, 'ann'))
        file = folders[-1]/'kernel-metadata.json'
        file.write_text(json.dumps(json.loads(file.read_text()) | {field: value}))
    assert all('error' in r for r in push(tmp_path, *folders)[1])
    for kwargs in ({'title': 'RTSD'}, {'title': 'RTSD course', 'slug': 'abcd'}, {'title': 'RTSD course', 'datasets': ['rtsd-dataset']},
                   {'title': 'RTSD course', 'kernels': ['abc']}, {'title': 'RTSD course', 'models': ['a/b/c/d']}):
        with pytest.raises(ValueError): kernel_metadata('ann', code_file='a.ipynb', **kwargs)


def test_slugs_are_the_clients(client, tmp_path):
    titles = ['RTSD course 01 boxes', 'A  (b)_c/d. 5-6', 'x: y + z', '--Loud-- TITLE 2.0', '1.5 and 10.000']
    code = 'import json, sys; from slugify import slugify; print(json.dumps([slugify(t) for t in sys.argv[1:]]))'
    assert [slug_of(t) for t in titles] == json.loads(run_client(tmp_path, code, *titles).stdout)


# ---- the first cell ----

def make_wheel(folder, name, requires=()):
    "A wheel of one empty module, made by hand"
    folder.mkdir(parents=True, exist_ok=True)
    info = f'{name}-1.0.dist-info'
    metadata = f'Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n' + ''.join(f'Requires-Dist: {r}\n' for r in requires)
    with zipfile.ZipFile(folder/f'{name}-1.0-py3-none-any.whl', 'w') as z:
        z.writestr(f'{name}.py', 'here = True\n')
        z.writestr(f'{info}/METADATA', metadata)
        z.writestr(f'{info}/WHEEL', 'Wheel-Version: 1.0\nGenerator: hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n')
        z.writestr(f'{info}/RECORD', '')


def run_cell(code, target):
    "Runs a first cell in a process of its own, pip told to install into `target`"
    env = {k: v for k, v in os.environ.items() if not k.startswith('PIP_')}
    env |= {'PIP_TARGET': str(target), 'PIP_CONFIG_FILE': os.devnull, 'PIP_DISABLE_PIP_VERSION_CHECK': '1'}
    return subprocess.run([sys.executable, '-c', code], env=env, capture_output=True, text=True)


@pytest.mark.slow
@pytest.mark.parametrize('mount', ['wheels', 'datasets/ann/wheels'])
def test_wheels_are_installed_from_both_mounts(mount, tmp_path):
    "The library and what it lacks come from the data set, folders in it searched; no index is asked"
    make_wheel(tmp_path/'input'/mount, 'tiny_nb', ['tiny_helper'])
    make_wheel(tmp_path/'input'/mount/'more', 'tiny_helper')
    done = run_cell(install_cell('tiny_nb', 'ann/wheels', root=str(tmp_path/'input')), tmp_path/'site')
    assert done.returncode == 0, done.stderr
    assert {'tiny_nb.py', 'tiny_helper.py'} <= {p.name for p in (tmp_path/'site').iterdir()}


@pytest.mark.slow
def test_missing_wheel_is_named(tmp_path):
    make_wheel(tmp_path/'input'/'wheels', 'tiny_nb', ['tiny_helper'])
    done = run_cell(install_cell('tiny_nb', 'ann/wheels', root=str(tmp_path/'input')), tmp_path/'site')
    assert done.returncode != 0 and 'tiny_helper' in done.stderr and not (tmp_path/'site').exists()


# ---- finding RTSD ----

COCO = {'images': [{'id': 1, 'file_name': 'rtsd-frames/a.jpg', 'height': 72, 'width': 128}], 'categories': [{'id': 1, 'name': '2_1'}],
        'annotations': [{'id': 1, 'image_id': 1, 'category_id': 1, 'bbox': [10, 10, 20, 20], 'area': 400, 'iscrowd': 0}]}
CSV = 'filename,x_from,y_from,width,height,sign_class,sign_id\na.jpg,10,10,20,20,2_1,7\n'


def put(root, files):
    "Writes {path: text or dict}, a picture where the value is None"
    for name, content in files.items():
        path = root/name
        path.parent.mkdir(parents=True, exist_ok=True)
        if content is None: cv2.imwrite(str(path), np.full((72, 128, 3), 90, np.uint8))
        else: path.write_text(content if isinstance(content, str) else json.dumps(content))


LAYOUTS = {
    'kaggle': {'train_anno.json': COCO, 'val_anno.json': COCO | {'images': [COCO['images'][0] | {'file_name': 'rtsd-frames/b.jpg'}]},
               'train_anno_reduced.json': COCO, 'label_map.json': {'2_1': 1}, 'rtsd-frames/rtsd-frames/a.jpg': None,
               'rtsd-frames/rtsd-frames/b.jpg': None},
    'csv': {'full-gt.csv': CSV, 'rtsd-frames/a.jpg': None},
    'small': {'full_gt_reduced.csv': ',filename,x_from,y_from,width,height,sign_class,sign_id,is_train\n0,a.jpg,10,10,20,20,2_1,7,True\n',
              'rtsd-dataset-reduced/rtsd-dataset-reduced/rtsd-frames/a.jpg': None},
    'nested': {'rtsd/data/full-gt.csv': CSV, 'rtsd/frames/a.jpg': None}}


@pytest.mark.parametrize('mount', ['some-slug', 'datasets/some-owner/some-slug'])
@pytest.mark.parametrize('layout', LAYOUTS)
def test_rtsd_is_found_and_opens(mount, layout, tmp_path):
    put(tmp_path/mount, LAYOUTS[layout])
    put(tmp_path/'datasets/else/coco', {'annotations/instances.json': COCO, 'a.jpg': None})
    put(tmp_path/'wheels', {'x.whl': ''})
    found = find_rtsd(tmp_path)
    assert found == tmp_path/mount
    data = open_dataset(found)
    assert sum(len(f.boxes) for f in data.frames) >= 1 and data.classes == ('2_1',)


def test_nothing_that_fits(tmp_path):
    assert find_rtsd(tmp_path/'absent') is None and find_rtsd(tmp_path) is None
    put(tmp_path/'no-frames', {'full-gt.csv': CSV})
    put(tmp_path/'other', {'a.json': COCO, 'b.json': COCO, 'table.csv': 'a,b\n1,2\n', 'a.jpg': None})
    assert find_rtsd(tmp_path) is None


def test_the_full_set_goes_before_a_part(tmp_path):
    put(tmp_path/'a-part', LAYOUTS['csv'])
    put(tmp_path/'full', LAYOUTS['csv'] | {'full-gt.csv': CSV + 'a.jpg,50,10,20,20,2_1,8\n'})
    assert find_rtsd(tmp_path) == tmp_path/'full'


def test_several_tables_are_an_error_that_lists_them(tmp_path):
    put(tmp_path/'mine', {'one.csv': CSV, 'two.csv': CSV, 'a.jpg': None})
    with pytest.raises(ValueError, match='one.csv, two.csv'): find_rtsd(tmp_path)


def test_real_annotations_are_found(shared, tmp_path):
    "The real Kaggle JSON files with the frames that are at hand, mounted as Kaggle does"
    source = tmp_path/'datasets'/'watchman'/'rtsd-dataset'
    (source/'rtsd-frames'/'rtsd-frames').mkdir(parents=True)
    for name in ('val_anno.json', 'label_map.json'): shutil.copy(shared/'rtsd_annotations'/name, source)
    for frame in (shared/'rtsd_frames').rglob('*.jpg'): shutil.copy(frame, source/'rtsd-frames'/'rtsd-frames')
    assert find_rtsd(tmp_path) == source
