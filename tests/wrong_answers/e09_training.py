"Typical wrong answers to the exercises of e09_training, each with a fragment of what its check must say."
RATE = '''
def rate_at(step, steps, warmup_steps, final=0.01):
    if step < warmup_steps:
        return {warm}
    falling = {falling}
    return final + (1 - final) * (1 + math.cos(math.pi * falling)) / 2
'''
AVERAGE = '''
def update_average(average, current, n_averaged):
    decay = (1 + n_averaged) / (10 + n_averaged)
    for a, c in zip(average, current):
        {line}
'''
BEST = '''
class Best:
    def __init__(self):
        self.score, self.weights = -math.inf, None

    def update(self, score, model):
        {condition}:
            self.score, self.weights = score, {kept}
'''
ACCUMULATE = '''
def accumulate(model, batches):
    model.zero_grad()
    rows = sum(len(x) for x, _ in batches)
    for x, y in batches:
        loss = F.mse_loss(model(x), y)
        {line}
    return [p.grad.clone() for p in model.parameters()]
'''
GROUPS = '''
def parameter_groups(model, weight_decay):
    named = [(name, p) for name, p in model.named_parameters(){learns}]
    return [{{'params': [p for name, p in named if {decays}], 'weight_decay': weight_decay}},
            {{'params': [p for name, p in named if not ({decays})]{none}}}]
'''
RESUME = '''
def state_of(run):
    return {state}

def restore(run, state):
    run.model.load_state_dict(state['model'])
    run.step = state['step']
    {more}
'''
KEPT = "'model': run.model.state_dict(), 'step': run.step"
OPTIMIZER, DRAWN = "'optimizer': run.optimizer.state_dict()", "'random': run.random.getstate()"
LOAD, DRAW = "run.optimizer.load_state_dict(state['optimizer'])", "run.random.setstate(state['random'])"
WARM = '(step + 1) / warmup_steps'
PLACE = '(step - warmup_steps) / max(steps - 1 - warmup_steps, 1)'

WRONG = {
    'rate': [
        (RATE.format(warm='step / warmup_steps', falling=f'min({PLACE}, 1.)'), 'the warm-up starts from zero'),
        (RATE.format(warm=WARM, falling=PLACE), 'the rate climbs again after the end'),
        (RATE.format(warm=WARM, falling='min(step / (steps - 1), 1.)'), 'falling since step 0'),
        (RATE.format(warm=WARM, falling=f'2 * min({PLACE}, 1.)'), 'this is a whole wave'),
    ],
    'average': [
        (AVERAGE.format(line='a.lerp_(c, decay) if a.is_floating_point() else a.copy_(c)'), 'the shares are swapped'),
        (AVERAGE.format(line='a = decay * a + (1 - decay) * c'), 'the average has not moved'),
        (AVERAGE.format(line='if a.is_floating_point(): a.lerp_(c, 1 - decay)'), 'the counter was passed over'),
    ],
    'share': [('predicted_share = 0.5', 'a power, not a difference'), ('predicted_share = 0.39', 'the share of all weights since the start')],
    'best': [
        (BEST.format(condition='if score > self.score', kept='model.state_dict()'), 'state_dict() gives references'),
        (BEST.format(condition='if score > self.score', kept='dict(model.state_dict())'), 'state_dict() gives references'),
        (BEST.format(condition='if score >= self.score', kept='copy.deepcopy(model.state_dict())'), 'an equal score is not a better one'),
        (BEST.format(condition='if True', kept='copy.deepcopy(model.state_dict())'), 'the last score was kept'),
        (BEST.format(condition='if score > self.score', kept='{n: p.detach().clone() for n, p in model.named_parameters()}'),
         'the statistics of BatchNorm'),
    ],
    'patience': [
        ('''
def stop_after(scores, patience):
    bad = 0
    for n, score in enumerate(scores, 1):
        bad = 0 if n == 1 or score > scores[n - 2] else bad + 1
        if patience and bad >= patience:
            return n
    return len(scores)
''', 'compared with the one before it'),
        ('''
def stop_after(scores, patience):
    best, bad = -math.inf, 0
    for n, score in enumerate(scores, 1):
        if score > best: best = score
        else: bad += 1
        if patience and bad >= patience:
            return n
    return len(scores)
''', 'the counter is never set back'),
        ('''
def stop_after(scores, patience):
    best, bad = -math.inf, 0
    for n, score in enumerate(scores, 1):
        bad = 0 if score >= best else bad + 1
        best = max(best, score)
        if patience and bad >= patience:
            return n
    return len(scores)
''', 'a tie was taken for progress'),
    ],
    'clip': [
        ('def clip(gradients, clip_norm): return [g * min(1, clip_norm / max(float(g.norm()), 1e-9)) for g in gradients]', 'clipped by its own norm'),
        ('def clip(gradients, clip_norm): return [g.clamp(-clip_norm, clip_norm) for g in gradients]', 'by value'),
        ('''
def clip(gradients, clip_norm):
    norm = sum(float((g ** 2).sum()) for g in gradients) ** 0.5
    return [g * clip_norm / norm for g in gradients]
''', 'a short gradient was made longer'),
    ],
    'gradient': [('predicted_gradient = 7.5', 'the mean of the two means'), ('predicted_gradient = 15', 'the sum of the two means')],
    'accumulate': [
        (ACCUMULATE.format(line='loss.backward()'), 'the two means are added'),
        (ACCUMULATE.format(line='(loss / len(batches)).backward()'), 'the two means are averaged'),
        (ACCUMULATE.format(line='(loss / rows).backward()'), 'it was a mean already'),
    ],
    'groups': [
        (GROUPS.format(learns='', decays="'bias' not in name", none=", 'weight_decay': 0."), 'its name is weight, but it is a vector'),
        (GROUPS.format(learns='', decays='p.ndim > 1', none=", 'weight_decay': 0."), 'the frozen convolution'),
        (GROUPS.format(learns=' if p.requires_grad', decays='p.ndim > 1', none=''), 'AdamW takes its default'),
    ],
    'atomic': [
        ('def write_whole(path, content): Path(path).write_bytes(content)', 'the old file itself was overwritten'),
        ('''
def write_whole(path, content):
    partial = Path(str(path) + '.partial')
    partial.write_bytes(content)
    Path(path).unlink(missing_ok=True)
    partial.rename(path)
''', 'the old file was deleted before'),
    ],
    'resume': [
        (RESUME.format(state=f'copy.deepcopy({{{KEPT}, {DRAWN}}})', more=DRAW), 'the optimiser begins cold'),
        (RESUME.format(state=f'{{{KEPT}, {OPTIMIZER}, {DRAWN}}}', more=f'{LOAD}; {DRAW}'), 'the state changed while the run went on'),
        (RESUME.format(state=f'copy.deepcopy({{{KEPT}, {OPTIMIZER}}})', more=LOAD), 'the random generator begins anew'),
    ],
}
