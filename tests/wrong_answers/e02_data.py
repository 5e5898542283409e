"Typical wrong answers to the exercises of e02_data, each with a fragment of the message that it must get."

COCO = '''def coco_targets(file, file_name):
    coco = json.loads(Path(file).read_text())
    image_id = next(i['id'] for i in coco['images'] if i['file_name'] == file_name)
    label_of = {c: k for k, c in enumerate(sorted(c['id'] for c in coco['categories']))}
    found = [a for a in coco['annotations'] if a['image_id'] == image_id]
    boxes = torch.tensor([a['bbox'] for a in found], dtype=torch.float32).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    return boxes, torch.tensor([label_of[a['category_id']] for a in found], dtype=torch.int64)
'''

YOLO = '''def yolo_row(box, label, size):
    x1, y1, x2, y2 = box
    height, width = size
    return [label, (x1 + x2) / 2 / width, (y1 + y2) / 2 / height, (x2 - x1) / width, (y2 - y1) / height]
'''

ASK = '''def ask_for(boxes, names, asked):
    wanted = torch.tensor([n in asked for n in names], dtype=torch.bool)
    labels = torch.tensor([asked.index(n) for n in names if n in asked], dtype=torch.int64)
    return boxes[wanted], labels, boxes[~wanted]
'''

DRIVES = '''def drive_numbers(filenames, gap_seconds=60):
    times = [taken_at(f) for f in filenames]
    order = sorted(range(len(times)), key=times.__getitem__)
    numbers, drive = [0] * len(times), 0
    for before, now in zip(order, order[1:]):
        if (times[now] - times[before]).total_seconds() > gap_seconds: drive += 1
        numbers[now] = drive
    return numbers
'''

FIRST_OF_DRIVE = '''def drive_numbers(filenames, gap_seconds=60):
    times = [taken_at(f) for f in filenames]
    order = sorted(range(len(times)), key=times.__getitem__)
    numbers, drive, first = [0] * len(times), 0, order[:1]
    for now in order:
        if (times[now] - times[first[0]]).total_seconds() > gap_seconds:
            drive += 1
            first = [now]
        numbers[now] = drive
    return numbers
'''

HASHED = '''def split_by_checksum(frames, valid_share=0.2):
    side = [zlib.crc32(f.drive.encode()) % 100 < 100 * valid_share for f in frames]
    return [f for f, s in zip(frames, side) if not s], [f for f, s in zip(frames, side) if s]
'''

MERGE = '''def merge(a, b):
    (n_a, mean_a, m2_a), (n_b, mean_b, m2_b) = a, b
    n, delta = n_a + n_b, mean_b - mean_a
    share = n_b / max(n, 1)
    return n, mean_a + delta * share, m2_a + m2_b + delta ** 2 * n_a * share
'''

CUT = '''def cut_to_window(boxes, window):
    corner, size = window[:2].repeat(2), (window[2:] - window[:2]).repeat(2)
    moved = boxes - corner
    clipped = torch.minimum(moved.clamp(min=0), size)
    area, left = ((b[:, 2:] - b[:, :2]).prod(1) for b in (moved, clipped))
    kept = left >= 0.5 * area
    return clipped[kept], clipped[(left > 0) & ~kept]
'''

CENTRE = CUT.replace('left >= 0.5 * area', '((moved[:, :2] + moved[:, 2:]) / 2 < size[:2]).all(1) & (moved[:, :2] + moved[:, 2:] > 0).all(1)')
SIDES = CUT.replace('left >= 0.5 * area', '((clipped[:, 2:] - clipped[:, :2]) >= 0.5 * (moved[:, 2:] - moved[:, :2])).all(1)')

REPEAT = '''def repeat_times(labels, n_classes, t):
    there = torch.zeros(len(labels), n_classes, dtype=torch.float64)
    for row, l in zip(there, labels): row[l] = 1
    share = there.sum(0) / max(len(labels), 1)
    r_c = torch.where(share > 0, (t / share).sqrt(), 1).clamp(min=1)
    return r_c, torch.where(there > 0, r_c, 1).amax(1)
'''

COUNT_BOXES = REPEAT.replace('share = there.sum(0) / max(len(labels), 1)', '''n = torch.bincount(torch.cat(labels), minlength=n_classes).double()
    share = n / n.sum()''')
BOXES_PER_FRAME = COUNT_BOXES.replace('n / n.sum()', 'n / len(labels)')


def changed(source, *pairs):
    "`source` with each (old, new) of `pairs` replaced; every old one must be there."
    for old, new in pairs:
        assert old in source, old
        source = source.replace(old, new)
    return source


WRONG = {
    'coco': [
        (changed(COCO, ('    boxes[:, 2:] += boxes[:, :2]\n', '')), 'w and h still stand where x2 and y2 belong'),
        (changed(COCO, ("label_of[a['category_id']]", "a['category_id']")), 'these are category ids'),
        (changed(COCO, ('enumerate(sorted(', 'enumerate((')), 'labels follow the sorted ids'),
        (changed(COCO, ("    boxes = torch.tensor([a['bbox'] for a in found], dtype=torch.float32).reshape(-1, 4)\n    boxes[:, 2:] += boxes[:, :2]\n",
                        "    boxes = torch.tensor([[x, y, x + w, y + h] for x, y, w, h in (a['bbox'] for a in found)], dtype=torch.float32)\n")),
         'must have the shape (0, 4)'),
        (changed(COCO, ('for a in found], dtype=torch.int64)', 'for a in found])')), 'labels of a frame without signs are float'),
    ],
    'yolo': [
        (changed(YOLO, ('height, width = size', 'width, height = size')), 'width and height are swapped'),
        (changed(YOLO, ('(x1 + x2) / 2', 'x1'), ('(y1 + y2) / 2', 'y1')), 'this is the top left corner'),
        (changed(YOLO, (' / width', ''), (' / height', '')), 'these are px'),
    ],
    'ask': [
        (changed(ASK, ('asked.index(n) for n in names if n in asked', 'k for k, n in enumerate(n for n in names if n in asked)')),
         'not the number of the sign in its frame'),
        (changed(ASK, ('asked.index(n)', 'sorted(set(names)).index(n)')), 'places among all three classes'),
        (changed(ASK, ('boxes[~wanted]', 'no_boxes()')), 'would learn that it is background'),
    ],
    'kind': [
        ('''def frame_kind(names, asked, looked):
    left = [n for n in names if n in asked]
    return 'signs' if left else 'background' if looked else 'unknown'
''', 'is no background frame: there its box is an ignore region'),
        ('''def frame_kind(names, asked, looked):
    return 'signs' if any(n in asked for n in names) else 'other signs' if names else 'background'
''', 'no box is not the same as no sign'),
        ('''def frame_kind(names, asked, looked):
    if not looked: return 'unknown'
    return 'signs' if any(n in asked for n in names) else 'other signs' if names else 'background'
''', 'somebody drew a box there'),
    ],
    'drives': [
        (FIRST_OF_DRIVE, 'you compare with the first frame of the drive'),
        (changed(DRIVES, ('.total_seconds()', '.seconds')), 'timedelta.seconds forgets whole days'),
        (changed(DRIVES, ('key=times.__getitem__', 'key=filenames.__getitem__')), 'a name begins with the day'),
        (changed(DRIVES, ('sorted(range(len(times)), key=times.__getitem__)', 'range(len(times))')), 'all pauses were negative'),
        (changed(DRIVES, ('> gap_seconds', '>= gap_seconds')), 'exactly 60 s is not more than 60 s'),
    ],
    'hashed': [
        (changed(HASHED, ('f.drive.encode()', 'f.filename.encode()')), 'you took the checksum of the file name'),
        (changed(HASHED, ('if not s]', 'if S]'), ('if s]', 'if not s]'), ('if S]', 'if s]')), 'train and valid are swapped'),
        ('def split_by_checksum(frames, valid_share=0.2): return [f for k, f in enumerate(frames) if k % 5], frames[::5]', 'you dealt frames, not drives'),
    ],
    'twins': [('predicted_twins = 0.8', 'there is one before and one after'), ('predicted_twins = 0.64', 'one is enough')],
    'full': [('predicted_total = 20_000_000', 'that is the exact sum'), ('predicted_total = 2 ** 23', 'the leading 1 is not stored')],
    'merge': [
        (changed(MERGE, (' + delta ** 2 * n_a * share', '')), 'the spread between the two means is missing'),
        (changed(MERGE, ('mean_a + delta * share', '(mean_a + mean_b) / 2')), 'the mean of the two means'),
        (changed(MERGE, ('delta ** 2 * n_a * share', 'delta ** 2')), 'needs the factor n_a * n_b / n'),
    ],
    'squash': [
        ('predicted_width, predicted_height = 22.2, 12.5', 'width and height are swapped'),
        ('predicted_width, predicted_height = 12.5, 12.5', 'one factor for both sides'),
    ],
    'cut': [
        (CENTRE, 'you ask whether the centre is inside'),
        (SIDES, 'only 39 % of its area'),
        (changed(CUT, ('>= 0.5', '> 0.5')), 'exactly half of its area inside'),
        (changed(CUT, ('clipped[kept], clipped', 'moved[kept], clipped')), 'the boxes are not clipped'),
        (changed(CUT, ('clipped[(left > 0) & ~kept]', 'no_boxes()')), 'would learn that they are background'),
        (changed(CUT, ('(left > 0) & ~kept', '~kept')), 'it is no ignore region'),
    ],
    'repeat': [
        (changed(REPEAT, ('.sqrt()', '')), 'the square root is missing'),
        (changed(REPEAT, ('.clamp(min=1)', '')), 'max(1, ...) is missing'),
        (COUNT_BOXES, 'you counted boxes'),
        (BOXES_PER_FRAME, 'counts once'),
        (changed(REPEAT, ('torch.where(there > 0, r_c, 1).amax(1)', '(there * r_c).amax(1)')), 'a frame without signs is shown once'),
    ],
    'mirror': [
        ("mirrored = {sign: sign for sign in SIGNS}", '3_24 in a mirror hangs on no street'),
        ("mirrored = {'2_1': '2_1', '3_27': '3_27', '3_24': None, '2_5': None, '1_23': None, '3_20': None, '4_2_1': '4_2_1', '5_19_1': '5_19_1'}",
         '4_2_1 in a mirror is another sign'),
        ("mirrored = {sign: None for sign in SIGNS}", '2_1 in a mirror is still itself'),
    ],
}
