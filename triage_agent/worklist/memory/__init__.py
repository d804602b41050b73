"""The worklist in memory: for tests and for trying things out; what it holds dies with the process."""

from triage_agent.worklist.memory.worklist import MemoryWorklist

__all__ = ["MemoryWorklist"]
