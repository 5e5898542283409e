"""The benchmarks that train: their parts, and one of them as it is run, on a few small frames."""
import json
import math
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import pandas as pd
import pytest
import torch

from folders import folder_of
from rtsd_nb.data import Frame
from rtsd_nb.detector import build_detector
from rtsd_nb.samples import Target
from rtsd_nb.study import Variant, describe_run, variant_config
from rtsd_nb.training import TrainSettings

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / 'benchmarks'))

import bench_ablation  # noqa: E402
import bench_detectors  # noqa: E402

VARIANTS = [v for part in bench_ablation.PARTS.values() for v in part]
VARIANT_NAMES = [v.name for v in VARIANTS]
CLASSES = tuple('abcdefghi')  # enough for objectness
BOXES = torch.tensor([[10., 10, 34, 34], [60, 20, 80, 41], [100, 60, 110, 75]])


@pytest.mark.parametrize('variant', VARIANTS, ids=lambda v: v.name)
def test_each_variant_of_the_ablation_can_be_built_and_learns_from_a_sign(variant):
    boxes = torch.tensor([[0., 0, side, side + side % 3] for side in range(12, 60)])
    frames = [Frame('a.jpg', size=(128, 160), boxes=boxes, labels=torch.zeros(len(boxes), dtype=torch.int64))]
    detector = build_detector(variant_config(variant, frames, CLASSES), weights=None).train()
    outputs = detector(torch.randint(0, 256, (1, 3, 128, 160), dtype=torch.uint8))
    losses = variant.loss(outputs, [Target(BOXES, torch.tensor([0, 1, 0]), torch.zeros(0, 4), 1., (128, 160), 'a.jpg')])
    losses.total.backward()
    assert losses.positives > 0 and math.isfinite(losses.total.item())
    assert all(p.grad is not None for p in detector.head.parameters() if p.requires_grad)


def test_each_variant_of_the_ablation_is_another_than_the_default():
    plain = Variant('default')
    frames = [Frame('a.jpg', size=(128, 160), boxes=torch.tensor([[0., 0, side, side + side % 3] for side in range(12, 60)]),
                    labels=torch.zeros(48, dtype=torch.int64))]
    runs = [describe_run(v, frames, frames, CLASSES, TrainSettings(), 0) for v in (plain, *VARIANTS)]
    same = [v.name for v, run in zip(VARIANTS, runs[1:]) if run == runs[0]]
    assert not same, f'{same} change nothing'


def row(variant, seed, score, **more):
    run = {'valid': 'v', 'config': {'classes': ['a']}}
    return {'variant': variant, 'seed': seed, 'map': score, 'map_50': score, 'parameters': 1, 'steps': 1, 'frames': 8, 'run': run} | more


def test_the_table_of_the_ablation_compares_equal_seeds():
    other = {name: {'map': 0.5, 'map_50': 0.6} for name in bench_ablation.SUPPRESSION}
    rows = [row('default', 0, 0.4, suppression=other), row('default', 1, 0.6, suppression=other), row('FPN', 0, 0.5), row('FPN', 1, 0.9)]
    table = bench_ablation.table_of(rows + bench_ablation.by_suppression(rows))
    assert table.loc['FPN', 'part'] == 'neck' and table.loc['FPN', 'seeds'] == 2
    assert table.loc['FPN', 'map_gain'] == pytest.approx(0.2)          # (0.1 + 0.3) / 2
    assert table.loc['FPN', 'noise'] == pytest.approx(0.1)             # their deviation, 0.1414, over the root of two
    assert table.loc['class-agnostic NMS', 'map_50'] == pytest.approx(0.6) and table.loc['default', 'map_gain'] == 0


def test_the_picture_of_the_ablation_has_a_point_a_variant_part_by_part(tmp_path):
    rows = [row(name, seed, score + seed / 100) for name, score in (('BCE', 0.3), ('FPN', 0.2), ('default', 0.4)) for seed in (0, 1)]
    table = bench_ablation.in_order(bench_ablation.table_of(rows))
    assert table.index.tolist() == ['default', 'FPN', 'BCE']
    bench_ablation.plot(table, tmp_path / 'a.png')
    assert (tmp_path / 'a.png').stat().st_size > 5000


def test_the_page_on_methods_shows_the_committed_runs():
    kept = [json.loads(f.read_text(encoding='utf-8')) for f in sorted((ROOT / 'benchmarks' / 'results' / 'ablation').glob('*.json'))]
    rows = sorted(kept, key=lambda r: r['variant'] != 'default')
    table = bench_ablation.in_order(bench_ablation.table_of(rows + bench_ablation.by_suppression(rows)))
    page = (ROOT / 'docs' / 'methods.md').read_text(encoding='utf-8')
    shown = {cells[1]: cells for cells in ([c.strip() for c in line.strip('|').split('|')] for line in page.splitlines() if line.startswith('|'))}
    assert len(shown) == len(table) + 2  # the heads
    assert set(VARIANT_NAMES) <= set(table.index), 'a variant without a run'
    for name, row in table.iterrows():
        figures = [row.seeds, *(f'{row[c]:.3f}' for c in ('map', 'map_50')), *(f'{row[c]:+.3f}' for c in ('map_gain', 'map_50_gain')), f'{row.noise:.3f}']
        assert shown[name][2:] == [str(f) for f in figures], name


def test_names_of_the_ablation_are_told_apart():
    names = VARIANT_NAMES + list(bench_ablation.SUPPRESSION)
    assert len(set(names)) == len(names) and 'default' not in names


def test_the_last_line_compares_with_the_best_peer_of_the_same_start():
    rows = [('ours', 'pretrained', 0.6), ('fcos', 'pretrained', 0.3), ('seed', 'pretrained', 0.), ('ours', 'random', 0.2), ('fcos', 'random', math.nan)]
    table = pd.DataFrame([{'name': n, 'weights': w, 'map': m, 'map_50': m} for n, w, m in rows])
    line = dict(pair.split('=') for pair in bench_detectors.last_line(table, 'pretrained').split())
    assert (line['best_peer'], line['ratio'], line['ratio_random']) == ('fcos', '2.00', 'NaN')


def test_a_kept_row_is_read_only_for_the_same_request(tmp_path):
    args = Namespace(data='x', minutes=1., threads=2, seed=0)
    file = tmp_path / 'row.json'
    file.write_text('{"asked": %s, "row": {"map": 0.5}}' % str(bench_detectors.asked(args, 'ours', 'random')).replace("'", '"'))
    assert bench_detectors.kept_row(file, bench_detectors.asked(args, 'ours', 'random')) == {'map': 0.5}
    args.minutes = 2.
    assert bench_detectors.kept_row(file, bench_detectors.asked(args, 'ours', 'random')) is None


def test_two_detectors_train_and_are_scored_alike(tmp_path):
    names = [f'autosave0{i}_01_2013_10_00_00_0.jpg' for i in range(1, 9)]
    rows = [f'{name},{10 + 4 * i},20,30,30,{("2_1", "5_19_1")[i % 2]},{i}' for i, name in enumerate(names)]
    data = folder_of(tmp_path / 'data', rows, frames=names, size=(96, 160))
    command = [sys.executable, 'benchmarks/bench_detectors.py', f'--data={data}', '--minutes=0.02', '--detectors=ours,ssdlite',
               '--weights=random', '--threads=1', f'--out={tmp_path / "out"}']
    out = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert out.returncode == 0, out.stdout + out.stderr
    table = pd.read_csv(tmp_path / 'out' / 'results.csv')
    assert table.name.tolist() == ['ours', 'ssdlite'] and table['map'].notna().all() and (table.latency_ms > 0).all(), out.stdout + out.stderr
    assert (table.train_seconds > 0).all() and (tmp_path / 'out' / 'results.png').stat().st_size > 1000
    assert out.stdout.splitlines()[-1].startswith('ours_map=')
