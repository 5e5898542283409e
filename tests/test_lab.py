"""Chapters in a real JupyterLab: `make test-browser` starts it, opens them in headless Chromium, runs all cells and looks.

Takes minutes and wants a browser, so `make test` leaves it out: it runs where RTSD_BROWSER is set.
"""
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from browsing import keep_screenshot, open_browser, wait_for

ROOT = Path(__file__).resolve().parents[1]
pytestmark = [pytest.mark.slow, pytest.mark.skipif(not os.environ.get('RTSD_BROWSER'), reason='make test-browser runs this')]
CHAPTERS = ('00_tour', '01_boxes', '02a_split', '05a_postprocess', '07_assignment', '10_metrics')
# What a person would see of a notebook: number of code cells still to run or running, pictures, tracebacks, and text of errors
LOOK = '''
const panel = document.querySelector('.jp-NotebookPanel:not(.lm-mod-hidden)'), all = s => [...panel.querySelectorAll(s)];
const model = window.jupyterapp?.shell.currentWidget?.content?.model?.cells;
let errors = [], pictures = 0, code = 0;
for (let i = 0; model && i < model.length; i++) {
  const cell = model.get(i);
  if (cell.type !== 'code') continue;
  code++;
  for (let k = 0; k < cell.outputs.length; k++) {
    const out = cell.outputs.get(k).toJSON();
    if (out.output_type === 'error') errors.push(i + ': ' + out.ename + ': ' + out.evalue);
    if (out.data && (out.data['image/png'] || out.data['image/jpeg'])) pictures++;
  }
}
const light = panel && panel.querySelector('.jp-Notebook-ExecutionIndicator');
return {status: light && light.dataset.status, errors, pictures, code};
'''


@pytest.fixture(scope='module')
def lab(tmp_path_factory):
    "Address of a JupyterLab that serves a copy of the notebooks"
    folder = tmp_path_factory.mktemp('lab')
    shutil.copytree(ROOT / 'nbs', folder / 'nbs', ignore=shutil.ignore_patterns('runs', '.*'))
    for name in ('settings.ini', 'pyproject.toml', 'README.md'):
        shutil.copy(ROOT / name, folder)
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        port = s.getsockname()[1]
    env = {k: v for k, v in os.environ.items() if k != 'MPLBACKEND'} | {'PYTHONPATH': str(ROOT), 'JUPYTER_CONFIG_DIR': str(folder / 'config'), 'JUPYTER_DATA_DIR': str(folder / 'data'),
                        'JUPYTERLAB_SETTINGS_DIR': str(folder / 'settings'), 'JUPYTERLAB_WORKSPACES_DIR': str(folder / 'workspaces'), 'IPYTHONDIR': str(folder / 'ipython')}
    command = [sys.executable, '-m', 'jupyterlab', '--no-browser', '--ip=127.0.0.1', f'--port={port}', '--IdentityProvider.token=',
               f'--ServerApp.root_dir={folder}', '--allow-root', '--expose-app-in-browser', '--LabApp.news_url=', '--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate']
    with open(folder / 'log.txt', 'w') as log, subprocess.Popen(command, env=env, stdout=log, stderr=log, cwd=folder) as process:
        def answers():
            try: return urllib.request.urlopen(f'http://127.0.0.1:{port}/api', timeout=5).status == 200
            except OSError: return False
        wait_for(answers, 60, f'JupyterLab did not start: see {folder}/log.txt')
        yield f'http://127.0.0.1:{port}'
        process.terminate()


@pytest.fixture
def page():
    driver = open_browser('1400,1100')
    yield driver
    driver.quit()


def run_all(driver, lab, chapter, seconds=600):
    "Open a chapter, run all its cells, and what is to be seen when the kernel has come to rest"
    driver.get(f'{lab}/lab/tree/nbs/{chapter}.ipynb?reset')
    wait_for(lambda: driver.execute_script("return !!document.querySelector('.jp-NotebookPanel .jp-CodeCell')"), 90, f'{chapter} did not open')
    wait_for(lambda: (driver.execute_script(LOOK) or {}).get('status') == 'idle', 90, f'{chapter}: no kernel')
    driver.execute_script("window.jupyterapp.commands.execute('notebook:restart-run-all')")  # a promise that waits for the dialog
    wait_for(lambda: accept_restart(driver), 30, f'{chapter}: nobody asked whether to restart')
    wait_for(lambda: driver.execute_script(LOOK)['status'] == 'busy', 60, f'{chapter} did not begin to run')
    done = "const m = window.jupyterapp.shell.currentWidget.content.model.cells, c = []; for (let i = 0; i < m.length; i++) if (m.get(i).type === 'code' && m.get(i).sharedModel.source.trim()) c.push(m.get(i).executionCount); return c.every(x => x) && c.length"
    def rests():
        seen = driver.execute_script(LOOK)
        return seen['status'] == 'idle' and (seen['errors'] or driver.execute_script(done))
    wait_for(rests, seconds, f'{chapter} did not come to its end')
    time.sleep(1)
    return driver.execute_script(LOOK)


def accept_restart(driver):
    "The dialog that asks whether the kernel shall be started anew"
    return driver.execute_script("const b = document.querySelector('.jp-Dialog .jp-mod-accept'); if (b) b.click(); return !!b")


@pytest.mark.parametrize('chapter', CHAPTERS)
def test_a_chapter_runs_and_shows_its_pictures(lab, page, chapter):
    seen = run_all(page, lab, chapter)
    keep_screenshot(page, f'lab_{chapter}')
    assert seen['errors'] == [] and seen['pictures'] >= 1 and seen['code'] > 5, seen


def sentences(driver):
    return driver.execute_script("return [...document.querySelectorAll('b.explorer')].map(e => e.textContent)")


def move(driver, slider, keys):
    "Press an arrow on the handle of the `slider`-th slider"
    from selenium.webdriver.common.by import By
    handle = driver.find_elements(By.CSS_SELECTOR, '.widget-slider .noUi-handle')[slider]
    driver.execute_script('arguments[0].scrollIntoView({block: "center"})', handle)
    for key in keys:
        handle.send_keys(key)


def test_the_explorers_follow_sliders_and_mouse(lab, page):
    pytest.importorskip('ipympl')
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys
    page.set_window_size(1400, 8000)  # all of the notebook at once: JupyterLab draws only what is in view
    seen = run_all(page, lab, 'a_explore')
    assert seen['errors'] == [], seen
    first = wait_for(lambda: s if len(s := sentences(page)) == 3 else None, 60, 'three explorers were expected')
    assert first[0].startswith('IoU with the sign 1.00') and first[2].startswith('0. centres')

    move(page, 0, [Keys.ARROW_RIGHT] * 8)                                    # x of the box, 8 pixels
    moved = wait_for(lambda: s if (s := sentences(page)[0]) != first[0] else None)
    wait_for(lambda: sentences(page)[0].startswith('IoU with the sign 0.60'), 30, f'8 of 32 pixels aside: 0.60, not {moved}')

    move(page, 4, [Keys.PAGE_UP] * 5)                                        # the score threshold
    wait_for(lambda: sentences(page)[1] != first[1])
    move(page, 6, [Keys.ARROW_RIGHT] * 5)                                    # the steps of the assignment
    wait_for(lambda: sentences(page)[2].startswith('5. positives'))

    before = sentences(page)[0]
    canvas = page.find_elements(By.CSS_SELECTOR, '.jupyter-matplotlib-canvas-div canvas')[0]
    page.execute_script('arguments[0].scrollIntoView({block: "center"})', canvas)
    ActionChains(page).move_to_element(canvas).click_and_hold().move_by_offset(-40, 0).move_by_offset(-40, 30).release().perform()
    wait_for(lambda: sentences(page)[0] != before, 30, 'the mouse moves the box')
    keep_screenshot(page, 'lab_explorers')
    assert re.match(r'IoU with the sign 0\.\d\d; \d+ of 256 anchors', sentences(page)[0])
