"Known wrong answers to e03_backbone: for each exercise (code of the answer cell, fragment of the message it must give)."
WRONG = {
    'sign-width': [
        ("""
widths = {s: 25 / s for s in (8, 16, 32)}
largest_stride = 8
""", 'native resolution'),
        ("""
widths = {s: 25 * 640 / 720 / s for s in (8, 16, 32)}
largest_stride = 8
""", 'how high the sign is'),
        ("""
widths = {8: 1.56, 16: 0.78, 32: 0.39}
largest_stride = 8
""", 'the squashed sign has 1.6 cells'),
    ],
    'output-size': [
        ("""
def output_size(n, k, s=1, p=0, d=1):
    return (n + p - d*(k - 1) - 1) // s + 1
""", 'both sides'),
        ("""
def output_size(n, k, s=1, p=0, d=1):
    return -(-(n + 2*p - d*(k - 1) - 1) // s) + 1
""", 'you round up'),
        ("""
def output_size(n, k, s=1, p=0, d=1):
    return (n + 2*p - d*k) // s + 1
""", 'not d k'),
    ],
    'taps': [
        ("""
def last_of_stride(units, max_stride=32):
    taps = {}
    for name, stride in units:
        if 2 <= stride <= max_stride: taps.setdefault(stride, name)
    return taps
""", 'first units'),
        ("""
def last_of_stride(units, max_stride=32):
    return {stride: name for name, stride in units}
""", 'strides 1 and 64'),
        ("""
def last_of_stride(units, max_stride=32):
    return {stride: name for name, stride in units if 2 <= stride < max_stride}
""", 'max_stride itself'),
    ],
    'normalise': [
        ("""
def normalise(images, mean, std):
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (mean, std))
    return (images - mean) / std

def restore(images, mean, std):
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (mean, std))
    return (images * std + mean).round().clamp(0, 255).to(torch.uint8)
""", 'divide by 255 first'),
        ("""
def normalise(images, mean, std):
    return (images / 255 - torch.tensor(mean)) / torch.tensor(std)

def restore(images, mean, std):
    return ((images * torch.tensor(std) + torch.tensor(mean)) * 255).round().clamp(0, 255).to(torch.uint8)
""", 'three columns'),
        ("""
def normalise(images, mean, std):
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (mean, std))
    return (images / 255 - mean) / std

def restore(images, mean, std):
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (mean, std))
    return ((images + mean) * std * 255).round().clamp(0, 255).to(torch.uint8)
""", 'reverse order'),
        ("""
def normalise(images, mean, std):
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (mean, std))
    return (images / 255 - mean) / std

def restore(images, mean, std):
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (mean, std))
    return ((images * std + mean) * 255).clamp(0, 255).to(torch.uint8)
""", 'cut off after the point'),
    ],
    'field': [
        ("""
def receptive_fields(convs):
    r, j, fields = 1, 1, []
    for k, s, d in convs:
        j = j*s
        r = r + d*(k - 1)*j
        fields.append(r)
    return fields
""", 'use the old j'),
        ("""
def receptive_fields(convs):
    r, j, fields = 1, 1, []
    for k, s, d in convs:
        r, j = r + d*(k - 1)*j, s
        fields.append(r)
    return fields
""", 'must be multiplied'),
        ("""
def receptive_fields(convs):
    r, j, fields = 1, 1, []
    for k, s, d in convs:
        r, j = r + (k - 1)*j, j*s
        fields.append(r)
    return fields
""", 'the dilation is left out'),
    ],
    'drift': [
        ("""
mean_in_train = 0.6
mean_in_eval = 0
""", 'the distance that is LEFT'),
        ("""
mean_in_train = 2 * (1 - 0.1**3)
mean_in_eval = 0
""", 'the weight of the NEW value'),
        ("""
mean_in_train = 0.54
mean_in_eval = 0.54
""", 'read and never written'),
    ],
    'frozen': [
        ("""
class Frozen(nn.Module):
    def __init__(self, net, n_frozen):
        super().__init__()
        self.net, self.n_frozen = net, n_frozen
        self.net[:n_frozen].requires_grad_(False)
        self.net[:n_frozen].eval()

    def forward(self, x): return self.net(x)
""", 'after .train() the frozen BatchNorm is in train mode'),
        ("""
class Frozen(nn.Module):
    def __init__(self, net, n_frozen):
        super().__init__()
        self.net, self.n_frozen = net, n_frozen

    def train(self, mode=True):
        super().train(mode)
        self.net[:self.n_frozen].eval()
        return self

    def forward(self, x): return self.net(x)
""", 'still has gradients'),
        ("""
class Frozen(nn.Module):
    def __init__(self, net, n_frozen):
        super().__init__()
        self.net, self.n_frozen = net, n_frozen
        self.net[:n_frozen].requires_grad_(False)

    def train(self, mode=True):
        self.net[:self.n_frozen].eval()
        self.net[self.n_frozen:].train()
        return self

    def forward(self, x): return self.net(x)
""", 'called with mode=False'),
    ],
    'separable': [
        ("""
def conv_weights(k, c_in, c_out):
    return k*k * c_in * c_out, k*k * c_in * c_out + c_in * c_out
""", 'no factor c_out'),
        ("""
def conv_weights(k, c_in, c_out):
    return k*k * c_in * c_out, k*k * c_out + c_in * c_out
""", 'works on c_in channels'),
        ("""
def conv_weights(k, c_in, c_out):
    return k*k * c_in * c_out, k*k * c_in * c_in * c_out
""", 'add their weights'),
    ],
    'window': [
        ("predicted_growth = 25 / 9", 'the pointwise half does not grow'),
    ],
}
