"""Run everything that must hold and say how much of it did: `make test`.

First every notebook from top to bottom (nbdev_test), then the tests in this folder, the checks of the
committed notebooks, the library and README.md among them. A failing step does not keep the next from
running. `--fast` leaves out the notebooks and the tests marked slow.
"""
import argparse
import os
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# Two processes with one thread each: with more threads than cores torch waits for itself.
ENV = os.environ | dict(OMP_NUM_THREADS='1', MKL_NUM_THREADS='1', NO_ALBUMENTATIONS_UPDATE='1', TQDM_DISABLE='1',
                        PYTHONUNBUFFERED='1')


def notebooks():
    "Names of the notebooks that nbdev_test has to run"
    return sorted(p.name for p in (ROOT/'nbs').rglob('[!_.]*.ipynb') if '.ipynb_checkpoints' not in p.parts)


def read_report(expected, lines, status):
    """Passed and failed names from what `nbdev_test --do_print` said. It exits with 0 when it finds no notebook
    at all, so a notebook counts as passed only if it is reported as completed."""
    completed = {Path(line[len('- Completed '):]).name for line in lines if line.startswith('- Completed ')}
    named = {line.strip() for line in lines if line.startswith('\t')}
    failed = [n for n in expected if n in named or n not in completed]
    if not expected: failed = ['no notebook was found in nbs/']
    if status and not failed: failed = [f'nbdev_test ended with {status}']
    return [n for n in expected if n not in failed], failed


def run_notebooks():
    "All notebooks, two at a time; passed and failed names"
    command = [Path(sys.executable).with_name('nbdev_test'), '--n_workers', '2', '--do_print', '--timing']
    lines = []
    with subprocess.Popen(command, cwd=ROOT, env=ENV, text=True, encoding='utf-8', errors='replace',
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        for line in process.stdout:
            lines.append(line.rstrip('\n'))
            if not line.startswith('Starting '): print(line, end='', flush=True)
    return read_report(notebooks(), lines, process.returncode)


def render_scenes():
    "The embedded data set, once, so that two notebooks do not both wait for it; passed and failed names"
    code = 'from rtsd_nb.scenes import make_scenes; make_scenes()'
    status = subprocess.run([sys.executable, '-c', code], cwd=ROOT, env=ENV).returncode
    return [], ['rtsd_nb.scenes.make_scenes()'] if status else []


def run_tests(fast):
    "The tests in this folder, in two processes; passed and failed names, and the number of skipped ones"
    with tempfile.TemporaryDirectory() as tmp:
        report = Path(tmp)/'report.xml'
        options = ['-m', 'not slow'] if fast else []
        status = subprocess.run([sys.executable, '-m', 'pytest', '-q', '-rs', '--durations=10', '-n', '2', '--dist', 'worksteal', f'--junitxml={report}', *options, 'tests'],
                                cwd=ROOT, env=ENV).returncode
        cases = list(ET.parse(report).iter('testcase')) if report.exists() else []
    name = lambda case: f'{case.get("classname")}::{case.get("name")}'
    failed = [name(c) for c in cases if c.find('failure') is not None or c.find('error') is not None]
    skipped = sum(c.find('skipped') is not None for c in cases)
    if status and not failed: failed = [f'pytest ended with {status}']
    return [name(c) for c in cases if name(c) not in failed and c.find('skipped') is None], failed, skipped


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--fast', action='store_true', help='no notebooks, no slow tests')
    fast = parser.parse_args().fast
    start, passed, failed = time.time(), [], []
    for step in ([] if fast else [render_scenes, run_notebooks]):
        good, bad = step()
        passed, failed = passed + good, failed + bad
    ran = len(passed)
    good, bad, skipped = run_tests(fast)
    passed, failed = passed + good, failed + bad
    print(f'\n{ran} notebooks and {len(good)} tests passed, {skipped} tests skipped, in {time.time() - start:.0f} s')
    for name in failed: print(f'FAILED {name}')
    print(f'{len(passed)} passed, {len(failed)} failed')
    sys.exit(bool(failed))


if __name__ == '__main__':
    main()
