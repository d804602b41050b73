"""A function in a process of its own that can be killed: forked, so that it need not load torch again."""

import multiprocessing
import warnings
from contextlib import contextmanager


@contextmanager
def child(function, *arguments):
    """Run `function(*arguments)` beside the body; whatever of it is left at the end is killed."""
    process = multiprocessing.get_context("fork").Process(target=function, args=arguments)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns where the test runner has threads
        process.start()
    try:
        yield process
    finally:
        process.kill()
        process.join()
