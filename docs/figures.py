"""Take all pictures of the chapters out of the executed notebooks, for slides: `make figures`.

One file a picture, named after its chapter and place, and index.html, which shows them with their chapter's title.
"""
import argparse
import html
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / 'docs')]

from build import pictures_of, title_of  # noqa: E402

from rtsd_nb.course import notebooks_of, read_notebook  # noqa: E402


def write_figures(out):
    "All pictures into the folder `out`; returns how many there are."
    out.mkdir(parents=True, exist_ok=True)
    rows = []
    for path in notebooks_of(ROOT):
        nb = read_notebook(path)
        for i, (suffix, content) in enumerate(pictures_of(nb), 1):
            name = f'{path.stem}_{i:02d}.{suffix}'
            (out / name).write_bytes(content)
            rows.append(f'<figure><img src="{name}" loading="lazy"><figcaption>{html.escape(title_of(nb))}, <code>{name}</code></figcaption></figure>')
    style = '<style>body{font-family:sans-serif;margin:2em}figure{margin:0 0 2em}img{max-width:100%}</style>'
    (out / 'index.html').write_text(f'<!DOCTYPE html><meta charset="utf-8"><title>Figures</title>{style}{"".join(rows)}', encoding='utf-8')
    return len(rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--out', type=Path, default=ROOT / '_docs' / 'figures', help='(default: %(default)s)')
    out = parser.parse_args().out
    print(f'{write_figures(out)} pictures in {out}')


if __name__ == '__main__':
    main()
