"""The package can be installed as README.md says, and holds what it must."""
import configparser
import os
import re
import shutil
import subprocess
import sys
import zipfile
from importlib import import_module
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import rtsd_nb

ROOT = Path(__file__).resolve().parents[1]
# Exact pins are for releases whose neighbours break something; settings.ini says what.
PINNED = {'albumentations', 'scikit-multilearn', 'nbdev'}


@pytest.fixture(scope='module')
def settings():
    parser = configparser.ConfigParser(delimiters=['='])
    parser.read(ROOT/'settings.ini', encoding='utf-8')
    return parser['DEFAULT']


@pytest.fixture(scope='module')
def locked():
    lines = (ROOT/'requirements-lock.txt').read_text(encoding='utf-8').splitlines()
    return [line for line in lines if line and not line.startswith('#')]


def requirements(settings):
    return [Requirement(token) for key in settings if key.endswith('requirements')
            for token in settings[key].split()]


def test_version_is_said_once(settings):
    assert rtsd_nb.__version__ == settings['version']
    assert f'## {settings["version"]}' in (ROOT/'CHANGELOG.md').read_text(encoding='utf-8')


def test_requirements_are_ranges(settings):
    exact = {r.name for r in requirements(settings) if any(s.operator == '==' for s in r.specifier)}
    assert exact == PINNED


def test_lock_is_plain_and_complete(settings, locked):
    "Every line is name==version without index, path or local version; every requirement is met by its line"
    assert all(re.fullmatch(r'[A-Za-z0-9][\w.-]*==[\w.]+', line) for line in locked)
    versions = {canonicalize_name(name): version for name, version in (line.split('==') for line in locked)}
    assert list(versions) == sorted(versions)
    for r in requirements(settings): assert r.specifier.contains(versions[canonicalize_name(r.name)]), str(r)


def test_what_is_installed_is_named_in_the_lock(locked):
    "Nothing that the library imports comes from outside the lock file"
    from importlib.metadata import distribution
    for name in ('torch', 'torchvision', 'timm', 'albumentations', 'nbdev', 'execnb', 'fastcore'):
        assert canonicalize_name(distribution(name).metadata['Name']) in {line.split('==')[0] for line in locked}


def test_no_index_is_named():
    "Where packages come from is the user's affair"
    for name in ('Makefile', 'settings.ini', 'setup.py', 'pyproject.toml', 'requirements-lock.txt', '.ci/run',
                 '.github/workflows/ci.yml'):
        assert not re.search(r'index-url|find-links|trusted-host|file://', (ROOT/name).read_text(encoding='utf-8')), name


def test_entry_points_exist(settings):
    for token in settings['console_scripts'].split():
        name, target = token.split('=')
        module, function = target.split(':')
        assert name.startswith('rtsd-') and callable(getattr(import_module(module), function)), token


def test_modules_import_without_the_course_tools():
    "Whoever only uses the library has neither nbdev nor pytest"
    names = sorted(f'rtsd_nb.{p.stem}' for p in (ROOT/'rtsd_nb').glob('[!_]*.py'))
    code = ("import sys; sys.modules.update(dict.fromkeys(['nbdev', 'execnb', 'nbconvert', 'nbformat', 'pytest']))\n"
            f'import {", ".join(names)}')
    done = subprocess.run([sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_modules_import_only_rooms_above():
    "The order of the chapters is the order of the imports, so each can be read without those after it"
    # metrics needs boxes and data only, and the validation of training calls it
    order = ('boxes data split samples augment report convert backbone neck head postprocess detector assignment loss metrics errors evalreport training runs study export inference tracking names demo kaggle '
             'faces scenes explore pipeline standalone send exercises translate course cli').split()
    for path in (ROOT/'rtsd_nb').glob('[!_]*.py'):
        text = path.read_text(encoding='utf-8')
        used = set(re.findall(r'^\s*from (?:rtsd_nb)?\.(\w+) import', text, re.M))
        used |= set(re.findall(r'^\s*from (?:rtsd_nb|\.) import (\w+)', text, re.M)) & set(order)
        later = [name for name in used if order.index(name) >= order.index(path.stem)]
        assert later == [], f'{path.name} imports {later}'


@pytest.mark.slow
def test_wheel_holds_the_library(tmp_path):
    "Built from a copy, so that nothing is left in the checkout, and with what is installed, so without a network"
    source = tmp_path/'source'
    shutil.copytree(ROOT, source, ignore=shutil.ignore_patterns('.git', '.venv', 'runs', 'build', 'nbs', '*.egg-info', '__pycache__'))
    done = subprocess.run([sys.executable, '-m', 'pip', 'wheel', '-q', '--no-deps', '--no-build-isolation', '-w', str(tmp_path), str(source)],
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    wheel, = tmp_path.glob('*.whl')
    names = zipfile.ZipFile(wheel).namelist()
    assert {f'rtsd_nb/{p.name}' for p in (ROOT/'rtsd_nb').glob('*.py')} <= set(names)
    assert not [n for n in names if n.startswith(('tests/', 'nbs/'))]
    entry_points = next(n for n in names if n.endswith('entry_points.txt'))
    assert 'rtsd-train' in zipfile.ZipFile(wheel).read(entry_points).decode()


HELP = '''import runpy, sys
from pathlib import Path
for name in sys.argv[1:]:
    sys.argv = [name, '--help']
    try: runpy.run_path(str(Path(sys.executable).with_name(name)), run_name='__main__')
    except SystemExit as end: assert not end.code, (name, end.code)
'''


@pytest.mark.slow
def test_the_wheel_in_a_clean_environment_has_working_commands(tmp_path, settings):
    "Installed by pip beside its requirements, away from this checkout; each command answers, one reads data"
    from environments import clean_python
    source = tmp_path/'source'
    shutil.copytree(ROOT, source, ignore=shutil.ignore_patterns('.git', '.venv', 'runs', 'build', 'nbs', '*.egg-info', '__pycache__'))
    python, away = clean_python(tmp_path/'clean'), tmp_path/'away'
    away.mkdir()
    env = {k: v for k, v in os.environ.items() if k != 'PYTHONPATH'} | {'PIP_CONFIG_FILE': os.devnull}
    run = lambda *args: subprocess.run(list(map(str, args)), cwd=away, env=env, capture_output=True, text=True)
    assert run(sys.executable, '-m', 'pip', 'wheel', '-q', '--no-deps', '--no-build-isolation', '-w', tmp_path, source).returncode == 0
    done = run(python, '-m', 'pip', 'install', '-q', '--no-index', *tmp_path.glob('*.whl'))  # so all that it requires must be there
    assert done.returncode == 0, done.stderr
    names = [token.split('=')[0] for token in settings['console_scripts'].split()]
    assert all(os.access(python.with_name(name), os.X_OK) for name in names)
    done = run(python, '-c', HELP, *names)                     # in one process: each would import torch again
    assert done.returncode == 0 and [f'usage: {n}' in done.stdout for n in names] == [True] * len(names), done.stdout + done.stderr
    assert 'usage: rtsd-train' in run(python.with_name('rtsd-train'), '--help').stdout
    (away/'signs.csv').write_text('filename,x_from,y_from,width,height,sign_class,sign_id\na.jpg,10,10,20,20,2_1,7\n')
    done = run(python.with_name('rtsd-data'), 'check', 'signs.csv', '--no-images')
    assert '1 boxes' in done.stdout or '1 box' in done.stdout, done.stdout + done.stderr
