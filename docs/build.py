"""Build the documentation site into _docs/html: `make docs`.

Pages are the executed notebooks without their hidden cells, API pages from the docstrings and parameter comments, a gallery of all
pictures, and the tables of the benchmarks. Nothing is executed, and no page asks for anything from outside (see check_site.py).
"""
import argparse
import ast
import base64
import importlib
import inspect
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / 'docs')]

import pandas as pd  # noqa: E402
from check_site import problems  # noqa: E402
from fastcore.docments import docments  # noqa: E402

from rtsd_nb.course import build_readme, directives, notebooks_of, read_notebook  # noqa: E402
from rtsd_nb.translate import read_table, sources, translated  # noqa: E402

SUFFIXES = {'image/png': 'png', 'image/jpeg': 'jpg', 'image/svg+xml': 'svg'}
LANGUAGES = {'ru': 'По-русски'}
SHOWN_METRICS = {'name': 'detector', 'start': 'start', 'map': 'mAP', 'map_50': 'mAP50', 'ap_0-24': 'AP under 24 px', 'ap_24-32': '24 to 32', 'ap_32-64': '32 to 64',
                 'ap_64+': 'over 64', 'parameters': 'parameters', 'train_images': 'training images'}
PEER_TABLES = {'gtsdb': 'Detectors side by side on GTSDB, 4 categories', 'gtsdb_random': 'The same from random weights',
               'gtsdb_42': 'Ours on GTSDB with all classes', 'embedded': 'Detectors side by side on the embedded drives'}


def title_of(nb):
    "The first heading of a notebook."
    return re.search(r'^# (.+)$', nb['cells'][0]['source'], re.M)[1]


def page_of(nb):
    "A notebook for readers: without hidden cells and directives, without what nbdev needs."
    cells = []
    for cell in nb['cells']:
        known = directives(cell['source']) if cell['cell_type'] == 'code' else {}
        if cell['cell_type'] == 'raw' or 'hide' in known or 'default_exp' in known:
            continue
        source = re.sub(r'^(#\| .*\n?)+', '', cell['source']) if known else cell['source']
        source = re.sub(r'^([ \t]*)### BEGIN SOLUTION.*?### END SOLUTION', r'\1# your answer', source, flags=re.S | re.M)
        cells.append(cell | {'source': source})
    return nb | {'cells': cells, 'metadata': {'kernelspec': {'name': 'python3', 'display_name': 'Python 3', 'language': 'python'},
                                              'language_info': {'name': 'python'}}}


def write_notebooks(source):
    "The pages of all notebooks; returns {path in nbs/ without its suffix: title}."
    titles = {}
    (source / 'nbs').mkdir(parents=True)
    for path in notebooks_of(ROOT):
        if path.stem == 'index':
            continue
        nb, name = read_notebook(path), path.relative_to(ROOT / 'nbs').with_suffix('').as_posix()
        titles[name] = title_of(nb)
        (source / 'nbs' / name).parent.mkdir(exist_ok=True)
        (source / 'nbs' / f'{name}.ipynb').write_text(json.dumps(page_of(nb)), encoding='utf-8')
    return titles


def write_editions(source):
    "The pages of the other languages, {language: {path in nbs/ without its suffix: title}}: prose from the catalogues, pictures as they are."
    found = {}
    for folder in sorted(p for p in (ROOT / 'locale').glob('*') if p.is_dir()):
        found[folder.name] = {}
        for path in sources(ROOT / 'nbs'):
            nb, name = translated(read_notebook(path), read_table(folder / f'{path.stem}.po')), path.relative_to(ROOT / 'nbs').with_suffix('').as_posix()
            found[folder.name][name] = title_of(nb)
            (source / folder.name / name).parent.mkdir(parents=True, exist_ok=True)
            (source / folder.name / f'{name}.ipynb').write_text(json.dumps(page_of(nb)), encoding='utf-8')
        shutil.copytree(ROOT / 'nbs' / 'images', source / folder.name / 'images')
    return found


def pictures_of(nb):
    "(suffix, bytes) of the pictures in a notebook's outputs."
    for cell in nb['cells']:
        for output in cell.get('outputs', []):
            for kind, suffix in SUFFIXES.items():
                if kind in output.get('data', {}):
                    content = ''.join(output['data'][kind])
                    yield suffix, content.encode() if suffix == 'svg' else base64.b64decode(content)


def write_gallery(source, titles):
    "All pictures of all chapters on one page, each a link to its chapter."
    folder, lines = source / 'gallery', ['# Gallery', '', 'All pictures of the course; each leads to its chapter.', '']
    folder.mkdir()
    for name, title in titles.items():
        stem = name.replace('/', '_')
        found = list(pictures_of(read_notebook(ROOT / 'nbs' / f'{name}.ipynb')))
        if not found:
            continue
        lines += [f'## {title}', '', '::::{grid} 2 2 3 3', ':gutter: 2', '']
        for i, (suffix, content) in enumerate(found, 1):
            (folder / f'{stem}_{i}.{suffix}').write_bytes(content)
            lines += [':::{grid-item}', f'[![{title}, picture {i}](gallery/{stem}_{i}.{suffix})](nbs/{name}.ipynb)', ':::']
        lines += ['::::', '']
    (source / 'gallery.md').write_text('\n'.join(lines), encoding='utf-8')


def signature_of(thing):
    "Its signature, with long ones on several lines; empty where Python knows none."
    try:
        text = str(inspect.signature(thing))
    except (ValueError, TypeError):
        return ''
    text = re.sub(r'<(?:function|class) \'?([\w.]+)\'?(?: at 0x[0-9a-f]+)?>', r'\1', text).replace('rtsd_nb.', '')
    return text if len(text) < 100 else '(\n    ' + ',\n    '.join(split_arguments(text)) + ')' + text[closing(text) + 1:]


def closing(text):
    "Where the parenthesis that opens `text` is closed."
    depth = 0
    for i, c in enumerate(text):
        depth += (c in '([{') - (c in ')]}')
        if depth == 0:
            return i
    return len(text) - 1


def split_arguments(text):
    "The arguments in '(a, b=(1, 2)) -> c', commas inside brackets left alone."
    inside, parts, depth = text[1:closing(text)], [''], 0
    for c in inside:
        depth += (c in '([{') - (c in ')]}')
        if c == ',' and depth == 0:
            parts.append('')
        else:
            parts[-1] += c
    return [part.strip() for part in parts]


def parameter_table(thing):
    "The comments behind the parameters, as a table; empty where there are none."
    try:
        told = docments(thing, full=False, returns=True)
    except Exception:  # a class without a signature, or made by a library
        return []
    rows = [(name, text) for name, text in told.items() if isinstance(text, str) and text.strip()]
    if not rows:
        return []
    return ['| | |', '|---|---|', *(f'| `{name}` | {" ".join(text.split()).replace("|", chr(92) + "|")} |' for name, text in rows), '']


def entry(name, thing, level=2):
    "The lines about a function, class or value."
    if not (inspect.isroutine(thing) or inspect.isclass(thing)):
        text = repr(thing)
        shown = text if len(text) < 200 and '<' not in text else '...'  # an object without a plain form
        return [f'{"#" * level} {name}', '', '```python', f'{name} = {shown}', '```', '']
    lines = [f'{"#" * level} {name}', '', '```python', f'{name}{signature_of(thing)}', '```', '']
    doc = inspect.getdoc(thing) or ''
    if doc and not doc.startswith(f'{name}('):
        lines += [escaped(doc), '']
    return lines + parameter_table(thing)


def escaped(doc):
    "A docstring as Markdown: what is not code is taken literally."
    parts = re.split(r'(`[^`]*`)', doc)
    return ''.join(p if p.startswith('`') else re.sub(r'([<>*_\[\]{}|$#])', r'\\\1', p) for p in parts)


def methods_of(thing):
    "(name, method) of a class's own public methods with a docstring."
    return [(n, m) for n, m in vars(thing).items() if not n.startswith('_') and inspect.isfunction(m) and m.__doc__]


def write_api(source):
    "A page for each module; returns their names."
    folder, names = source / 'api', []
    folder.mkdir()
    for path in notebooks_of(ROOT):
        match = re.search(r'^#\| default_exp (\w+)$', '\n'.join(c['source'] for c in read_notebook(path)['cells']), re.M)
        if not match or match[1].startswith('_'):
            continue
        module = importlib.import_module(f'rtsd_nb.{match[1]}')
        lines = [f'# rtsd_nb.{match[1]}', '', escaped(module.__doc__ or ''), '', f'Explained in [{path.stem}](../nbs/{path.name}).', '']
        for name in module.__all__:
            thing = getattr(module, name, None)
            if thing is None or name.startswith('_'):
                continue
            lines += entry(name, thing)
            if inspect.isclass(thing):
                for method_name, method in methods_of(thing):
                    lines += entry(f'{name}.{method_name}', method, level=3)
        (folder / f'{match[1]}.md').write_text('\n'.join(lines), encoding='utf-8')
        names.append(match[1])
    return names


def markdown_table(table):
    "A DataFrame as Markdown."
    text = lambda v: '' if v != v else f'{v:.3f}' if isinstance(v, float) else str(v)
    rows = ['| ' + ' | '.join(map(str, table.columns)) + ' |', '|' + '---|' * len(table.columns)]
    return rows + ['| ' + ' | '.join(text(v) for v in row) + ' |' for row in table.itertuples(index=False)] + ['']


def peer_table(folder):
    "Heading, command and rows of one finished `bench_detectors.py`."
    kept = [json.loads(f.read_text(encoding='utf-8')) for f in sorted(folder.glob('*.json'))]
    asked = kept[0]['asked']
    table = pd.DataFrame([k['row'] for k in kept]).reindex(columns=list(SHOWN_METRICS)).rename(columns=SHOWN_METRICS).sort_values('mAP', ascending=False)
    options = f'--data {Path(asked["data"]).name} --minutes {asked["minutes"]:g} --threads {asked["threads"]} --seed {asked["seed"]} --weights {asked["weights"]}'
    return [f'## {PEER_TABLES[folder.name]}', '', f'`python benchmarks/bench_detectors.py {options}`', '', *markdown_table(table)]


def write_results(source):
    "The tables of finished benchmarks, and what each benchmark asks."
    lines = ['# Benchmarks', '', 'The figures of the README with their commands stand on [its page](index.md), what each part of the default is worth on '
             '[a page of its own](docs/methods.md). Here are the rows behind them, and all that can be measured.', '']
    for name in PEER_TABLES:
        lines += peer_table(ROOT / 'benchmarks' / 'results' / name)
    lines += ['## What can be measured', '', '| command | question |', '|---|---|']
    for path in sorted((ROOT / 'benchmarks').glob('*.py')):
        doc = ast.get_docstring(ast.parse(path.read_text(encoding='utf-8'))) or ''
        if f'python benchmarks/{path.name}' in doc or path.name.startswith('bench_'):
            lines.append(f'| `python benchmarks/{path.name}` | {escaped(" ".join(doc.split(chr(10) * 2)[0].split()))} |')
    (source / 'benchmarks.md').write_text('\n'.join(lines) + '\n', encoding='utf-8')


def toctree(caption, pages):
    return ['```{toctree}', ':hidden:', f':caption: {caption}', '', *pages, '```', '']


def write_index(source, titles, modules, editions):
    "The front page: README.md with the table of contents."
    text = re.sub(r'^<!--.*-->\n', '', build_readme(ROOT / 'nbs' / 'index.ipynb'))
    main = [s for s in titles if s[0].isdigit()]
    lines = [text, '', *toctree('Chapters', [f'nbs/{s}' for s in main]), *toctree('Exercises', [f'nbs/{s}' for s in titles if '/' in s]), *toctree('Tools', [f'nbs/{s}' for s in titles if s not in main and '/' not in s]),
             *(line for language, names in editions.items() for line in toctree(LANGUAGES.get(language, language), [f'{language}/{n}' for n in names])),
             *toctree('Look up', ['docs/methods', 'docs/full_size', 'docs/syllabus', 'docs/defects', 'gallery', 'benchmarks', 'CHANGELOG', 'CONTRIBUTING']), *toctree('API', [f'api/{m}' for m in modules])]
    (source / 'index.md').write_text('\n'.join(lines), encoding='utf-8')


def write_source(source):
    "Everything that Sphinx reads."
    shutil.rmtree(source, ignore_errors=True)
    titles = write_notebooks(source)
    write_gallery(source, titles)
    modules = write_api(source)
    write_results(source)
    for name in ('CHANGELOG.md', 'CONTRIBUTING.md', 'LICENSE'):
        shutil.copy(ROOT / name, source)
    shutil.copytree(ROOT / 'docs' / 'images', source / 'docs' / 'images')
    shutil.copytree(ROOT / 'nbs' / 'images', source / 'nbs' / 'images')
    for path in (ROOT / 'docs').glob('*.md'):
        shutil.copy(path, source / 'docs')
    shutil.copy(ROOT / 'docs' / 'conf.py', source)
    write_index(source, titles, modules, write_editions(source))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--out', type=Path, default=ROOT / '_docs', help='(default: %(default)s)')
    out = parser.parse_args().out
    write_source(out / 'source')
    shutil.rmtree(out / 'html', ignore_errors=True)
    subprocess.run([sys.executable, '-m', 'sphinx', '-q', '-W', '--keep-going', '-b', 'html', str(out / 'source'), str(out / 'html')], check=True)
    found = problems(out / 'html')
    for line in found:
        print(line)
    pages = len([p for p in (out / 'html').rglob('*.html') if '_static' not in p.parts])
    print(f'{out / "html"}: {pages} pages, {len(found)} broken links or outside requests')
    sys.exit(bool(found))


if __name__ == '__main__':
    main()
