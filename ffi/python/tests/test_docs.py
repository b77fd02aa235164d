"""The programs in the documentation."""

import pathlib
import re
import subprocess
import sys

DOCUMENT = pathlib.Path(__file__).resolve().parents[3] / "docs" / "python.md"


def test_the_first_program_does_what_it_says(tmp_path):
    programs = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.S)
    (program,) = [text for text in programs if "queue.Queue()" in text]
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True, timeout=60, check=True)
    assert done.stdout == "b'invoice for order 7'\n"
