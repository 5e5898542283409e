"Pythons for tests that must not see this checkout."
import re
import subprocess
import sys
import sysconfig
from pathlib import Path

# Put into a Python as sitecustomize: no name but this machine's own can be looked up
NO_NAMES = '''import socket
known = socket.getaddrinfo
def getaddrinfo(host, *args, **kwargs):
    if host not in (None, '', '127.0.0.1', '::1', 'localhost', '0.0.0.0', socket.gethostname()):
        raise socket.gaierror(f'no name resolution here: {host}')
    return known(host, *args, **kwargs)
socket.getaddrinfo = getaddrinfo
'''


def clean_python(folder, without=(), names=True):
    "A Python with all that is installed here but rtsd_nb and the distributions in `without`; with `names` False it can look up no name"
    subprocess.run([sys.executable, '-m', 'venv', '--without-pip', folder], check=True)
    here, there = Path(sysconfig.get_path('purelib')), next(folder.glob('lib/python*/site-packages'))
    left_out = re.compile('|'.join(re.escape(n) for n in ('rtsd_nb', 'rtsd-nb', 'sitecustomize', *without)))
    for entry in here.iterdir():
        if not left_out.search(entry.name):
            (there / entry.name).symlink_to(entry)
    if not names:
        (there / 'sitecustomize.py').write_text(NO_NAMES)
    return folder / 'bin' / 'python'
