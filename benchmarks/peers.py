"""Detectors that a user might take instead of ours, and ours, behind one function each.

`train(frames, classes, size, minutes, seed, weights) -> Trained`; `size` is the (height, width) of the frames, `weights`
is 'pretrained' (the best start that this machine has) or 'random'. `Trained.predict(frames)` gives boxes in frame pixels.
"""
import math
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path

import cv2
import torch
from timm.layers import freeze_batch_norm_2d
from torch import nn
from torch.utils.data import Dataset
from torchvision.models import MobileNet_V3_Large_Weights
from torchvision.models.detection import FCOS, RetinaNet, ssdlite320_mobilenet_v3_large
from torchvision.ops import FeaturePyramidNetwork, nms
from torchvision.ops.feature_pyramid_network import LastLevelP6P7

from notebook_design import SIDE, SeedDetector, corners, seed_loss, seed_targets
from rtsd_nb.backbone import make_backbone, n_parameters
from rtsd_nb.boxes import Detections
from rtsd_nb.convert import convert
from rtsd_nb.detector import DetectorConfig, build_detector, folded, predict_frames
from rtsd_nb.postprocess import to_frame_pixels
from rtsd_nb.samples import FrameDataset, fit_transform, frame_size_of, make_loader, read_image, to_planes
from rtsd_nb.training import Budget, TrainSettings, detector_config, fit, rate_factor, seed_everything

CANDIDATE_SCORE = 0.01  # what scores less is dropped, as in ours
BACKBONE = DetectorConfig.backbone  # ours; its weights come as a package


@dataclass
class Trained:
    "A detector after its budget; `start` says from which weights it began, `images` how many it was trained on."
    predict: Callable
    parameters: int
    images: int
    seconds: float
    start: str
    predict_native: Callable | None = None  # at the frames' own size, where `predict` takes another


def backbone_weights(weights):
    "What `make_backbone` and `build_detector` call this start."
    return 'auto' if weights == 'pretrained' else None


def start_of(weights):
    "How the table calls a start of our backbone."
    return f'ImageNet ({BACKBONE.split("_")[-1]})' if weights == 'pretrained' else 'random'


# ours


def train_ours(frames, classes, size, minutes, seed, weights):
    "`rtsd-train` as it comes, which chooses its own input size, without validation: the averaged weights at the end count."
    random_start = {} if weights == 'pretrained' else {'trainable_blocks': None}
    settings = TrainSettings(minutes=minutes, seed=seed, **random_start)
    seed_everything(seed)
    detector = build_detector(detector_config(frames, classes), backbone_weights(weights))
    start = time.monotonic()
    history = fit(detector, frames, settings=settings, progress=False)
    seconds = time.monotonic() - start
    predict = partial(predict_frames, folded(detector))
    return Trained(predict, n_parameters(detector), len(history.steps) * settings.batch_size, seconds, start_of(weights),
                   partial(predict, size=size))


# the loop that the peers share


def train_for(minutes, loader, optimizer, loss_of, factor):
    """Steps of `loss_of(images, targets)` until the budget ends: (images seen, seconds).

    `factor(progress, epoch)`: learning rate as a share of the optimiser's own.
    """
    full_rates, budget, images_seen = [g['lr'] for g in optimizer.param_groups], Budget(0, minutes), 0
    parameters = [p for g in optimizer.param_groups for p in g['params']]
    for epoch in count():
        loader.dataset.set_epoch(epoch)
        for images, targets in loader:
            progress = budget.progress(0)
            if progress >= 1:
                return images_seen, time.monotonic() - budget.start
            for group, rate in zip(optimizer.param_groups, full_rates):
                group['lr'] = rate * factor(progress, epoch)
            optimizer.zero_grad(set_to_none=True)
            loss_of(images, targets).backward()
            nn.utils.clip_grad_norm_(parameters, 10.)
            optimizer.step()
            images_seen += len(images)


def trainable(model):
    return [p for p in model.parameters() if p.requires_grad]


# torchvision


def torchvision_loss(model, first_label, images, targets):
    "The sum of the model's own losses; `first_label` is 1 where class 0 is the background."
    answers = [{'boxes': t.boxes, 'labels': t.labels + first_label} for t in targets]
    return sum(model(list(images.float() / 255), answers).values())


@torch.inference_mode()
def torchvision_predict(model, first_label, size, frames):
    "Detections of whole frames, one at a time."
    model.eval()
    found = []
    for image, target in FrameDataset(frames, fit_transform(size)):
        answer = model([image.float() / 255])[0]
        detections = Detections(answer['boxes'], answer['scores'], answer['labels'] - first_label)
        found.append(to_frame_pixels(detections, target.scale, target.frame_size))
    return found


def train_torchvision(model, frames, size, minutes, seed, start, first_label=0, batch=2, rate=5e-4):
    "AdamW, warm-up and cosine over the budget, whole frames without crops and without a horizontal flip."
    loader = make_loader(FrameDataset(frames, fit_transform(size), seed=seed), batch, shuffle=True, seed=seed)
    optimizer = torch.optim.AdamW(trainable(model), lr=rate, weight_decay=0.02)
    model.train()
    images, seconds = train_for(minutes, loader, optimizer, partial(torchvision_loss, model, first_label),
                                lambda progress, _: rate_factor(progress))
    return Trained(partial(torchvision_predict, model, first_label, size), n_parameters(model), images, seconds, start)


class PyramidBackbone(nn.Module):
    """Our backbone's maps of strides 8, 16 and 32 in torchvision's feature pyramid, with its levels 6 and 7.

    Pretrained as torchvision's own builders have it: BatchNorm keeps its statistics (two frames are too few for new ones),
    and the last three blocks learn.
    """
    def __init__(self, weights, out_channels=256):
        super().__init__()
        pretrained = weights == 'pretrained'
        self.body = make_backbone(BACKBONE, backbone_weights(weights), trainable_blocks=3 if pretrained else None)
        if pretrained:
            self.body = freeze_batch_norm_2d(self.body)
        self.out_channels = out_channels
        self.taps = [i for i, stride in enumerate(self.body.strides) if stride >= 8]
        extra = LastLevelP6P7(out_channels, out_channels)
        self.pyramid = FeaturePyramidNetwork([self.body.channels[i] for i in self.taps], out_channels, extra)

    def forward(self, images):
        maps = self.body(images)
        return self.pyramid({str(i): maps[i] for i in self.taps})


def train_pyramid(network, frames, classes, size, minutes, seed, weights):
    "torchvision's `network` (FCOS or RetinaNet) on our backbone at the frames' own size."
    seed_everything(seed)
    backbone = PyramidBackbone(weights)
    model = network(backbone, len(classes), min_size=min(size), max_size=max(size), score_thresh=CANDIDATE_SCORE,
                    detections_per_img=300, image_mean=backbone.body.mean, image_std=backbone.body.std)
    return train_torchvision(model, frames, size, minutes, seed, start_of(weights))


def retinanet(backbone, n_classes, **kwargs):
    "RetinaNet with the anchors of torchvision's own builder: three sizes a level, from 32 px on."
    from torchvision.models.detection.retinanet import _default_anchorgen
    return RetinaNet(backbone, n_classes, anchor_generator=_default_anchorgen(), **kwargs)


def mobilenet_weights(weights):
    "(weights for the builder, start): ImageNet's where asked for and within reach, else random."
    if weights == 'random':
        return None, 'random'
    imagenet = MobileNet_V3_Large_Weights.IMAGENET1K_V1
    try:
        imagenet.get_state_dict(progress=False)
    except OSError:
        return None, 'random (no hub)'
    return imagenet, 'ImageNet'


def train_ssdlite(frames, classes, size, minutes, seed, weights):
    "torchvision's SSDlite320 MobileNetV3; it squashes each frame to 320x320 itself."
    seed_everything(seed)
    known, start = mobilenet_weights(weights)
    model = ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=known, num_classes=len(classes) + 1,
                                          score_thresh=CANDIDATE_SCORE, detections_per_img=300)
    return train_torchvision(model, frames, size, minutes, seed, start, first_label=1, batch=8, rate=1e-3)


# the notebook that the course grew from: what bench_step.py does not need of its design (see notebook_design.py)

class SquashedFrames(Dataset):
    "Whole frames squashed to 640x640 (defect 9), with nothing augmented (35): (image uint8, boxes, labels)."
    def __init__(self, frames):
        self.frames, self.epoch = frames, 0

    def set_epoch(self, epoch):
        self.epoch = epoch

    def __len__(self):
        return len(self.frames)

    def __getitem__(self, i):
        frame = self.frames[i]
        image = cv2.resize(read_image(frame.path), (SIDE, SIDE))
        return to_planes(image), (frame.boxes * squash_factors(frame), frame.labels)


def squash_factors(frame):
    "By what x1, y1, x2, y2 are multiplied."
    height, width = frame_size_of(frame)
    return torch.tensor([SIDE / width, SIDE / height] * 2)


def seed_suppress(boxes, scores):
    "For each class the best 8 above 0.1 (defects 16 and 26), then NMS on boxes shifted and doubled (15), as `Detections`."
    parts = [Detections.empty()]
    for label, own in enumerate(scores.T):
        best = own.topk(8).indices
        best = best[own[best] > 0.1]
        size = boxes[best, 2:] - boxes[best, :2]
        kept = best[nms(torch.cat([boxes[best, :2] - size, boxes[best, :2] + size], 1), own[best], 0.5)]
        parts.append(Detections(boxes[kept], own[kept], torch.full((len(kept),), label)))
    return Detections(*(torch.cat([getattr(p, name) for p in parts]) for name in ('boxes', 'scores', 'labels')))


@torch.inference_mode()
def seed_predict(model, frames):
    "Trained by BCE, read by softmax (defect 13); brought to frame pixels (against 18), or every score would be zero."
    model.eval()
    found = []
    for frame, (image, _) in zip(frames, SquashedFrames(frames)):
        offsets, objectness, logits = (x[0] for x in model(normalised(model, image[None])))
        centres = model.anchors[:, :2] + offsets[:, :2].sigmoid() * model.anchors[:, 2:]
        boxes = corners(torch.cat([centres, offsets[:, 2:].exp() * model.anchors[:, 2:]], 1))
        detections = seed_suppress(boxes, objectness.sigmoid()[:, None] * logits.softmax(1))
        found.append(Detections(detections.boxes / squash_factors(frame), detections.scores, detections.labels))
    return found


def normalised(model, images):
    "uint8 images as the backbone was trained to see them."
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (model.backbone.mean, model.backbone.std))
    return (images.float() / 255 - mean) / std


def seed_batch_loss(model, images, targets):
    "The notebook's loss of a batch."
    return seed_loss(model(normalised(model, images)), [seed_targets(model.anchors, *t, model.n_classes) for t in targets])


def collate_squashed(batch):
    images, targets = zip(*batch)
    return torch.stack(images), targets


def seed_factor(progress, epoch):
    "A cosine of ten epochs that climbs again afterwards (defect 24)."
    return 0.05 + 0.95 * (1 + math.cos(math.pi * epoch / 10)) / 2


def train_seed(frames, classes, size, minutes, seed, weights):
    "The notebook's design on our offline backbone (its EfficientNet-B7 is out of reach without a hub): Adam, 1e-3, two frames a step."
    seed_everything(seed)
    trainable_blocks = 2 if weights == 'pretrained' else None
    model = SeedDetector(len(classes), BACKBONE, backbone_weights(weights), trainable_blocks)
    loader = torch.utils.data.DataLoader(SquashedFrames(frames), 2, shuffle=True, collate_fn=collate_squashed)
    optimizer = torch.optim.Adam(trainable(model), lr=1e-3)
    images, seconds = train_for(minutes, loader, optimizer, partial(seed_batch_loss, model), seed_factor)
    return Trained(partial(seed_predict, model), n_parameters(model), images, seconds, start_of(weights))


# ultralytics (AGPL-3.0: an optional extra of this benchmark, imported nowhere else)


def yolo_predict(model, size, frames):
    "One frame at a time, the longest side as long as in training."
    found = []
    for frame in frames:
        boxes = model.predict(str(frame.path), imgsz=max(size), conf=CANDIDATE_SCORE, max_det=300, device='cpu', verbose=False)[0].boxes
        found.append(Detections(boxes.xyxy.float(), boxes.conf.float(), boxes.cls.long()))
    return found


def import_yolo():
    "(YOLO, its settings untouched in a folder of its own); it uses as many threads as we do."
    os.environ.setdefault('YOLO_CONFIG_DIR', tempfile.gettempdir())
    threads = torch.get_num_threads()
    from ultralytics import YOLO
    from ultralytics.utils import torch_utils
    torch_utils.NUM_THREADS = threads  # otherwise its select_device chooses
    torch.set_num_threads(threads)
    return YOLO


def train_yolo(name, frames, classes, size, minutes, seed, weights):
    "ultralytics' own recipe within the budget, without a horizontal flip; its weights lie on a hub, so it starts from its yaml."
    model, ends, batch = import_yolo()(f'{name}.yaml'), [], 4
    for event in ('on_train_start', 'on_train_batch_end'):
        model.add_callback(event, lambda trainer: ends.append(time.monotonic()))
    with tempfile.TemporaryDirectory() as folder:
        # it validates once at the end, whatever it is told: one frame is enough for that
        convert({'train': frames[:-1], 'valid': frames[-1:]}, classes, Path(folder) / 'data', to='yolo')
        model.train(data=str(Path(folder) / 'data' / 'data.yaml'), time=minutes / 60, imgsz=max(size), batch=batch, seed=seed,
                    device='cpu', fliplr=0., patience=0, workers=0, val=False, plots=False, verbose=False, pretrained=False,
                    project=folder, name='run')
    start = 'random' if weights == 'random' else 'random (no hub)'
    return Trained(partial(yolo_predict, model, size), n_parameters(model.model), batch * (len(ends) - 1), ends[-1] - ends[0], start)


PEERS = {'ours': train_ours, 'seed': train_seed, 'ssdlite': train_ssdlite, 'fcos': partial(train_pyramid, FCOS),
         'retinanet': partial(train_pyramid, retinanet), 'yolo11n': partial(train_yolo, 'yolo11n'),
         'yolo26n': partial(train_yolo, 'yolo26n')}
