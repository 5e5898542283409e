"Usual wrong answers to nbs/exercises/e08_loss.ipynb: for each answer cell (code, fragment of the message that it must produce)."

WRONG = {
    'bce': [("""
def stable_bce(x, y):
    p = x.sigmoid()
    return -(y * p.log() + (1 - y) * (1 - p).log())
""", 'infinite for a large logit'), ("""
def stable_bce(x, y):
    p = x.sigmoid().clamp(1e-7, 1 - 1e-7)
    return -(y * p.log() + (1 - y) * (1 - p).log())
""", 'the probability is clamped'), ("""
def stable_bce(x, y):
    return F.binary_cross_entropy(x.sigmoid(), y, reduction='none')
""", 'the logarithm is cut at -100'), ("""
def stable_bce(x, y):
    def log_one_plus_exp(z): return z.clamp(min=0) + (-z).exp().log1p()
    return y * log_one_plus_exp(-x) + (1 - y) * log_one_plus_exp(x)
""", 'the bars are missing')],
    'focal': [("""
def focal(x, y, alpha=0.25, gamma=2.):
    p = x.sigmoid()
    p_t = torch.where(y == 1, p, 1 - p)
    return (1 - p_t) ** gamma * bce_loss(x, y)
""", 'alpha is forgotten'), ("""
def focal(x, y, alpha=0.25, gamma=2.):
    p = x.sigmoid()
    p_t = torch.where(y == 1, p, 1 - p)
    alpha_t = torch.where(y == 1, alpha, 1 - alpha)
    return alpha_t * p_t ** gamma * bce_loss(x, y)
""", 'gamma is on the wrong side'), ("""
def focal(x, y, alpha=0.25, gamma=2.):
    p = x.sigmoid()
    p_t = torch.where(y == 1, p, 1 - p)
    return -alpha * (1 - p_t) ** gamma * p_t.log()
""", 'alpha is the same for signs and background'), ("""
def focal(x, y, alpha=0.25, gamma=2.):
    p = x.sigmoid()
    p_t = torch.where(y == 1, p, 1 - p)
    alpha_t = torch.where(y == 1, alpha, 1 - alpha)
    return -alpha_t * (1 - p_t) ** gamma * p_t.log()
""", 'infinite for a large logit')],
    'start': [('predicted_start = [-4.605, 693.1, 14.6]', 'the logit is log(p / (1 - p))'),
              ('predicted_start = [-4.595, 0.693, 14.6]', 'divided by all anchors'),
              ('predicted_start = [-4.595, 693.1, 10.05]', 'the positives are missing')],
    'divide': [("""
def per_positive(losses, positive):
    return losses.mean()
""", 'the mean over all anchors'), ("""
def per_positive(losses, positive):
    return losses.sum() / positive.sum()
""", 'the divisor is at least 1'), ("""
def per_positive(losses, positive):
    return losses[positive].sum() / positive.sum().clamp(min=1)
""", 'only the positives are summed up')],
    'known': [("""
def known_bce(logits, matched):
    return bce_loss(logits, (matched >= 0).float()).sum()
""", 'the ignored anchor is counted as background'), ("""
def known_bce(logits, matched):
    return bce_loss(logits * (matched != IGNORED), (matched >= 0).float()).sum()
""", 'the ignored anchor still costs log 2'), ("""
def known_bce(logits, matched):
    known = matched != IGNORED
    return bce_loss(logits[known], matched[known].clamp(min=0).float()).sum()
""", 'the index of the sign is used as the target')],
    'smooth': [("""
def smooth_l1(d, beta=1 / 9):
    return torch.where(d < beta, d ** 2 / (2 * beta), d - beta / 2)
""", 'compare |d| with beta'), ("""
def smooth_l1(d, beta=1 / 9):
    size = d.abs()
    return torch.where(size < beta, size ** 2 / (2 * beta), size)
""", 'beta / 2 is missing'), ("""
def smooth_l1(d, beta=1 / 9):
    return F.huber_loss(d, torch.zeros_like(d), reduction='none', delta=beta)
""", 'this is the Huber loss')],
    'diou': [("""
def diou(boxes, truth, eps=1e-7):
    from torchvision.ops import generalized_box_iou_loss
    return generalized_box_iou_loss(boxes, truth)
""", 'this is the GIoU loss'), ("""
def diou(boxes, truth, eps=1e-7):
    apart = xyxy_to_cxcywh(boxes)[:, :2] - xyxy_to_cxcywh(truth)[:, :2]
    sides = torch.maximum(boxes[:, 2:], truth[:, 2:]) - torch.minimum(boxes[:, :2], truth[:, :2])
    return 1 - paired_iou(boxes, truth) + apart.norm(dim=1) / (sides.norm(dim=1) + eps)
""", 'distance by diagonal without squares'), ("""
def diou(boxes, truth, eps=1e-7):
    apart = xyxy_to_cxcywh(boxes)[:, :2] - xyxy_to_cxcywh(truth)[:, :2]
    sides = torch.minimum(boxes[:, 2:], truth[:, 2:]) - torch.maximum(boxes[:, :2], truth[:, :2])
    return 1 - paired_iou(boxes, truth) + apart.square().sum(1) / (sides.square().sum(1) + eps)
""", 'the box around takes min of left'), ("""
def diou(boxes, truth, eps=1e-7):
    apart = xyxy_to_cxcywh(boxes)[:, :2] - xyxy_to_cxcywh(truth)[:, :2]
    sides = torch.maximum(boxes[:, 2:], truth[:, 2:]) - torch.minimum(boxes[:, :2], truth[:, :2])
    return 1 - paired_iou(boxes, truth) + apart.square().sum(1) / sides.square().sum(1)
""", 'two equal points give NaN')],
    'vfl': [("""
def varifocal(x, y, alpha=0.75, gamma=2.):
    return alpha * x.sigmoid() ** gamma * bce_loss(x, y)
""", 'positives are turned down like background'), ("""
def varifocal(x, y, alpha=0.75, gamma=2.):
    return torch.where(y > 0, 1., alpha * x.sigmoid() ** gamma) * bce_loss(x, y)
""", 'each is weighted by its own target'), ("""
def varifocal(x, y, alpha=0.75, gamma=2.):
    return (y - x.sigmoid()).abs() ** gamma * bce_loss(x, y)
""", 'this is quality focal loss')],
}
