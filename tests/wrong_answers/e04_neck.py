"Known wrong answers to e04_neck: for each exercise (code of the answer cell, fragment of the message it must give)."
WRONG = {
    'sizes': [
        ("""
sizes = {s: (1080 // s, 1920 // s) for s in (4, 8, 16, 32)}
missed = [8]
""", 'you rounded down'),
        ("""
sizes = {4: (480, 270), 8: (240, 135), 16: (120, 68), 32: (60, 34)}
missed = [8]
""", 'swapped'),
        ("""
sizes = {4: (270, 480), 8: (135, 240), 16: (68, 120), 32: (34, 60)}
missed = [16]
""", 'so it is with 720 rows'),
    ],
    'step': [
        ("""
def top_down_step(lateral, deeper):
    size, mode = lateral.shape[-2:], 'bilinear'
    return lateral + F.interpolate(deeper, size=size, mode=mode)
""", 'bilinear'),
        ("""
def top_down_step(lateral, deeper):
    size, mode = lateral.shape[-2:], 'nearest-exact'
    return lateral + F.interpolate(deeper, size=size, mode=mode)
""", 'nearest-exact'),
    ],
    'double': [
        ("""
def double_to(x, height, width):
    return fit_to(x.repeat(1, 1, 2, 2), torch.zeros(1, 1, height, width))
""", 'repeat each cell'),
        ("""
def double_to(x, height, width):
    x = F.interpolate(x, scale_factor=2)[..., :height, :width]
    return F.pad(x, (0, width - x.shape[3], 0, height - x.shape[2]))
""", 'filled with zeros'),
        ("""
def double_to(x, height, width):
    return F.interpolate(x, size=(height, width))
""", 'straight to the size'),
    ],
    'agree': [
        ("""
differ_23 = 1
differ_22 = 21
""", 'either way'),
        ("""
differ_23 = 0
differ_22 = 1
""", 'does not only mend the last row'),
        ("""
differ_23 = 0
differ_22 = 22
""", 'row 44 shows old row 21'),
    ],
    'fpn': [
        ("""
class SmallFPN(nn.Module):
    def __init__(self, channels_in, channels):
        super().__init__()
        self.laterals = nn.ModuleList(nn.Conv2d(c, channels, 1) for c in channels_in)
        self.outputs = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1) for _ in channels_in)

    def forward(self, maps):
        outs = [self.outputs[-1](self.laterals[-1](maps[-1]))]
        for i in reversed(range(len(maps) - 1)):
            lateral = self.laterals[i](maps[i])
            outs.insert(0, self.outputs[i](lateral + F.interpolate(outs[0], size=lateral.shape[-2:])))
        return outs
""", 'carry the sums'),
        ("""
class SmallFPN(nn.Module):
    def __init__(self, channels_in, channels):
        super().__init__()
        self.laterals = nn.ModuleList(nn.Conv2d(c, channels, 1) for c in channels_in)
        self.outputs = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1) for _ in channels_in)

    def forward(self, maps):
        maps = [lateral(m) for lateral, m in zip(self.laterals, maps)]
        sums = [m + F.interpolate(d, size=m.shape[-2:]) for m, d in zip(maps, maps[1:])] + maps[-1:]
        return [output(s) for output, s in zip(self.outputs, sums)]
""", 'must be the SUM'),
        ("""
class SmallFPN(nn.Module):
    def __init__(self, channels_in, channels):
        super().__init__()
        self.laterals = nn.ModuleList(nn.Conv2d(c, channels, 1) for c in channels_in)
        self.outputs = nn.ModuleList(nn.Conv2d(channels, channels, 3) for _ in channels_in)

    def forward(self, maps):
        sums = [lateral(m) for lateral, m in zip(self.laterals, maps)]
        for i in reversed(range(len(sums) - 1)): sums[i] = sums[i] + F.interpolate(sums[i + 1], size=sums[i].shape[-2:])
        return [output(s) for output, s in zip(self.outputs, sums)]
""", 'padding=1'),
    ],
    'weight': [
        ("""
def fpn_parameters(channels_in, channels):
    return sum(c*channels for c in channels_in) + len(channels_in) * 9*channels**2
""", 'the biases are missing'),
        ("""
def fpn_parameters(channels_in, channels):
    return sum(c*channels + channels for c in channels_in) + 9*channels**2 + channels
""", 'not one for all'),
        ("""
def fpn_parameters(channels_in, channels):
    return sum(c*channels + channels + 9*c*channels + channels for c in channels_in)
""", 'the outputs read c channels'),
    ],
    'join': [
        ("""
def as_concatenation(conv):
    big = nn.Conv2d(2*conv.in_channels, conv.out_channels, conv.kernel_size, padding=conv.padding)
    big.weight.data = torch.cat([conv.weight.data, conv.weight.data], 1) / 2
    big.bias.data = conv.bias.data.clone()
    return big
""", 'the mean of a and b'),
        ("""
def as_concatenation(conv):
    big = nn.Conv2d(2*conv.in_channels, conv.out_channels, conv.kernel_size, padding=conv.padding)
    big.weight.data = conv.weight.data.repeat_interleave(2, 1)
    big.bias.data = conv.bias.data.clone()
    return big
""", 'interleaved'),
        ("""
def as_concatenation(conv):
    big = nn.Conv2d(2*conv.in_channels, conv.out_channels, conv.kernel_size, padding=conv.padding)
    big.weight.data = torch.cat([conv.weight.data, conv.weight.data], 1)
    big.bias.data = 2 * conv.bias.data
    return big
""", 'the bias is added twice'),
    ],
    'back': [
        ("""
def bottom_up(sums, downs):
    return sums[:1] + [s + fit_to(down(finer), s) for s, finer, down in zip(sums[1:], sums, downs)]
""", 'send up the level just finished'),
        ("""
def bottom_up(sums, downs):
    for i, down in enumerate(downs): sums[i + 1] = sums[i + 1] + fit_to(down(sums[i]), sums[i + 1])
    return sums
""", 'you changed the maps'),
        ("""
def bottom_up(sums, downs):
    levels = list(sums)
    for i in reversed(range(len(sums) - 1)): levels[i] = levels[i] + resize_to(levels[i + 1], levels[i])
    return levels
""", 'this is the way down'),
    ],
    'fuse': [
        ("""
def fuse(maps, w, eps=1e-4):
    return sum(share * m for share, m in zip(w.softmax(0), maps))
""", 'this is a softmax'),
        ("""
def fuse(maps, w, eps=1e-4):
    shares = w / (w.sum() + eps)
    return sum(share * m for share, m in zip(shares, maps))
""", 'cut it at 0'),
        ("""
def fuse(maps, w, eps=1e-4):
    shares = (w / (w.sum() + eps)).relu()
    return sum(share * m for share, m in zip(shares, maps))
""", 'you cut after dividing'),
        ("""
def fuse(maps, w, eps=1e-4):
    w = w.relu()
    return sum(share * m for share, m in zip(w / w.sum(), maps))
""", 'eps is not looked at'),
    ],
    'share': [
        ("predicted_share = 8 / 15", 'rows AND columns'),
    ],
}
