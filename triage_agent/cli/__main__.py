"""`python -m triage_agent.cli`: the command without its script, as torchrun starts it."""

from triage_agent.cli import main

if __name__ == "__main__":
    main()
