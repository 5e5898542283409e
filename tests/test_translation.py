"""The Russian edition: complete, up to date, in the words of the glossary, and it runs."""
import json
import re
from pathlib import Path

import polib
import pytest

from rtsd_nb.cli import kaggle_command
from rtsd_nb.course import translation_problems
from rtsd_nb.exercises import build_student, check_exercises
from rtsd_nb.translate import all_messages, build_edition, plot_texts, read_table

ROOT = Path(__file__).resolve().parents[1]
LOCALE = ROOT / 'locale' / 'ru'
# Words that are also verbs, or have another meaning beside the term's, are not looked for
AMBIGUOUS = {'batch', 'box', 'candidate', 'data set', 'decode, encode', 'drive', 'fold', 'head', 'kernel (Kaggle)', 'label', 'layout', 'level', 'loss', 'miss', 'positive (anchor)',
             'precision (of detections)', 'recall', 'run', 'sample', 'score', 'size of the input', 'split', 'step (of the optimiser)', 'target', 'tracking', 'training', 'weights',
             'padding', 'sign', 'frame', 'assignment', 'assigner', 'exercise', 'ground truth', 'average precision, AP', 'early stopping'}


def terms():
    "[(pattern of the English term, Russian stems)] of the glossary"
    rows = [[cell.strip() for cell in line.strip('|\n ').split('|')] for line in (LOCALE / 'glossary.md').read_text(encoding='utf-8').splitlines() if line.startswith('| ')][1:]
    words = {english: [w.strip() for w in stems.split(',')] for english, _, stems in rows}
    names = {english: '|'.join(re.escape(n.strip()) for n in re.sub(r'\(.*?\)', '', english).split(',')) for english in words}
    return [(re.compile(rf'\b({names[e]})s?\b', re.I), stems) for e, stems in words.items() if e not in AMBIGUOUS]


def test_nothing_is_missing_fuzzy_stale_or_lost():
    assert translation_problems(ROOT, LOCALE) == []


def test_the_terms_are_those_of_the_glossary():
    found, missed = 0, []
    for file in sorted(LOCALE.glob('*.po')):
        for entry in polib.pofile(str(file)):
            english = re.sub(r'`[^`]*`|\]\([^)]*\)', ' ', entry.msgid)
            for pattern, stems in terms():
                if match := pattern.search(english):
                    found += 1
                    if not any(stem.lower() in entry.msgstr.lower() for stem in stems):
                        missed.append(f'{file.stem} {entry.occurrences[0][0]}: {match[0]}')
    assert found > 1000 and len(missed) <= 0.01 * found, missed


def test_plots_speak_russian():
    texts = {t for _, t in all_messages(ROOT / 'nbs')['plots']}
    table = read_table(LOCALE / 'plots.po')
    assert texts == table.keys() and sum(bool(re.search('[а-яё]', t)) for t in table.values()) > 0.9 * len(table)
    assert plot_texts("ax.set_xlabel('width, px')") == ['width, px'] and table['width, px'] == 'ширина, пикс.'


@pytest.fixture(scope='module')
def edition(tmp_path_factory):
    folder = tmp_path_factory.mktemp('ru')
    build_edition(ROOT / 'nbs', LOCALE, folder)
    return folder


def test_code_and_addresses_are_shared(edition):
    for path in sorted((ROOT / 'nbs').rglob('*_*.ipynb')):
        here, there = (json.loads(p.read_text(encoding='utf-8'))['cells'] for p in (path, edition / path.relative_to(ROOT / 'nbs')))
        assert [''.join(c['source']) for c in here if c['cell_type'] == 'code'] == [''.join(c['source']) for c in there if c['cell_type'] == 'code' and c['id'] != 'language']
        assert sum(bool(re.search('[а-яё]', ''.join(c['source']))) for c in there if c['cell_type'] == 'markdown') >= 0.7 * sum(c['cell_type'] == 'markdown' for c in here), path.name


@pytest.mark.slow
def test_russian_exercises_run(edition):
    results = check_exercises(edition / 'exercises' / 'e05_head.ipynb')
    assert results and all(r.passed for r in results), results


def test_the_russian_student_edition_has_no_solutions(edition, tmp_path):
    pytest.importorskip('nbgrader')
    made = build_student(edition, tmp_path / 'student')
    assert len(made) == len(list((ROOT / 'nbs' / 'exercises').glob('*.ipynb')))
    assert 'Подсказка 1' in (tmp_path / 'student' / 'exercises' / 'e01_boxes.ipynb').read_text(encoding='utf-8')


def test_kernels_come_in_russian(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    for what in ('01_boxes', 'whole'):
        assert kaggle_command(['build', what, '--user', 'ann', '--language', 'ru', '--out', str(tmp_path / what)]) == 0
        text = next((tmp_path / what).glob('*.ipynb')).read_text(encoding='utf-8')
        assert 'рамк' in text and len(json.dumps(json.loads(text))) < 1_000_000
    assert kaggle_command(['build', '01_boxes', '--user', 'ann', '--language', 'xx', '--out', str(tmp_path / 'xx')]) == 2
