"Usual wrong answers to the exercises of e06_detector, each with what its check must say."
WRONG = {
    'scores': [
        ('''def class_scores(class_logits, objectness=None):
    scores = class_logits.softmax(-1)
    return scores if objectness is None else scores * objectness.sigmoid()[..., None]
''', 'this is a softmax over the classes'),
        ('''def class_scores(class_logits, objectness=None): return class_logits.sigmoid()
''', 'the objectness is missing'),
        ('''def class_scores(class_logits, objectness=None):
    return (class_logits if objectness is None else class_logits + objectness[..., None]).sigmoid()
''', 'the logits are added before the sigmoid'),
    ],
    'best-eight': [
        ('''boxes_left = 3
def nms_first(found, limit):
    kept = class_wise_nms(found)
    return kept.select(torch.arange(min(limit, len(kept))))
''', 'NMS can only keep what it is given'),
        ('''boxes_left = 1
nms_first = limit_first
''', 'the limit still comes before NMS: both small signs are gone'),
        ('''boxes_left = 1
def nms_first(found, limit): return class_wise_nms(found)
''', 'the limit is forgotten'),
    ],
    'offset': [
        ('''def class_nms(boxes, scores, labels, iou_threshold): return nms(boxes, scores, iou_threshold)
''', 'this is NMS across all classes'),
        ('''def class_nms(boxes, scores, labels, iou_threshold):
    return nms(boxes + (labels * 1000)[:, None], scores, iou_threshold)
''', 'two classes met after moving by 1,000 px'),
        ('''def class_nms(boxes, scores, labels, iou_threshold):
    return nms(boxes + (torch.arange(len(boxes)) * (boxes.max() + 1))[:, None], scores, iou_threshold)
''', 'nothing was suppressed'),
    ],
    'fade': [
        ('''def linear_decay(iou, iou_threshold=0.5): return 1 - iou
def gaussian_decay(iou, sigma=0.5): return (-iou ** 2 / sigma).exp()
''', 'the threshold is missing'),
        ('''def linear_decay(iou, iou_threshold=0.5): return torch.where(iou > iou_threshold, 1 - iou, torch.ones_like(iou))
def gaussian_decay(iou, sigma=0.5): return (-iou / sigma).exp()
''', 'the square is missing'),
        ('''def linear_decay(iou, iou_threshold=0.5): return torch.where(iou > iou_threshold, 1 - iou, torch.ones_like(iou))
def gaussian_decay(iou, sigma=0.5): return (-iou ** 2 / (2 * sigma ** 2)).exp()
''', 'this divides by 2 sigma^2'),
    ],
    'soft-nms': [
        ('''def soft_nms_scores(boxes, scores, decay, min_score=0.001):
    factors, final = decay(box_iou(boxes, boxes)), scores.clone()
    order = scores.argsort(descending=True)
    for i, best in enumerate(order):
        final[order[i + 1:]] *= factors[best, order[i + 1:]]
    return torch.where(final < min_score, torch.zeros_like(final), final)
''', 'B was taken second by its old score'),
        ('''def soft_nms_scores(boxes, scores, decay, min_score=0.001):
    kept, final = nms(boxes, scores, 0.3), torch.zeros_like(scores)
    final[kept] = scores[kept]
    return final
''', 'this is hard NMS'),
        ('''def soft_nms_scores(boxes, scores, decay, min_score=0.001):
    factors, left, final = decay(box_iou(boxes, boxes)), scores.clone(), torch.zeros_like(scores)
    for _ in range(len(scores)):
        score, best = left.max(0)
        final[best] = score
        left = left * factors[best]
        left[best] = -1
    return final
''', 'B ends under min_score'),
    ],
    'n-tiles': [
        ("n_tiles = 12", 'without a shared pixel'),
        ("n_tiles = 10", 'these are the steps'),
        ("n_tiles = 28", 'the first tile covers 512 px of it already'),
    ],
    'tile-starts': [
        ('''def tile_starts(length, tile, overlap): return list(range(0, length - tile, tile - overlap))
''', 'a strip of 128 px is in no tile'),
        ('''def tile_starts(length, tile, overlap): return list(range(0, length, tile - overlap))
''', 'the last tile hangs over the edge'),
        ('''def tile_starts(length, tile, overlap):
    if length <= tile: return [0]
    n_steps = math.ceil((length - tile) / (tile - overlap))
    return [i * math.ceil((length - tile) / n_steps) for i in range(n_steps)]
''', 'three steps have four ends'),
    ],
    'merge': [
        ('''def merge_once(found, tiles, iou_threshold=0.5):
    moved = [class_wise_nms(Detections(d.boxes + tile[[0, 1, 0, 1]], d.scores, d.labels), iou_threshold) for d, tile in zip(found, tiles)]
    return Detections(*(torch.cat([getattr(d, name) for d in moved]) for name in ('boxes', 'scores', 'labels')))
''', 'the sign counts twice'),
        ('''def merge_once(found, tiles, iou_threshold=0.5):
    scores, labels = torch.cat([d.scores for d in found]), torch.cat([d.labels for d in found])
    return class_wise_nms(Detections(torch.cat([d.boxes for d in found]), scores, labels), iou_threshold)
''', 'still in pixels of their tiles'),
        ('''def merge_once(found, tiles, iou_threshold=0.5):
    scores, labels = torch.cat([d.scores for d in found]), torch.cat([d.labels for d in found])
    boxes = torch.cat([d.boxes + tile for d, tile in zip(found, tiles)])
    return class_wise_nms(Detections(boxes, scores, labels), iou_threshold)
''', 'both move by (x1, y1)'),
    ],
    'frame': [
        ('''def to_frame_pixels(boxes, scale, padding, frame_size):
    return clip_boxes(boxes / scale - torch.tensor([*padding, *padding]), frame_size)
''', 'divided first'),
        ('''def to_frame_pixels(boxes, scale, padding, frame_size): return clip_boxes(boxes / scale, frame_size)
''', 'the padding is still in'),
        ('''def to_frame_pixels(boxes, scale, padding, frame_size):
    return clip_boxes((boxes - torch.tensor([*padding, *padding])) / scale, frame_size[::-1])
''', 'clipped with height and width swapped'),
    ],
    'fold': [
        ('''def fold(weight, bias, mean, var, eps, gamma, beta):
    scale = gamma / var.sqrt()
    return weight * scale[:, None, None, None], ((0 if bias is None else bias) - mean) * scale + beta
''', 'epsilon is missing'),
        ('''def fold(weight, bias, mean, var, eps, gamma, beta):
    scale = gamma / (var + eps).sqrt()
    return weight * scale[:, None, None, None], (0 if bias is None else bias) - mean * scale + beta
''', 'the bias of the convolution goes through the norm too'),
        ('''def fold(weight, bias, mean, var, eps, gamma, beta):
    scale = gamma / (var + eps).sqrt()
    return weight * scale[None, :, None, None], ((0 if bias is None else bias) - mean) * scale + beta
''', 'scale the output channels'),
    ],
    'any-size': [
        ('''class AnySizeDetector(nn.Module):
    def __init__(self, shapes, stride):
        super().__init__()
        self.deltas = nn.Conv2d(3, 4 * len(shapes), 3, stride, padding=1)
        self.register_buffer('anchors', head.level_anchors((8, 8), stride, shapes))

    def forward(self, image):
        return head.decode_boxes(head.flatten_anchors(self.deltas(image), 4)[0], self.anchors)
''', 'the anchors are still saved'),
        ('''class AnySizeDetector(nn.Module):
    def __init__(self, shapes, stride):
        super().__init__()
        self.deltas = nn.Conv2d(3, 4 * len(shapes), 3, stride, padding=1)
        self.register_buffer('anchors', head.level_anchors((8, 8), stride, shapes), persistent=False)

    def forward(self, image):
        return head.decode_boxes(head.flatten_anchors(self.deltas(image), 4)[0], self.anchors)
''', 'the anchors are not saved, but still made for one size'),
        ('''class AnySizeDetector(nn.Module):
    def __init__(self, shapes, stride):
        super().__init__()
        self.deltas = nn.Conv2d(3, 4 * len(shapes), 3, stride, padding=1)
        self.shapes, self.stride = shapes, stride

    def forward(self, image):
        maps = self.deltas(image)
        anchors = head.level_anchors((maps.shape[3], maps.shape[2]), self.stride, self.shapes)
        return head.decode_boxes(head.flatten_anchors(maps, 4)[0], anchors)
''', 'height and width of the map are swapped'),
    ],
}
