"""The network of kernels/src/network/architecture.rs in PyTorch, eager and compiled, in bf16: how fast are the same sums there?

Reads from standard input what `ringrift gpu-check` asks for, as JSON: boards with their neighbours, and cases (network, batch,
mode) in the order in which they matter. Prints a line of JSON about itself and then one for each case, as soon as it is
measured, so that nothing is lost with whatever ends it. `--cpu` measures on the CPU, to try the script out.

The same: planes of 48 channels and 32 globals in; stem, residual blocks of two neighbour convolutions, every third with a
bias from the pooled trunk; the policy's cells, queries and keys of every legal move's two ends, planes, rays and kinds; the
value's two layers; for training the cross-entropies, AdamW with clipping, and an average of the weights. Neighbours off the
board are zeros.

In bf16: a forward pass has weights and all that follows from them in bf16, so nothing is converted while it is measured; training
has weights in f32 and goes through autocast, as is usual.

Different: positions come expanded (ours are packed, and expanded in the time that is measured); every position has the mean
number of legal moves, each with two ends and three planes (ours: as many and what the kind of move reads); all that is
no convolution is bf16 too in a forward pass, and mostly under autocast (ours: f32); `conv2d` computes a hexagonal board as a masked square with two of nine taps
zero, which is more arithmetic, and is there because it is what people would write.
"""

import json
import statistics
import sys
import time

try:
    import torch
    import torch.nn.functional as F
    from torch import nn
except ImportError as error:
    print(f"no PyTorch: {error}")
    sys.exit(1)

CHANNELS, GLOBALS, KEY, PLANES, KINDS, PAIRS, RAYS, HIDDEN, SEATS = 48, 32, 32, 20, 27, 7, 7 * 8 * 24, 64, 4
NONE = 511


class Gather(nn.Module):
    """Neighbours are looked up in one row of zeros behind the board, then one product over taps and channels."""

    def __init__(self, board, inputs, outputs):
        super().__init__()
        cells = len(board["coordinates"])
        sources = torch.tensor(board["sources"]).view(-1)
        self.register_buffer("sources", torch.where(sources == NONE, cells, sources))
        self.taps, self.cells = board["taps"], cells
        self.product = nn.Linear(self.taps * inputs, outputs)

    def forward(self, x):
        padded = F.pad(x, (0, 0, 0, 1))
        near = padded.index_select(1, self.sources)
        return self.product(near.view(x.shape[0], self.cells, -1))


class Conv2d(nn.Module):
    """The board as a masked square; where there is no neighbour, as in two corners on hexagonal boards, the kernel is zero."""

    def __init__(self, board, inputs, outputs):
        super().__init__()
        self.product = nn.Conv2d(inputs, outputs, 3, padding=1)
        kernel = torch.zeros(3, 3)
        taps, coordinates = board["taps"], board["coordinates"]
        for i, source in enumerate(board["sources"]):
            if source != NONE:
                (x, y), (to_x, to_y) = coordinates[i // taps], coordinates[source]
                kernel[to_x - x + 1, to_y - y + 1] = 1.0
        self.register_buffer("kernel", kernel)

    def forward(self, x):
        return F.conv2d(x, self.product.weight * self.kernel, self.product.bias, padding=1)


class Net(nn.Module):
    def __init__(self, board, blocks, channels, layout):
        super().__init__()
        self.square = layout == "conv2d"
        convolution = Conv2d if self.square else Gather
        self.cells = len(board["coordinates"])
        low = min(x for x, _ in board["coordinates"]), min(y for _, y in board["coordinates"])
        self.side = 1 + max(x for x, _ in board["coordinates"]) - low[0]
        at = torch.tensor([(x - low[0]) * self.side + y - low[1] for x, y in board["coordinates"]])
        mask = torch.zeros(self.side * self.side)
        mask[at] = 1.0
        self.register_buffer("at", at)
        self.register_buffer("mask", mask.view(1, 1, self.side, self.side))
        self.stem = convolution(board, CHANNELS, channels)
        self.globals = nn.Linear(GLOBALS, channels, bias=False)
        self.first = nn.ModuleList(convolution(board, channels, channels) for _ in range(blocks))
        self.second = nn.ModuleList(convolution(board, channels, channels) for _ in range(blocks))
        self.pooled = nn.ModuleDict(
            {str(i): nn.Linear(2 * channels, channels, bias=False) for i in range(blocks) if i % 3 == 2}
        )
        self.policy = nn.Linear(channels, 2 * KEY + PLANES)
        self.pairs = nn.Parameter(torch.ones(PAIRS, KEY))
        self.rays = nn.Parameter(torch.zeros(RAYS))
        self.kinds = nn.Linear(2 * channels, KINDS)
        self.hidden = nn.Linear(2 * channels, HIDDEN)
        self.value = nn.Linear(HIDDEN, SEATS)

    def of_boards(self, bias):
        return bias[:, :, None, None] if self.square else bias[:, None]

    def masked(self, x):
        return x * self.mask if self.square else x

    def pool(self, x):
        if self.square:
            mean = x.sum((2, 3)) / self.cells
            return torch.cat((mean, x.amax((2, 3))), 1)  # after a ReLU, so zeros off the board change no maximum
        return torch.cat((x.mean(1), x.amax(1)), 1)

    def forward(self, planes, globals, moves):
        x = planes
        if self.square:
            x = planes.new_zeros(planes.shape[0], CHANNELS, self.side * self.side)
            x = x.index_copy(2, self.at, planes.transpose(1, 2)).view(-1, CHANNELS, self.side, self.side)
        x = self.masked(F.relu(self.stem(x) + self.of_boards(self.globals(globals))))
        for i, (first, second) in enumerate(zip(self.first, self.second)):
            h = first(x)
            if str(i) in self.pooled:
                h = h + self.of_boards(self.pooled[str(i)](self.pool(x).to(h.dtype)))
            x = self.masked(F.relu(second(self.masked(F.relu(h))) + x))
        pooled = self.pool(x)
        if self.square:
            x = x.flatten(2).index_select(2, self.at).transpose(1, 2)
        cells = self.policy(x)
        row = torch.arange(x.shape[0], device=x.device)[:, None]
        source, target, pair, ray, kind, planes_of = moves
        q, k = cells[row, source, :KEY], cells[row, target, KEY : 2 * KEY]
        logits = (q * k * self.pairs[pair]).sum(2) * KEY**-0.5 + self.rays[ray] + self.kinds(pooled).gather(1, kind)
        for i, cell in enumerate((source, target, source)):
            logits = logits + cells[row, cell, 2 * KEY + planes_of[i]]
        return logits, self.value(F.relu(self.hidden(pooled)))


def inputs(board, batch, device):
    cells, moves = len(board["coordinates"]), board["moves"]
    draw = lambda top: torch.randint(top, (batch, moves), device=device)
    planes = (torch.rand(batch, cells, CHANNELS, device=device) < 0.15).to(torch.bfloat16)
    planes_of = [torch.randint(PLANES, (batch, moves), device=device) for _ in range(3)]
    moves = (draw(cells), draw(cells), draw(PAIRS), draw(RAYS), draw(KINDS), planes_of)
    return planes, torch.rand(batch, GLOBALS, device=device), moves


def rates(step, batch, request, device):
    """The median, the least and the most positions per second of several repeats, each long enough, after a warm-up."""
    wait = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    for _ in range(3):
        step()
    wait()
    passes = 1
    while True:
        began = time.perf_counter()
        for _ in range(passes):
            step()
        wait()
        took = time.perf_counter() - began
        if took >= request["seconds"]:
            break
        passes *= max(2, min(64, int(request["seconds"] / max(took, 1e-6)) + 1))
    found = []
    for _ in range(request["repeats"]):
        began = time.perf_counter()
        for _ in range(passes):
            step()
        wait()
        found.append(batch * passes / (time.perf_counter() - began))
    return {"median": statistics.median(found), "least": min(found), "most": max(found)}


def forward(net, data, mode):
    net, (planes, globals, moves) = net.to(torch.bfloat16), data
    globals = globals.to(torch.bfloat16)
    run = torch.compile(net) if mode == "compile" else net

    def step():
        with torch.no_grad():
            run(planes, globals, moves)

    return step


def training(net, data, mode):
    device = data[0].device
    optimizer = torch.optim.AdamW(
        net.parameters(), lr=2e-3, betas=(0.9, 0.95), weight_decay=0.02, fused=device.type == "cuda"
    )
    average = [p.detach().clone() for p in net.parameters()]
    batch, moves = data[2][0].shape
    policy = F.one_hot(torch.randint(moves, (batch,), device=device), moves).float()
    winner = torch.randint(2, (batch,), device=device)

    def loss():
        with torch.autocast(device.type, torch.bfloat16):
            logits, value = net(*data)
        return F.cross_entropy(logits.float(), policy) + F.cross_entropy(value.float(), winner)

    run = torch.compile(loss) if mode == "compile" else loss

    def step():
        optimizer.zero_grad(set_to_none=True)
        run().backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        with torch.no_grad():
            torch._foreach_lerp_(average, list(net.parameters()), 0.005)

    return step


def measured(board, case, request, device):
    """What a case comes to; an error of its own leaves the others alone."""
    result = {
        "what": case["what"],
        "config": case["config"],
        "network": f"b{case['blocks']}c{case['channels']}",
        "batch": case["batch"],
        "mode": case["mode"],
        "layout": case["layout"],
        "median": None,
        "least": None,
        "most": None,
        "error": None,
    }
    try:
        torch.manual_seed(1)
        if case["mode"] == "compile":
            torch._dynamo.reset()
        net = Net(board, case["blocks"], case["channels"], case["layout"]).to(device)
        if case["layout"] == "conv2d":
            net = net.to(memory_format=torch.channels_last)
        data = inputs(board, case["batch"], device)
        step = (forward if case["what"] == "forward" else training)(net, data, case["mode"])
        result.update(rates(step, case["batch"], request, device))
    except Exception as error:  # out of memory, or no compiler
        lines = str(error).splitlines() or [""]
        result["error"] = f"{type(error).__name__}: {lines[0]}"[:300]
    return result


def say(message):
    print(json.dumps(message), flush=True)


def main():
    request = json.load(sys.stdin)
    if "--cpu" in sys.argv[1:]:
        device = torch.device("cpu")
    elif torch.cuda.is_available():
        device = torch.device("cuda", request["card"])
        torch.cuda.set_device(device)
    else:
        print(f"PyTorch {torch.__version__} finds no card")
        sys.exit(1)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    say({"torch": torch.__version__, "cuda": torch.version.cuda, "device": name})
    boards = {board["config"]: board for board in request["boards"]}
    for case in request["cases"]:
        say(measured(boards[case["config"]], case, request, device))


if __name__ == "__main__":
    main()
