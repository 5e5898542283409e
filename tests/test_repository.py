"""What is committed holds together: notebooks, library, README.md; and the checks of that do see faults."""
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from rtsd_nb.course import (build_readme, check_notebook, dead_links, execute_notebook, notebooks_of,
                            out_of_step, readme_is_stale)

sys.path.insert(0, str(Path(__file__).parent))
from run_all import notebooks, read_report  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = notebooks_of(ROOT)


def write(path, nb):
    path.write_text(json.dumps(nb, indent=1, sort_keys=True, ensure_ascii=False) + '\n', encoding='utf-8')


@pytest.fixture
def copy(tmp_path):
    "A copy of what the checks look at, to spoil"
    for name in ('nbs', 'rtsd_nb'):
        shutil.copytree(ROOT/name, tmp_path/name, ignore=shutil.ignore_patterns('__pycache__', '.*'))
    for name in ('settings.ini', 'README.md'): shutil.copy(ROOT/name, tmp_path)
    return tmp_path


@pytest.fixture(scope='module')
def files():
    "All text files of the repository that git tracks or would track"
    listed = subprocess.run(['git', 'ls-files', '-co', '--exclude-standard'], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode: pytest.skip('not a git checkout')
    paths = [ROOT/name for name in listed.stdout.splitlines()]
    return [p for p in paths if p.is_file() and p.suffix not in ('.png', '.jpg')]


# ---- the repository as it is ----

@pytest.mark.parametrize('path', NOTEBOOKS, ids=lambda p: p.stem)
def test_notebook_is_well(path):
    assert check_notebook(path) == []


def test_library_is_what_the_notebooks_export():
    assert out_of_step(ROOT) == [], 'run `make export`'


def test_readme_is_what_the_index_gives():
    assert not readme_is_stale(ROOT), 'run `make readme`'


@pytest.mark.parametrize('name', ['README.md', 'CONTRIBUTING.md', 'CHANGELOG.md'])
def test_no_dead_links(name):
    assert dead_links(ROOT, name) == []


def test_every_chapter_is_in_the_map():
    text = (ROOT/'README.md').read_text(encoding='utf-8')
    assert [p.name for p in NOTEBOOKS if p.name != 'index.ipynb' and p.relative_to(ROOT).as_posix() not in text] == []


def test_code_in_readme_compiles_and_imports():
    "The Python that README.md shows is parsed, and each name that it imports exists"
    text = (ROOT/'README.md').read_text(encoding='utf-8')
    blocks = re.findall(r'```python\n(.*?)```', text, re.S)
    assert blocks
    for block in blocks: compile(block, 'README.md', 'exec')
    imports = re.findall(r'^from rtsd_nb\S* import .*$', '\n'.join(blocks), re.M)
    assert imports
    for line in imports: exec(line, {})


@pytest.mark.slow
def test_runs_give_the_same_bytes(tmp_path):
    "Two runs of one short notebook; `make stable` does it for all, and compares with what is committed"
    first, second = tmp_path/'first.ipynb', tmp_path/'second.ipynb'
    for dest in (first, second): execute_notebook(ROOT/'nbs'/'01_boxes.ipynb', dest)
    assert first.read_bytes() == second.read_bytes()


def test_nothing_names_this_machine(files):
    "No file holds the path of this checkout, of the home folder or of the Python that runs the tests"
    foreign = [f'{ROOT}/', f'{Path.home()}/', f'{sys.prefix}/']
    found = {p.name: f for p in files for f in foreign if f in p.read_text(encoding='utf-8', errors='replace')}
    assert found == {}


def test_no_large_files(files):
    assert {p.name: p.stat().st_size for p in files if p.stat().st_size > 400_000} == {}


# ---- the checks see what they are there for ----

def spoil(path, change):
    "Apply `change` to the first code cell that has an output in words, and give its notebook back"
    nb = json.loads(path.read_text(encoding='utf-8'))
    cell = next(c for c in nb['cells'] if c['cell_type'] == 'code' and
                any('text' in o or 'text/plain' in o.get('data', {}) for o in c['outputs']))
    change(cell)
    write(path, nb)
    return check_notebook(path)


def add_text(cell, text):
    cell['outputs'].append(dict(output_type='stream', name='stdout', text=[text]))


SPOILERS = {
    'output removed': (lambda cell: cell.update(outputs=[]), 'changed after the notebook was executed'),
    'code edited': (lambda cell: cell['source'].append('\n# edited'), 'changed after the notebook was executed'),
    'path': (lambda cell: add_text(cell, 'saved to /home/ann/model.pt'), 'an absolute path'),
    'time stamp': (lambda cell: add_text(cell, '2026-11-22 14:05:59'), 'a time stamp'),
    'address': (lambda cell: add_text(cell, '<Model at 0x7f00dead1234>'), 'the address of an object'),
    'warning': (lambda cell: add_text(cell, 'UserWarning: deprecated'), 'a warning'),
    'too large': (lambda cell: add_text(cell, 'x'*400_000), 'KB, at most'),
    'too long': (lambda cell: cell.update(source=['#| export\n'] + ['x = 1\n']*31), 'exported code, at most 30')}


@pytest.mark.parametrize('fault', SPOILERS)
def test_spoiled_notebook_is_seen(copy, fault):
    change, words = SPOILERS[fault]
    problems = spoil(copy/'nbs'/'01_boxes.ipynb', change)
    assert any(words in problem for problem in problems), problems


def test_notebook_without_outputs_is_seen(copy):
    path = copy/'nbs'/'01_boxes.ipynb'
    nb = json.loads(path.read_text(encoding='utf-8'))
    for cell in nb['cells']:
        if cell['cell_type'] == 'code': cell['outputs'] = []
    write(path, nb)
    problems = check_notebook(path)
    assert any('no output' in p for p in problems) and any('changed after' in p for p in problems)


def test_notebook_edited_without_export_is_seen(copy):
    path = copy/'nbs'/'01_boxes.ipynb'
    nb = json.loads(path.read_text(encoding='utf-8'))
    cell = next(c for c in nb['cells'] if c['source'] and c['source'][0].startswith('#| export') and 'def ' in ''.join(c['source']))
    cell['source'].append('\n# edited')
    write(path, nb)
    assert set(out_of_step(copy)) - set(out_of_step(ROOT)) == {'boxes.py'}


def test_module_edited_by_hand_and_module_without_notebook_are_seen(copy):
    with open(copy/'rtsd_nb'/'boxes.py', 'a', encoding='utf-8') as f: f.write('x = 1\n')
    (copy/'nbs'/'c_course.ipynb').unlink()
    assert {'boxes.py', 'course.py'} <= set(out_of_step(copy))


def test_edited_readme_is_seen(copy):
    with open(copy/'README.md', 'a', encoding='utf-8') as f: f.write('One more line.\n')
    assert readme_is_stale(copy)
    (copy/'README.md').write_text(build_readme(copy/'nbs'/'index.ipynb'), encoding='utf-8')
    assert not readme_is_stale(copy)


# ---- the runner counts rightly ----

def test_runner_counts_only_notebooks_that_ran():
    done = '- Completed {}'.format
    assert read_report(['a.ipynb', 'b.ipynb'], [done('/x/a.ipynb'), done('/x/b.ipynb')], 0) == (['a.ipynb', 'b.ipynb'], [])
    assert read_report(['a.ipynb', 'b.ipynb'], [done('/x/a.ipynb')], 0) == (['a.ipynb'], ['b.ipynb'])
    assert read_report(['a.ipynb'], [done('/x/a.ipynb'), '\ta.ipynb'], 1) == ([], ['a.ipynb'])
    assert read_report(['a.ipynb'], [done('/x/a.ipynb')], 1)[1] == ['nbdev_test ended with 1']
    assert read_report([], ['No files were eligible for testing'], 0)[1] == ['no notebook was found in nbs/']


def test_runner_knows_all_notebooks():
    assert notebooks() == sorted(p.name for p in NOTEBOOKS)
