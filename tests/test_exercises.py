"""The exercises: with the solutions every check passes, without them every check says that it is open, and known mistakes are told as such."""
import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from rtsd_nb.course import course_command
from rtsd_nb.exercises import build_student, check_exercises, role_of

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / 'nbs' / 'exercises'
NOTEBOOKS = sorted(FOLDER.glob('*.ipynb'))
CHAPTERS = [p for p in NOTEBOOKS if p.name.startswith('e')]
HUNTS = [p for p in NOTEBOOKS if p.name.startswith('hunts')]
ids = lambda p: p.stem
read = lambda p: json.loads(Path(p).read_text(encoding='utf-8'))
source = lambda cell: ''.join(cell['source'])


def wrong_answers(path):
    "{id of the answer: [(source of the cell, what the message must hold), ...]}"
    file = Path(__file__).parent / 'wrong_answers' / f'{path.stem}.py'
    spec = importlib.util.spec_from_file_location(path.stem, file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.WRONG


@pytest.fixture(scope='session')
def student(tmp_path_factory):
    pytest.importorskip('nbgrader')
    return {p.stem: p for p in build_student(ROOT / 'nbs', tmp_path_factory.mktemp('student'))}


def test_there_are_exercises_for_each_chapter_and_twelve_hunts():
    assert [p.stem[:3] for p in CHAPTERS] == [f'e{n:02d}' for n in range(1, 11)]
    counts = {p.stem: sum(role_of(c) == 'check' for c in read(p)['cells']) for p in NOTEBOOKS}
    assert all(counts[p.stem] >= 4 for p in CHAPTERS) and sum(counts[p.stem] for p in HUNTS) >= 12, counts
    assert sum(bool(tries) for p in NOTEBOOKS for tries in wrong_answers(p).values()) >= 20


@pytest.mark.parametrize('path', NOTEBOOKS, ids=ids)
def test_each_answer_has_a_solution_a_check_points_and_hints(path):
    cells = read(path)['cells']
    answers = [c['id'] for c in cells if role_of(c) == 'answer']
    checks = [c['metadata']['nbgrader'] for c in cells if role_of(c) == 'check']
    assert [f'{a}-check' for a in answers] == [m['grade_id'] for m in checks] and all(m['points'] >= 1 and m['locked'] for m in checks)
    for cell in cells:
        if role_of(cell) == 'answer':
            assert source(cell).count('### BEGIN SOLUTION') == source(cell).count('### END SOLUTION') >= 1, cell['id']
        else:
            assert role_of(cell) == 'written' or '### BEGIN' not in source(cell), cell['id']
    prose = '\n'.join(source(c) for c in cells if c['cell_type'] == 'markdown')
    assert len(re.findall(r'<summary>Hint \d', prose)) >= 2 * len(answers), 'graded hints'


def test_the_table_of_defects_leads_to_exercises_that_are_there():
    links = re.findall(r'\[(?:hunt )?([\d.]+)\]\(\.\./nbs/exercises/(\w+\.ipynb)\)', (ROOT / 'docs' / 'defects.md').read_text(encoding='utf-8'))
    assert len(links) > 30
    for number, name in links:
        heads = [line for c in read(FOLDER / name)['cells'] for line in source(c).splitlines() if line.startswith('## ')]
        assert any(re.match(rf'## (Hunt )?{re.escape(number)}[: ]', head) for head in heads), (number, name)


# With the solutions every check passes: that is what nbdev_test finds out, which runs these notebooks from top to bottom.
# The rest runs in one process for all notebooks, since most of the time goes into importing torch.

ALL = '''import contextlib, io, json, os, sys
os.environ.setdefault('MPLBACKEND', 'Agg')
sys.path.insert(0, sys.argv[3])
from pathlib import Path
from rtsd_nb.exercises import plain_code, run_checks
from test_exercises import read, source, wrong_answers

def run(code, name, space):
    "What went wrong, or 'it passed'"
    try:
        with contextlib.redirect_stdout(io.StringIO()): exec(compile(code, name, 'exec'), space)
    except Exception as error: return str(error)
    return 'it passed'

def told(path):
    "[(answer, fragment, what the check said)]: each wrong answer stands in its place once, then the right one, and the notebook goes on"
    space, wrong, said = {'__name__': '__main__', 'display': print}, wrong_answers(path), []
    cells = [(c['id'], plain_code(source(c))) for c in read(path)['cells'] if c['cell_type'] == 'code']
    places = {name: i for i, (name, _) in enumerate(cells)}
    for i, (name, code) in enumerate(cells):
        for text, fragment in wrong.get(name, ()):
            run(text, name, space)
            between = [run(c, n, space) for n, c in cells[i + 1:places[f'{name}-check'] + 1]]
            said.append((name, fragment, between[-1]))
        run(code, name, space)
    return said

found = {}
for path in map(Path, sys.argv[4:]):
    os.chdir(path.parent)
    if sys.argv[1] == 'open': found[path.stem] = run_checks(path)
    else: found[path.stem] = told(path)
    sys.modules.get('matplotlib.pyplot') and sys.modules['matplotlib.pyplot'].close('all')
json.dump(found, open(sys.argv[2], 'w'))
'''


def run_all(what, file, paths):
    done = subprocess.run([sys.executable, '-c', ALL, what, str(file), str(Path(__file__).parent), *map(str, paths)], capture_output=True, text=True,
                          env=os.environ | {'PYTHONPATH': os.pathsep.join([str(ROOT), *filter(None, sys.path)])})
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(file.read_text())


@pytest.mark.slow
def test_without_solutions_every_check_says_that_it_is_open(student, tmp_path):
    for path in student.values():
        cells = read(path)['cells']
        text = '\n'.join(source(c) for c in cells)
        assert 'SOLUTION' not in text and 'YOUR CODE HERE' in text and not any(c.get('outputs') for c in cells)
        assert all(c['metadata'].get('editable') is False and c['metadata'].get('deletable') is False for c in cells if role_of(c) == 'check')
    found = run_all('open', tmp_path / 'said.json', student.values())
    assert found.keys() == student.keys() and all(found.values())
    assert [(n, check, said) for n, results in found.items() for check, said in results if 'is still open' not in (said or '')] == []


@pytest.mark.slow
def test_known_mistakes_are_told_as_such(tmp_path):
    found = run_all('wrong', tmp_path / 'said.json', NOTEBOOKS)
    assert sum(map(len, found.values())) > 300
    assert [(n, answer, fragment, said) for n, tries in found.items() for answer, fragment, said in tries if fragment not in said] == []


@pytest.mark.slow
def test_the_command_shows_a_student_how_far_they_are(student, tmp_path, capsys):
    mine = tmp_path / 'mine'
    mine.mkdir()
    open_one, solved = CHAPTERS[0], read(CHAPTERS[0])
    (mine / open_one.name).write_text(student[open_one.stem].read_text(encoding='utf-8'), encoding='utf-8')
    with pytest.raises(SystemExit) as ended:
        course_command(['check', str(mine)])
    said = capsys.readouterr().out
    assert ended.value.code == 1 and ' 0 of ' in said and 'is still open' in said
    (mine / open_one.name).write_text(json.dumps(solved), encoding='utf-8')
    with pytest.raises(SystemExit) as ended:
        course_command(['check', str(mine)])
    said = capsys.readouterr().out
    n = sum(role_of(c) == 'check' for c in solved['cells'])
    assert ended.value.code == 0 and f'{n} of {n} exercises are passed' in said


@pytest.mark.slow
def test_nbgrader_hands_out_collects_and_grades(tmp_path, monkeypatch):
    "The real nbgrader, on one notebook of the course: full points for the solutions, none for what was handed out"
    pytest.importorskip('nbgrader')
    from nbgrader.api import Gradebook
    from nbgrader.apps import NbGraderAPI
    from traitlets.config import Config
    path = CHAPTERS[0]
    monkeypatch.setenv('PATH', os.pathsep.join([str(Path(sys.executable).parent), os.environ['PATH']]))  # it calls alembic by its name
    (tmp_path / 'source' / 'ps1').mkdir(parents=True)
    (tmp_path / 'source' / 'ps1' / path.name).write_text(path.read_text(encoding='utf-8'), encoding='utf-8')
    config = Config()
    config.CourseDirectory.root, config.CourseDirectory.course_id = str(tmp_path), 'rtsd'
    config.ExecutePreprocessor.timeout = config.Execute.timeout = 600
    api = NbGraderAPI(config=config)
    made = api.generate_assignment('ps1')
    assert made['success'], made['log']
    released = tmp_path / 'release' / 'ps1' / path.name
    for who, file in (('ann', path), ('bob', released)):
        (tmp_path / 'submitted' / who / 'ps1').mkdir(parents=True)
        nb = read(released)
        if file is path:  # ann's answers are the solutions, in the cells that were handed out
            solutions = {c['id']: c['source'] for c in read(path)['cells'] if role_of(c) in ('answer', 'written')}
            for cell in nb['cells']:
                cell['source'] = solutions.get(cell['metadata'].get('nbgrader', {}).get('grade_id'), cell['source'])
        (tmp_path / 'submitted' / who / 'ps1' / path.name).write_text(json.dumps(nb), encoding='utf-8')
        graded = api.autograde('ps1', who)
        assert graded['success'], graded['log']
    points = sum(c['metadata']['nbgrader']['points'] for c in read(path)['cells'] if role_of(c) == 'check')
    with Gradebook(f'sqlite:///{tmp_path}/gradebook.db') as book:
        scores = {who: sum(g.auto_score or 0 for n in book.find_submission('ps1', who).notebooks for g in n.grades) for who in ('ann', 'bob')}
    assert scores == {'ann': points, 'bob': 0}
