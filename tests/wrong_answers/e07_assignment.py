"Usual wrong answers to nbs/exercises/e07_assignment.ipynb: for each answer cell (code, fragment of the message that it must produce)."

WRONG = {
    'thresholds': [("""
def by_thresholds(iou, positive=0.5, negative=0.4):
    if iou.shape[1] == 0:
        return torch.full((len(iou),), BACKGROUND)
    best, owner = iou.max(1)
    return torch.where(best >= positive, owner, BACKGROUND)
""", 'nothing is written for the band'), ("""
def by_thresholds(iou, positive=0.5, negative=0.4):
    best, owner = iou.max(1)
    matched = torch.full_like(owner, BACKGROUND)
    matched[best >= positive] = owner[best >= positive]
    matched[best >= negative] = IGNORED
    return matched
""", 'IGNORED was written over the positives'), ("""
def by_thresholds(iou, positive=0.5, negative=0.4):
    best, owner = iou.max(1)
    matched = torch.full_like(owner, BACKGROUND)
    matched[best >= negative] = IGNORED
    matched[best > positive] = owner[best > positive]
    return matched
""", 'exactly 0.5 is positive')],
    'count': [('predicted_counts = [9, 1, 1, 5]', 'nine anchors contain the sign'),
              ('predicted_counts = [0, 0, 1, 5]', 'given its best free anchor'),
              ('predicted_counts = [0, 1, 1, 9]', '576 / 1472')],
    'force': [("""
def give_each_sign_one(matched, iou):
    matched = matched.clone()
    for sign in range(iou.shape[1]):
        if not (matched == sign).any():
            matched[iou[:, sign].argmax()] = sign
    return matched
""", 'sign 1 took the anchor of sign 0, which now has none'), ("""
def give_each_sign_one(matched, iou):
    matched = matched.clone()
    for sign in range(iou.shape[1]):
        if not (matched == sign).any():
            matched[iou[:, sign].where(matched < 0, -1.).argmax()] = sign
    return matched
""", 'the better offer, 0.48 of sign 1, goes first'), ("""
def give_each_sign_one(matched, iou):
    matched, offers = matched.clone(), iou.clone()
    offers[matched != BACKGROUND] = -1
    offers[:, matched[matched >= 0]] = -1
    while offers.numel() and offers.max() >= 0:
        anchor, sign = divmod(int(offers.argmax()), iou.shape[1])
        matched[anchor] = sign
        offers[anchor], offers[:, sign] = -1, -1
    return matched
""", 'an ignored anchor is free too')],
    'atss': [("""
def atss_choice(iou, centres, boxes):
    threshold = iou.mean(0) + iou.std(0, unbiased=False)
    inside = ((centres > boxes[:, :2]) & (centres < boxes[:, 2:])).all(-1)
    return threshold, (iou >= threshold) & inside
""", 'population deviation'), ("""
def atss_choice(iou, centres, boxes):
    threshold = iou.mean(0) + iou.std(0)
    return threshold, iou >= threshold
""", 'the centre condition is missing'), ("""
def atss_choice(iou, centres, boxes):
    threshold = iou.mean(0) + iou.var(0)
    inside = ((centres > boxes[:, :2]) & (centres < boxes[:, 2:])).all(-1)
    return threshold, (iou >= threshold) & inside
""", 'the square root is missing')],
    'centre': [("""
def by_centre(points, boxes, stride, radius=1.5):
    p = points[:, None]
    inside = ((p > boxes[:, :2]) & (p < boxes[:, 2:])).all(-1)
    near = (p - centres_of(boxes)).norm(dim=-1) < radius * stride
    smallest, owner = box_area(boxes).where(inside & near, torch.inf).min(1)
    return owner.where(smallest < torch.inf, BACKGROUND)
""", 'this region is a circle'), ("""
def by_centre(points, boxes, stride, radius=1.5):
    p = points[:, None]
    near = ((p - centres_of(boxes)).abs() < radius * stride).all(-1)
    smallest, owner = box_area(boxes).where(near, torch.inf).min(1)
    return owner.where(smallest < torch.inf, BACKGROUND)
""", 'outside the sign: both conditions'), ("""
def by_centre(points, boxes, stride, radius=1.5):
    p = points[:, None]
    inside = ((p > boxes[:, :2]) & (p < boxes[:, 2:])).all(-1)
    fits = inside & ((p - centres_of(boxes)).abs() < radius * stride).all(-1)
    return fits.int().argmax(1).where(fits.any(1), BACKGROUND)
""", 'went to the first sign')],
    'align': [("""
def aligned_targets(s, u, alpha=1., beta=6.):
    t = s ** beta * u ** alpha
    return t, t / t.max() * u.max()
""", 'the exponents are swapped'), ("""
def aligned_targets(s, u, alpha=1., beta=6.):
    t = s ** alpha * u ** beta
    return t, t / t.max()
""", 'asked for max u, not for 1'), ("""
def aligned_targets(s, u, alpha=1., beta=6.):
    t = s ** alpha * u ** beta
    return t, t / t.max() * u
""", 'not by the IoU of each anchor')],
    'tal': [("""
def task_aligned(centres, boxes, scores, iou, k=13):
    p = centres[:, None]
    inside = ((p > boxes[:, :2]) & (p < boxes[:, 2:])).all(-1)
    t = scores * iou ** 6
    best, near = t.topk(min(k, len(t)), dim=0)
    taken = torch.zeros_like(inside).scatter(0, near, best > 0) & inside
    u, owner = iou.where(taken, -1.).max(1)
    return owner.where(u >= 0, BACKGROUND)
""", 'used up one of the two places'), ("""
def task_aligned(centres, boxes, scores, iou, k=13):
    p = centres[:, None]
    inside = ((p > boxes[:, :2]) & (p < boxes[:, 2:])).all(-1)
    t = (scores ** 6 * iou).where(inside, 0.)
    best, near = t.topk(min(k, len(t)), dim=0)
    taken = torch.zeros_like(inside).scatter(0, near, best > 0)
    u, owner = iou.where(taken, -1.).max(1)
    return owner.where(u >= 0, BACKGROUND)
""", 'the exponents are swapped'), ("""
def task_aligned(centres, boxes, scores, iou, k=13):
    p = centres[:, None]
    inside = ((p > boxes[:, :2]) & (p < boxes[:, 2:])).all(-1)
    t = (scores * iou ** 6).where(inside, 0.)
    best, near = t.topk(min(k, len(t)), dim=0)
    taken = torch.zeros_like(inside).scatter(0, near, best > 0)
    highest, owner = t.where(taken, -1.).max(1)
    return owner.where(highest >= 0, BACKGROUND)
""", 'went to the sign of larger t')],
    'excuse': [("""
def excuse_by_centre(matched, anchors, ignore):
    centres = centres_of(anchors)[:, None]
    inside = ((centres >= ignore[:, :2]) & (centres <= ignore[:, 2:])).all(-1).any(1)
    return matched.where(~inside, IGNORED)
""", 'a positive anchor lost its sign'), ("""
def excuse_by_centre(matched, anchors, ignore):
    centres = centres_of(anchors)[:, None]
    inside = ((centres >= ignore[:, :2]) & (centres <= ignore[:, 2:])).all(-1).all(1)
    return matched.where(~(inside & (matched == BACKGROUND)), IGNORED)
""", 'any, not all')],
}
