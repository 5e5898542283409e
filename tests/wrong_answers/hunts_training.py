"Wrong answers to hunts_training: grade_id of the answer cell -> (its code, part of what the check must say). The first of each is the broken function."
WRONG = {
    'stats': [
        ("""def statistics(images):
    pixels = np.concatenate([image.reshape(-1, 3) for image in images]).astype(np.float32)
    mean = pixels.sum(0) / len(pixels)
    with np.errstate(invalid='ignore'): return mean, np.sqrt((pixels ** 2).sum(0) / len(pixels) - mean ** 2)""",
         'the sums are kept in float32: of a grey card'),
        ("""def statistics(images):
    pixels = np.concatenate([image.reshape(-1, 3) for image in images]).astype(np.float64)
    return pixels.mean(0), pixels.var(0)""", 'this is the variance'),
        ("""def statistics(images):
    parts = [(image.mean((0, 1)), image.std((0, 1))) for image in images]
    return np.mean([p[0] for p in parts], 0), np.mean([p[1] for p in parts], 0)""", 'what differs from image to image is lost'),
    ],
    'split': [
        ("""def split(drives, share=0.2, seed=0):
    order = np.random.permutation(len(drives))
    n = round(share * len(drives))
    return order[n:], order[:n]""", 'a stream that nobody seeded'),
        ("""def split(drives, share=0.2, seed=0):
    order = np.random.default_rng(seed).permutation(len(drives))
    n = round(share * len(drives))
    return order[n:], order[:n]""", 'some drives stand on both sides'),
        ("""def split(drives, share=0.2, seed=0):
    names = list(dict.fromkeys(drives.tolist()))
    chosen = np.random.default_rng(seed).permutation(names)[:round(share * len(names))]
    held_out = np.isin(drives, chosen)
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)""", 'sort the names before you draw'),
        ("""def split(drives, share=0.2, seed=0):
    names = np.unique(drives)
    held_out = np.isin(drives, names[:round(share * len(names))])
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)""", 'the seed is not used'),
    ],
    'frozen': [
        ("""def start_epoch(detector):
    detector.train()
    for parameter in detector.body.parameters(): parameter.requires_grad_(False)""", 'the running means and variances of the body still move'),
        ("""def start_epoch(detector):
    detector.body.requires_grad_(False).eval()
    detector.train()""", 'undoes an earlier `.eval()`'),
        ("""def start_epoch(detector):
    detector.eval()
    detector.body.requires_grad_(False)""", 'the head is in eval mode, too'),
        ("""def start_epoch(detector):
    detector.train()
    detector.body.requires_grad_(False)
    for m in detector.body.modules():
        if isinstance(m, nn.BatchNorm2d): m.eval()""", 'dropout still throws features away'),
        ("""def start_epoch(detector):
    detector.train()
    detector.body.requires_grad_(False)
    for m in detector.body.modules():
        if isinstance(m, nn.BatchNorm2d): m.momentum = 0.""", 'normalises by the batch'),
    ],
    'prior': [
        ("""def prior_bias(prior=0.01): return 0.

def objectness_loss(logits, targets): return F.binary_cross_entropy_with_logits(logits, targets)""", 'a mean of the cross-entropy over all anchors'),
        ("""def prior_bias(prior=0.01): return math.log(prior / (1 - prior))

def objectness_loss(logits, targets): return sigmoid_focal_loss(logits, targets, 0.25, 2).mean()""", 'focal loss, but still a mean'),
        ("""def prior_bias(prior=0.01): return math.log(prior / (1 - prior))

def objectness_loss(logits, targets): return sigmoid_focal_loss(logits, targets, 0.25, 2).sum() / targets.sum()""", 'divide by at least 1'),
        ("""def prior_bias(prior=0.01): return math.log(prior)

def objectness_loss(logits, targets): return sigmoid_focal_loss(logits, targets, 0.25, 2).sum() / targets.sum().clamp(min=1)""", 'not its logit'),
        ("""def prior_bias(prior=0.01): return 0.

def objectness_loss(logits, targets): return sigmoid_focal_loss(logits, targets, 0.25, 2).sum() / targets.sum().clamp(min=1)""", 'start at a score of 0.5'),
    ],
    'validate': [
        ("""def validate(raw, anchors, signs, wanted):
    deltas, logits = raw
    boxes, scores = decode_boxes(deltas, anchors), logits.sigmoid()
    return loss_of(boxes, scores, encode_boxes(signs, anchors), wanted), boxes, scores""", 'boxes in pixels and scores, but it was made for deltas'),
        ("""def validate(raw, anchors, signs, wanted):
    deltas, logits = raw
    boxes, scores = decode_boxes(deltas, anchors), logits.sigmoid()
    return loss_of(deltas, scores, encode_boxes(signs, anchors), wanted), boxes, scores""", 'it has a sigmoid inside'),
        ("""def validate(raw, anchors, signs, wanted):
    deltas, logits = raw
    return loss_of(deltas, logits, encode_boxes(signs, anchors), wanted), deltas, logits""", 'these are the deltas'),
    ],
    'best': [
        ("""class Best:
    def __init__(self): self.score, self.weights = -math.inf, None

    def update(self, score, model):
        if score > self.score: self.score, self.weights = score, model.state_dict()

    def restore(self, model): model.load_state_dict(self.weights)""", 'the tensors of the model itself'),
        ("""class Best:
    def __init__(self): self.score, self.weights = -math.inf, None

    def update(self, score, model):
        if score > self.score: self.score, self.weights = score, dict(model.state_dict())

    def restore(self, model): model.load_state_dict(self.weights)""", 'a copied dictionary still holds them'),
        ("""class Best:
    def __init__(self): self.score, self.weights = -math.inf, None

    def update(self, score, model):
        self.score, self.weights = max(score, self.score), copy.deepcopy(model.state_dict())

    def restore(self, model): model.load_state_dict(self.weights)""", 'the weights of the last validation'),
        ("""class Best:
    def __init__(self): self.score, self.weights = -math.inf, None

    def update(self, score, model):
        if score > self.score: self.score, self.weights = score, {k: v.detach().clone() for k, v in model.named_parameters()}

    def restore(self, model): model.load_state_dict(self.weights, strict=False)""", 'but not the buffers of BatchNorm'),
    ],
    'sky': [
        ("""def read_scores(class_logits, objectness=None):
    scores = class_logits.softmax(-1)
    return scores if objectness is None else scores * objectness.sigmoid()[:, None]""", 'a softmax over one class is 1'),
        ("""def read_scores(class_logits, objectness=None):
    scores = class_logits.softmax(-1) if class_logits.shape[1] > 1 else class_logits.sigmoid()
    return scores if objectness is None else scores * objectness.sigmoid()[:, None]""", 'must give its probability to somebody'),
        ("""def read_scores(class_logits, objectness=None):
    scores = class_logits.sigmoid()
    return scores if objectness is None else scores * objectness.sigmoid()""", 'spread over the classes'),
        ("""def read_scores(class_logits, objectness=None):
    return (class_logits if objectness is None else class_logits + objectness[:, None]).sigmoid()""", 'the logits were added'),
    ],
    'report': [
        ("""def report(parts):
    kept = []
    for scores, hits, n in parts['train']:
        best = [i for i in np.argsort(-scores)[:8] if scores[i] > 0.1]
        kept.append((scores[best], hits[best], n))
    scores, hits, counts = zip(*kept)
    return ap_of(np.concatenate(scores), np.concatenate(hits), sum(counts))""", 'the frames of the training were scored'),
        ("""def report(parts):
    kept = []
    for scores, hits, n in parts['valid']:
        best = [i for i in np.argsort(-scores)[:8] if scores[i] > 0.1]
        kept.append((scores[best], hits[best], n))
    scores, hits, counts = zip(*kept)
    return ap_of(np.concatenate(scores), np.concatenate(hits), sum(counts))""", 'a threshold still cuts the curve'),
        ("""def report(parts):
    kept = []
    for scores, hits, n in parts['valid']:
        best = np.argsort(-scores)[:8]
        kept.append((scores[best], hits[best], n))
    scores, hits, counts = zip(*kept)
    return ap_of(np.concatenate(scores), np.concatenate(hits), sum(counts))""", 'a limit still cuts the curve'),
        ("""def report(parts):
    return np.mean([ap_of(*frame) for frame in parts['valid']])""", 'the detections of all frames make one ranking'),
    ],
}
