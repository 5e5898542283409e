"Everything about the package is said once, in settings.ini; this file only hands it on."
from configparser import ConfigParser
from pathlib import Path

from setuptools import find_packages, setup

here = Path(__file__).parent
parser = ConfigParser(delimiters=['='])
parser.read(here/'settings.ini', encoding='utf-8')
cfg = parser['DEFAULT']
name = cfg['lib_name']
extras = {extra: cfg[f'{extra}_requirements'].split() for extra in ('dev', 'offline', 'tensorboard', 'onnx', 'track', 'demo', 'kaggle', 'explore', 'teach', 'browser', 'docs')}

setup(
    name=name,
    version=cfg['version'],
    description=cfg['description'],
    long_description=(here/'README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    author=cfg['author'],
    license='Apache-2.0',
    keywords=cfg['keywords'].split(),
    classifiers=['Development Status :: 3 - Alpha',
                 'Intended Audience :: Developers',
                 'Intended Audience :: Education',
                 'Natural Language :: English',
                 'Programming Language :: Python :: 3.11',
                 'Programming Language :: Python :: 3.12'],
    packages=find_packages(include=[name, name + '.*']),
    include_package_data=True,
    python_requires='>=' + cfg['min_python'],
    install_requires=cfg['requirements'].split(),
    extras_require=extras,
    entry_points={'console_scripts': cfg['console_scripts'].split(),
                  'nbdev': [f'{name}={name}._modidx:d']},
    zip_safe=False)
