"""PixelMed's validator of structured reports."""

import os
import subprocess

from support.programs import require_program

# It runs into the limits that Java 17 sets for XPath; and it is over before what compiles best has paid for itself.
_JAVA = (
    "-Djdk.xml.xpathTotalOpLimit=0 -Djdk.xml.xpathExprOpLimit=0 -Djdk.xml.xpathExprGrpLimit=0 -Xss64m"
    " -XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
)


def validated(path):
    """What it says of a file."""
    done = subprocess.run(
        [require_program("DicomSRValidator"), str(path)],
        capture_output=True,
        text=True,
        errors="replace",
        timeout=280,
        check=False,
        env={**os.environ, "JDK_JAVA_OPTIONS": _JAVA},
    )
    return done.stdout + done.stderr
