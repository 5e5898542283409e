"""Is a built site whole? Every link inside it leads somewhere, and no page loads anything from outside.

    python docs/check_site.py _docs/html
"""
import sys
from functools import lru_cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LOADED = {'script': 'src', 'img': 'src', 'iframe': 'src', 'source': 'src', 'link': 'href'}  # what a browser fetches by itself
FETCHED_LINKS = {'stylesheet', 'icon', 'preload', 'preconnect', 'dns-prefetch'}


class Page(HTMLParser):
    "`links`: (tag, target) of all links; `loads`: what is fetched without a click; `anchors`: places that can be linked to."
    def __init__(self, text):
        super().__init__()
        self.links, self.loads, self.anchors = [], [], set()
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        known = dict(attributes)
        self.anchors |= {known[k] for k in ('id', 'name') if known.get(k)}
        if tag == 'a' and known.get('href'):
            self.links.append(known['href'])
        if tag in LOADED and known.get(LOADED[tag]) and (tag != 'link' or FETCHED_LINKS & set((known.get('rel') or '').split())):
            self.loads.append(known[LOADED[tag]])


@lru_cache(maxsize=None)
def read_page(path):
    return Page(path.read_text(encoding='utf-8'))


def outside(target):
    "Whether a target is on another machine."
    return bool(urlsplit(target).netloc)


def broken(page, target, root):
    "What is wrong with a link of `page` into the site, or None."
    parts = urlsplit(target)
    if parts.scheme or parts.netloc:
        return None
    path = (page if not parts.path else root / parts.path.lstrip('/') if parts.path.startswith('/') else page.parent / unquote(parts.path)).resolve()
    path = path / 'index.html' if path.is_dir() else path
    if not path.exists():
        return 'no such file'
    if parts.fragment and path.suffix == '.html' and unquote(parts.fragment) not in read_page(path).anchors:
        return 'no such place on the page'


def problems(root):
    "Sentences about all pages under `root`."
    found = []
    for path in sorted(p for p in root.rglob('*.html') if '_static' not in p.parts):  # templates of the theme lie there
        page, name = read_page(path.resolve()), path.relative_to(root)
        found += [f'{name}: loads {target} from outside' for target in page.loads if outside(target)]
        for target in dict.fromkeys(page.links + page.loads):
            if not outside(target) and (why := broken(path.resolve(), target, root.resolve())):
                found.append(f'{name}: {target}: {why}')
    return found


if __name__ == '__main__':
    found = problems(Path(sys.argv[1]))
    print('\n'.join([*found, f'{len(found)} problems']))
    sys.exit(bool(found))
