"""The design of the notebook that the course grew from, with its defects (their numbers are the course's), written anew.

`bench_step.py` takes its step apart, `bench_detectors.py` trains it. Images are whole frames squashed to 640x640.
"""
import torch
from torch import nn
from torch.nn import functional as F

from rtsd_nb.backbone import freeze, make_backbone
from rtsd_nb.boxes import box_iou
from rtsd_nb.neck import UNeck

SIDE, STRIDE, KINDS = 640, 16, 9


def corner_anchors():
    "Sizes 32, 64, 128 in three ratios on the corners of the cells (defects 4 and 5), centre and size: (A, 4)."
    kinds = torch.tensor([(s / r ** .5, s * r ** .5) for r in (.5, 1., 2.) for s in (32., 64., 128.)])
    y, x = torch.meshgrid(*[STRIDE * torch.arange(SIDE // STRIDE)] * 2, indexing='ij')
    centres = torch.stack([x, y], -1).reshape(-1, 1, 2).expand(-1, KINDS, 2)
    return torch.cat([centres, kinds.expand(len(centres), -1, -1)], -1).reshape(-1, 4)


def corners(boxes):
    "Centre and size -> xyxy."
    return torch.cat([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2], 1)


def branch(channels, n_out):
    "Two convolutions and the output's; no prior bias (defect 23)."
    steps = [layer for _ in range(2) for layer in (nn.Conv2d(channels, channels, 3, padding=1), nn.SiLU())]
    return nn.Sequential(*steps, nn.Conv2d(channels, n_out, 1))


class SeedHead(nn.Module):
    "Offsets (B, A, 4), objectness (B, A) and class logits (B, A, C) of a list of one map."
    def __init__(self, channels, n_classes):
        super().__init__()
        self.what, self.where = branch(channels, KINDS * n_classes), branch(channels, KINDS * 5)
        self.n_classes = n_classes

    def forward(self, maps):
        where, what = (b(maps[0]).permute(0, 2, 3, 1) for b in (self.where, self.what))
        where = where.reshape(len(maps[0]), -1, 5)
        return where[..., :4], where[..., 4], what.reshape(len(maps[0]), -1, self.n_classes)


class SeedDetector(nn.Module):
    """A U-shaped neck up to stride 16, 40 channels, nine anchors a cell; takes normalised images (B, 3, 640, 640).

    `weights` as in `make_backbone`; `trainable_blocks`: last blocks of the backbone that learn, None: all.
    """
    def __init__(self, n_classes, backbone, weights, trainable_blocks=2):
        super().__init__()
        self.backbone = make_backbone(backbone, weights)
        if trainable_blocks is not None:
            freeze(self.backbone, trainable_blocks).trainable_blocks = None  # no gradients, but BatchNorm goes on drifting (defect 12)
        self.neck = UNeck(self.backbone.channels, self.backbone.strides, channels=40, strides=(STRIDE,))
        self.head, self.anchors = SeedHead(40, n_classes), corner_anchors()
        self.n_classes = n_classes

    def forward(self, images):
        return self.head(self.neck(self.backbone(images)))


def seed_targets(anchors, boxes, labels, n_classes):
    "Offsets (A, 4) behind a clamped logit (defects 1 and 3), objectness (A,) with -1 for 'do not ask', classes (A, C)."
    offsets, objectness, classes = torch.zeros(len(anchors), 4), torch.zeros(len(anchors)), torch.zeros(len(anchors), n_classes)
    if not len(boxes):
        return offsets, objectness, classes
    iou = box_iou(corners(anchors), boxes)
    best, sign = iou.max(1)
    objectness[(best >= 0.4) & (best < 0.5)] = -1
    positive = best >= 0.5
    for i in range(len(boxes)):  # a sign without an anchor takes the nearest, whoever had it (defect 6)
        if not (positive & (sign == i)).any():
            nearest = iou[:, i].argmax()
            positive[nearest], sign[nearest] = True, i
    centres, sizes = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
    shift = (centres[sign] - anchors[:, :2]) / anchors[:, 2:]
    offsets[positive] = torch.cat([shift.logit(1e-6), (sizes[sign] / anchors[:, 2:]).log()], 1)[positive]
    objectness[positive] = 1
    classes[positive, labels[sign[positive]]] = 1
    return offsets, objectness, classes


def seed_loss(answers, wanted):
    "Plain means of Smooth L1 and BCE with equal weights (defect 23); `wanted`: the `seed_targets` of each frame."
    offsets, objectness, logits = answers
    wanted = [torch.stack(parts) for parts in zip(*wanted)]
    asked, positive = wanted[1] != -1, wanted[1] == 1
    loss = F.binary_cross_entropy_with_logits(objectness[asked], wanted[1][asked])
    if positive.any():
        loss = loss + F.smooth_l1_loss(offsets[positive], wanted[0][positive])
        loss = loss + F.binary_cross_entropy_with_logits(logits[positive], wanted[2][positive])
    return loss
