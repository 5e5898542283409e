"""How long an evaluation takes: ours beside pycocotools and faster-coco-eval on the same detections.

    python benchmarks/bench_evaluation.py [--frames 10000] [--detections 100] [--classes 155] [--signs 2]

Random signs, and detections of which some are near a sign and most are not, in as many frames as a full validation has. Each way runs
in a process of its own, so that its peak memory is its own. From lists of `Detections` and `Frame`s to the mAP; ours gives the tables
by class and by size with it, the others the mAP alone. Memory is what the evaluation adds to the detections themselves.
"""
import argparse
import contextlib
import io
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
import torch  # noqa: E402

from rtsd_nb.boxes import Detections, xyxy_to_xywh  # noqa: E402
from rtsd_nb.data import Frame  # noqa: E402
from rtsd_nb.metrics import IOU_THRESHOLDS, RECALLS, evaluate  # noqa: E402


def random_boxes(rng, n):
    corner, side = rng.uniform((0, 0), (1200, 650), (n, 2)), np.exp(rng.normal(np.log(28), 0.5, (n, 1)))
    return np.hstack([corner, corner + side]).astype(np.float32)


def random_case(frames, detections, classes, signs):
    "Frames with about `signs` signs, and `detections` in each: two near each sign, the others anywhere."
    rng = np.random.default_rng(0)
    truth, found = [], []
    for i in range(frames):
        boxes = random_boxes(rng, rng.poisson(signs))
        labels = rng.integers(0, classes, len(boxes))
        near = np.repeat(boxes, 2, 0) + rng.normal(0, 2, (2 * len(boxes), 4)).astype(np.float32)
        near[:, 2:] = np.maximum(near[:, 2:], near[:, :2] + 1)
        far = random_boxes(rng, max(detections - len(near), 0))
        scores = np.append(rng.beta(5, 2, len(near)), rng.beta(1, 8, len(far))).astype(np.float32)
        truth.append(Frame(f'{i}.jpg', size=(720, 1280), boxes=torch.from_numpy(boxes), labels=torch.from_numpy(labels)))
        found.append(Detections(torch.from_numpy(np.vstack([near, far])[:detections]), torch.from_numpy(scores[:detections]),
                                torch.from_numpy(np.append(np.repeat(labels, 2), rng.integers(0, classes, len(far)))[:detections])))
    return found, truth


def by_ours(found, truth, classes):
    return evaluate(found, truth, tuple(map(str, range(classes)))).map


def coco_map(found, truth, classes, coco_class, evaluator):
    "mAP by the code of COCO, original or rewritten, with as many detections a frame as there are."
    def dataset(items, scored):
        rows = []
        for i, item in enumerate(items):
            for box, label, *score in zip(xyxy_to_xywh(item.boxes).double().tolist(), item.labels.tolist(), *([item.scores.tolist()] if scored else [])):
                rows.append({'id': len(rows) + 1, 'image_id': i, 'category_id': label, 'bbox': box, 'area': box[2] * box[3], 'iscrowd': 0}
                            | ({'score': score[0]} if scored else {}))
        coco = coco_class()
        coco.dataset = {'info': {}, 'images': [{'id': i} for i in range(len(items))], 'annotations': rows,
                        'categories': [{'id': c, 'name': str(c)} for c in range(classes)]}
        coco.createIndex()
        return coco
    with contextlib.redirect_stdout(io.StringIO()):
        run = evaluator(dataset(truth, False), dataset(found, True), 'bbox')
        run.params.iouThrs, run.params.recThrs, run.params.maxDets = np.array(IOU_THRESHOLDS), RECALLS, [300]
        run.params.areaRng, run.params.areaRngLbl = [[0, 1e10]], ['all']
        run.evaluate()
        run.accumulate()
    precision = np.asarray(run.eval['precision'])[..., 0, 0]
    return float(precision[precision > -1].mean())


def by_pycocotools(found, truth, classes):
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval
    return coco_map(found, truth, classes, COCO, COCOeval)


def by_faster_coco_eval(found, truth, classes):
    from faster_coco_eval import COCO, COCOeval_faster
    return coco_map(found, truth, classes, COCO, COCOeval_faster)


WAYS = {'ours': by_ours, 'faster_coco_eval': by_faster_coco_eval, 'pycocotools': by_pycocotools}


def peak_mb():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2 ** 20 if sys.platform == 'darwin' else 2 ** 10)


def run_one(args):
    "The row of one way, in this process."
    found, truth = random_case(args.frames, args.detections, args.classes, args.signs)
    WAYS[args.only](found[:10], truth[:10], args.classes)  # imports
    before, start = peak_mb(), time.perf_counter()
    result = WAYS[args.only](found, truth, args.classes)
    return {'way': args.only, 'map': result, 'seconds': time.perf_counter() - start, 'more_mb': peak_mb() - before}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, usual in (('frames', 10_000), ('detections', 100), ('classes', 155), ('signs', 2)):
        parser.add_argument(f'--{name}', type=int, default=usual)
    parser.add_argument('--only', choices=WAYS)
    args = parser.parse_args()
    if args.only:
        print(json.dumps(run_one(args)))
        return
    given = [f'--{name}={getattr(args, name)}' for name in ('frames', 'detections', 'classes', 'signs')]
    rows = [json.loads(subprocess.run([sys.executable, __file__, *given, f'--only={way}'], check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[-1])
            for way in WAYS]
    table = pd.DataFrame(rows).assign(ratio=lambda t: t.seconds / t.seconds[0])
    print(f'{args.frames} frames, {args.detections} detections each, {args.classes} classes\n{table.round(4).to_string(index=False)}')
    seconds = table.set_index('way').seconds
    print(f'ours_s={seconds["ours"]:.1f} faster_coco_eval_ratio={seconds["faster_coco_eval"] / seconds["ours"]:.2f} '
          f'pycocotools_ratio={seconds["pycocotools"] / seconds["ours"]:.2f} ours_more_mb={table.more_mb[0]:.0f}')


if __name__ == '__main__':
    main()
