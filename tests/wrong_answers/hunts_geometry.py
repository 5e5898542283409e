"""Wrong answers to nbs/exercises/hunts_geometry.ipynb, each with a part of the message that it must get. Each hunt has its own bug among them."""

WRONG = {
    'coder': [
        ("""
def encode(boxes, anchors):
    g, a = xyxy_to_cxcywh(boxes), xyxy_to_cxcywh(anchors)
    share = (g[:, :2] - a[:, :2]) / a[:, 2:]
    return torch.cat([share.logit(eps=1e-6), (g[:, 2:] / a[:, 2:]).log()], 1)

def decode(deltas, anchors):
    a = xyxy_to_cxcywh(anchors)
    centre = a[:, :2] + deltas[:, :2].sigmoid() * a[:, 2:]
    return cxcywh_to_xyxy(torch.cat([centre, deltas[:, 2:].exp() * a[:, 2:]], 1))
""", 'your encode is the broken one'),
        ("""
def encode(boxes, anchors):
    g, a = xyxy_to_cxcywh(boxes), xyxy_to_cxcywh(anchors)
    return torch.cat([(g[:, :2] - a[:, :2]) / a[:, 2:], (g[:, 2:] / a[:, 2:]).log()], 1)

def decode(deltas, anchors):
    a = xyxy_to_cxcywh(anchors)
    centre = a[:, :2] + deltas[:, :2].sigmoid() * a[:, 2:]
    return cxcywh_to_xyxy(torch.cat([centre, deltas[:, 2:].exp() * a[:, 2:]], 1))
""", 'still sends the offset through the sigmoid'),
        ("""
def encode(boxes, anchors):
    g, a = xyxy_to_cxcywh(boxes), xyxy_to_cxcywh(anchors)
    return torch.cat([(g[:, :2] - a[:, :2]) / g[:, 2:], (g[:, 2:] / a[:, 2:]).log()], 1)

def decode(deltas, anchors):
    a = xyxy_to_cxcywh(anchors)
    wh = a[:, 2:] * deltas[:, 2:].exp()
    return cxcywh_to_xyxy(torch.cat([a[:, :2] + deltas[:, :2] * wh, wh], 1))
""", 'in sizes of the sign'),
    ],
    'centres': [
        ("""
def cell_centres(map_size, stride):
    rows, columns = (torch.arange(n) * stride for n in map_size)
    return torch.cartesian_prod(rows, columns).flip(1).float()
""", 'still the corners of the cells'),
        ("""
def cell_centres(map_size, stride):
    rows, columns = (torch.arange(n) * stride + 0.5 for n in map_size)
    return torch.cartesian_prod(rows, columns).flip(1)
""", 'half a pixel, not half a cell'),
        ("""
def cell_centres(map_size, stride):
    rows, columns = ((torch.arange(n) + 0.5) * stride for n in map_size)
    return torch.cartesian_prod(rows, columns)
""", 'x and y are swapped'),
        ("""
def cell_centres(map_size, stride):
    rows, columns = ((torch.arange(n) + 0.5) * stride for n in map_size)
    return torch.cartesian_prod(columns, rows)
""", 'column by column'),
    ],
    'frame-anchors': [
        ("""
def frame_anchors(frame_wh, stride, shapes):
    return level_anchors((frame_wh[0] // stride, frame_wh[1] // stride), stride, shapes)
""", 'width and height are swapped'),
        ("""
def frame_anchors(frame_wh, stride, shapes):
    return level_anchors((frame_wh[0] // stride, frame_wh[1] // stride), stride, shapes)[:, [1, 0, 3, 2]]
""", 'column by column'),
        ("""
def frame_anchors(frame_wh, stride, shapes):
    return level_anchors((frame_wh[1] // stride, frame_wh[0] // stride), stride, shapes.flip(1))
""", 'high where they should be wide'),
    ],
    'bounded': [
        ("""
def boxes_in_frame(deltas, anchors, size):
    a = xyxy_to_cxcywh(anchors)
    centre = a[:, :2] + deltas[:, :2] * a[:, 2:]
    return cxcywh_to_xyxy(torch.cat([centre, a[:, 2:] * deltas[:, 2:].exp()], 1))
""", 'still infinitely wide'),
        ("""
def boxes_in_frame(deltas, anchors, size):
    return decode_boxes(deltas, anchors)
""", 'the box leaves the frame'),
        ("""
def boxes_in_frame(deltas, anchors, size):
    a = xyxy_to_cxcywh(anchors)
    centre = a[:, :2] + deltas[:, :2] * a[:, 2:]
    wh = a[:, 2:] * deltas[:, 2:].exp().clamp(max=math.exp(MAX_LOG_SIZE))
    return clip_boxes(cxcywh_to_xyxy(torch.cat([centre, wh], 1)), size)
""", 'its gradient is not'),
        ("""
def boxes_in_frame(deltas, anchors, size):
    return clip_boxes(decode_boxes(deltas, anchors), (size[1], size[0]))
""", 'size is (height, width)'),
    ],
    'nms-xywh': [
        ("""
def nms_xywh(boxes_xywh, scores, iou_threshold):
    place, size = boxes_xywh.split(2, 1)
    return nms(torch.cat([place - size, place + size], 1), scores, iou_threshold)
""", 'one of two neighbours is gone'),
        ("""
def nms_xywh(boxes_xywh, scores, iou_threshold):
    return nms(cxcywh_to_xyxy(boxes_xywh), scores, iou_threshold)
""", 'taken for the centre'),
        ("""
def nms_xywh(boxes_xywh, scores, iou_threshold):
    return nms(boxes_xywh, scores, iou_threshold)
""", 'as they are, as xywh'),
    ],
    'pick': [
        ("""
def pick(boxes, scores, iou_threshold, most):
    best = scores.argsort(descending=True)[:most]
    return best[nms(boxes[best], scores[best], iou_threshold)]
""", 'the limit must come after it'),
        ("""
def pick(boxes, scores, iou_threshold, most):
    return nms(boxes, scores, iou_threshold)
""", 'the limit is gone'),
        ("""
def pick(boxes, scores, iou_threshold, most):
    best = scores.argsort(descending=True)[:20 * most]
    return best[nms(boxes[best], scores[best], iou_threshold)][:most]
""", 'only a rarer bug'),
        ("""
def pick(boxes, scores, iou_threshold, most):
    return nms(boxes, scores, iou_threshold).sort().values[:most]
""", 'the first two in the list'),
    ],
    'csv-rows': [
        ("""
def csv_rows(boxes, scale, frame_size):
    return xyxy_to_xywh(clip_boxes(boxes, frame_size))
""", 'still pixels of the network input'),
        ("""
def csv_rows(boxes, scale, frame_size):
    return xyxy_to_xywh(clip_boxes(boxes * scale, frame_size))
""", 'do not multiply'),
        ("""
def csv_rows(boxes, scale, frame_size):
    return xyxy_to_xywh(clip_boxes(boxes, frame_size) / scale)
""", 'after the division'),
        ("""
def csv_rows(boxes, scale, frame_size):
    return clip_boxes(boxes / scale, frame_size)
""", 'these are two corners'),
        ("""
def csv_rows(boxes, scale, frame_size):
    return xyxy_to_xywh(clip_boxes(boxes / scale, frame_size[::-1]))
""", 'frame_size is (height, width)'),
    ],
    'class-rows': [
        ("""
def class_rows(anchors, boxes, labels, n_classes):
    iou = box_iou(anchors, boxes)
    best, owner = iou.max(1)
    rows, taken = torch.zeros(len(anchors), n_classes), best >= 0.5
    rows[taken, labels[owner[taken]]] = 1
    for sign in sorted(set(range(len(boxes))) - set(owner[taken].tolist())):
        rows[iou[:, sign].argmax(), labels[sign]] = 1
    return rows
""", 'the first row is two-hot'),
        ("""
def class_rows(anchors, boxes, labels, n_classes):
    iou = box_iou(anchors, boxes)
    best, owner = iou.max(1)
    rows, taken = torch.zeros(len(anchors), n_classes), best >= 0.5
    rows[taken, labels[owner[taken]]] = 1
    for sign in sorted(set(range(len(boxes))) - set(owner[taken].tolist())):
        anchor = iou[:, sign].argmax()
        rows[anchor] = 0
        rows[anchor, labels[sign]] = 1
    return rows
""", 'the plate has robbed the sign'),
        ("""
def class_rows(anchors, boxes, labels, n_classes):
    best, owner = box_iou(anchors, boxes).max(1)
    rows, taken = torch.zeros(len(anchors), n_classes), best >= 0.5
    rows[taken, labels[owner[taken]]] = 1
    return rows
""", 'the plate has no anchor at all'),
        ("""
def class_rows(anchors, boxes, labels, n_classes):
    iou = box_iou(anchors, boxes)
    best, owner = iou.max(1)
    rows, taken = torch.zeros(len(anchors), n_classes), best >= 0.5
    rows[taken, labels[owner[taken]]] = 1
    for sign in sorted(set(range(len(boxes))) - set(owner[taken].tolist())):
        rows[iou[:, sign].where(~taken, -1.).argmax(), labels[sign]] = 1
    return rows
""", 'two forced signs share one anchor'),
    ],
    'choice': [
        ("""
def choose_anchors(sizes_wh, scale, k=5):
    shapes = [[s * r ** -0.5, s * r ** 0.5] for s in (32, 64, 128) for r in (0.5, 1, 2)]
    return 16, torch.tensor(shapes)
""", 'the shapes of habit'),
        ("""
def choose_anchors(sizes_wh, scale, k=5):
    return 8, anchor_shapes(sizes_wh, k)
""", 'not the input of the network'),
        ("""
def choose_anchors(sizes_wh, scale, k=5):
    return 16, anchor_shapes(sizes_wh * scale, k)
""", 'stride 16 for signs of 24 px'),
        ("""
def choose_anchors(sizes_wh, scale, k=5):
    seen = sizes_wh * scale
    shapes = anchor_shapes(seen, k)
    return next(s for s in (4, 8, 16) if unreached_share(seen, [s], [shapes]) < 0.05), shapes
""", 'try the coarsest first'),
        ("""
def choose_anchors(sizes_wh, scale, k=5):
    shapes = anchor_shapes(sizes_wh * scale, k)
    return next(s for s in (16, 8, 4) if unreached_share(sizes_wh, [s], [anchor_shapes(sizes_wh, k)]) < 0.05), shapes
""", 'the network sees 12 px'),
    ],
}
