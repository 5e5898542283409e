"""The documentation site: its parts, the check of its links, and the whole of it where Sphinx is installed."""
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / 'docs'))

import build  # noqa: E402
from check_site import problems  # noqa: E402


def site(folder, **pages):
    for name, body in pages.items():
        (folder / f'{name}.html').write_text(f'<html><body>{body}</body></html>')
    return problems(folder)


def test_links_that_lead_somewhere_are_no_problem(tmp_path):
    (tmp_path / 'a b.png').write_bytes(b'x')
    assert site(tmp_path, a='<a href="b.html#here">b</a> <img src="a%20b.png"> <a href="https://example.org">out</a> <a href="#top">up</a><p id="top">',
                b='<h2 id="here">h</h2>') == []


@pytest.mark.parametrize('body, told', [
    ('<a href="gone.html">x</a>', 'a.html: gone.html: no such file'),
    ('<a href="b.html#gone">x</a>', 'a.html: b.html#gone: no such place on the page'),
    ('<img src="gone.png">', 'a.html: gone.png: no such file'),
    ('<script src="https://cdn.example.org/x.js"></script>', 'a.html: loads https://cdn.example.org/x.js from outside'),
    ('<link rel="stylesheet" href="//fonts.example.org/x.css">', 'a.html: loads //fonts.example.org/x.css from outside')])
def test_each_kind_of_broken_link_is_found(body, told, tmp_path):
    assert site(tmp_path, a=body, b='') == [told]


def cell(source, kind='code'):
    return {'cell_type': kind, 'source': source, 'id': 'a', 'metadata': {}} | ({'outputs': [], 'execution_count': None} if kind == 'code' else {})


def test_a_page_shows_code_without_directives_and_hides_what_is_hidden():
    nb = {'cells': [cell('# Title', 'markdown'), cell('#| default_exp x'), cell('#| hide\nsecret'), cell('#| export\n#| eval: false\ndef f(): pass'), cell('1 + 1')],
          'metadata': {}, 'nbformat': 4, 'nbformat_minor': 5}
    assert [c['source'] for c in build.page_of(nb)['cells']] == ['# Title', 'def f(): pass', '1 + 1'] and build.title_of(nb) == 'Title'


def test_a_function_is_told_with_its_parameters():
    def f(boxes: int,  # (N, 4) xyxy
          size: tuple = (1, 2)) -> int:  # how | many
        "What `f` does with <b> and a_b_c."
    lines = '\n'.join(build.entry('f', f))
    assert 'f(boxes: int, size: tuple = (1, 2)) -> int' in lines and '| `boxes` | (N, 4) xyxy |' in lines and '`f`' in lines
    assert r'\<b\>' in lines and r'a\_b\_c' in lines


def test_a_long_signature_is_broken_between_arguments():
    def f(first_argument: dict[str, int] = {}, second_argument: tuple[int, int] = (1, 2), third_argument: str = 'a, b', fourth: int = 4) -> list[int]: ...
    text = build.signature_of(f)
    assert text.startswith('(\n    first_argument') and 'second_argument: tuple[int, int] = (1, 2),\n' in text and text.endswith(') -> list[int]')


@pytest.mark.slow
def test_the_whole_site_is_built_without_a_broken_link(tmp_path):
    if find_spec('sphinx') is None or find_spec('myst_nb') is None:
        pytest.skip('Sphinx is not installed: make docs installs it')
    done = subprocess.run([sys.executable, 'docs/build.py', '--out', str(tmp_path)], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert '0 broken links or outside requests' in done.stdout and (tmp_path / 'html' / 'api' / 'boxes.html').exists()
    assert (tmp_path / 'html' / 'nbs' / '05_head.html').read_text().count('<img') > 3


# ---- workflows ----

WORKFLOWS = sorted((ROOT / '.github' / 'workflows').glob('*.yml'))


@pytest.mark.parametrize('path', WORKFLOWS, ids=lambda p: p.stem)
def test_a_workflow_may_little_and_pins_what_it_uses(path):
    text = path.read_text(encoding='utf-8')
    content = yaml.safe_load(text)
    assert content['permissions'] == {'contents': 'read'} and all('timeout-minutes' in job or 'environment' in job for job in content['jobs'].values())
    used = re.findall(r'uses: (\S+)(.*)', text)
    assert all(re.fullmatch(r'[\w./-]+@[0-9a-f]{40}', action) and re.fullmatch(r' # v[\d.]+', version) for action, version in used), used
