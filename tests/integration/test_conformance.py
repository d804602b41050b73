"""What the conformance statement says is what a real association negotiates, with the listener of that configuration."""

import subprocess
from datetime import UTC, datetime
from itertools import batched

import pytest
