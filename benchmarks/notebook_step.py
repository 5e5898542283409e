"""The step of the notebook that the course grew from, imitated for `bench_step.py`: written anew, short, with the same costs.

A network of EfficientNet's form whose last two stages learn, one map at stride 16 with nine shapes a cell, IoU of all
anchors with all signs, a Python loop over the positive anchors, losses that are means over each frame's anchors.
"""
from functools import partial

import torch
import torch.nn.functional as F
import torchvision
from torch import nn
from torchvision.ops import box_iou

from rtsd_nb.boxes import xyxy_to_cxcywh
from rtsd_nb.head import grid_anchors

SIDE, STRIDE = 640, 16
SHAPES = [(side / ratio ** .5, side * ratio ** .5) for side in (32, 64, 128) for ratio in (.5, 1, 2)]


def notebook_anchors():
    "The anchors of a frame at 640x640: (A, 4)."
    return grid_anchors([(SIDE // STRIDE, SIDE // STRIDE)], [STRIDE], [torch.tensor(SHAPES)])


class NotebookBackbone(nn.Sequential):
    "The stages of an EfficientNet of which the last two learn; gives the maps of the last five, deepest first."

    def __init__(self, name):
        stages = getattr(torchvision.models, name)(weights=None).features
        stages[:-2].requires_grad_(False)
        super().__init__(*stages)

    def forward(self, x):
        maps = []
        for stage in self:
            x = stage(x)
            maps.insert(0, x)
        return maps[:5]


def conv_bn(c_in, c_out, convolution=partial(nn.Conv2d, kernel_size=3, padding=1)):
    return nn.Sequential(convolution(c_in, c_out), nn.BatchNorm2d(c_out), nn.SiLU())


class NotebookNeck(nn.Module):
    "Halve the channels, put the next shallower map beside, again and again; doubled in size on the way from stride 32 to 16."

    def __init__(self, channels, c_out=40):
        super().__init__()
        halves = [c // 2 for c in channels[1:]] + [c_out]
        besides = [0, *channels[1:]]
        entering = [channels[0], *halves]
        self.steps = nn.ModuleList(conv_bn(c + beside, half) for c, beside, half in zip(entering, besides, halves))
        self.up = conv_bn(halves[2], halves[2], partial(nn.ConvTranspose2d, kernel_size=3, stride=2, padding=1, output_padding=1))

    def forward(self, maps):
        x = self.steps[0](maps[0])
        for beside, step in zip(maps[1:], self.steps[1:]):
            x = self.up(x) if x.shape[-1] < beside.shape[-1] else x
            x = step(torch.cat([x, beside], 1))
        return x


class NotebookHead(nn.Module):
    "Offsets (B, A, 4), objectness (B, A) and classes (B, A, C); boxes and objectness share two convolutions."

    def __init__(self, n_classes, c=40):
        super().__init__()
        def tower(): return [m for _ in range(2) for m in (nn.Conv2d(c, c, 3, padding=1), nn.SiLU())]
        n = len(SHAPES)
        self.stem, self.shared = nn.Sequential(nn.Conv2d(c, c, 1), nn.SiLU()), nn.Sequential(*tower())
        self.boxes, self.objectness = nn.Conv2d(c, 4 * n, 1), nn.Conv2d(c, n, 1)
        self.classes = nn.Sequential(*tower(), nn.Conv2d(c, n_classes * n, 1))

    def forward(self, x):
        x = self.stem(x)
        shared = self.shared(x)
        maps = self.boxes(shared), self.objectness(shared), self.classes(x)
        offsets, objectness, classes = (m.permute(0, 2, 3, 1).reshape(len(x), -1, m.shape[1] // len(SHAPES)) for m in maps)
        return offsets, objectness[..., 0], classes


class NotebookNet(nn.Module):
    def __init__(self, backbone, n_classes):
        super().__init__()
        self.backbone = NotebookBackbone(backbone)
        with torch.no_grad():
            channels = [m.shape[1] for m in self.backbone.eval()(torch.zeros(1, 3, 64, 64))]
        self.neck, self.head = NotebookNeck(channels), NotebookHead(n_classes)

    def forward(self, images):
        return self.head(self.neck(self.backbone(images)))


def notebook_targets(anchors, boxes, labels, n_classes, positive=0.6, negative=0.3):
    "Offsets, objectness (-1: ignored) and one-hot classes that the anchors of a frame should give; positives one after another."
    offsets, objectness, classes = torch.zeros(len(anchors), 4), torch.zeros(len(anchors)), torch.zeros(len(anchors), n_classes)
    if len(boxes) == 0:
        return offsets, objectness, classes
    iou = box_iou(anchors, boxes)
    best, sign = iou.max(1)
    objectness[(best >= negative) & (best < positive)] = -1
    pairs = [(a, sign[a]) for a in (best >= positive).nonzero()[:, 0]]
    found = {int(g) for _, g in pairs}
    pairs += [(iou[:, g].argmax(), g) for g in range(len(boxes)) if g not in found]
    for a, g in pairs:
        anchor, box = xyxy_to_cxcywh(anchors[a][None])[0], xyxy_to_cxcywh(boxes[g][None])[0]
        offsets[a, :2] = ((box[:2] - anchor[:2]) / anchor[2:]).logit(eps=1e-6)
        offsets[a, 2:] = (box[2:] / anchor[2:]).log()
        objectness[a] = 1
        classes[a, labels[g]] = 1
    return offsets, objectness, classes


def notebook_loss(answers, wanted):
    "Means over the anchors of one frame."
    (offsets, objectness, classes), (true_offsets, true_objectness, true_classes) = answers, wanted
    known, positive = true_objectness >= 0, true_objectness > 0
    loss = F.binary_cross_entropy_with_logits(objectness[known], true_objectness[known])
    if positive.any():
        loss = loss + F.binary_cross_entropy_with_logits(classes[positive], true_classes[positive])
        loss = loss + 5 * F.smooth_l1_loss(offsets[positive], true_offsets[positive])
    return loss
