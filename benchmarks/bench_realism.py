"""How far rendered frames are from real ones: simple statistics side by side, and how well a linear classifier tells them apart.

    python benchmarks/bench_realism.py [--rendered FOLDER ...] [--real FOLDER ...] [--frames N]

Each folder has frames and a gt.csv or full-gt.csv in RTSD's columns. Without --rendered: the embedded data set.
An AUC of 0.5 would mean that nobody could tell rendered from real by these numbers; 1.0 that everybody can.
"""
import argparse
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

DATA = Path(__file__).resolve().parents[2] / 'shared' / 'data'
WIDTH = 1024  # all frames are compared at this width


def frame_statistics(image):
    "Statistics of one frame, uint8 BGR of WIDTH pixels: a dict of name -> number."
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY).astype(np.float32)
    saturation = cv2.cvtColor(image, cv2.COLOR_BGR2HSV)[..., 1] / 255
    third = len(grey) // 3
    sky, middle, road = grey[:third], grey[third:2 * third], grey[2 * third:]
    small = cv2.resize(grey, None, fx=1 / 4, fy=1 / 4, interpolation=cv2.INTER_AREA)
    return {'brightness, upper third': sky.mean(), 'brightness, middle third': middle.mean(), 'brightness, lower third': road.mean(),
            'contrast (deviation of grey)': grey.std(), 'burnt out, upper third': (sky > 245).mean(), 'saturation': saturation.mean(),
            'detail, middle third': gradient(middle), 'detail, lower third': gradient(road), 'coarse detail': gradient(small)}


def gradient(grey):
    return (np.abs(np.diff(grey, axis=0)).mean() + np.abs(np.diff(grey, axis=1)).mean()) / 2


def sign_statistics(image, box):
    "The face beside the ring around it: difference of grey, saturation, detail; `box` is (x, y, width, height) in pixels of the image."
    x, y, w, h = (round(v) for v in box)
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY).astype(np.float32)
    saturation = cv2.cvtColor(image, cv2.COLOR_BGR2HSV)[..., 1] / 255
    around = grey[max(y - h // 2, 0):y + h + h // 2, max(x - w // 2, 0):x + w + w // 2]
    face = grey[y:y + h, x:x + w]
    ring = (around.sum() - face.sum()) / max(around.size - face.size, 1)
    return {'sign: brighter than around': face.mean() - ring, 'sign: saturation': saturation[y:y + h, x:x + w].mean(), 'sign: detail': gradient(face)}


def statistics(folder, most):
    "One row of statistics a frame (those of the signs are means over its signs), and the drive or scene that it belongs to."
    folder = Path(folder)
    table = next((folder / name for name in ('full-gt.csv', 'gt.csv') if (folder / name).exists()), None)
    if table is None:
        raise SystemExit(f'{folder}: neither full-gt.csv nor gt.csv is there')
    boxes = pd.read_csv(table).groupby('filename')
    files = {p.name: p for p in folder.rglob('*.jpg')}
    listed = pd.read_csv(folder / 'frames.csv', index_col='filename') if (folder / 'frames.csv').exists() else None
    rows, groups = [], []
    names = sorted(boxes.groups)
    for name in names[::max(1, len(names) // most)][:most]:
        image = cv2.imread(str(files[name]))
        k = WIDTH / image.shape[1]
        image = cv2.resize(image, (WIDTH, round(image.shape[0] * k)), interpolation=cv2.INTER_AREA)
        signs = [sign_statistics(image, np.array(b) * k) for b in boxes.get_group(name)[['x_from', 'y_from', 'width', 'height']].values]
        rows.append({**frame_statistics(image), **pd.DataFrame(signs).mean().to_dict()})
        groups.append(f'{folder}: {name[:19] if listed is None else listed.loc[name].iloc[-1]}')
    return pd.DataFrame(rows), groups


def auc(real, rendered):
    "Area under the curve of a logistic regression that tells the rendered frames from the real ones, on drives that it has not seen."
    x, groups = pd.concat([real[0], rendered[0]]), real[1] + rendered[1]
    y = np.repeat([0, 1], [len(real[0]), len(rendered[0])])
    model = make_pipeline(StandardScaler(), LogisticRegression(C=.1, class_weight='balanced', max_iter=1000))
    return roc_auc_score(y, cross_val_predict(model, x, y, groups=groups, cv=GroupKFold(5), method='decision_function'))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--rendered', nargs='*', help='folders of rendered frames (default: make_scenes())')
    parser.add_argument('--real', nargs='*', default=[DATA / 'gtsdb_germany', DATA / 'rtsd_frames'], help='folders of real frames; the first is told apart')
    parser.add_argument('--frames', type=int, default=400, help='at most so many frames of each folder (default: %(default)s)')
    args = parser.parse_args()
    missing = [str(f) for f in args.real if not Path(f).is_dir()]
    if missing:
        raise SystemExit(f'no such folder of real frames: {", ".join(missing)}; name some with --real')
    if not args.rendered:
        from rtsd_nb.scenes import make_scenes
        args.rendered = [make_scenes()]
    real, rendered = ([statistics(f, args.frames) for f in folders] for folders in (args.real, args.rendered))
    names = [Path(f).name for f in [*args.real, *args.rendered]]
    print(pd.DataFrame({n: s[0].median() for n, s in zip(names, real + rendered)}).round(2).to_string(), '\n')
    scores = [auc(real[0], r) for r in rendered]
    for folder, score in zip(args.rendered, scores):
        print(f'{Path(folder).name} told from {names[0]}: AUC {score:.3f}')
    print(f'real_frames={len(real[0][0])} rendered_frames={len(rendered[-1][0])} auc={scores[-1]:.3f}')


if __name__ == '__main__':
    main()
