"Typical wrong answers to the exercises of e01_boxes, and what their checks have to say."

WRONG = {
    'corners': [
        ("""def cxcywh_to_xyxy(boxes_cxcywh):
    cx, cy, w, h = boxes_cxcywh.unbind(-1)
    return torch.stack([cx - w, cy - h, cx + w, cy + h], -1)
""", 'the halves are missing'),
        ("""def cxcywh_to_xyxy(boxes_cxcywh):
    x, y, w, h = boxes_cxcywh.unbind(-1)
    return torch.stack([x, y, x + w, y + h], -1)
""", 'as if the boxes were xywh'),
        ("""def cxcywh_to_xyxy(boxes_cxcywh):
    cx, cy, h, w = boxes_cxcywh.unbind(-1)
    return torch.stack([cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2], -1)
""", 'width and height are swapped'),
    ],
    'iou': [
        ("""def paired_iou(a, b):
    intersection = (torch.minimum(a[:, 2:], b[:, 2:]) - torch.maximum(a[:, :2], b[:, :2])).clamp(min=0).prod(-1)
    return intersection / (box_area(a) + box_area(b)).clamp(min=1e-9)
""", 'counts the shared area twice'),
        ("""def paired_iou(a, b):
    intersection = (torch.minimum(a[:, 2:], b[:, 2:]) - torch.maximum(a[:, :2], b[:, :2])).prod(-1)
    return intersection / (box_area(a) + box_area(b) - intersection).clamp(min=1e-9)
""", 'two negative sides'),
        ("""def paired_iou(a, b):
    return box_iou(a, b)
""", 'all pairs'),
        ("""def paired_iou(a, b):
    intersection = (torch.minimum(a[:, 2:], b[:, 2:]) - torch.maximum(a[:, :2], b[:, :2])).clamp(min=0).prod(-1)
    return intersection / (box_area(a) + box_area(b) - intersection)
""", 'NaN'),
    ],
    'quarter': [
        ('predicted_iou = 0.6', 'to the right alone'),
        ('predicted_iou = 0.5625', 'IoU divides by the union'),
    ],
    'shift': [
        ("""def allowed_shift(side, threshold=0.5):
    return side * (1 - 2 * threshold / (1 + threshold))
""", 'one direction only'),
        ("""def allowed_shift(side, threshold=0.5):
    return side * (1 - threshold ** 0.5)
""", 'the union has grown'),
        ("""def allowed_shift(side, threshold=0.5):
    return side * (1 - (2 / 3) ** 0.5)
""", 'the threshold is not used'),
    ],
    'visible': [
        ("""def visible_boxes(boxes, size, least=1.):
    clipped = boxes.clamp(min=0).minimum(torch.tensor([*size, *size]))
    return clipped, (clipped[:, 2:] - clipped[:, :2] >= least).all(1)
""", 'width and height are swapped'),
        ("""def visible_boxes(boxes, size, least=1.):
    height, width = size
    clipped = boxes.clamp(min=0).minimum(torch.tensor([width, height, width, height]))
    return clipped, (clipped[:, 2:] - clipped[:, :2] >= least).any(1)
""", 'both have to be'),
        ("""def visible_boxes(boxes, size, least=1.):
    height, width = size
    clipped = boxes.clamp(min=0).minimum(torch.tensor([width, height, width, height]))
    return clipped, box_area(clipped) >= least
""", 'looks like the area'),
        ("""def visible_boxes(boxes, size, least=1.):
    height, width = size
    clipped = boxes.clamp(min=0).minimum(torch.tensor([width, height, width, height]))
    return clipped, (boxes[:, 2:] - boxes[:, :2] >= least).all(1)
""", 'before clipping'),
    ],
    'giou': [
        ("""def giou(a, b):
    return box_iou(a, b)
""", 'this is IoU, not GIoU'),
        ("""def giou(a, b):
    union = box_area(a)[:, None] + box_area(b)[None] - box_intersection(a, b)
    sides = torch.maximum(a[:, None, 2:], b[None, :, 2:]) - torch.minimum(a[:, None, :2], b[None, :, :2])
    return box_iou(a, b) - (sides.prod(-1) - union) / union
""", 'not by |C|'),
        ("""def giou(a, b):
    return 1 - torchvision.ops.generalized_box_iou(a, b)
""", 'this is the loss'),
    ],
    'row': [
        ('predicted_left = 1', 'only 6/14'),
        ('predicted_left = 6', 'the game goes on'),
    ],
    'nms': [
        ("""def matrix_nms(boxes, scores, iou_threshold):
    order = scores.argsort(descending=True, stable=True)
    iou = box_iou(boxes[order], boxes[order])
    alive = torch.ones(len(boxes), dtype=torch.bool)
    for i in range(len(boxes)):
        alive[i + 1:] &= iou[i, i + 1:] <= iou_threshold
    return order[alive]
""", 'a removed box removes nobody'),
        ("""def matrix_nms(boxes, scores, iou_threshold):
    order = scores.argsort(descending=True, stable=True)
    iou = box_iou(boxes[order], boxes[order])
    alive = torch.ones(len(boxes), dtype=torch.bool)
    for i in range(len(boxes)):
        if alive[i]: alive &= iou[i] <= iou_threshold
    return order[alive]
""", 'overlaps itself by 1'),
        ("""def matrix_nms(boxes, scores, iou_threshold):
    order = scores.argsort(descending=True, stable=True)
    iou = box_iou(boxes[order], boxes[order])
    alive = torch.ones(len(boxes), dtype=torch.bool)
    for i in range(len(boxes)):
        if alive[i]: alive[i + 1:] &= iou[i, i + 1:] < iou_threshold
    return order[alive]
""", 'equal to the threshold'),
    ],
    'by-class': [
        ("""def nms_by_class(boxes, scores, labels, iou_threshold):
    return torchvision.ops.nms(boxes, scores, iou_threshold)
""", 'different classes still remove each other'),
        ("""def nms_by_class(boxes, scores, labels, iou_threshold):
    return torchvision.ops.nms(boxes + labels[:, None], scores, iou_threshold)
""", 'different classes still remove each other'),
        ("""def nms_by_class(boxes, scores, labels, iou_threshold):
    return torchvision.ops.nms(boxes + labels[:, None] * 1e6, scores, iou_threshold)
""", 'no single pixels left'),
    ],
    'fuse': [
        ("""def fuse(boxes, scores):
    return boxes.mean(0), scores.mean()
""", 'the plain mean'),
        ("""def fuse(boxes, scores):
    return (scores[:, None] * boxes).mean(0), scores.mean()
""", 'not by the number of boxes'),
        ("""def fuse(boxes, scores):
    return (scores[:, None] * boxes).sum(0) / scores.sum(), scores.max()
""", 'this is the best score'),
    ],
    'wbf': [
        ("""def weighted_boxes_fusion(boxes, scores, iou_threshold=0.55):
    clusters = []
    for i in scores.argsort(descending=True, stable=True).tolist():
        overlaps = [box_iou(boxes[i][None], boxes[c[0]][None]).item() for c in clusters]
        if clusters and max(overlaps) > iou_threshold: clusters[overlaps.index(max(overlaps))].append(i)
        else: clusters.append([i])
    answers = sorted((fuse(boxes[c], scores[c]) for c in clusters), key=lambda answer: -float(answer[1]))
    return torch.stack([box for box, _ in answers]), torch.stack([score for _, score in answers])
""", 'compared with the first one'),
        ("""def weighted_boxes_fusion(boxes, scores, iou_threshold=0.55):
    clusters = []
    for i in scores.argsort(descending=True, stable=True).tolist():
        overlaps = [box_iou(boxes[i][None], boxes[c]).max().item() for c in clusters]
        if clusters and max(overlaps) > iou_threshold: clusters[overlaps.index(max(overlaps))].append(i)
        else: clusters.append([i])
    answers = sorted((fuse(boxes[c], scores[c]) for c in clusters), key=lambda answer: -float(answer[1]))
    return torch.stack([box for box, _ in answers]), torch.stack([score for _, score in answers])
""", 'each member of the cluster'),
        ("""def weighted_boxes_fusion(boxes, scores, iou_threshold=0.55):
    clusters = []
    for i in scores.argsort(descending=True, stable=True).tolist():
        for c in clusters:
            if box_iou(boxes[i][None], fuse(boxes[c], scores[c])[0][None]).item() > iou_threshold:
                c.append(i)
                break
        else: clusters.append([i])
    answers = sorted((fuse(boxes[c], scores[c]) for c in clusters), key=lambda answer: -float(answer[1]))
    return torch.stack([box for box, _ in answers]), torch.stack([score for _, score in answers])
""", 'the first cluster that is near enough'),
    ],
}
