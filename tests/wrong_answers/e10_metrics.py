"Typical wrong answers to the exercises of e10_metrics, each with a fragment of what its check must say."
MATCH = '''
def match(iou, scores, iou_threshold=0.5):
    matched, free = np.full(len(iou), -1), np.ones(iou.shape[1], bool)
    for i in {order}:
        fits = {fits}
        if fits.any():
            matched[i] = np.where(fits, iou[i], -1).argmax()
            free[matched[i]] = False
    return matched
'''
SURE, FREE = "np.argsort(-scores, kind='stable')", 'free & (iou[i] >= iou_threshold)'
CURVE = '''
def curve(scores, hits, n_truth):
    tp = np.cumsum({hits})
    return tp / {said}, tp / {signs}
'''
SORTED, KTH = "hits[np.argsort(-scores, kind='stable')]", 'np.arange(1, len(tp) + 1)'
MEAN_AP = '''
def mean_ap(labels, scores, hits, n_truth):
    own = [c for c in {classes}]
    aps = [ap_of(scores[labels == c], hits[labels == c], n_truth[c]) for c in own]
    return float({mean}) if aps else math.nan
'''
CONFUSION = '''
def confusion(said, truth, match, n_classes):
    table = np.zeros((n_classes + 1, n_classes + 1), int)
    for label, m in zip(said, match):
        {count}
    {missed}
    return {table}
'''
ROW = 'table[truth[m] if m >= 0 else n_classes, label] += 1'
MISSED = 'for m in np.setdiff1d(np.arange(len(truth)), match): table[truth[m], n_classes] += 1'
CALIBRATION = '''
def calibration_error(scores, hits, bins=10):
    if not len(scores):
        return math.nan
    bin_of, parts = {bin_of}, []
    for b in range(bins):
        own = bin_of == b
        if own.any():
            parts.append({part})
    return float(abs({total}))
'''
BIN, PART = 'np.minimum((scores * bins).astype(int), bins - 1)', 'own.mean() * abs(scores[own].mean() - hits[own].mean())'
INTERVAL = '''
def interval(hits, signs, drive, draws, share=0.95):
    recalls = []
    for drawn in draws:
        weights = {weights}
        recalls.append({recall})
    low, high = np.quantile(recalls, {ends})
    return low, high
'''
WEIGHTS, RECALL = '(drive[:, None] == drawn).sum(1)', '(weights * hits).sum() / (weights * signs).sum()'
ENDS = '[(1 - share) / 2, (1 + share) / 2]'

WRONG = {
    'match': [
        (MATCH.format(order=SURE, fits='iou[i] >= iou_threshold'), 'one sign was matched twice'),
        (MATCH.format(order='range(len(iou))', fits=FREE), 'in the order of the rows'),
        (MATCH.format(order='np.argsort(-iou.max(1, initial=0))', fits=FREE), 'the larger IoU came first'),
        (MATCH.format(order=SURE, fits=FREE.replace('>=', '>')), 'exactly the threshold'),
        ('''
def match(iou, scores, iou_threshold=0.5):
    matched, free = np.full(len(iou), -1), np.ones(iou.shape[1], bool)
    for i in np.argsort(-scores):
        best = iou[i].argmax()
        if free[best] and iou[i, best] >= iou_threshold:
            matched[i], free[best] = best, False
    return matched
''', 'because its best sign was taken'),
    ],
    'curve': [
        (CURVE.format(hits='hits', said=KTH, signs='n_truth'), 'the list is not sorted by score'),
        (CURVE.format(hits=SORTED, said=KTH, signs='hits.sum()'), 'recall is divided by the hits'),
        (CURVE.format(hits=SORTED, said='len(tp)', signs='n_truth'), 'precision is divided by the whole list'),
    ],
    'ap101': [
        ('''
def ap_101(precision, recall):
    return np.append(precision, 0)[np.searchsorted(recall, np.linspace(0, 1, 101))].mean()
''', 'there is no envelope'),
        ('''
def ap_101(precision, recall):
    return float((np.diff(recall) * (precision[1:] + precision[:-1]) / 2).sum())
''', 'by trapezoids'),
        ('''
def ap_101(precision, recall):
    return np.mean([precision[recall >= r].max(initial=0) for r in np.linspace(0, 1, 11)])
''', 'these are 11 readings'),
        ('''
def ap_101(precision, recall):
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float((np.diff(recall, prepend=0) * envelope).sum())
''', 'the area under the envelope'),
    ],
    'false-alarms': [
        ('predicted_below, predicted_above = 0.07, 0.06', 'the precision of the whole list'),
        ('predicted_below, predicted_above = 1., 0.', 'two of the ten signs are never found'),
        ('predicted_below, predicted_above = 0.8, 0.', 'the hits are still in the list'),
        ('predicted_below, predicted_above = 0.8, 0.8', 'AP judges the order'),
    ],
    'mean-ap': [
        (MEAN_AP.format(classes='range(len(n_truth))', mean='np.mean(aps)'), 'without signs count as 0'),
        (MEAN_AP.format(classes='np.unique(labels)', mean='np.mean(aps)'), 'classes that were *detected*'),
        (MEAN_AP.format(classes='range(len(n_truth)) if n_truth[c] and (labels == c).any()', mean='np.mean(aps)'), 'never detected is left out'),
        (MEAN_AP.format(classes='range(len(n_truth)) if n_truth[c]', mean='np.average(aps, weights=n_truth[own])'), 'weighted by their signs'),
    ],
    'costs': [
        ("predicted_costs = {'location': 0.33, 'missed': 0.33, 'background': 0.}", 'a mended miss is not found'),
        ("predicted_costs = {'location': 0.66, 'missed': 0.5, 'background': 0.34}", 'the AP after mending'),
        ("predicted_costs = {'location': 0.33, 'missed': 0.17, 'background': 0.17}", 'below the last hit'),
    ],
    'confusion': [
        (CONFUSION.format(count=ROW, missed=MISSED, table='table.T'), 'the table is transposed'),
        (CONFUSION.format(count='table[truth[m], label] += 1', missed=MISSED, table='table'), '-1 is no index'),
        (CONFUSION.format(count=ROW, missed='pass', table='table'), 'the missed signs are missing'),
    ],
    'calibration': [
        (CALIBRATION.format(bin_of=BIN, part=PART.removeprefix('own.mean() * '), total='np.mean(parts)'), 'all bins count alike'),
        (CALIBRATION.format(bin_of=BIN, part=PART.replace('abs', ''), total='sum(parts)'), 'opposite sign cancel'),
        (CALIBRATION.format(bin_of='(scores * bins).astype(int)', part=PART, total='sum(parts)'), 'score of exactly 1 fall out'),
        ('def calibration_error(scores, hits, bins=10): return float(abs(scores - hits).mean())', 'distance of single scores'),
    ],
    'interval': [
        (INTERVAL.format(weights='np.isin(drive, drawn)', recall=RECALL, ends=ENDS), 'counts once here'),
        (INTERVAL.format(weights='np.bincount(drawn, minlength=len(hits))', recall=RECALL, ends=ENDS), 'frames were drawn'),
        (INTERVAL.format(weights=WEIGHTS, recall=RECALL, ends='[1 - share, share]'), 'cut off on each side'),
        (INTERVAL.format(weights=WEIGHTS, recall='np.average(hits / signs, weights=weights)', ends=ENDS), 'the mean of the recalls of frames'),
    ],
    'threshold': [
        ('''
def threshold_for(scores, hits, n_truth, recall):
    order = np.argsort(-scores, kind='stable')
    tp = np.cumsum(hits[order])
    precision = np.where(tp / n_truth >= recall, tp / np.arange(1, len(tp) + 1), -1)
    best = precision.argmax()
    return scores[order][best], precision[best]
''', 'the same score were parted'),
        ('''
def threshold_for(scores, hits, n_truth, recall):
    for t in np.unique(scores)[::-1]:
        shown = hits[scores >= t]
        if shown.sum() / n_truth >= recall:
            return t, shown.mean()
    return math.nan, math.nan
''', 'the first threshold that reaches the recall'),
        ('''
def threshold_for(scores, hits, n_truth, recall):
    pairs = [(hits[scores >= t].mean(), t) for t in np.unique(scores) if hits[scores >= t].sum() / hits.sum() >= recall]
    return max(pairs, default=(math.nan, math.nan))[::-1]
''', 'it is a share of all'),
    ],
}
