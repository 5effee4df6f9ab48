"""Writes into an installed program where its Python package is, as CMake does with run paths.

    python3 write_python_path.py PROGRAM FOLDER SIZE

The program has the folder in a constant of SIZE bytes that begins with a mark and ends with zeros
(cmake/python_path.cpp.in). `cmake --install --prefix` says its own only after everything is built.
"""

import os
import sys

MARK = b"blockwise-python-path="


def main(program: str, folder: str, size: int) -> None:
    with open(program, "r+b") as file:
        content = file.read()
        if content.count(MARK) != 1:
            sys.exit(f"{program}: the place for the folder of the Python package is not there once")
        value = MARK + os.fsencode(os.path.abspath(folder))
        if len(value) >= size:
            sys.exit(f"{folder}: longer than {size - len(MARK) - 1} bytes")
        file.seek(content.index(MARK))
        file.write(value.ljust(size, b"\0"))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
