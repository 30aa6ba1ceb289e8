"""Real processes that train together, as torchrun starts them."""

import multiprocessing
import os
import pickle
import socket
import time
import warnings

import torch

PATIENCE = 120.0  # s, after which a training hangs
# processes are copies of one that has imported everything already, which takes seconds
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["ase_pet.train.run", "argon", "torch._dynamo"])


def together(function, size, *arguments):
    """[(exit status, result or error)] of function(*arguments) in each of `size` processes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    pipes = [CONTEXT.Pipe(duplex=False) for _ in range(size)]
    processes = []
    for rank, (_, sender) in enumerate(pipes):
        whole = (function, rank, size, port, sender, arguments)
        processes.append(CONTEXT.Process(target=_run, args=whole, daemon=True))
        processes[-1].start()
        sender.close()
    end = time.monotonic() + PATIENCE
    for process in processes:
        process.join(max(0.0, end - time.monotonic()))
    hanging = [rank for rank, process in enumerate(processes) if process.is_alive()]
    for process in processes:
        process.kill()
    assert not hanging, f"ranks {hanging} hang"
    return [
        (process.exitcode, _received(receiver))
        for process, (receiver, _) in zip(processes, pipes, strict=True)
    ]


def results(function, size, *arguments):
    """Results of all processes, none of which fails."""
    ends = together(function, size, *arguments)
    assert [status for status, _ in ends] == [0] * size, ends
    return [result for _, result in ends]


def _run(function, rank, size, port, sender, arguments):
    """Body of a process."""
    os.environ.update(
        RANK=str(rank),
        LOCAL_RANK=str(rank),
        WORLD_SIZE=str(size),
        MASTER_ADDR="127.0.0.1",
        MASTER_PORT=str(port),
    )
    torch.set_num_threads(1)
    with warnings.catch_warnings(record=True) as notes:
        warnings.simplefilter("always")
        try:
            result = function(*arguments)
        except Exception as error:
            result = error
    texts = [str(note.message) for note in notes]
    sender.send_bytes(pickle.dumps((result, texts)))


def _received(receiver):
    """(result, notes) of a process, None if it ended without any."""
    try:
        return pickle.loads(receiver.recv_bytes())
    except EOFError:
        return None
