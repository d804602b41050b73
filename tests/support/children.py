"""Training in processes of their own, to be killed or to train together.

They are forked from a server that has loaded torch and run nothing: a fork of the test runner, whose torch may have
started threads, would find them gone.
"""

import multiprocessing
import os
import time
from contextlib import contextmanager

SOON = 240.0  # seconds; everything takes one or two where nothing else runs

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["triage_agent.learning.train", "transformers.models.siglip.modeling_siglip"])


@contextmanager
def child(function, *arguments):
    """Run `function(*arguments)` beside the body; whatever of it is left at the end is killed."""
    process = _CONTEXT.Process(target=function, args=arguments)
    process.start()
    try:
        yield process
    finally:
        process.kill()
        process.join()


def train_and_tell(options, lines):
    """Train, writing each line down; waits in epoch 5 to be killed."""
    import torch  # noqa: PLC0415 - the server has loaded it, whoever imports this module need not

    from triage_agent.learning.train import train  # noqa: PLC0415 - as above

    torch.set_num_threads(1)

    def progress(line):
        with lines.open("a") as file:
            file.write(line + "\n")
        if line.startswith("epoch 5"):
            time.sleep(SOON)

    train(options, progress)


def train_as(rank, size, port, options, folder, shard):
    """What torchrun does with each process; writes down what this one holds at the end, and all that it says."""
    import torch  # noqa: PLC0415 - as above

    from triage_agent.learning import frozen  # noqa: PLC0415 - as above
    from triage_agent.learning import train as module  # noqa: PLC0415 - as above

    torch.set_num_threads(1)
    os.environ.update(
        RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(size), MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port)
    )
    once = module.train_network

    def train_network(*arguments):
        trained = once(*arguments)
        torch.save({"encoder": trained.encoder.state_dict(), "head": trained.head_state}, folder / f"{rank}.pt")
        return trained

    module.train_network, frozen.SHARD = train_network, shard  # in this process alone, which ends with it
    heard = []
    module.train(options, heard.append)
    (folder / f"{rank}.txt").write_text("\n".join(heard))
