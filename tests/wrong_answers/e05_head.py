"Usual wrong answers to the exercises of e05_head, each with what its check must say."
WRONG = {
    'count': [
        ("anchors_720, anchors_1080 = 14_400, 42_600", 'each of them holds five anchors'),
        ("anchors_720, anchors_1080 = 72_000, 127_260", 'you rounded down'),
        ("anchors_720, anchors_1080 = 72_000, 127_575", 'half a row of cells'),
    ],
    'centres': [
        ('''def level_anchors(map_size, stride, shapes):
    height, width = map_size
    y, x = torch.arange(height) * stride, torch.arange(width) * stride
    cy, cx = torch.meshgrid(y, x, indexing='ij')
    centres = torch.stack([cx, cy], -1)[:, :, None].expand(-1, -1, len(shapes), -1)
    sizes = shapes.expand(*cx.shape, -1, -1)
    return cxcywh_to_xyxy(torch.cat([centres, sizes], -1).reshape(-1, 4))
''', 'on the corners of the cells'),
        ('''def level_anchors(map_size, stride, shapes):
    width, height = map_size
    y, x = (torch.arange(height) + 0.5) * stride, (torch.arange(width) + 0.5) * stride
    cy, cx = torch.meshgrid(y, x, indexing='ij')
    centres = torch.stack([cx, cy], -1)[:, :, None].expand(-1, -1, len(shapes), -1)
    sizes = shapes.expand(*cx.shape, -1, -1)
    return cxcywh_to_xyxy(torch.cat([centres, sizes], -1).reshape(-1, 4))
''', 'height and width are swapped'),
        ('''def level_anchors(map_size, stride, shapes):
    height, width = map_size
    y, x = (torch.arange(height) + 0.5) * stride, (torch.arange(width) + 0.5) * stride
    cx, cy = torch.meshgrid(x, y, indexing='ij')
    centres = torch.stack([cx, cy], -1)[:, :, None].expand(-1, -1, len(shapes), -1)
    sizes = shapes.expand(*cx.shape, -1, -1)
    return cxcywh_to_xyxy(torch.cat([centres, sizes], -1).reshape(-1, 4))
''', 'column by column'),
    ],
    'encode': [
        ('''def encode_boxes(boxes, anchors):
    b, a = xyxy_to_cxcywh(boxes), xyxy_to_cxcywh(anchors)
    return torch.cat([(b[:, :2] - a[:, :2]) / a[:, 2:], b[:, 2:] / a[:, 2:]], 1)
''', 'the logarithm is missing'),
        ('''def encode_boxes(boxes, anchors):
    b, a = xyxy_to_cxcywh(boxes), xyxy_to_cxcywh(anchors)
    return torch.cat([(b[:, :2] - a[:, :2]) / 8, (b[:, 2:] / a[:, 2:]).log()], 1)
''', 'divided by a stride of 8'),
        ('''def encode_boxes(boxes, anchors):
    b, a = xyxy_to_cxcywh(anchors), xyxy_to_cxcywh(boxes)
    return torch.cat([(b[:, :2] - a[:, :2]) / a[:, 2:], (b[:, 2:] / a[:, 2:]).log()], 1)
''', 'box and anchor have changed places'),
    ],
    'decode': [
        ('''def decode_boxes(deltas, anchors, most=head.MAX_LOG_SIZE):
    a = xyxy_to_cxcywh(anchors)
    return cxcywh_to_xyxy(torch.cat([a[:, :2] + deltas[:, :2] * a[:, 2:], a[:, 2:] * deltas[:, 2:].clamp(max=most)], 1))
''', 'the exponential is missing'),
        ('''def decode_boxes(deltas, anchors, most=head.MAX_LOG_SIZE):
    a = xyxy_to_cxcywh(anchors)
    size = a[:, 2:] * deltas[:, 2:].clamp(max=most).exp()
    return cxcywh_to_xyxy(torch.cat([a[:, :2] + deltas[:, :2].sigmoid() * a[:, 2:], size], 1))
''', 'a sigmoid holds the centre'),
        ('''def decode_boxes(deltas, anchors, most=head.MAX_LOG_SIZE):
    a = xyxy_to_cxcywh(anchors)
    return cxcywh_to_xyxy(torch.cat([a[:, :2] + deltas[:, :2] * a[:, 2:], a[:, 2:] * deltas[:, 2:].exp()], 1))
''', 'the box became infinite'),
    ],
    'distances': [
        ('''def encode_distances(boxes, anchors, least=head.MIN_DISTANCE):
    a = xyxy_to_cxcywh(anchors)
    centre, size = a[:, :2], a[:, 2:]
    return (torch.cat([centre - boxes[:, :2], boxes[:, 2:] - centre], 1) / torch.cat([size, size], 1)).clamp(min=least)
''', 'these are the distances themselves'),
        ('''def encode_distances(boxes, anchors, least=head.MIN_DISTANCE):
    a = xyxy_to_cxcywh(anchors)
    centre, size = a[:, :2], a[:, 2:]
    return (torch.cat([centre - boxes[:, :2], boxes[:, 2:] - centre], 1) / torch.cat([size, size], 1)).log()
''', 'the logarithm of a negative distance is NaN'),
        ('''def encode_distances(boxes, anchors, least=head.MIN_DISTANCE):
    a = xyxy_to_cxcywh(anchors)
    centre, size = a[:, :2], a[:, 2:]
    distances = torch.cat([centre - boxes[:, :2], boxes[:, 2:] - centre], 1) / torch.cat([size, size], 1)
    return distances[:, [0, 2, 1, 3]].clamp(min=least).log()
''', 'the order is left, right, top, lower'),
    ],
    'centreness': [
        ('''def centreness(distances):
    l, t, r, b = distances.unbind(1)
    return (torch.minimum(l, r) / torch.maximum(l, r)).clamp(min=0) * (torch.minimum(t, b) / torch.maximum(t, b)).clamp(min=0)
''', 'the square root is missing'),
        ('''def centreness(distances):
    l, t, r, b = distances.unbind(1)
    return (torch.minimum(l, t) / torch.maximum(l, t) * torch.minimum(r, b) / torch.maximum(r, b)).clamp(min=0).sqrt()
''', 'wrong pairs'),
        ('''def centreness(distances):
    l, t, r, b = distances.unbind(1)
    return (torch.minimum(l, r) / torch.maximum(l, r) * torch.minimum(t, b) / torch.maximum(t, b)).clamp(min=0).sqrt()
''', 'two minus signs cancel'),
    ],
    'prior': [
        ('''def prior_bias(p): return math.log((1 - p) / p)
''', 'the sign is wrong'),
        ('''def prior_bias(p): return math.log(p)
''', 'log p is not yet the logit'),
    ],
    'first-loss': [
        ("loss_with_prior, loss_without = 331_000, 49_900", 'the loss of signs'),
        ("loss_with_prior, loss_without = 720, 36_000", '0.5 is the score, not the loss'),
    ],
    'flatten': [
        ('''def flatten_anchors(maps, n): return maps.reshape(maps.shape[0], -1, n)
''', 'reshape alone mixes neighbouring cells'),
        ('''def flatten_anchors(maps, n):
    b, kn, h, w = maps.shape
    return maps.reshape(b, kn // n, n, h, w).permute(0, 1, 3, 4, 2).reshape(b, kn // n * h * w, n)
''', 'all cells of the first anchor come before the second'),
        ('''def flatten_anchors(maps, n):
    b, kn, h, w = maps.shape
    return maps.reshape(b, n, kn // n, h, w).permute(0, 3, 4, 2, 1).reshape(b, kn // n * h * w, n)
''', 'the channels were split as n x K'),
        ('''def flatten_anchors(maps, n): return maps.permute(0, 3, 2, 1).reshape(maps.shape[0], -1, n)
''', 'column by column'),
    ],
    'shape-iou': [
        ('''def shape_iou(sizes_wh, shapes):
    a, b = sizes_wh.prod(1)[:, None], shapes.prod(1)[None]
    return torch.minimum(a, b) / torch.maximum(a, b)
''', 'only the areas are compared'),
        ('''def shape_iou(sizes_wh, shapes):
    intersection = torch.minimum(sizes_wh[:, None], shapes[None]).prod(-1)
    return intersection / (sizes_wh.prod(1)[:, None] + shapes.prod(1))
''', 'the intersection counts twice in the union'),
    ],
    'kmeans': [
        ('''def kmeans_step(sizes_wh, shapes):
    best = torch.cdist(sizes_wh, shapes).argmin(1)
    groups = [sizes_wh[best == k] for k in range(len(shapes))]
    return torch.stack([group.mean(0) if len(group) else shape for group, shape in zip(groups, shapes)])
''', 'the distance in pixels'),
        ('''def kmeans_step(sizes_wh, shapes):
    best = shape_iou(sizes_wh, shapes).argmin(1)
    groups = [sizes_wh[best == k] for k in range(len(shapes))]
    return torch.stack([group.mean(0) if len(group) else shape for group, shape in zip(groups, shapes)])
''', 'each sign went to its worst shape'),
        ('''def kmeans_step(sizes_wh, shapes):
    best = shape_iou(sizes_wh, shapes).argmax(1)
    return torch.stack([sizes_wh[best == k].mean(0) for k in range(len(shapes))])
''', 'the mean of no signs is NaN'),
    ],
    'worst-place': [
        ('''def worst_iou(side, stride):
    intersection = max(side - stride, 0) ** 2
    return intersection / (2 * side ** 2 - intersection)
stride_needed = 2
''', 'shifted by a whole stride'),
        ('''def worst_iou(side, stride):
    intersection = max(side - stride / 2, 0) * side
    return intersection / (2 * side ** 2 - intersection)
stride_needed = 8
''', 'shifted in one direction only'),
        ('''def worst_iou(side, stride):
    intersection = max(side - stride / 2, 0) ** 2
    return intersection / (2 * side ** 2 - intersection)
stride_needed = 8
''', 'at stride 8 a sign of 16 px is left with 0.39'),
    ],
}
