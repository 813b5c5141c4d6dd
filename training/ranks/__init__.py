"""Several processes that train one model together, as ``torchrun`` starts them.

    ranks.py        what a fit asks of the processes it runs in; a process alone, which is the default
    together.py     the same of several: gradients, decisions and losses go through collectives of torch.distributed
    peers.py        which of them is still there, and what ended one that is not
    environment.py  what torchrun says in the environment
    start.py        how a process joins the others, and how it leaves them

Every process reads the whole table and takes its own part of each batch, so that steps and their number are those of
one process. Process 0 decides, writes and publishes.
"""
